"""How much noise a slice holds, measured on what anatomy moves little."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.geometry import Box
from tumorscope.imaging.head import grey_range
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.scan import BoolArray, FloatArray

NORMAL_MAD = 0.6745  # median absolute deviation of a standard normal variable
DIFFERENCES_OF_NOISE = 6.0  # what `mixed_differences` makes of white noise of standard deviation 1: root of 36
FOREGROUND = 0.06  # of the grey range: what is darker is air around the head, whose noise is another
CENTRE = 512  # px; noise is measured on no more than this square in the middle


def mixed_differences(plane: FloatArray, step: int = 1) -> FloatArray:
    """Second difference down of second differences across, at every ``step``-th inner pixel: 0 on every slope.

    Returns ``(H - 2, W - 2)`` values divided by ``step`` and rounded up, at ``plane[1:-1:step, 1:-1:step]``; none where
    a side is under three pixels. White noise of standard deviation s becomes noise of 6 s.

    Examples
    --------
    >>> y, x = np.mgrid[:5, :5].astype(np.float32)
    >>> float(np.abs(mixed_differences(3 * y - 2 * x)).max())
    0.0
    """
    if min(plane.shape) < 3:
        return np.empty((0, 0), np.float32)
    rows = plane[0:-2:step] + plane[2::step] - np.float32(2) * plane[1:-1:step]
    return rows[:, 0:-2:step] + rows[:, 2::step] - np.float32(2) * rows[:, 1:-1:step]


def noise_level(image: NDArray, where: NDArray | None = None) -> float:
    """Standard deviation of a slice's noise, in its own units; 0 where it is flat or thinner than three pixels.

    The median magnitude of mixed second differences, which anatomy moves little [1]_, divided by that of white
    noise of standard deviation 1, over the middle 512 x 512 pixels at most. Pictures that were enlarged or compressed
    have less noise from pixel to pixel than they show.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
        Pixels to measure, e.g. the head; those at its rim are left out. When absent or empty, the pixels above the
        lowest 6 % of the grey range.

    Raises
    ------
    ScanError
        For a wrong shape or non-finite values.

    References
    ----------
    .. [1] Immerkær, "Fast noise variance estimation", Comput. Vis. Image Underst. 64, 1996; the median as in Donoho,
       "De-noising by soft-thresholding", IEEE Trans. Inf. Theory 41, 1995.

    Examples
    --------
    >>> ramp = np.tile(np.arange(64.0), (64, 1)) + np.random.default_rng(0).normal(0, 2, (64, 64))
    >>> round(noise_level(ramp))
    2
    """
    plane = as_plane(image)
    inside = as_mask(where, plane.shape, "where") if where is not None else foreground(plane)
    if not inside.any():
        inside = foreground(plane)
    rows, columns = _middle(Box.around(inside))
    part, inner = plane[rows, columns], inside[rows, columns].astype(np.uint8)
    core = cv2.erode(inner, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)[1:-1, 1:-1] > 0
    found = np.abs(mixed_differences(part))
    chosen = found[core] if found.size else found
    return float(np.median(chosen)) / (NORMAL_MAD * DIFFERENCES_OF_NOISE) if chosen.size else 0.0


def foreground(plane: FloatArray) -> BoolArray:
    """Pixels above the lowest 6 % of the grey range, (H, W) bool; all of them when none is.

    Examples
    --------
    >>> foreground(np.array([[0, 5, 7, 100]], np.float32)).tolist()
    [[False, False, True, True]]
    >>> bool(foreground(np.zeros((2, 2), np.float32)).all())
    True
    """
    bottom, top = grey_range(plane)
    above = plane > np.float32(bottom + FOREGROUND * (top - bottom))
    return above if above.any() else np.ones(plane.shape, bool)


def _middle(box: Box) -> tuple[slice, slice]:
    """Rows and columns of the middle of a box, no more than `CENTRE` of each."""
    sides = []
    for start, stop in ((box.top, box.bottom), (box.left, box.right)):
        first = max(start, (start + stop - CENTRE) // 2)
        sides.append(slice(first, min(stop, first + CENTRE)))
    return sides[0], sides[1]
