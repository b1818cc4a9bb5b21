"""Slices embedded once and kept on disk, for any engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.annotation.embedding_store import EmbeddingStore, key_of
from tumorscope.annotation.engine import Embedded, Engine


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings by slice, engine and version, in an `EmbeddingStore`.

    Parameters
    ----------
    store : EmbeddingStore
        Its folder and limit; may be shared by engines, processes and threads.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tumorscope.annotation.engine import open_engine
    >>> cache, engine = EmbeddingCache(EmbeddingStore(Path(tempfile.mkdtemp()))), open_engine("grabcut")
    >>> pixels = np.arange(1024.0).reshape(32, 32)
    >>> [cache.embed(engine, pixels)[1] for _ in range(2)]
    [False, True]
    """

    store: EmbeddingStore

    def embed(self, engine: Engine, pixels: NDArray[np.floating]) -> tuple[Embedded, bool]:
        """A (H, W) slice made ready by the engine, and whether the cache had it.

        Raises
        ------
        ScanError
            As `Engine.embed`.
        """
        key = key_of(np.asarray(pixels), engine.name, engine.version)
        state = self.store.read(key)
        if state is not None:
            shape = (int(pixels.shape[0]), int(pixels.shape[1]))
            return Embedded(engine.name, shape, state), True
        embedded = engine.embed(pixels)
        self.store.write(key, embedded.state)
        return embedded, False
