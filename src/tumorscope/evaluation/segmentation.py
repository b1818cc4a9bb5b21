"""How well masks agree, pixel by pixel. Every figure says what it does with an empty mask.

Distances between outlines are in `boundaries`, lesions one by one in `lesion_detection`, the ranking of pixels by
probability in `pixel_auc`; `mask_scores` puts all of them in one row a scan. Of a mask with several classes pass one
class at a time: ``mask == 2``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError, look_up
from tumorscope.evaluation.classification import Confusion
from tumorscope.scan import BoolArray

Empty = Literal["one", "nan", "zero"]
_EMPTY: dict[str, float] = {"one": 1.0, "nan": math.nan, "zero": 0.0}

Spacing = float | Sequence[float] | None


def empty_value(empty: str) -> float:
    """The value that an empty-mask rule gives where both masks are empty.

    Raises
    ------
    DataError
        For a rule that is none of "one", "nan", "zero".

    Examples
    --------
    >>> empty_value("one"), empty_value("nan")
    (1.0, nan)
    """
    return _EMPTY[look_up(empty, _EMPTY, "empty-mask rule", DataError)]


def mask_pair(predicted: ArrayLike, truth: ArrayLike) -> tuple[BoolArray, BoolArray]:
    """Both masks as bool arrays of one shape.

    Raises
    ------
    DataError
        If the shapes differ or a mask holds other values than 0 and 1 (NaN among them).

    Examples
    --------
    >>> mask_pair([0, 1], [0, 255])
    Traceback (most recent call last):
    ...
    tumorscope.errors.DataError: evaluation: the true mask holds values other than 0 and 1; threshold it (mask > 0)
    """
    first, second = np.asarray(predicted), np.asarray(truth)
    if first.shape != second.shape:
        raise DataError(
            f"evaluation: the predicted mask is {first.shape}, the true one {second.shape}; bring both to one grid"
        )
    return _binary(first, "predicted"), _binary(second, "true")


def _binary(mask: NDArray, which: str) -> BoolArray:
    if mask.dtype == bool:
        return mask
    if not ((mask == 0) | (mask == 1)).all():
        raise DataError(f"evaluation: the {which} mask holds values other than 0 and 1; threshold it (mask > 0)")
    return mask.astype(bool)


def spacing_of(spacing: Spacing, ndim: int) -> tuple[float, ...]:
    """Millimetres along each of ``ndim`` axes; 1 each for None, which leaves everything in pixels.

    Raises
    ------
    DataError
        If there is not one number an axis, or one is not finite and above 0.

    Examples
    --------
    >>> spacing_of(0.5, 2), spacing_of(None, 3)
    ((0.5, 0.5), (1.0, 1.0, 1.0))
    """
    if spacing is None:
        return (1.0,) * ndim
    steps = np.asarray(spacing, np.float64)
    if steps.ndim == 0:
        steps = np.full(ndim, float(steps))
    if steps.shape != (ndim,):
        raise DataError(f"evaluation: {steps.size} spacings were given for {ndim} axes; give one in mm for each axis")
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise DataError(f"evaluation: spacing {steps.tolist()} is not above 0 everywhere; give millimetres")
    return tuple(steps.tolist())


def pixel_confusion(predicted: ArrayLike, truth: ArrayLike) -> Confusion:
    """Counts of pixels rightly and wrongly marked, with the rates made from them.

    ``accuracy`` is the share of pixels on which both masks agree, ``precision`` the share of marked pixels that are
    lesion, ``sensitivity`` (recall) the share of lesion pixels that were marked. Empty masks: precision is NaN where
    nothing was marked, sensitivity NaN where there is no lesion, accuracy is always defined. Accuracy says little:
    a mask of nothing reaches 1 minus the lesion's share of the picture.

    Raises
    ------
    DataError
        As :func:`mask_pair`.

    Examples
    --------
    >>> counts = pixel_confusion([1, 1, 0, 0], [0, 1, 1, 1])
    >>> counts, counts.precision
    (Confusion(tp=1, fp=1, tn=0, fn=2), 0.5)
    """
    first, second = mask_pair(predicted, truth)
    both = int(np.count_nonzero(first & second))
    marked, lesion = int(np.count_nonzero(first)), int(np.count_nonzero(second))
    return Confusion(tp=both, fp=marked - both, tn=first.size - marked - lesion + both, fn=lesion - both)


def dice_of(counts: Confusion, empty: str = "one") -> float:
    """`dice` from the counts of `pixel_confusion`."""
    rule = empty_value(empty)
    total = 2 * counts.tp + counts.fp + counts.fn
    return 2 * counts.tp / total if total else rule


def iou_of(counts: Confusion, empty: str = "one") -> float:
    """`iou` from the counts of `pixel_confusion`."""
    rule = empty_value(empty)
    union = counts.tp + counts.fp + counts.fn
    return counts.tp / union if union else rule


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
    empty_value(empty)
    return dice_of(pixel_confusion(predicted, truth), empty)


def iou(predicted: ArrayLike, truth: ArrayLike, empty: Empty = "one") -> float:
    """Overlap over union (Jaccard index); arguments as for :func:`dice`. Equals ``dice / (2 - dice)``.

    Examples
    --------
    >>> iou([1, 1, 0, 0], [0, 1, 1, 1])
    0.25
    """
    empty_value(empty)
    return iou_of(pixel_confusion(predicted, truth), empty)


def size_error(predicted: ArrayLike, truth: ArrayLike, spacing: Spacing = None) -> float:
    """Predicted minus true size: area of a 2-D scan, volume of a 3-D one. Above 0 where too much was marked.

    Defined for empty masks too: 0 when both are empty. Two masks that lie apart may have no size error.

    Parameters
    ----------
    predicted, truth : bool arrays of one shape
    spacing : float or sequence of float, optional
        Millimetres along the axes; the error is then in mm² (2-D) or mm³ (3-D). In pixels or voxels without.

    Raises
    ------
    DataError
        As :func:`mask_pair` and :func:`spacing_of`.

    Examples
    --------
    >>> size_error([[1, 1], [1, 0]], [[1, 0], [0, 0]], spacing=0.5)
    0.5
    """
    first, second = mask_pair(predicted, truth)
    unit = math.prod(spacing_of(spacing, first.ndim))
    return (int(np.count_nonzero(first)) - int(np.count_nonzero(second))) * unit


def relative_size_error(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Predicted minus true size, as a share of the true one; -1 where a lesion was missed, NaN where there is none.

    Examples
    --------
    >>> relative_size_error([1, 1, 1, 0], [1, 1, 0, 0]), relative_size_error([1, 0], [0, 0])
    (0.5, nan)
    """
    first, second = mask_pair(predicted, truth)
    size = int(np.count_nonzero(second))
    return (int(np.count_nonzero(first)) - size) / size if size else math.nan


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
