"""How much happens at which scale inside a mask: Laplacian of Gaussian, and wavelets."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.imaging.inside import continued, inside
from tumorscope.scan import FloatArray

SIGMAS = (1.0, 2.0, 4.0, 8.0)  # px
LEVELS = 4  # of the wavelet transform: the coarsest looks at blocks of 16 px
REACH = 4.0  # standard deviations after which a Gaussian is cut off

Features = dict[str, float]


def blob_energies(image: NDArray, where: NDArray | None = None, *, sigmas: Sequence[float] = SIGMAS) -> Features:
    """Mean square inside ``where`` of the Laplacian of Gaussian at each scale, by its name (``"1"``, ``"2.5"``).

    σ² ∇² (G_σ * image): blobs of radius σ √2 answer most, and the factor σ² makes answers at different scales
    comparable. Outside the mask the image goes on as bright as its nearest pixel inside.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
    sigmas : sequence of float
        Standard deviations, px, above 0.

    Raises
    ------
    ScanError
        As `inside`, or for a sigma that is not above 0.

    References
    ----------
    .. [1] Lindeberg, "Feature detection with automatic scale selection", International Journal of Computer Vision
       30(2), 1998.

    Examples
    --------
    >>> blob_energies(np.ones((9, 9)))
    {'1': 0.0, '2': 0.0, '4': 0.0, '8': 0.0}
    """
    plane, mask = inside(image, where)
    whole = continued(plane, mask)
    whole = whole - np.float32(whole.mean())  # rounding then grows with the contrast, not with the level
    return {f"{sigma:g}": float(np.mean(np.square(laplacian(whole, sigma)[mask]))) for sigma in sigmas}


def laplacian(plane: FloatArray, sigma: float) -> FloatArray:
    """σ² ∇² (G_σ * plane), (H, W): negative on bright blobs, positive on dark ones.

    Separable, with Gaussians and their second derivatives sampled at the pixels; the derivative's samples add up to 0
    exactly, so that a constant gives 0. The plane is repeated beyond its rim.

    Raises
    ------
    ScanError
        If ``sigma`` is not above 0.

    Examples
    --------
    >>> spot = np.zeros((9, 9), np.float32)
    >>> spot[4, 4] = 1
    >>> float(laplacian(spot, 1.0)[4, 4]) < 0
    True
    """
    if not (np.isfinite(sigma) and sigma > 0):
        raise ScanError(f"Laplacian: a sigma of {sigma} px is no scale; pass one above 0")
    reach = max(1, int(REACH * sigma + 0.5))
    x = np.arange(-reach, reach + 1) / sigma
    bell = np.exp(-0.5 * x**2)
    bell /= bell.sum()
    second = bell * (x**2 - 1)  # of the second derivative, times sigma squared
    second -= bell * second.sum()
    rim = cv2.BORDER_REPLICATE
    down = cv2.sepFilter2D(plane, cv2.CV_32F, bell, second, borderType=rim)
    return down + cv2.sepFilter2D(plane, cv2.CV_32F, second, bell, borderType=rim)


def wavelet_energies(image: NDArray, where: NDArray | None = None, *, levels: int = LEVELS) -> Features:
    """Mean square inside ``where`` of each band of an undecimated Haar transform: ``"1_LH"``, ``"1_HL"``, ….

    The first letter is what was done along the rows (x), the second what was done down the columns (y): L the half
    sum, H the half difference of two pixels 2^(level − 1) px apart. LH answers to horizontal edges, HL to vertical
    ones, HH to diagonals. Outside the mask the image goes on as bright as its nearest pixel inside.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
    levels : int
        1 or more; each looks at blocks of twice the size.

    Raises
    ------
    ScanError
        As `inside`, or for fewer than one level.

    References
    ----------
    .. [1] Mallat, "A wavelet tour of signal processing", 3rd ed., 2009, ch. 5.5 (the algorithme à trous).

    Examples
    --------
    >>> down = wavelet_energies(np.tile([0.0, 1.0], (4, 2)), levels=1)
    >>> down["1_HL"] > 0, down["1_LH"]
    (True, 0.0)
    """
    plane, mask = inside(image, where)
    if levels < 1:
        raise ScanError(f"wavelets: {levels} levels; pass 1 or more")
    found: Features = {}
    for level, bands in enumerate(haar(continued(plane, mask), levels), start=1):
        for name, band in zip(("LH", "HL", "HH"), bands, strict=True):
            found[f"{level}_{name}"] = float(np.mean(np.square(band[mask])))
    return found


def haar(plane: FloatArray, levels: int, border: int = cv2.BORDER_REPLICATE) -> list[tuple[FloatArray, ...]]:
    """LH, HL and HH, each (H, W), of each level of an undecimated Haar transform, finest first.

    ``border`` is OpenCV's word for what lies beyond the rim. Where the plane repeats itself there (``BORDER_WRAP``),
    the mean squares of all bands and of the last low-pass add up to that of the plane.

    Examples
    --------
    >>> horizontal, vertical, diagonal = haar(np.array([[0, 0, 4, 4]], np.float32), 1)[0]  # one vertical edge
    >>> horizontal.tolist(), vertical.tolist(), diagonal.tolist()
    ([[0.0, 0.0, 0.0, 0.0]], [[0.0, -2.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]])
    """
    bands: list[tuple[FloatArray, ...]] = []
    low = plane
    for level in range(levels):
        step = 2**level
        right = _ahead(low, 0, step, border)
        half = np.float32(0.5)
        sums, differences = half * (low + right), half * (low - right)
        below = [_ahead(one, step, 0, border) for one in (sums, differences)]
        bands.append(
            (half * (sums - below[0]), half * (differences + below[1]), half * (differences - below[1])),
        )
        low = half * (sums + below[0])
    return bands


def _ahead(plane: FloatArray, down: int, right: int, border: int) -> FloatArray:
    """The plane's values some rows down, or columns to the right, at each place."""
    framed = cv2.copyMakeBorder(plane, 0, down, 0, right, border)
    return framed[down:, right:]
