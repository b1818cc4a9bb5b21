"""Blobs: bytes kept under their own SHA-256, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tumorscope.errors import DataError, OutputError

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A folder of blobs, each in a file named by its content.

    A blob is written to a temporary name, forced to the disk, renamed, and the folder forced too: one that has a
    name is whole, also after a power cut. Blobs that are written and not yet named in the store are *pinned*, so that
    a deletion going on beside does not take them.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     blobs = Blobs(Path(folder))
    ...     with blobs.pinned(b"scan") as (digest,):
    ...         blobs.read(digest)
    b'scan'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._pins: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob lies; its name never comes from a client."""
        if not _DIGEST.fullmatch(digest):
            raise DataError(f"blob '{digest[:80]}': is no SHA-256; the store is damaged, restore a copy")
        return self.folder / digest[:2] / digest[2:]

    def read(self, digest: str) -> bytes:
        """The content.

        Raises
        ------
        OutputError
            If it is not there or not what it was.
        """
        try:
            content = self.path(digest).read_bytes()
        except OSError as error:
            raise OutputError(f"blob {digest[:12]}: cannot be read; restore the workspace from a copy") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise OutputError(f"blob {digest[:12]}: was changed on the disk; restore the workspace from a copy")
        return content

    @contextmanager
    def pinned(self, *contents: bytes) -> Iterator[tuple[str, ...]]:
        """Digests of contents that are on the disk and stay there until the block ends; name them in the store in it.

        Raises
        ------
        OSError
            If there is no room.
        """
        digests = tuple(hashlib.sha256(content).hexdigest() for content in contents)
        with self._lock:
            self._pins.update(digests)
        try:
            for digest, content in zip(digests, contents, strict=True):
                self._write(digest, content)
            yield digests
        finally:
            with self._lock:
                self._pins.subtract(digests)
                self._pins += Counter()

    def discard(self, digests: Iterable[str], wanted: Callable[[str], bool]) -> None:
        """Remove blobs that are neither pinned nor ``wanted`` by the store, which is asked once the lock is held."""
        with self._lock:
            for digest in set(digests):
                if not self._pins[digest] and not wanted(digest):
                    self.path(digest).unlink(missing_ok=True)

    def sweep(self, wanted: Callable[[], set[str]]) -> int:
        """Number of files removed that nothing names: what a killed server left. Only while nobody writes."""
        kept, gone = wanted(), 0
        for file in self.folder.glob("*/*"):
            if file.parent.name + file.name not in kept:
                file.unlink(missing_ok=True)
                gone += 1
        return gone

    def _write(self, digest: str, content: bytes) -> None:
        target = self.path(digest)
        if target.exists():
            return
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            force(self.folder)
        temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            write_durably(temporary, content)
            os.replace(temporary, target)
            force(target.parent)
        finally:
            with suppress(OSError):
                temporary.unlink()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and return when it is on the disk."""
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def force(folder: Path) -> None:
    """Bring a folder's names to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
