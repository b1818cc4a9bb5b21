"""Four ways to take noise out of a slice."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.intensity import as_plane
from tumorscope.imaging.noise import noise_level
from tumorscope.scan import FloatArray

METHODS = ("gaussian", "median", "bilateral", "nlm")
GAUSSIAN_SIGMA = 0.8  # px at strength 1: takes three quarters of white noise, and widens an edge by a pixel
MEDIAN_RADIUS = 1  # px at strength 1: a window of 3 x 3
BILATERAL_SPACE = 1.5  # px, standard deviation in space; strength acts on the grey values
BILATERAL_RANGE = 2.0  # standard deviations of the noise at strength 1: pixels further apart in grey are not mixed
NLM_PATCH = 5  # px, side of the patches that are compared
NLM_REACH = 6  # px to each side in which like patches are looked for
NLM_DECAY = 0.8  # standard deviations of the noise at strength 1: how unlike patches may be
SMALLEST_NOISE = 1e-6  # of the grey range; less is no noise but rounding of float32


def denoise(image: NDArray, method: str = "nlm", strength: float = 1.0, noise: float | None = None) -> FloatArray:
    """Slice with its noise reduced.

    ==============  ==============================================  ==============================
    method          each pixel becomes                              ``strength`` s
    ==============  ==============================================  ==============================
    ``gaussian``    the weighted mean of its surroundings           standard deviation 0.8 s px
    ``median``      the median of a square window                   window of 2 round(s) + 1 px
    ``bilateral``   the mean of near pixels of like grey value      like: 2 s times the noise
    ``nlm``         the mean of pixels with like 5 x 5 patches      like: 0.8 s times the noise
    ==============  ==============================================  ==============================

    The bilateral filter is Tomasi and Manduchi's [1]_, non-local means Buades', Coll's and Morel's [2]_.

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
    from scipy import ndimage

    return ndimage.median_filter(plane, size=2 * radius + 1, mode="nearest")


def _bilateral(unit: FloatArray, spread: float) -> FloatArray:
    """Bilateral filter of an image in 0…1 whose noise times strength is ``spread``."""
    reach = 2 * int(np.ceil(2 * BILATERAL_SPACE)) + 1
    return cv2.bilateralFilter(unit, reach, BILATERAL_RANGE * spread, BILATERAL_SPACE, borderType=cv2.BORDER_REFLECT)


def _nlm(unit: FloatArray, spread: float) -> FloatArray:
    """Non-local means of an image in 0…1 whose noise times strength is ``spread``."""
    from skimage.restoration import denoise_nl_means

    reach = max(1, min(NLM_REACH, min(unit.shape) - 1))
    patch = min(NLM_PATCH, 2 * ((min(unit.shape) - 1) // 2) + 1)
    return denoise_nl_means(
        unit, patch_size=patch, patch_distance=reach, h=NLM_DECAY * spread, sigma=spread, fast_mode=True
    )
