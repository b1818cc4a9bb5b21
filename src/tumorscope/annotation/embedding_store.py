"""Embeddings on disk, so that a slice goes through a heavy encoder once: a folder of .npz files of a limited size."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import OutputError
from tumorscope.io.output import atomic

LIMIT = 4 * 2**30  # bytes; an embedding of SAM takes 4 MiB, one of SAM 2 16 MiB
UNLIMITED = 2**63  # bytes
SUFFIX = ".npz"


def key_of(pixels: NDArray, engine: str, version: str) -> str:
    """Name under which the embedding of a slice is kept: a hash of its values, type and shape, and of what embeds it.

    Parameters
    ----------
    pixels : (H, W) array
    engine, version : str
        Of the engine; another version never finds what an older one left.

    Examples
    --------
    >>> one = np.arange(6.0).reshape(2, 3)
    >>> key_of(one, "sam-vit-base", "1") == key_of(one.copy(), "sam-vit-base", "1")
    True
    >>> key_of(one, "sam-vit-base", "1") == key_of(one.reshape(3, 2), "sam-vit-base", "1")
    False
    """
    digest = hashlib.sha256(f"{engine}\0{version}\0{pixels.dtype.str}\0{pixels.shape}\0".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class EmbeddingStore:
    """Arrays by key in a folder; what was not asked for longest goes first when the limit is passed.

    A file is written under a temporary name and renamed, so that two processes may share the folder and a killed one
    leaves no half embedding. A file that cannot be read counts as absent.

    Parameters
    ----------
    folder : Path
        Made when something is first written.
    limit : int
        Bytes that the files may take together; an embedding larger than that is not kept.

    Examples
    --------
    >>> import tempfile
    >>> store = EmbeddingStore(Path(tempfile.mkdtemp()))
    >>> store.write("ab", {"image": np.ones((1, 2), np.float32)})
    >>> store.read("ab")["image"].tolist(), store.read("cd")
    ([[1.0, 1.0]], None)
    """

    folder: Path
    limit: int = LIMIT

    def read(self, key: str) -> dict[str, NDArray] | None:
        """The arrays of a key; None where there are none."""
        path = self._path(key)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                found = {name: kept[name] for name in kept.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        with suppress(OSError):  # a folder that may only be read still serves
            os.utime(path)
        return found

    def holds(self, key: str) -> bool:
        """Whether there is a file for a key."""
        return self._path(key).is_file()

    def write(self, key: str, arrays: Mapping[str, NDArray]) -> None:
        """Keep arrays under a key; nothing is kept, and nothing raised, where the disk refuses."""
        if sum(one.nbytes for one in arrays.values()) > self.limit:
            return
        with suppress(OutputError):  # the embedding is there all the same; only the next call is as slow
            with atomic(self._path(key)) as path:
                np.savez(path, **dict(arrays))  # type: ignore[arg-type]
            if self.limit < UNLIMITED:
                self._forget()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _forget(self) -> None:
        """Delete the files unused for longest until the rest is within the limit."""
        files = []
        for path in self.folder.glob(f"[!.]*{SUFFIX}"):
            with suppress(OSError):  # another process may have deleted it
                facts = path.stat()
                files.append((facts.st_mtime_ns, facts.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit:
                return
            with suppress(OSError):
                path.unlink()
            total -= size
