"""Grey-value histograms: counting, cumulative distributions, equalisation and matching."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.imaging.head import grey_range, to_grey
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.scan import FloatArray

BINS = 256  # of a histogram; 8-bit images have one for each value
LEVELS = 65536  # grey values told apart by `equalize`: all that a 16-bit image has
TILES = 8  # along each side
SMALLEST_TILE = 16  # px; a tile of 256 pixels, one for each bin


@dataclass(frozen=True)
class Histogram:
    """How often each grey value occurs, channel by channel.

    Attributes
    ----------
    edges : (bins + 1,) float64 array
        Limits of the bins, ascending; a value on a limit belongs to the bin above, on the last one to the last bin.
    counts : (C, bins) int64 array
        Pixels in each bin; one row for a grey image.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def cdf(self) -> NDArray[np.float64]:
        """Share of each channel's pixels up to the end of each bin, (C, bins): ascending, 1 at the end.

        Examples
        --------
        >>> histogram(np.array([[0, 0, 1, 3]], np.uint8), bins=4, limits=(0, 4)).cdf.tolist()
        [[0.5, 0.75, 0.75, 1.0]]
        """
        return np.cumsum(self.counts, axis=1) / self.counts.sum(axis=1, keepdims=True)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin, (bins,), in the image's units."""
        return (self.edges[:-1] + self.edges[1:]) / 2


def histogram(
    image: NDArray, bins: int = BINS, limits: tuple[float, float] | None = None, where: NDArray | None = None
) -> Histogram:
    """Histogram of a slice, or of each channel of a colour image.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
    bins : int
        1 or more.
    limits : (low, high), optional
        Grey values where the first bin begins and the last one ends; what lies outside counts in the outermost bins.
        When absent, 0 and 256 for uint8 images, so that 256 bins hold one value each, and the lowest and highest value
        of all channels for others.
    where : (H, W) bool array, optional
        Pixels to count; when none is set, all are.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, no bins, or limits out of order.

    Examples
    --------
    >>> found = histogram(np.array([[0, 7, 7], [255, 7, 0]], np.uint8))
    >>> found.counts.shape, found.counts[0, [0, 7, 255]].tolist()
    ((1, 256), [2, 3, 1])
    >>> histogram(np.zeros((4, 5, 3))).counts.shape
    (3, 256)
    """
    array = np.asarray(image)
    if array.ndim not in (2, 3):
        raise ScanError(f"image: {array.ndim}-D array of shape {array.shape}; pass (H, W) or (H, W, C)")
    if array.ndim == 3 and array.shape[2] == 0:
        raise ScanError(f"image: no channels (shape {array.shape}); pass at least one")
    if bins < 1:
        raise ScanError(f"histogram: {bins} bins; pass 1 or more")
    channels = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    planes = [as_plane(channel) for channel in channels]
    low, high = limits if limits is not None else _limits(array, planes)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ScanError(f"histogram: limits {low:g} and {high:g} are out of order; pass low < high")
    edges = np.linspace(low, high, bins + 1)
    chosen = np.ones(planes[0].shape, bool) if where is None else as_mask(where, planes[0].shape, "where")
    counts = []
    for plane in planes:
        values = plane[chosen] if chosen.any() else plane
        counts.append(np.histogram(np.clip(values.astype(np.float64), low, high), edges)[0])
    return Histogram(edges, np.stack(counts).astype(np.int64))


def _limits(array: NDArray, planes: list[FloatArray]) -> tuple[float, float]:
    """Where the bins begin and end when nobody says it."""
    if array.dtype == np.uint8:
        return 0.0, 256.0
    low, high = min(float(plane.min()) for plane in planes), max(float(plane.max()) for plane in planes)
    if high - low > 1e-6 * max(abs(low), abs(high)):
        return low, high
    margin = 0.5 * max(1e-6, 1e-3 * abs(low))  # a constant image lies in the middle of the bins
    return low - margin, high + margin


def equalize(image: NDArray, where: NDArray | None = None) -> FloatArray:
    """Slice whose grey values are spread evenly over 0…1.

    Each value v becomes (cdf(v) − cdf(lowest)) / (1 − cdf(lowest)), cdf(v) the share of pixels below and at v. Told
    apart are 65,536 levels between the lowest and the highest value, so that 8-bit and 16-bit images lose nothing.

    Parameters
    ----------
    image : (H, W) array
        Any range, any size.
    where : (H, W) bool array, optional
        Pixels that count, e.g. the head; all are changed. When none is set, all count.

    Returns
    -------
    (H, W) float32 array
        In 0…1; all 0 when the pixels that count are constant.

    Raises
    ------
    ScanError
        For a wrong shape or non-finite values.

    Examples
    --------
    >>> equalize(np.array([[10, 10, 20, 1000]])).tolist()
    [[0.0, 0.0, 0.5, 1.0]]
    """
    plane = as_plane(image)
    counted = plane if where is None else plane[as_mask(where, plane.shape, "where")]
    return _equalized(plane, counted if counted.size else plane)


def _equalized(plane: FloatArray, counted: FloatArray) -> FloatArray:
    """Grey values replaced by their rank among the counted ones."""
    low, high = float(counted.min()), float(counted.max())
    if high <= low:
        return np.zeros_like(plane)
    scale = (LEVELS - 1) / (high - low)
    counts = np.bincount(np.rint((counted.ravel() - np.float64(low)) * scale).astype(np.int64), minlength=LEVELS)
    ranks = np.cumsum(counts) - counts[0]
    table = (ranks / max(int(ranks[-1]), 1)).astype(np.float32)
    return table[np.clip(np.rint((plane - np.float64(low)) * scale), 0, LEVELS - 1).astype(np.int64)]


def clahe(image: NDArray, clip: float = 2.0, tiles: int = TILES) -> FloatArray:
    """Slice equalised place by place, its contrast limited (CLAHE, adaptive equalisation).

    Each of ``tiles`` × ``tiles`` tiles is equalised by its own histogram, whose bins are clipped and the rest spread
    over all of them, so that contrast grows by some ``clip`` + 1 at most; between tiles it is interpolated.

    Quantisation: the grey range without its outermost 0.1 and 0.2 % is rounded to 256 levels before, whatever the
    input's depth, and the result has 256, too. A tile's histogram of more bins would have too few pixels in each to be
    clipped, and steps of 1/256 that grow ``clip``-fold are not seen.

    Parameters
    ----------
    image : (H, W) array
        Any range, any size.
    clip : float
        Highest count of a bin as a multiple of the mean, above 0.
    tiles : int
        Tiles along each side, 1 or more; fewer are used where a tile would be under 16 pixels.

    Returns
    -------
    (H, W) float32 array
        In 0…1; all 0 for a constant image.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, or a parameter out of range.

    References
    ----------
    .. [1] Zuiderveld, "Contrast limited adaptive histogram equalization", in Graphics Gems IV, 1994; by OpenCV.

    Examples
    --------
    >>> faint = np.tile(np.linspace(0.5, 0.6, 64), (64, 1))
    >>> faint[0, 0] = 0
    >>> bool(np.ptp(clahe(faint)[8:]) > np.ptp(faint[8:]))
    True
    """
    plane = as_plane(image)
    if not (np.isfinite(clip) and clip > 0):
        raise ScanError(f"clahe: clip {clip} is not above 0; pass for example 2")
    if tiles < 1:
        raise ScanError(f"clahe: {tiles} tiles; pass 1 or more")
    grey = to_grey(plane, *grey_range(plane))
    down, across = (min(tiles, max(1, side // SMALLEST_TILE)) for side in plane.shape)
    if not grey.any():
        return np.zeros_like(plane)
    return cv2.createCLAHE(clip, (across, down)).apply(grey).astype(np.float32) / np.float32(255)


def match_histogram(image: NDArray, reference: NDArray | Histogram, where: NDArray | None = None) -> FloatArray:
    """Slice with the reference's distribution of grey values, its own order of them kept.

    A grey value becomes the reference's value of the same rank: the one below and at which the same share of pixels
    lies, linear between values (for a histogram: between the bins' middles).

    Parameters
    ----------
    image : (H, W) array
    reference : array of numbers, or Histogram
        A scan, the pixels of its head, or a histogram of one channel.
    where : (H, W) bool array, optional
        Pixels that are matched, e.g. the head; the others follow the same curve. When none is set, all are.

    Returns
    -------
    (H, W) float32 array
        In the reference's units and range.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an empty reference, or a histogram of several channels.

    Examples
    --------
    >>> match_histogram(np.array([[1, 2, 3]]), np.array([[10, 40, 90]])).tolist()
    [[10.0, 40.0, 90.0]]
    """
    plane = as_plane(image)
    targets, target_ranks = _ranked_reference(reference)
    counted = plane if where is None else plane[as_mask(where, plane.shape, "where")]
    values, ranks = _ranked(counted if counted.size else plane)
    matched = np.interp(plane.ravel(), values, np.interp(ranks, target_ranks, targets))
    return matched.reshape(plane.shape).astype(np.float32)


def _ranked_reference(reference: NDArray | Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grey values of the reference, ascending, and the share of pixels below and at each."""
    if not isinstance(reference, Histogram):
        return _ranked(as_plane(np.atleast_2d(np.asarray(reference).squeeze()), "reference"))
    if len(reference.counts) != 1:
        raise ScanError(f"reference: a histogram of {len(reference.counts)} channels; pass that of one")
    used = reference.counts[0] > 0
    return reference.centres[used], reference.cdf[0][used]


def _ranked(values: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Different values, ascending, and the share of all that lies below and at each."""
    different, counts = np.unique(values, return_counts=True)
    return different.astype(np.float64), np.cumsum(counts) / values.size
