"""How well pixel probabilities rank lesion pixels above the others, for one scan and for all pixels of many.

Nearly every pixel of a scan is background that any model tells from a lesion, so the figure lies close to 1 for models
that differ widely; it says little about outlines.
"""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError
from tumorscope.scan import BoolArray

_LEVELS = {np.dtype(np.uint8): 2**8, np.dtype(np.uint16): 2**16}
_BINS = 2**16  # of the shared histogram; probabilities that fall into one of them count as tied


def _checked(probability: ArrayLike, truth: ArrayLike) -> tuple[NDArray, BoolArray]:
    values, mask = np.asarray(probability), np.asarray(truth)
    if values.shape != mask.shape:
        raise DataError(f"pixel AUC: probabilities are {values.shape}, the mask {mask.shape}; bring both to one grid")
    if mask.dtype != bool:
        if not ((mask == 0) | (mask == 1)).all():
            raise DataError("pixel AUC: the mask holds values other than 0 and 1; threshold it first (mask > 0)")
        mask = mask.astype(bool)
    if values.dtype.kind not in "buif":
        raise DataError(f"pixel AUC: probabilities are of type {values.dtype}; pass floats or unsigned integers")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise DataError(
            f"pixel AUC: {int(np.isnan(values).sum())} probabilities are NaN; leave the scan out or score it"
        )
    return values.ravel(), mask.ravel()


def pixel_auc(probability: ArrayLike, truth: ArrayLike) -> float:
    """Chance that a lesion pixel has a higher probability than another pixel, ties counting half. Exact.

    Parameters
    ----------
    probability : array of any shape
        Only its order matters: floats, or 8- and 16-bit images, which are counted instead of sorted.
    truth : bool array of that shape

    Returns
    -------
    float
        Area under the ROC curve in [0, 1]; NaN where no pixel is lesion, or all are. What was predicted, be it
        nothing, changes nothing about that.

    Raises
    ------
    DataError
        If the shapes differ, the mask holds other values than 0 and 1, or a probability is NaN.

    Examples
    --------
    >>> pixel_auc([[0.1, 0.4], [0.35, 0.8]], [[0, 0], [1, 1]])
    0.75
    >>> pixel_auc(np.array([7, 7], np.uint8), [0, 1]), pixel_auc([0.2, 0.9], [0, 0])
    (0.5, nan)
    """
    values, mask = _checked(probability, truth)
    if values.dtype in _LEVELS:
        levels = _LEVELS[values.dtype]
        return _area(*(np.bincount(values[part], minlength=levels) for part in (mask, ~mask)))
    lesion, other = np.sort(values[mask]), np.sort(values[~mask])
    if not (lesion.size and other.size):
        return math.nan
    below = np.searchsorted(other, lesion, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(other, lesion, side="right").sum(dtype=np.int64)
    return float((int(below) + int(not_above)) / (2 * lesion.size * other.size))


def _area(lesion: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Area under the ROC curve from the pixels at each value, ascending."""
    pairs = float(lesion.sum()) * float(other.sum())
    if not pairs:
        return math.nan
    twice_below = 2 * np.cumsum(other) - other  # those below, and once more; those tied, once
    return float(lesion.astype(np.float64) @ twice_below.astype(np.float64) / 2 / pairs)


class PixelScores:
    """Probabilities of all pixels of many scans as two histograms, which never grow; healthy scans add their pixels.

    The reference tables of most papers give this pooled figure, not the mean over scans. Large lesions and large
    pictures weigh more in it. Probabilities are rounded to 16 bits, which only makes some neighbours tie.
    Safe to add to from several threads.

    Examples
    --------
    >>> scores = PixelScores()
    >>> scores.add([0.2, 0.9], [0, 1])
    >>> scores.add(np.array([0, 255], np.uint8), [0, 0])
    >>> scores.auc, scores.pixels
    (0.6666666666666666, 4)
    """

    def __init__(self) -> None:
        self._lesion = np.zeros(_BINS, np.int64)
        self._other = np.zeros(_BINS, np.int64)
        self._lock = threading.Lock()

    def add(self, probability: ArrayLike, truth: ArrayLike) -> None:
        """Count the pixels of one scan.

        Parameters
        ----------
        probability : array in [0, 1], or uint8 or uint16 whose largest value means 1
        truth : bool array of that shape

        Raises
        ------
        DataError
            As `pixel_auc`, or for a probability outside [0, 1].
        """
        values, mask = _checked(probability, truth)
        if values.dtype in _LEVELS:
            bins = values.astype(np.uint16) * np.uint16((_BINS - 1) // (_LEVELS[values.dtype] - 1))
        else:
            low, high = values.min(initial=0), values.max(initial=0)
            if low < 0 or high > 1:
                raise DataError(
                    f"pixel AUC: probabilities reach from {low:g} to {high:g}; pass logits through a sigmoid"
                )
            bins = np.rint(values * (_BINS - 1)).astype(np.uint16)
        lesion = np.bincount(bins[mask], minlength=_BINS)
        both = np.bincount(bins, minlength=_BINS)
        with self._lock:
            self._lesion += lesion
            self._other += both - lesion

    @property
    def pixels(self) -> int:
        """Pixels counted so far."""
        return int(self._lesion.sum() + self._other.sum())

    @property
    def auc(self) -> float:
        """Area under the ROC curve over all pixels; NaN while one of the two kinds is absent."""
        return _area(self._lesion, self._other)
