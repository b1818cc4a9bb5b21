"""Bias field: the slow brightening and darkening that a coil lays over a slice, found and divided out."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import MissingExtra, ScanError, look_up
from tumorscope.imaging.intensity import as_mask, as_plane, percentiles
from tumorscope.imaging.noise import foreground
from tumorscope.scan import BoolArray, FloatArray

METHODS = ("quick", "n4")
WORKING_SIDE = 128  # px; the field is looked for on a grid no finer than this
DEGREE = 3  # of the polynomial; 2 to 5 give like results on phantoms, and fewer terms bend less at the rim
RIM = 0.15  # of the mask's largest depth; nearer to its border lie scalp, skull and fluid, not the tissue that tells
DARK = 0.12  # of the 95th percentile; darker pixels (air, bone, flow) say nothing of the field
BINS = 200  # of the histogram of logarithms
BLURS = (0.25, 0.15, 0.1)  # full widths at half maximum, in logarithms, of what the field does to the histogram
FWHM = 2 * np.sqrt(2 * np.log(2))  # standard deviations in a Gaussian's full width at half maximum
WIENER = 0.01  # share of noise in the deconvolution; as in N3 and N4
ROUNDS = 30  # at most, with each of them
SETTLED = 1e-3  # standard deviation of the change of the field's logarithm that ends them
RIDGE = 0.005  # of a coefficient's own weight, drawing it to 0: anatomy that is itself smooth passes for a field less
FEWEST_PIXELS = 200  # of the working grid; on fewer no field is fitted
N4_SHRINK = 4.0  # px of a 512 px slice for one of the grid that N4 fits on
N4_ITERATIONS = (50, 50, 40, 30)  # at most, on each of N4's fitting levels
EXTRA = "imaging"  # of the package: what installs SimpleITK


class BiasCorrection(NamedTuple):
    """What `correct_bias` found.

    Parameters
    ----------
    image : (H, W) float32 array
        The slice divided by the field, in its own units.
    field : (H, W) float32 array
        Above 0, its geometric mean over the head 1.
    """

    image: FloatArray
    field: FloatArray


def correct_bias(image: NDArray, method: str = "quick", where: NDArray | None = None) -> BiasCorrection:
    """Slice without its bias field, and the field.

    The field multiplies the signal, so that a slice's logarithm is anatomy plus a smooth surface, which blurs the
    peaks of the logarithms' histogram. Both methods look for the smooth surface that makes the peaks sharp again.

    ``quick``
        N3 [1]_ with a polynomial of degree 3 in place of splines, on a grid of 128 pixels. In turns, each pixel's
        expected value is taken from the histogram, deconvolved by a Gaussian (of full width 0.25, then 0.15, then 0.1),
        and the polynomial is fitted by least squares to what separates the pixels from it. The mask's rim is left out.
    ``n4``
        N4ITK [2]_ by SimpleITK (an optional package): B-splines, in several fits from coarse to fine. Slower, and a
        little better where the field is strong.

    Parameters
    ----------
    image : (H, W) array
        Signal, 0 or more; not a z-score.
    method : {"quick", "n4"}
    where : (H, W) bool array, optional
        Pixels to fit on: the brain is best, the head will do; when absent or empty, those above the lowest 6 % of the
        grey range.

    Returns
    -------
    BiasCorrection
        ``field`` is 1 everywhere when the slice is too small or too dark to tell. Beyond the fitted pixels it stays
        within the range that it has on them.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite or negative values, or an unknown method.
    MissingExtra
        For ``n4`` without SimpleITK.

    References
    ----------
    .. [1] Sled, Zijdenbos, Evans, "A nonparametric method for automatic correction of intensity nonuniformity in MRI
       data", IEEE Trans. Med. Imaging 17(1), 1998.
    .. [2] Tustison et al., "N4ITK: improved N3 bias correction", IEEE Trans. Med. Imaging 29(6), 2010.

    Examples
    --------
    >>> y, x = np.mgrid[-1:1:96j, -1:1:96j]
    >>> shading = np.exp(0.15 * x - 0.1 * y**2)
    >>> tissue = np.where(np.sin(9 * x) * np.sin(9 * y) > 0, 120.0, 80.0)
    >>> found = correct_bias(tissue * shading)
    >>> inner = found.image[tissue == 120]
    >>> round(float((tissue * shading)[tissue == 120].std()), 1), round(float(inner.std()), 1)
    (10.8, 0.3)
    """
    plane = as_plane(image)
    look_up(method, METHODS, "bias-field method", ScanError)
    lowest = float(plane.min())
    if lowest < 0:
        raise ScanError(f"image: values down to {lowest:.3g}; a bias field multiplies signal, pass values of 0 or more")
    inside = as_mask(where, plane.shape, "where") if where is not None else foreground(plane)
    if not inside.any():
        inside = foreground(plane)
    surface = _quick(plane, inside) if method == "quick" else _n4(plane, inside)
    surface = np.clip(surface, surface[inside].min(), surface[inside].max())
    field = np.exp(surface - surface[inside].mean(dtype=np.float64)).astype(np.float32)
    return BiasCorrection(plane / field, field)


def _quick(plane: FloatArray, inside: BoolArray) -> NDArray[np.float64]:
    """Logarithm of the field, (H, W), up to a constant: the polynomial that sharpens the histogram."""
    shape = plane.shape
    scale = min(1.0, WORKING_SIDE / max(shape))
    size = (max(1, round(scale * shape[1])), max(1, round(scale * shape[0])))
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    kept = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
    if not kept.any():
        return np.zeros(shape)
    depth = cv2.distanceTransform(np.pad(kept.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    kept &= depth > RIM * depth.max()
    kept &= small > max(DARK * percentiles(small[kept], 95)[0], np.finfo(np.float32).tiny)
    if kept.sum() < FEWEST_PIXELS:
        return np.zeros(shape)
    logarithms = np.log(small[kept].astype(np.float64))
    rows = _terms(small.shape)[:, kept].T
    normal = rows.T @ rows
    normal[np.diag_indices_from(normal)] *= 1 + RIDGE
    solve = np.linalg.inv(normal)
    found = np.zeros(rows.shape[1])
    for width in BLURS:
        for _ in range(ROUNDS):
            before = found
            found = solve @ (rows.T @ (logarithms - _sharpened(logarithms - rows @ found, width)))
            if float((rows @ (found - before)).std()) < SETTLED:
                break
    return np.tensordot(found, _terms(shape), 1)


def _terms(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Products of Legendre polynomials down and across up to `DEGREE` in all, the constant first: (terms, H, W)."""
    lines = []
    for side in shape:
        middles = (2 * np.arange(side) + 1) / side - 1  # pixel centres in -1…1, alike on every grid
        lines.append(np.polynomial.legendre.legvander(middles, DEGREE).T)
    down, across = lines
    orders = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return np.stack([np.outer(down[i], across[j]) for i, j in orders])


def _sharpened(values: NDArray[np.float64], blur_width: float) -> NDArray[np.float64]:
    """Each logarithm's expected value before a Gaussian of this full width blurred their histogram, (pixels,)."""
    low, high = float(values.min()), float(values.max())
    width = max((high - low) / (BINS - 1), 1e-6)
    place = (values - low) / width
    below = np.minimum(place.astype(np.intp), BINS - 2)
    share = place - below
    counts = np.bincount(below, 1 - share, BINS) + np.bincount(below + 1, share, BINS)
    padded = np.zeros(2 * BINS)
    padded[BINS // 2 : BINS // 2 + BINS] = counts
    frequency = np.fft.rfftfreq(2 * BINS, width)
    blur = np.exp(-2 * (np.pi * frequency * blur_width / FWHM) ** 2)
    sharp = np.maximum(np.fft.irfft(np.fft.rfft(padded) * blur / (blur**2 + WIENER), 2 * BINS), 0)
    level = low + width * (np.arange(2 * BINS) - BINS // 2)
    mass = np.fft.irfft(np.fft.rfft(sharp) * blur, 2 * BINS)
    moment = np.fft.irfft(np.fft.rfft(sharp * (level - low)) * blur, 2 * BINS)
    expected = low + moment / np.maximum(mass, 1e-9 * mass.max())
    return np.interp(values, level[BINS // 2 : BINS // 2 + BINS], expected[BINS // 2 : BINS // 2 + BINS])


def _n4(plane: FloatArray, inside: BoolArray) -> NDArray[np.float64]:
    """Logarithm of the field, (H, W), by SimpleITK's N4."""
    try:
        sitk = import_module("SimpleITK")  # without types, and absent as a rule
    except ImportError as error:
        raise MissingExtra("N4 bias-field correction", "SimpleITK", EXTRA) from error
    bright = inside & (plane > 0)
    if min(plane.shape) < 16 or bright.sum() < FEWEST_PIXELS or float(np.ptp(plane[bright])) == 0:
        return np.zeros(plane.shape)
    shrink = max(1, round(N4_SHRINK * max(plane.shape) / 512))
    whole, mask = sitk.GetImageFromArray(plane), sitk.GetImageFromArray(bright.astype(np.uint8))
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(N4_ITERATIONS)
    n4.Execute(sitk.Shrink(whole, [shrink] * 2), sitk.Shrink(mask, [shrink] * 2))
    return sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole)).astype(np.float64)
