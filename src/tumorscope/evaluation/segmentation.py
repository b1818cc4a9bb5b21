"""How well masks agree. Every figure says what it does with an empty mask."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError, look_up

Empty = Literal["one", "nan", "zero"]
_EMPTY: dict[str, float] = {"one": 1.0, "nan": math.nan, "zero": 0.0}


def _pair(predicted: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = np.asarray(predicted), np.asarray(truth)
    if first.shape != second.shape:
        raise DataError(
            f"evaluation: the predicted mask is {first.shape}, the true one {second.shape}; bring both to one grid"
        )
    for mask in (first, second):
        if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
            raise DataError("evaluation: a mask holds values other than 0 and 1; threshold it first (mask > 0)")
    return first.astype(bool, copy=False), second.astype(bool, copy=False)


def dice(predicted: ArrayLike, truth: ArrayLike, empty: Empty = "one") -> float:
    """Twice the overlap over the sum of both areas.

    Parameters
    ----------
    predicted, truth : bool arrays of one shape, any number of axes
    empty : {"one", "nan", "zero"}
        The value when both masks are empty: a right answer counted as 1 (which lifts a mean over healthy scans),
        left out of means (NaN), or 0. An empty mask against one that is not scores 0 under every rule.

    Raises
    ------
    DataError
        If the shapes differ, a mask holds other values than 0 and 1, or the rule is unknown.

    References
    ----------
    .. [1] Dice, "Measures of the amount of ecologic association between species", Ecology 26, 1945.

    Examples
    --------
    >>> dice([1, 1, 0, 0], [0, 1, 1, 1])
    0.4
    >>> dice([0, 0], [0, 0]), dice([0, 0], [0, 0], empty="nan"), dice([0, 1], [0, 0])
    (1.0, nan, 0.0)
    """
    rule = _EMPTY[look_up(empty, _EMPTY, "empty-mask rule", DataError)]
    first, second = _pair(predicted, truth)
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else rule


def iou(predicted: ArrayLike, truth: ArrayLike, empty: Empty = "one") -> float:
    """Overlap over union (Jaccard index); arguments as for :func:`dice`. Equals ``dice / (2 - dice)``.

    Examples
    --------
    >>> iou([1, 1, 0, 0], [0, 1, 1, 1])
    0.25
    """
    rule = _EMPTY[look_up(empty, _EMPTY, "empty-mask rule", DataError)]
    first, second = _pair(predicted, truth)
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else rule


def false_mask_rate(masks: Iterable[ArrayLike], least: int = 1) -> float:
    """Share of healthy scans on which a mask was drawn.

    Parameters
    ----------
    masks : iterable of bool arrays
        The predicted masks of scans without a tumour, one array each (shapes may differ); read one at a time.
    least : int
        Pixels from which a mask counts as one.

    Returns
    -------
    float
        In [0, 1]; NaN for no scans at all.

    Examples
    --------
    >>> false_mask_rate([np.zeros((2, 2)), np.eye(2), np.zeros((3, 1)), np.zeros((1, 1))])
    0.25
    """
    marked = [int(np.count_nonzero(np.asarray(mask))) >= least for mask in masks]
    return sum(marked) / len(marked) if marked else math.nan
