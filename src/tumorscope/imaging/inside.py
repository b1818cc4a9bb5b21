"""What lies inside a mask: checked, in grey levels, and continued outward so that the mask's rim is no edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.scan import BoolArray, FloatArray

BINS = 32  # grey levels of a histogram or a co-occurrence matrix; IBSI's configurations C to E use 25 to 64
MOST_LEVELS = 1024  # a co-occurrence matrix of this many levels takes 8 MB, and its rows are all but empty

Levels = NDArray[np.int64]


def inside(image: NDArray, where: NDArray | None = None) -> tuple[FloatArray, BoolArray]:
    """``image`` as a finite (H, W) plane, and the pixels that count: those of ``where``, or all.

    Raises
    ------
    ScanError
        For a wrong shape, values that are not finite, a mask of another size, or a mask that marks nothing.

    Examples
    --------
    >>> plane, mask = inside(np.ones((2, 3)))
    >>> plane.shape, int(mask.sum())
    ((2, 3), 6)
    """
    plane = as_plane(image)
    if where is None:
        return plane, np.ones(plane.shape, bool)
    mask = as_mask(where, plane.shape, "where")
    if not mask.any():
        raise ScanError("where: the mask marks no pixel; mark the region to measure, or leave it out for all pixels")
    return plane, mask


def grey_levels(
    image: NDArray, where: NDArray | None = None, *, bins: int = BINS, width: float | None = None
) -> Levels:
    """Grey level of each pixel inside ``where``, counted from 1; 0 outside.

    A fixed number of ``bins`` between the lowest and the highest value inside: floor(bins · (x − min) / (max − min))
    + 1, and the highest value in the last bin. Where a ``width`` is given, bins of that width instead, with edges at
    its multiples: floor(x / width) − floor(min / width) + 1. Both as PyRadiomics and IBSI [1]_ have them.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
    bins : int
        1 or more.
    width : float, optional
        In grey values, above 0.

    Returns
    -------
    (H, W) int64 array
        All 1 inside where the region is constant.

    Raises
    ------
    ScanError
        As `inside`; for ``bins`` or ``width`` out of range, or a width that makes more than 1024 levels.

    References
    ----------
    .. [1] Zwanenburg et al., "The image biomarker standardization initiative", Radiology 295(2), 2020.

    Examples
    --------
    >>> grey_levels(np.array([[0, 1, 2, 4]]), bins=4)
    array([[1, 2, 3, 4]])
    >>> grey_levels(np.array([[3, 4, 9]]), np.array([[True, True, False]]), width=1)
    array([[1, 2, 0]])
    """
    plane, mask = inside(image, where)
    if not 1 <= bins <= MOST_LEVELS:
        raise ScanError(f"grey levels: {bins} bins cannot be counted in; pass 1 to {MOST_LEVELS}")
    values = plane[mask].astype(np.float64)
    bottom, top = float(values.min()), float(values.max())
    levels = np.zeros(plane.shape, np.int64)
    if width is None:
        span = top - bottom
        share = (values - bottom) / span if span > 0 else np.zeros_like(values)
        levels[mask] = np.minimum((share * bins).astype(np.int64), bins - 1) + 1
        return levels
    if not (np.isfinite(width) and width > 0):
        raise ScanError(f"grey levels: a bin width of {width} makes no levels; pass one above 0")
    count = np.floor(top / width) - np.floor(bottom / width) + 1
    if count > MOST_LEVELS:
        raise ScanError(f"grey levels: bins of {width:g} make {count:.0f} levels; pass a width that makes fewer")
    levels[mask] = (np.floor(values / width) - np.floor(bottom / width)).astype(np.int64) + 1
    return levels


def continued(plane: FloatArray, mask: BoolArray) -> FloatArray:
    """The (H, W) plane with each pixel outside the mask as bright as the nearest one inside.

    A filter that looks over the rim then finds no edge there. The plane itself where the mask covers all or nothing.

    Examples
    --------
    >>> continued(np.array([[9, 1, 2, 9]], np.float32), np.array([[False, True, True, False]]))
    array([[1., 1., 2., 2.]], dtype=float32)
    """
    if mask.all() or not mask.any():
        return plane
    outside = (~mask).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    bright = np.zeros(int(nearest.max()) + 1, np.float32)
    bright[nearest[mask]] = plane[mask]
    return np.where(mask, plane, bright[nearest])
