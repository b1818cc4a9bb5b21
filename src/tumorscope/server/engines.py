"""Engines of prompted segmentation: opened once, slices embedded once, answers remembered for the next prompt."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tumorscope.annotation import rle
from tumorscope.annotation.engine import ENGINES, Candidate, Embedded, Engine, open_engine
from tumorscope.annotation.prompts import Prompts
from tumorscope.errors import DataError, MissingExtra, TumorscopeError, WeightsError, look_up
from tumorscope.scan import FloatArray, Scan
from tumorscope.server.keeping import Kept
from tumorscope.server.problems import Problem
from tumorscope.server.store import new_id

SHARE_OF_ANSWERS = 8  # the memory for answers is this part of that for embeddings


@dataclass(frozen=True)
class Asked:
    """Prompts on one slice of a case.

    Parameters
    ----------
    scan : str
        Digest of the scan.
    engine : str
    axis, index : int
        Which slice; 0 and 0 for a 2-D scan.
    prompts : Prompts
    previous : dict or None
        The mask to be corrected, as run lengths.
    token : str or None
        The answer to be corrected, by the name that it was given; what it names counts more than ``previous``.
    """

    scan: str
    engine: str
    axis: int
    index: int
    prompts: Prompts
    previous: dict[str, Any] | None
    token: str | None


class Engines:
    """All engines by name.

    Parameters
    ----------
    checkpoints : dict of str to Path
        Weights to use instead of the published ones.
    memory : int
        Bytes of embeddings kept.
    """

    def __init__(self, checkpoints: dict[str, Path], memory: int) -> None:
        self._checkpoints = checkpoints
        self._open: dict[str, Engine] = {}
        self._lock = threading.Lock()
        self._embedded: Kept[Embedded] = Kept(memory, lambda one: sum(part.nbytes for part in one.state.values()))
        self._answers: Kept[tuple[Hashable, Candidate]] = Kept(memory // SHARE_OF_ANSWERS, lambda one: _size(one[1]))

    def named(self, name: str) -> Engine:
        """An engine, opened on first use.

        Raises
        ------
        Problem
            409 with the remedy where it cannot be opened; 422 for an unknown name.
        """
        look_up(name, ENGINES, "engine", DataError)
        with self._lock:
            if name not in self._open:
                try:
                    self._open[name] = open_engine(name, self._checkpoints.get(name))
                except (MissingExtra, WeightsError) as error:
                    raise Problem(409, "unavailable", str(error)) from error
                except ImportError as error:
                    raise Problem(409, "unavailable", f"engine {name}: is not in this installation") from error
                except TumorscopeError as error:
                    raise Problem(409, "unavailable", f"engine {name}: {error}") from error
            return self._open[name]

    def ask(self, asked: Asked, scan: Scan) -> dict[str, Any]:
        """Candidates for prompts, as the API gives them; to be run in the pool.

        Raises
        ------
        DataError
            For prompts that mean nothing on this slice.
        Problem
            409 for an engine that cannot be had, or an answer that is no longer remembered.
        """
        pixels = slice_of(scan, asked.axis, asked.index)
        asked.prompts.check(pixels.shape)
        engine = self.named(asked.engine)
        key = (asked.scan, asked.engine, engine.version, asked.axis, asked.index)
        previous = self._previous(asked, key, pixels.shape)
        known = self._embedded.peek(key) is not None
        embedded = self._embedded.get(key, lambda: engine.embed(pixels))
        found = engine.segment(embedded, asked.prompts, previous)
        return {
            "engine": engine.name,
            "engine_version": engine.version,
            "checkpoint_sha256": getattr(engine, "checkpoint_sha256", None) or None,
            "embedded": known,
            "candidates": [self._shown(one, key) for one in found],
        }

    def forget(self, scan: str) -> None:
        """Let go of the embeddings of a scan that is deleted."""
        self._embedded.forget(lambda key: isinstance(key, tuple) and key[0] == scan)

    def _previous(self, asked: Asked, key: Hashable, shape: tuple[int, ...]) -> Candidate | None:
        """The answer to be corrected; one to another slice, scan or engine counts as forgotten."""
        remembered = None if asked.token is None else self._answers.peek(asked.token)
        if remembered is not None and remembered[0] == key:
            return remembered[1]
        if asked.previous is not None:
            return Candidate(_mask(asked.previous, shape), None)
        if asked.token is not None:
            raise Problem(409, "forgotten", "the previous answer is no longer remembered; send its mask as 'previous'")
        return None

    def _shown(self, candidate: Candidate, key: Hashable) -> dict[str, Any]:
        token = new_id()
        self._answers.put(token, (key, candidate))
        quality = candidate.quality
        return {
            "mask": rle.encode(candidate.mask),
            "quality": None if quality is None or not np.isfinite(quality) else float(quality),
            "token": token,
        }


def slice_of(scan: Scan, axis: int, index: int) -> FloatArray:
    """The (H, W) slice of a scan; of a volume across ``axis`` 0, 1 or 2.

    Raises
    ------
    DataError
        If there is no such slice.

    Examples
    --------
    >>> slice_of(Scan.of(np.arange(8.0).reshape(2, 2, 2)), 1, 1).tolist()
    [[2.0, 3.0], [6.0, 7.0]]
    """
    axes = 3 if scan.is_volume else 1
    count = scan.shape[axis] if scan.is_volume and 0 <= axis < 3 else 1
    if not 0 <= axis < axes or not 0 <= index < count:
        raise DataError(f"slice {index} across axis {axis}: the scan has none; count both from 0")
    return np.ascontiguousarray(np.take(scan.pixels, index, axis) if scan.is_volume else scan.pixels)


def _mask(given: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """A mask sent by a client, its size compared with the slice's before it is made."""
    if rle.check(given) != shape:
        raise DataError(f"previous mask: is not of the slice's size, {shape[0]}x{shape[1]}; send one that is")
    return rle.decode(given)


def _size(candidate: Candidate) -> int:
    return candidate.mask.nbytes + (0 if candidate.logits is None else candidate.logits.nbytes)
