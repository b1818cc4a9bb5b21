"""Clusters of grey values: exact k-means, multi-level Otsu, and a Gaussian mixture, darkest cluster first."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.histogram_partition import partition_histogram
from tumorscope.imaging.intensity import as_plane
from tumorscope.scan import FloatArray

METHODS = ("kmeans", "otsu", "mixture")
EXACT = 4096  # different grey values that are handled exactly: 8-bit images, and 12 bits as most scanners store
BINS = 1024  # equal steps that more values are counted in
OTSU_BINS = 256  # of the histogram, as in scikit-image
WIDEST = 1 << 16  # span of whole numbers that are counted rather than sorted
MOST = 255  # clusters; labels are uint8
SAMPLE = 4096  # evenly spaced quantiles that stand for all pixels when a mixture is fitted
STEP_VARIANCE = 1 / 12  # variance of rounding to whole numbers of a 0…255 scale; no component becomes narrower


@dataclass(frozen=True)
class Clusters:
    """Clusters of the pixels of an image by grey value.

    Attributes
    ----------
    labels : (H, W) uint8 array
        0 for the darkest cluster to ``k - 1`` for the brightest, by mean grey value.
    means : (k,) float64 array
        Mean grey value of each cluster, ascending, in the image's units.
    within : float
        Sum of squared differences of the grey values to their cluster's mean.
    method : str
        One of `METHODS`.
    """

    labels: NDArray[np.uint8]
    means: NDArray[np.float64]
    within: float
    method: str

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.means)


@dataclass(frozen=True)
class _Histogram:
    """Different grey values (n,), ascending, their counts, and the index (H, W) of each pixel's value."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    index: NDArray[np.integer]
    scatter: float  # sum of squares of the grey values about the values that stand for them


def intensity_clusters(image: NDArray, k: int, *, method: str = "kmeans") -> Clusters:
    """Pixels in k clusters by grey value alone, the darkest first.

    ``kmeans``
        The partition of least within-cluster sum of squares, exactly: see `exact_kmeans`.
    ``otsu``
        Otsu's method with k − 1 thresholds: see `multi_otsu`.
    ``mixture``
        The likeliest component of a mixture of k Gaussians: see `gaussian_mixture`.

    Parameters
    ----------
    image : (H, W) array
        Any range, any size.
    k : int
        1 to 255. An image with fewer different grey values gets as many clusters as it has values.
    method : {"kmeans", "otsu", "mixture"}

    Returns
    -------
    Clusters

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an unknown method or a k out of range.

    Examples
    --------
    >>> intensity_clusters(np.array([[0, 1, 200], [9, 8, 210]]), 3).labels
    array([[0, 0, 2], [1, 1, 2]], dtype=uint8)
    """
    look_up(method, METHODS, "clustering method", ScanError)
    if method == "otsu":
        return multi_otsu(image, k)
    return exact_kmeans(image, k) if method == "kmeans" else gaussian_mixture(image, k)


def exact_kmeans(image: NDArray, k: int, *, bins: int = BINS) -> Clusters:
    """Pixels in the k clusters of least within-cluster sum of squares: an optimum, found without iterations or chance.

    Dynamic programming on the histogram, `histogram_partition.partition_histogram`. The optimum is exact for images of
    at most 4,096 different grey values. Others are counted in ``bins`` equal steps from the lowest to the highest
    value, with each step's own mean: the optimum is then the best among cuts at the steps' edges.

    Parameters
    ----------
    image : (H, W) array
    k : int
        1 to 255. An image with fewer different grey values gets as many clusters as it has values.
    bins : int
        From k to 65,536.

    Returns
    -------
    Clusters

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, or k or bins out of range.

    Examples
    --------
    >>> found = exact_kmeans(np.array([[0, 1, 9, 10, 20]]), 3)
    >>> found.labels.tolist(), found.means.tolist(), found.within
    ([[0, 0, 1, 1, 2]], [0.5, 9.5, 20.0], 1.0)
    """
    histogram = _histogram(image, _checked(k), max(EXACT, bins), bins)
    return _cut(histogram, k, "kmeans")


def multi_otsu(image: NDArray, k: int, *, bins: int = OTSU_BINS) -> Clusters:
    """Pixels between Otsu's k − 1 thresholds, which maximise the between-class variance of the histogram.

    The between-class variance and the within-cluster sum of squares of `exact_kmeans` add up to what the histogram
    has in all, so both methods have the same optimum on one histogram, and an image of at most ``bins`` different
    values has the same clusters by both. Others are counted in ``bins`` equal steps here. On whole numbers
    the same classes as ``skimage.filters.threshold_multiotsu``, whose time grows with ``bins`` to the power of k − 1,
    in milliseconds for any k; on fractions, where scikit-image takes the middle of each step for its mean, nearly.

    Parameters
    ----------
    image : (H, W) array
    k : int
        1 to 255. An image with fewer different grey values gets as many clusters as it has values.
    bins : int
        From k to 65,536.

    Returns
    -------
    Clusters

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, or k or bins out of range.

    Examples
    --------
    >>> multi_otsu(np.array([[0, 1, 9, 10, 20]]), 2).labels
    array([[0, 0, 1, 1, 1]], dtype=uint8)
    """
    return _cut(_histogram(image, _checked(k), bins, bins), k, "otsu")


def gaussian_mixture(image: NDArray, k: int) -> Clusters:
    """Pixels by the likeliest of k Gaussians that together describe the histogram.

    Each cluster has a width and a weight of its own, where k-means takes all as equally wide and likely: a narrow
    background parts from dark tissue. A wide component can reach around a narrow one, so clusters need not be
    intervals of grey values. Expectation maximisation (scikit-learn) starts at the optimum of `exact_kmeans` and sees
    4,096 evenly spaced quantiles of the pixels: the same image, the same clusters.

    Parameters
    ----------
    image : (H, W) array
    k : int
        1 to 255. Components that are likeliest nowhere are left out, so that fewer clusters can come back.

    Returns
    -------
    Clusters
        ``means`` are those of the pixels in each cluster, not of the Gaussians.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, or a k out of range.

    Examples
    --------
    >>> gaussian_mixture(np.array([[0, 1, 2, 0, 50, 90, 70]]), 2).labels
    array([[0, 0, 0, 0, 1, 1, 1]], dtype=uint8)
    """
    histogram = _histogram(image, _checked(k), EXACT, BINS)
    values, counts = histogram.values, histogram.counts
    k = min(k, len(values))
    starts, _ = partition_histogram(values, counts, k)
    span = float(values[-1] - values[0]) or 1.0
    scaled = (values - values[0]) * (255 / span)
    ranks = (np.arange(SAMPLE) + 0.5) / SAMPLE * counts.sum()
    sample = scaled[np.searchsorted(np.cumsum(counts), ranks)]
    part = np.repeat(np.arange(k), np.diff(np.append(starts, len(values))))
    seeds = np.bincount(part, weights=scaled * counts) / np.bincount(part, weights=counts)
    component = _fitted_mixture(sample, seeds).predict(scaled[:, None])
    return _clusters(histogram, component, "mixture")


def _fitted_mixture(sample: NDArray[np.float64], seeds: NDArray[np.float64]) -> Any:
    """scikit-learn's mixture of Gaussians, fitted to values on a 0…255 scale from given means."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        len(seeds), means_init=seeds[:, None], weights_init=np.full(len(seeds), 1 / len(seeds)),
        reg_covar=STEP_VARIANCE, max_iter=200, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        # scikit-learn's own k-means of the start, which the seeds replace, may find fewer values than components
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(sample[:, None])


def _cut(histogram: _Histogram, k: int, method: str) -> Clusters:
    """Clusters of a histogram's best k intervals, or of fewer where there are fewer values."""
    values = histogram.values
    starts, _ = partition_histogram(values, histogram.counts, min(k, len(values)))
    part = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    return _clusters(histogram, part, method)


def _clusters(histogram: _Histogram, part: NDArray[np.integer], method: str) -> Clusters:
    """Clusters from the part (n,) that each of a histogram's values belongs to, sorted by mean, empty ones left out."""
    _, part = np.unique(part, return_inverse=True)
    middle = float(np.average(histogram.values, weights=histogram.counts))
    centred = histogram.values - middle
    mean = np.bincount(part, weights=histogram.counts * centred) / np.bincount(part, weights=histogram.counts)
    order = np.argsort(mean, kind="stable")
    rank = np.empty(len(order), np.uint8)
    rank[order] = np.arange(len(order))
    apart = centred - mean[part]
    within = float((histogram.counts * apart**2).sum()) + histogram.scatter
    table = rank[part]
    return Clusters(_looked_up(table, histogram.index), mean[order] + middle, within, method)


def _looked_up(table: NDArray[np.integer], index: NDArray[np.integer]) -> NDArray:
    """The table's entry of each pixel."""
    if index.dtype == np.uint8:
        whole = np.zeros(256, np.uint8)
        whole[: len(table)] = table
        return cv2.LUT(index, whole)
    return table.take(index)


def _histogram(image: NDArray, least: int, exact: int, bins: int) -> _Histogram:
    """The grey values of an image where at most ``exact`` of them differ; otherwise those of ``bins`` equal steps."""
    if not least <= bins <= WIDEST:
        raise ScanError(f"clusters: {bins} bins cannot form {least} clusters; pass {least} to {WIDEST}")
    array = np.asarray(image)
    plane = as_plane(array)
    low, high = float(plane.min()), float(plane.max())
    if array.dtype == np.uint8:
        index: NDArray[np.integer] = np.ascontiguousarray(array)
        low, size = 0.0, 256
    elif high - low < WIDEST and np.array_equal(plane, np.rint(plane)):
        size = 256 if high - low < 256 else int(high - low) + 1
        index = (plane - np.float32(low)).astype(np.uint8 if size == 256 else np.uint16)
    else:
        return _counted_fractions(plane, exact, bins)
    counts = np.bincount(index.ravel(), minlength=size)
    present = np.flatnonzero(counts)
    if len(present) > exact:
        return _binned(plane, bins)
    slots = np.zeros(size, index.dtype)
    slots[present] = np.arange(len(present))
    values = (present + low).astype(np.float64)
    return _Histogram(values, counts[present], _looked_up(slots, index), 0.0)


def _counted_fractions(plane: FloatArray, exact: int, bins: int) -> _Histogram:
    """The histogram of any values: their own where at most ``exact`` differ."""
    if len(np.unique(plane.ravel()[: 2 * exact])) > exact:  # spares the sorting of all
        return _binned(plane, bins)
    ordered = np.sort(plane, axis=None)
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))
    if len(first) > exact:
        return _binned(plane, bins)
    values = ordered[first]
    counts = np.diff(np.append(first, ordered.size))
    return _Histogram(values.astype(np.float64), counts, np.searchsorted(values, plane), 0.0)


def _binned(plane: FloatArray, bins: int) -> _Histogram:
    """The histogram in ``bins`` equal steps from the lowest to the highest value; each step stands at its own mean."""
    low, high = float(plane.min()), float(plane.max())
    scaled = plane.ravel() - np.float32(low)
    scaled /= np.float32(high - low)
    scaled *= np.float32(bins)
    index = np.minimum(scaled.astype(np.int32), bins - 1).astype(np.intp)
    counts = np.bincount(index, minlength=bins)
    present = np.flatnonzero(counts)
    exact = scaled.astype(np.float64)
    sums = np.bincount(index, weights=exact, minlength=bins)[present]
    slot = np.zeros(bins, np.uint16)
    slot[present] = np.arange(len(present))
    counts = counts[present]
    mean = sums / counts
    step = (high - low) / bins
    scatter = max(float(exact @ exact - sums @ mean), 0.0) * step**2
    return _Histogram(mean * step + low, counts, slot.take(index).reshape(plane.shape), scatter)


def _checked(k: int) -> int:
    """``k`` itself, when labels in uint8 can hold that many clusters."""
    if not 1 <= k <= MOST:
        raise ScanError(f"clusters: k = {k}; pass 1 to {MOST}")
    return k
