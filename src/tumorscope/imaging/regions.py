"""Regions of a slice as label images: watershed, superpixels, random walker, and their colours.

Every function returns an (H, W) int32 array: regions are numbered from 1, 0 is background or outside. A contour that
moves from a seed is in `snakes`.
"""

from __future__ import annotations

import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import segmentation

from tumorscope.errors import ScanError
from tumorscope.imaging.head import grey_range
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.imaging.palettes import palette
from tumorscope.scan import BoolArray, FloatArray

Labels = NDArray[np.int32]

SPACING = 0.03  # of the longer side: least distance between automatic markers
SMOOTHING = 1.0  # px: blur before the gradient, so that noise is no edge
COMPACTNESS = 0.1  # grey range that weighs as much as a superpixel's width
BETA = 130.0  # how much a grey step hinders the random walker


def watershed(
    image: NDArray,
    markers: NDArray | None = None,
    *,
    where: NDArray | None = None,
    spacing: float = SPACING,
    smoothing: float = SMOOTHING,
) -> Labels:
    """Labels of the basins that flooding the gradient fills from the markers [1]_.

    Parameters
    ----------
    image : (H, W) array
        Any range.
    markers : (H, W) array of whole numbers, optional
        Where each region starts; 0 is no marker. Regions take their marker's number. Automatic by default: the
        calmest pixel (lowest gradient of the blurred image) of every neighbourhood as wide as ``spacing``, numbered
        in the order of rows.
    where : (H, W) bool array, optional
        Pixels to divide, e.g. the brain; all by default. With automatic markers each of its connected parts has one
        at least; with given ones, parts without a marker stay 0.
    spacing : float
        Least distance between automatic markers as a share of the longer side, above 0 and up to 1.
    smoothing : float
        Blur in pixels before the gradient, 0 or more.

    Returns
    -------
    (H, W) int32 array
        0 exactly where ``where`` is False (and in parts that no given marker reaches).

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, a spacing or blur out of range, or markers that are no whole numbers, are
        negative, or lie outside ``where`` altogether.

    References
    ----------
    .. [1] Beucher, Meyer, "The morphological approach to segmentation: the watershed transformation", in: Mathematical
       Morphology in Image Processing, Marcel Dekker, 1993. Flooding as in ``skimage.segmentation.watershed``.

    Examples
    --------
    >>> halves = np.repeat([[0, 9]], 4, axis=1).repeat(3, axis=0)
    >>> seeds = np.zeros((3, 8), int)
    >>> seeds[1, 0], seeds[1, 7] = 1, 2
    >>> watershed(halves, seeds)[0].tolist()
    [1, 1, 1, 1, 2, 2, 2, 2]
    """
    plane = as_plane(image)
    domain = _domain(where, plane.shape)
    if not 0 < spacing <= 1:
        raise ScanError(f"watershed: spacing {spacing} is outside (0, 1]; it is a share of the longer side")
    if not (np.isfinite(smoothing) and smoothing >= 0):
        raise ScanError(f"watershed: a blur of {smoothing} px is not possible; pass 0 or more")
    relief = _gradient(plane, smoothing)
    if markers is None:
        seeds = _calm_markers(relief, domain, max(1, round(spacing * max(plane.shape) / 2)))
    else:
        seeds = np.where(domain, _seeds(markers, plane.shape, "markers"), 0).astype(np.int32)
        if not seeds.any():
            raise ScanError("markers: none lies where the regions are wanted; mark a pixel of each region")
    if not domain.any():
        return np.zeros(plane.shape, np.int32)
    return segmentation.watershed(relief, seeds, mask=domain).astype(np.int32)


def superpixels(
    image: NDArray, count: int = 200, *, compactness: float = COMPACTNESS, where: NDArray | None = None
) -> Labels:
    """Labels of small regions of like brightness and similar size (SLIC [1]_).

    Parameters
    ----------
    image : (H, W) array
        Any range; scaled between its outliers first, so that ``compactness`` means the same for every scan.
    count : int
        About how many, 1 or more. Fewer come back when there are fewer pixels or regions merge.
    compactness : float
        Above 0. A difference of this share of the grey range counts as much as the distance between two superpixels:
        small ones follow edges, large ones are squares.
    where : (H, W) bool array, optional
        Pixels to divide; all by default.

    Returns
    -------
    (H, W) int32 array
        Numbers from 1 without gaps; 0 exactly where ``where`` is False.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, or a count or compactness out of range.

    References
    ----------
    .. [1] Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", IEEE Transactions on
       Pattern Analysis and Machine Intelligence 34(11), 2012; computed by ``skimage.segmentation.slic``.

    Examples
    --------
    >>> halves = np.repeat([[0, 9]], 8, axis=1).repeat(8, axis=0)
    >>> labels = superpixels(halves, 2)
    >>> np.unique(labels[:, :8]).size, np.unique(labels[:, 8:]).size, int(labels.max())
    (1, 1, 2)
    """
    plane = as_plane(image)
    domain = _domain(where, plane.shape)
    if count < 1:
        raise ScanError(f"superpixels: {count} regions; ask for 1 or more")
    if not (np.isfinite(compactness) and compactness > 0):
        raise ScanError(f"superpixels: compactness {compactness} is not above 0; pass for example {COMPACTNESS}")
    labels = np.zeros(plane.shape, np.int32)
    if not domain.any():
        return labels
    bottom, top = grey_range(plane)
    scaled = (plane - np.float32(bottom)) / np.float32(top - bottom) if top > bottom else np.zeros_like(plane)
    with warnings.catch_warnings():  # two starts in one place: SLIC goes on with one superpixel less
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        found = segmentation.slic(
            np.clip(scaled, 0, 1),
            n_segments=min(count, int(domain.sum())),
            compactness=compactness,
            mask=None if domain.all() else domain,
            start_label=1,
            channel_axis=None,
        )
    found = np.where(domain, found, 0)
    if not found[domain].all():  # pixels that no centre reached belong to the nearest region
        found = segmentation.watershed(np.zeros(plane.shape, np.uint8), found, mask=domain)
        unreached = domain & (found == 0)
        parts = cv2.connectedComponents(unreached.astype(np.uint8), connectivity=4)[1]
        found = np.where(unreached, parts + found.max(), found)
    return segmentation.relabel_sequential(found)[0].astype(np.int32)


def random_walker(image: NDArray, seeds: NDArray, *, where: NDArray | None = None, beta: float = BETA) -> Labels:
    """Labels of the seed that a random walker from each pixel reaches first with the highest probability [1]_.

    A walker steps between neighbours with weight exp(−beta · (difference of grey values / their deviation)² / 10), so
    it seldom crosses edges. The probabilities solve one sparse linear system a label (``skimage.segmentation``).

    Parameters
    ----------
    image : (H, W) array
        Any range.
    seeds : (H, W) array of whole numbers
        Where each region starts; 0 is no seed. Regions take their seed's number.
    where : (H, W) bool array, optional
        Pixels to divide; all by default. Connected parts without a seed stay 0.
    beta : float
        Above 0; larger values follow edges more strictly.

    Returns
    -------
    (H, W) int32 array
        With one label, that label in every part that holds a seed. On a constant image the nearest seed's label.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, a beta out of range, or seeds that are no whole numbers, are negative, or
        lie outside ``where`` altogether.

    References
    ----------
    .. [1] Grady, "Random walks for image segmentation", IEEE Transactions on Pattern Analysis and Machine Intelligence
       28(11), 2006.

    Examples
    --------
    >>> halves = np.repeat([[0, 9]], 4, axis=1).repeat(3, axis=0)
    >>> seeds = np.zeros((3, 8), int)
    >>> seeds[1, 0], seeds[1, 7] = 1, 2
    >>> random_walker(halves, seeds)[0].tolist()
    [1, 1, 1, 1, 2, 2, 2, 2]
    """
    plane = as_plane(image)
    domain = _domain(where, plane.shape)
    if not (np.isfinite(beta) and beta > 0):
        raise ScanError(f"random walker: beta {beta} is not above 0; pass for example {BETA:g}")
    starts = np.where(domain, _seeds(seeds, plane.shape, "seeds"), 0).astype(np.int32)
    if not starts.any():
        raise ScanError("seeds: none lies where the regions are wanted; mark a pixel of each region")
    reached = _parts_with(starts > 0, domain)
    if np.unique(starts[starts > 0]).size == 1:
        return np.where(reached, starts.max(), 0).astype(np.int32)
    unsure = _parts_with(reached & (starts == 0), domain)  # scikit-image fails on parts of a single seeded pixel
    bottom, top = grey_range(plane)
    if top <= bottom:  # no edges: the walker's steps are all alike, and the nearest seed is the likeliest
        return segmentation.watershed(np.zeros_like(plane), starts, mask=reached).astype(np.int32)
    return np.where(
        unsure, _walked((np.clip(plane, bottom, top) - bottom) / (top - bottom), starts, unsure, beta), starts
    )


def _walked(scaled: FloatArray, starts: Labels, domain: BoolArray, beta: float) -> Labels:
    """The random walker's labels where every part of the domain holds a seed and a pixel without one."""
    numbers = np.unique(starts[domain])
    numbers = numbers[numbers > 0]
    if numbers.size == 0:
        return np.zeros_like(starts)
    if numbers.size == 1:
        return np.where(domain, numbers[0], 0).astype(np.int32)
    own = np.where(starts > 0, np.searchsorted(numbers, starts) + 1, 0)  # scikit-image wants 1, 2, 3 …
    own = np.where(domain, own, -1)
    # solved directly ("bf"): exact at any beta, and faster in two dimensions than conjugate gradients
    found = segmentation.random_walker(scaled.astype(np.float64), own, beta=beta, mode="bf", prob_tol=0.05)
    return np.concatenate([[0], numbers])[np.maximum(found, 0)].astype(np.int32)


def region_means(labels: NDArray, image: NDArray) -> FloatArray:
    """Mean grey value of each region from number 0 on, (largest label + 1,) float32; NaN for numbers that none has.

    Raises
    ------
    ScanError
        For labels that are no whole numbers, are negative, or have another shape than the image.

    Examples
    --------
    >>> region_means(np.array([[1, 1, 3]]), np.array([[2.0, 4.0, 7.0]])).tolist()
    [nan, 3.0, nan, 7.0]
    """
    plane = as_plane(image)
    numbers = _seeds(labels, plane.shape, "labels").ravel()
    count = np.bincount(numbers)
    total = np.bincount(numbers, weights=plane.ravel())
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def region_colors(labels: NDArray, image: NDArray, colors: int | NDArray = 10) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB picture in which every region has one colour, by its mean grey value; 0 stays black.

    The range between the darkest and the brightest region is divided evenly among the colours, single outliers left
    out: watershed colours as a picture to look at, or as the input of a model.

    Parameters
    ----------
    labels : (H, W) array of whole numbers
        As every function here returns them.
    image : (H, W) array
    colors : int or (k, 3) uint8 array
        How many colours of `palettes.palette` (2 to 20), or the colours themselves, darkest first.

    Raises
    ------
    ScanError
        For labels that do not fit the image, or colours that are none.

    Examples
    --------
    >>> region_colors(np.array([[0, 1, 2]]), np.array([[5, 0, 9]]), 2).tolist()
    [[[0, 0, 0], [0, 0, 0], [255, 0, 0]]]
    """
    table = palette(colors) if isinstance(colors, int) else np.asarray(colors)
    if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0 or table.dtype != np.uint8:
        raise ScanError(f"colours: {table.dtype} array of shape {table.shape}; pass (k, 3) uint8, darkest first")
    means = region_means(labels, image)
    means[:1] = np.nan  # 0 is outside
    picture = np.zeros((len(means), 3), np.uint8)
    known = np.isfinite(means)
    if known.any():
        bottom, top = grey_range(means[known][None])
        share = (means[known] - bottom) / (top - bottom) if top > bottom else np.zeros(int(known.sum()))
        picture[known] = table[np.clip(share * len(table), 0, len(table) - 1).astype(int)]
    return picture[np.asarray(labels).astype(np.int64)]


def _domain(where: NDArray | None, shape: tuple[int, ...]) -> BoolArray:
    """The pixels to divide."""
    return np.ones(shape, bool) if where is None else as_mask(where, shape, "where")


def _seeds(labels: NDArray, shape: tuple[int, ...], name: str) -> NDArray[np.int64]:
    """Labels as whole numbers from 0 on, after a check of type, sign and shape."""
    array = np.asarray(labels)
    if array.shape != shape:
        raise ScanError(f"{name}: shape {array.shape} does not fit the image's {shape}; resample one of them")
    if array.dtype.kind not in "iub":
        raise ScanError(f"{name}: values of type {array.dtype} are no labels; pass whole numbers")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise ScanError(f"{name}: values from {array.min()} to {array.max()} are no labels; number them from 0 on")
    return array.astype(np.int64)


def _gradient(plane: FloatArray, smoothing: float) -> FloatArray:
    """Magnitude of the blurred slice's gradient, scaled so that units do not matter."""
    bottom, top = grey_range(plane)
    if top <= bottom:
        return np.zeros_like(plane)
    scaled = np.clip((plane - np.float32(bottom)) / np.float32(top - bottom), 0, 1)
    if smoothing > 0:
        scaled = cv2.GaussianBlur(scaled, (0, 0), smoothing)
    return cv2.magnitude(cv2.Sobel(scaled, cv2.CV_32F, 1, 0), cv2.Sobel(scaled, cv2.CV_32F, 0, 1))


def _calm_markers(relief: FloatArray, domain: BoolArray, radius: int) -> Labels:
    """Numbered markers: pixels calmer than all within ``radius``, and the calmest of parts that have none."""
    if not domain.any():
        return np.zeros(relief.shape, np.int32)
    high = np.where(domain, relief, np.float32(np.inf))
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    calm = ((high <= cv2.erode(high, window)) & domain).astype(np.uint8)
    count, parts = cv2.connectedComponents(domain.astype(np.uint8), connectivity=4)
    with_marker = np.zeros(count, bool)
    with_marker[parts[calm > 0]] = True
    for part in np.flatnonzero(~with_marker):
        if part:
            inside = parts == part
            calm[inside & (high <= high[inside].min())] = 1
    return cv2.connectedComponents(calm, connectivity=8)[1].astype(np.int32)


def _parts_with(chosen: BoolArray, domain: BoolArray) -> BoolArray:
    """Connected parts of the domain that hold a chosen pixel."""
    count, parts = cv2.connectedComponents(domain.astype(np.uint8), connectivity=4)
    held = np.zeros(count, bool)
    held[parts[chosen]] = True
    held[0] = False
    return held[parts]
