"""Grey values: checking them, and bringing any range of them to 0…1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.scan import BoolArray, FloatArray

LARGEST = 1e30  # magnitude from which float32 sums of a slice could overflow
ZSCORE_SPAN = 3.0  # standard deviations on each side of the mean that `normalize` keeps apart


def as_plane(image: NDArray, name: str = "image") -> FloatArray:
    """``image`` as a finite (H, W) float32 array; whole numbers and booleans are converted.

    Parameters
    ----------
    image : (H, W) array of numbers
    name : str
        What an error calls it.

    Raises
    ------
    ScanError
        If it is not two-dimensional, is empty, holds no real numbers, or any value is NaN, infinite or beyond 1e30.

    Examples
    --------
    >>> as_plane(np.array([[0, 65535]], np.uint16))
    array([[    0., 65535.]], dtype=float32)
    """
    array = np.asarray(image)
    if array.ndim != 2:
        raise ScanError(f"{name}: {array.ndim}-D array of shape {array.shape}; pass one (H, W) slice or channel")
    if array.size == 0:
        raise ScanError(f"{name}: no pixels (shape {array.shape}); pass at least 1x1")
    if array.dtype.kind not in "fiub":
        raise ScanError(f"{name}: values of type {array.dtype} are no grey values; pass real numbers")
    with np.errstate(over="ignore"):
        plane = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.kind == "f":
        _require_finite(plane, name)
    return plane


def _require_finite(plane: FloatArray, name: str) -> None:
    """Raise a ScanError for NaN, infinite and absurdly large values."""
    low, high = float(plane.min()), float(plane.max())  # NaN in the plane is NaN in both
    if low >= -LARGEST and high <= LARGEST:
        return
    bad = plane.size - int(np.count_nonzero(np.isfinite(plane)))
    if bad:
        raise ScanError(f"{name}: {bad} of {plane.size} values are NaN or infinite; replace them first (np.nan_to_num)")
    raise ScanError(f"{name}: values reach from {low:.3g} to {high:.3g}, beyond {LARGEST:.0e}; rescale the scan first")


def as_mask(mask: NDArray, shape: tuple[int, ...], name: str = "mask") -> BoolArray:
    """``mask`` as a boolean array, after a check that its shape is ``shape``.

    Raises
    ------
    ScanError
        If the shapes differ.

    Examples
    --------
    >>> as_mask(np.array([[0, 255]], np.uint8), (1, 2))
    array([[False,  True]])
    """
    array = np.asarray(mask)
    if array.shape != shape:
        raise ScanError(f"{name}: shape {array.shape} does not fit the image's {shape}; resample one of them")
    return array.astype(bool, copy=False)


def percentiles(values: NDArray, *percents: float) -> tuple[float, ...]:
    """Percentiles of an array of numbers, linear between neighbours: `numpy.percentile`, some times as fast.

    Examples
    --------
    >>> percentiles(np.array([[4, 0], [1, 3]]), 0, 50, 75)
    (0.0, 2.0, 3.25)
    """
    ordered = np.sort(values, axis=None)
    found = []
    for percent in percents:
        place = percent / 100 * (ordered.size - 1)
        below = int(place)
        low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
        found.append(low + (place - below) * (high - low))
    return tuple(found)


def normalize(
    image: NDArray, method: str = "percentile", low: float = 0.5, high: float = 99.5, where: NDArray | None = None
) -> FloatArray:
    """Image in 0…1, whatever range it came in: 8-bit, 16-bit, negative, z-scored.

    Parameters
    ----------
    image : (H, W) array
    method : {"percentile", "zscore"}
        ``percentile`` sends the ``low`` percentile to 0 and the ``high`` one to 1. ``zscore`` sends the mean
        to 0.5 and three standard deviations below and above it to 0 and 1. What falls outside is clipped.
    low, high : float
        Percentiles, 0 ≤ low < high ≤ 100.
    where : (H, W) bool array, optional
        Pixels that the statistics are taken from, e.g. the head. When none is set, all are used.

    Returns
    -------
    (H, W) float32 array
        In 0…1. All zeros when the chosen pixels, or the image, are constant and nothing differs from them.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an unknown method, or percentiles out of order.

    Notes
    -----
    When so few pixels differ that both percentiles agree (a spot on black), minimum and maximum of the
    chosen pixels take their place, then those of the whole image.

    Examples
    --------
    >>> normalize(np.array([[-2, 0, 2]]), low=0, high=100)
    array([[0. , 0.5, 1. ]], dtype=float32)
    >>> float(normalize(np.full((3, 3), 7)).max())
    0.0
    """
    plane = as_plane(image)
    look_up(method, ("percentile", "zscore"), "normalisation method", ScanError)
    if not 0 <= low < high <= 100:
        raise ScanError(f"image: percentiles {low} and {high} are out of order; pass 0 <= low < high <= 100")
    chosen = plane.ravel()
    if where is not None:
        selected = plane[as_mask(where, plane.shape, "where")]
        chosen = selected if selected.size else chosen
    bottom, top = _limits(chosen, method, low, high)
    for values in (chosen, plane):
        if top - bottom > _resolution(bottom, top):
            break
        bottom, top = float(values.min()), float(values.max())
    if top - bottom <= _resolution(bottom, top):
        return np.zeros_like(plane)
    scaled = (plane.astype(np.float64) - bottom) / (top - bottom)
    return np.clip(scaled, 0, 1).astype(np.float32)


def standardize(
    image: NDArray, method: str = "zscore", low: float = 0.5, high: float = 99.5, where: NDArray | None = None
) -> FloatArray:
    """Image on a scale of its own head, nothing clipped: what stands out stays as far out as it was.

    Parameters
    ----------
    image : (H, W) array
    method : {"zscore", "percentile"}
        ``zscore`` gives the chosen pixels mean 0 and standard deviation 1. ``percentile`` sends their ``low``
        percentile to 0 and the ``high`` one to 1.
    low, high : float
        Percentiles, 0 ≤ low < high ≤ 100.
    where : (H, W) bool array, optional
        Pixels that the statistics are taken from, e.g. the head. When none is set, all are used.

    Returns
    -------
    (H, W) float32 array
        All zeros when the chosen pixels are constant, or for ``percentile`` when both percentiles agree.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an unknown method, or percentiles out of order.

    Examples
    --------
    >>> head = np.array([[False, True, True]])
    >>> standardize(np.array([[0, 10, 30]]), where=head).tolist()
    [[-2.0, -1.0, 1.0]]
    >>> standardize(np.array([[0, 10, 30]]), "percentile", 0, 100, where=head).tolist()
    [[-0.5, 0.0, 1.0]]
    """
    plane = as_plane(image)
    look_up(method, ("zscore", "percentile"), "standardisation method", ScanError)
    if not 0 <= low < high <= 100:
        raise ScanError(f"image: percentiles {low} and {high} are out of order; pass 0 <= low < high <= 100")
    chosen = plane if where is None else plane[as_mask(where, plane.shape, "where")]
    chosen = chosen if chosen.size else plane
    if method == "zscore":
        zero, unit = float(chosen.mean(dtype=np.float64)), float(chosen.std(dtype=np.float64))
        least = _resolution(float(chosen.min()), float(chosen.max())) / 4
    else:
        zero, top = percentiles(chosen, low, high)
        unit, least = top - zero, _resolution(zero, top)
    if unit <= least:
        return np.zeros_like(plane)
    return ((plane - np.float64(zero)) / unit).astype(np.float32)


def _limits(values: FloatArray, method: str, low: float, high: float) -> tuple[float, float]:
    """Grey values that become 0 and 1."""
    if method == "percentile":
        bottom, top = percentiles(values, low, high)
        return bottom, top
    mean, spread = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return mean - ZSCORE_SPAN * spread, mean + ZSCORE_SPAN * spread


def _resolution(bottom: float, top: float) -> float:
    """Difference below which two float32 grey values of this size count as equal."""
    return 4 * float(np.finfo(np.float32).eps) * max(abs(bottom), abs(top))
