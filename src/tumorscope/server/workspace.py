"""The workspace: a folder with store and blobs, and all that a running server keeps in memory beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import cv2

from tumorscope.errors import OutputError
from tumorscope.scan import Scan
from tumorscope.server import scans
from tumorscope.server.blobs import Blobs
from tumorscope.server.engines import Engines
from tumorscope.server.importing.profile import Pseudonyms
from tumorscope.server.jobs import Runner
from tumorscope.server.keeping import Kept
from tumorscope.server.models import Models
from tumorscope.server.pool import Pool
from tumorscope.server.settings import Settings
from tumorscope.server.store import Store
from tumorscope.server.tables import Case

T = TypeVar("T")

LOCK = "in-use.lock"
INCOMING = "incoming"


class Workspace:
    """Everything that the routes work on.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    OutputError
        If the folder cannot be written, another server uses it, or its store cannot be opened.
    BundleError
        If the model to predict with cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.workspace
        self._lock = _locked(self.folder)
        try:
            self.incoming = self.folder / INCOMING
            shutil.rmtree(self.incoming, ignore_errors=True)  # what a killed server was receiving
            self.incoming.mkdir()
            self.store = Store.of_folder(self.folder)
            self.blobs = Blobs(self.folder / "blobs")
            self.blobs.sweep(self.store.all_named)
            self.pseudonyms = Pseudonyms.of_folder(self.folder)
            self.models = Models(settings)
        except BaseException:
            self._lock.close()
            raise
        cv2.setNumThreads(1)  # the pool's threads fill the cores
        memory = settings.memory
        self.scans: Kept[Scan] = Kept(memory // 4, lambda scan: scan.pixels.nbytes)
        self.volumes: Kept[bytes] = Kept(memory // 4, len)
        self.engines = Engines(settings.checkpoints, memory // 2)
        self.pool = Pool(settings.workers, settings.queue)
        self.jobs = Runner(self)

    def start(self) -> None:
        """Go on with the batches."""
        self.jobs.start()

    def close(self) -> None:
        """Stop cleanly: what runs is finished, the rest waits for the next start."""
        self.jobs.close()
        self.pool.close()
        self.store.close()
        self._lock.close()

    def scan(self, case: Case) -> Scan:
        """The scan of a case, read from its blob or from memory."""
        return self.scans.get(case.scan, lambda: scans.unpack(self.blobs.read(case.scan), case.id))

    async def pooled(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, run in the pool.

        Raises
        ------
        Problem
            429 where too many wait.
        """
        return await asyncio.wrap_future(self.pool.submit(work))

    def forget(self, digests: list[str]) -> None:
        """Remove blobs that no row names any more, from the disk and from memory."""
        self.blobs.discard(digests, self.store.names)
        gone = set(digests)
        self.scans.forget(lambda key: key in gone)
        self.volumes.forget(lambda key: isinstance(key, tuple) and key[0] in gone)
        for digest in digests:
            self.engines.forget(digest)

    def without_paths(self, error: str, case: str) -> str:
        """An error about a case without the name that stands in for its file."""
        return error.replace(str(Path("case") / case), "the scan")


def _locked(folder: Path) -> IO[Any]:
    """The open lock file of a workspace; the system lets go of it when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.name == "posix":
            folder.chmod(0o700)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used ({error.strerror}); choose another --workspace") from error
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return lock  # Windows: the store's own locks remain
    except OSError as error:
        lock.close()
        raise OutputError(f"{folder}: another server uses it; stop that one, or choose another --workspace") from error
    return lock
