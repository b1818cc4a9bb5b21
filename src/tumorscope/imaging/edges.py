"""Edges: sharpening them, how steep they are, and where they run."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.imaging.head import otsu, to_grey
from tumorscope.imaging.intensity import as_plane
from tumorscope.imaging.noise import noise_level
from tumorscope.scan import BoolArray, FloatArray

LOW_SHARE = 0.4  # of the high threshold; Canny advises a third to a half
NOISE_MARGIN = 4.0  # standard deviations of what the noise leaves of slope; steeper is an edge
LARGEST_SLOPE = 16384  # a slice's steepest slope in the whole numbers that OpenCV's Canny takes


def unsharp(image: NDArray, amount: float = 1.0, sigma: float = 1.5) -> FloatArray:
    """Sharpened slice: the image plus ``amount`` times what a Gaussian blur takes from it (unsharp mask).

    Parameters
    ----------
    image : (H, W) array
        Any range, any size.
    amount : float
        0 or more; 0 changes nothing.
    sigma : float
        Standard deviation of the blur in pixels, above 0: details up to some 3 sigma across grow.

    Returns
    -------
    (H, W) float32 array
        In the input's units; edges overshoot, so values may leave the input's range. Noise grows, too.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values or a parameter out of range.

    Examples
    --------
    >>> step = np.repeat([[0.0, 1.0]], 4, axis=1)
    >>> sharp = unsharp(step)
    >>> bool(sharp[0, 3] < 0), bool(sharp[0, 4] > 1)
    (True, True)
    """
    plane = as_plane(image)
    if not (np.isfinite(amount) and amount >= 0):
        raise ScanError(f"unsharp: amount {amount} is negative or not finite; pass 0 or more")
    blurred = _blurred(plane, sigma, "unsharp")
    return plane + np.float32(amount) * (plane - blurred)


def sobel(image: NDArray) -> FloatArray:
    """Steepness of the slice at each pixel: magnitude of the gradient, in grey values a pixel.

    Sobel's 3×3 kernels divided by 8, so that a ramp of 1 a pixel gives 1.

    Parameters
    ----------
    image : (H, W) array
        Any range, any size; mirrored at the border.

    Returns
    -------
    (H, W) float32 array
        0 or more.

    Raises
    ------
    ScanError
        For a wrong shape or non-finite values.

    Examples
    --------
    >>> float(sobel(np.tile(np.arange(5.0), (5, 1)))[2, 2])
    1.0
    """
    return _magnitude(*_gradient(as_plane(image)))


def canny(image: NDArray, sigma: float = 1.4, low: float | None = None, high: float | None = None) -> BoolArray:
    """Edges one pixel wide (Canny): blur, gradient, ridges of its magnitude, hysteresis between two thresholds.

    Parameters
    ----------
    image : (H, W) array
        Any range, any size.
    sigma : float
        Standard deviation of the blur in pixels, above 0.
    low, high : float, optional
        Thresholds of the blurred slice's slope, in grey values a pixel, 0 ≤ low ≤ high: ridges above ``high`` are
        edges, and so is what continues them above ``low``. When absent, ``high`` is Otsu's threshold of the slopes, and
        at least four standard deviations of what the noise (`denoise.noise_level`) leaves after the blur; ``low`` is
        0.4 times ``high``.

    Returns
    -------
    (H, W) bool array
        All False for a constant slice.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values or parameters out of range.

    References
    ----------
    .. [1] Canny, "A computational approach to edge detection", IEEE Trans. Pattern Anal. Mach. Intell. 8(6), 1986.

    Examples
    --------
    >>> square = np.zeros((32, 32))
    >>> square[8:24, 8:24] = 1
    >>> edges = canny(square)
    >>> bool(edges[16, 7] | edges[16, 8]), bool(edges[16, 16]), int(edges[16].sum())
    (True, False, 2)
    """
    plane = as_plane(image)
    across, down = _gradient(_blurred(plane, sigma, "canny"))
    slopes = _magnitude(across, down)
    steepest = float(slopes.max())
    if high is None:
        high = low / LOW_SHARE if low is not None else _high_threshold(plane, slopes, sigma)
    if low is None:
        low = LOW_SHARE * high
    if not (np.isfinite(low) and np.isfinite(high) and 0 <= low <= high):
        raise ScanError(f"canny: thresholds {low:g} and {high:g} are out of order; pass 0 <= low <= high")
    if steepest <= max(_rounding(plane), high):
        return np.zeros(plane.shape, bool)
    unit = LARGEST_SLOPE / steepest
    whole = [np.rint(part * np.float32(unit)).astype(np.int16) for part in (across, down)]
    return cv2.Canny(whole[0], whole[1], low * unit, high * unit, L2gradient=True) > 0


def _high_threshold(plane: FloatArray, slopes: FloatArray, sigma: float) -> float:
    """Slope from which a ridge is an edge for sure."""
    steepest = float(slopes.max())
    if steepest <= _rounding(plane):
        return steepest
    apart = (otsu(to_grey(slopes, 0.0, steepest)) + 1) * steepest / 255
    return max(apart, NOISE_MARGIN * noise_level(plane) * _slope_of_noise(sigma))


def _slope_of_noise(sigma: float) -> float:
    """Standard deviation of one component of the slope, of white noise of 1 after a Gaussian: 1 / (sqrt(8 π) σ²)."""
    return 1 / (np.sqrt(8 * np.pi) * sigma**2)


def _rounding(plane: FloatArray) -> float:
    """Slope that rounding of float32 alone may leave."""
    return 8 * float(np.finfo(np.float32).eps) * float(np.abs(plane).max())


def _gradient(plane: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slope across and down in grey values a pixel."""
    across = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    return across, down


def _magnitude(across: FloatArray, down: FloatArray) -> FloatArray:
    """Length of the gradient; scaled in between, since squares of 1e20 overflow float32."""
    largest = max(float(np.abs(across).max()), float(np.abs(down).max()))
    if largest <= np.finfo(np.float32).tiny:
        return np.zeros_like(across)
    unit = np.float32(1 / largest)
    return cv2.magnitude(across * unit, down * unit) * np.float32(largest)


def _blurred(plane: FloatArray, sigma: float, name: str) -> FloatArray:
    """The slice after a Gaussian blur, mirrored at the border."""
    if not (np.isfinite(sigma) and sigma > 0):
        raise ScanError(f"{name}: sigma {sigma} is not above 0; pass for example 1.5 px")
    return cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
