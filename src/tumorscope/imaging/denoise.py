"""Noise: how much of it a slice holds, and four ways to take it out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import denoise_nl_means

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.geometry import Box
from tumorscope.imaging.head import grey_range
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.scan import BoolArray, FloatArray

METHODS = ("gaussian", "median", "bilateral", "nlm")
NORMAL_MAD = 0.6745  # median absolute deviation of a standard normal variable
DIFFERENCES_OF_NOISE = 6.0  # what `mixed_differences` makes of white noise of standard deviation 1: root of 36
FOREGROUND = 0.06  # of the grey range: what is darker is air around the head, whose noise is another
CENTRE = 512  # px; noise is measured on no more than this square in the middle
GAUSSIAN_SIGMA = 0.8  # px at strength 1: takes three quarters of white noise, and widens an edge by a pixel
MEDIAN_RADIUS = 1  # px at strength 1: a window of 3 x 3
BILATERAL_SPACE = 1.5  # px, standard deviation in space; strength acts on the grey values
BILATERAL_RANGE = 2.0  # standard deviations of the noise at strength 1: pixels further apart in grey are not mixed
NLM_PATCH = 5  # px, side of the patches that are compared
NLM_REACH = 6  # px to each side in which like patches are looked for
NLM_DECAY = 0.8  # standard deviations of the noise at strength 1: how unlike patches may be
SMALLEST_NOISE = 1e-6  # of the grey range; less is no noise but rounding of float32


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
    """Pixels above the lowest 6 % of the grey range, (H, W) bool; all of them when none is."""
    bottom, top = grey_range(plane)
    above = plane > np.float32(bottom + FOREGROUND * (top - bottom))
    return above if above.any() else np.ones(plane.shape, bool)


def denoise(image: NDArray, method: str = "nlm", strength: float = 1.0, noise: float | None = None) -> FloatArray:
    """Slice with its noise reduced.

    ==============  ==================================================  ==========================================
    method          each pixel becomes                                  ``strength`` s
    ==============  ==================================================  ==========================================
    ``gaussian``    the weighted mean of its surroundings               standard deviation 0.8 s px
    ``median``      the median of a square window                       window of 2 round(s) + 1 px
    ``bilateral``   the mean of near pixels of like grey value [1]_     like: 2 s times the noise
    ``nlm``         the mean of pixels with like 5 x 5 patches [2]_     like: 0.8 s times the noise
    ==============  ==================================================  ==========================================

    The first two blur edges or thin lines with the noise; the last two spare them, and need to know the noise.

    Parameters
    ----------
    image : (H, W) array
        Any range, any size.
    method : {"gaussian", "median", "bilateral", "nlm"}
    strength : float
        0 or more; 0 changes nothing.
    noise : float, optional
        Standard deviation of the noise in the image's units; measured by `noise_level` when absent.

    Returns
    -------
    (H, W) float32 array
        Within the input's range. A shift or a positive factor of the input is one of the output.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an unknown method, or a negative strength or noise.

    References
    ----------
    .. [1] Tomasi, Manduchi, "Bilateral filtering for gray and color images", Proc. ICCV, 1998.
    .. [2] Buades, Coll, Morel, "A non-local algorithm for image denoising", Proc. CVPR, 2005.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> step = np.repeat([0.0, 100.0], 32) + rng.normal(0, 5, (64, 64))
    >>> clean = denoise(step, "nlm")
    >>> bool(clean[:, 8:24].std() < 2), bool(clean[:, 33].mean() - clean[:, 30].mean() > 95)
    (True, True)
    """
    plane = as_plane(image)
    look_up(method, METHODS, "denoising method", ScanError)
    if not (np.isfinite(strength) and strength >= 0):
        raise ScanError(f"denoise: strength {strength} is negative or not finite; pass 0 or more")
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise ScanError(f"denoise: noise {noise} is negative or not finite; pass a standard deviation, or None")
    low, high = float(plane.min()), float(plane.max())
    if strength == 0 or high <= low:
        return plane.copy()
    if method == "gaussian":
        return cv2.GaussianBlur(plane, (0, 0), GAUSSIAN_SIGMA * strength, borderType=cv2.BORDER_REFLECT)
    if method == "median":
        return _median(plane, round(MEDIAN_RADIUS * strength))
    sigma = noise_level(plane) if noise is None else noise
    if sigma <= SMALLEST_NOISE * (high - low):
        return plane.copy()
    unit = (plane - np.float32(low)) / np.float32(high - low)  # both filters keep tables over the range
    spread = strength * sigma / (high - low)
    filtered = _bilateral(unit, spread) if method == "bilateral" else _nlm(unit, spread)
    return np.clip(filtered * np.float32(high - low) + np.float32(low), low, high).astype(np.float32, copy=False)


def _median(plane: FloatArray, radius: int) -> FloatArray:
    """Median of the square window of ``radius`` around each pixel; the border's pixels repeat outwards."""
    if radius == 0:
        return plane.copy()
    if radius <= 2:  # OpenCV has larger windows for 8-bit images only
        return cv2.medianBlur(plane, 2 * radius + 1)
    return ndimage.median_filter(plane, size=2 * radius + 1, mode="nearest")


def _bilateral(unit: FloatArray, spread: float) -> FloatArray:
    """Bilateral filter of an image in 0…1 whose noise times strength is ``spread``."""
    reach = 2 * int(np.ceil(2 * BILATERAL_SPACE)) + 1
    return cv2.bilateralFilter(unit, reach, BILATERAL_RANGE * spread, BILATERAL_SPACE, borderType=cv2.BORDER_REFLECT)


def _nlm(unit: FloatArray, spread: float) -> FloatArray:
    """Non-local means of an image in 0…1 whose noise times strength is ``spread``."""
    reach = max(1, min(NLM_REACH, min(unit.shape) - 1))
    patch = min(NLM_PATCH, 2 * ((min(unit.shape) - 1) // 2) + 1)
    return denoise_nl_means(
        unit, patch_size=patch, patch_distance=reach, h=NLM_DECAY * spread, sigma=spread, fast_mode=True
    )


def _middle(box: Box) -> tuple[slice, slice]:
    """Rows and columns of the middle of a box, no more than `CENTRE` of each."""
    sides = []
    for start, stop in ((box.top, box.bottom), (box.left, box.right)):
        first = max(start, (start + stop - CENTRE) // 2)
        sides.append(slice(first, min(stop, first + CENTRE)))
    return sides[0], sides[1]
