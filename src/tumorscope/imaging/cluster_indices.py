"""How well clusters part points: sums of squares, Calinski–Harabasz, and the silhouette, exact for many labelings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError

ROWS, COLUMNS = 256, 2048  # of a block of distances: 2 MB in float32, which stays in a core's cache
EXACT = 2.0**22  # squared length up to which squared distances of whole-number points are exact in float32


def sums_of_squares(points: NDArray, labels: NDArray) -> tuple[float, float]:
    """Within- and between-cluster sum of squares; together they are the total about the mean.

    Parameters
    ----------
    points : (N, d) array
    labels : (N,) array of whole numbers
        Any numbers; equal ones are one cluster.

    Returns
    -------
    within, between : float
        ``Σ |p − m_c|²`` over the points p of each cluster c with mean m_c, and ``Σ n_c |m_c − m|²`` with the mean m of
        all.

    Raises
    ------
    ScanError
        If shapes do not fit, or values are not finite.

    Examples
    --------
    >>> sums_of_squares(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]))
    (4.0, 100.0)
    """
    array = _checked_points(points)
    member, count = _numbered(labels, len(array))
    size = np.bincount(member, minlength=count)
    centred = array - array.mean(axis=0)
    means = np.column_stack([np.bincount(member, weights=axis, minlength=count) / size for axis in centred.T])
    between = float(size @ np.square(means).sum(axis=1))
    return float(np.square(centred - means[member]).sum()), between


def calinski_harabasz(points: NDArray, labels: NDArray) -> float:
    """Between-cluster over within-cluster variance: (B / (k − 1)) / (W / (N − k)); larger is better.

    Parameters
    ----------
    points : (N, d) array
    labels : (N,) array of whole numbers
        2 to N − 1 different ones.

    Returns
    -------
    float
        Infinite where every point lies on its cluster's mean.

    Raises
    ------
    ScanError
        As `silhouettes`.

    References
    ----------
    .. [1] Calinski, Harabasz, "A dendrite method for cluster analysis", Communications in Statistics 3, 1974.

    Examples
    --------
    >>> calinski_harabasz(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]))
    50.0
    """
    within, between = sums_of_squares(points, labels)
    count = len(np.unique(labels))
    _require_parts(count, len(points))
    return variance_ratio(within, between, count, len(points))


def variance_ratio(within: float, between: float, k: int, number: int) -> float:
    """The Calinski–Harabasz index from the two sums of squares of ``number`` points in ``k`` clusters.

    Infinite where ``within`` is 0.

    Examples
    --------
    >>> variance_ratio(4.0, 100.0, k=2, number=4)  # (100 / 1) / (4 / 2)
    50.0
    """
    return (between / (k - 1)) / (within / (number - k)) if within > 0 else float("inf")


def silhouettes(points: NDArray, labelings: Sequence[NDArray]) -> NDArray[np.float64]:
    """Mean silhouette of each labeling of the same points, every pair of points looked at, none sampled.

    A point's silhouette is (b − a) / max(a, b), a its mean distance to the others of its cluster and b the least mean
    distance to another cluster; 0 for a point alone in its cluster [1]_. Each distance is computed once for all
    labelings: blocks of distances are multiplied with the membership of all clusters of all labelings.

    Parameters
    ----------
    points : (N, d) array
        Whole numbers of moderate size (pixels, grey levels) are handled in float32, in which their squared distances
        are exact; all others in float64, in some twice the time.
    labelings : sequence of (N,) arrays of whole numbers
        Each with 2 to N − 1 different ones.

    Returns
    -------
    (L,) float64 array
        Each in [−1, 1], as ``sklearn.metrics.silhouette_score`` gives it.

    Raises
    ------
    ScanError
        If there are no points, shapes do not fit, values are not finite, or a labeling has too few or many clusters.

    References
    ----------
    .. [1] Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", Journal
       of Computational and Applied Mathematics 20, 1987.

    Examples
    --------
    >>> points = np.array([[0], [1], [9], [10]])
    >>> silhouettes(points, [np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])]).round(4)
    array([0.8885, 0.0294])
    """
    array = _checked_points(points)
    numbered = [_numbered(labels, len(array)) for labels in labelings]
    for _, count in numbered:
        _require_parts(count, len(array))
    if not numbered:
        return np.empty(0)
    sums = _sums_of_distances(_centred(array), numbered)
    found, start = [], 0
    for member, count in numbered:
        found.append(_mean_silhouette(sums[:, start : start + count], member, count))
        start += count
    return np.array(found)


def _centred(array: NDArray[np.float64]) -> NDArray:
    """The points about the one nearest to their mean; float32 where squared distances are exact in it."""
    offsets = np.square(array - array.mean(axis=0)).sum(axis=1)
    moved = array - array[offsets.argmin()]
    whole = float(np.square(moved).sum(axis=1).max()) <= EXACT and bool((moved == np.rint(moved)).all())
    return moved.astype(np.float32) if whole else moved


def _sums_of_distances(points: NDArray, numbered: Sequence[tuple[NDArray[np.intp], int]]) -> NDArray:
    """Sum of distances from each point to each cluster of each labeling, clusters side by side: (N, Σ k)."""
    number = len(points)
    lengths = np.square(points).sum(axis=1)
    ones = np.ones_like(lengths)
    left = np.column_stack([-2 * points, lengths, ones])
    right = np.column_stack([points, ones, lengths]).T.copy()
    member = np.zeros((number, sum(count for _, count in numbered)), points.dtype)
    start = 0
    for labels, count in numbered:
        member[np.arange(number), start + labels] = 1
        start += count
    sums = np.zeros_like(member)
    for top in range(0, number, ROWS):
        rows = slice(top, min(top + ROWS, number))
        for first in range(0, number, COLUMNS):
            distances = left[rows] @ right[:, first : first + COLUMNS]
            np.maximum(distances, 0, out=distances)  # rounding of points that are no whole numbers
            np.sqrt(distances, out=distances)
            own = np.arange(max(rows.start, first), min(rows.stop, first + distances.shape[1]))
            distances[own - rows.start, own - first] = 0
            sums[rows] += distances @ member[first : first + COLUMNS]
    return sums


def _mean_silhouette(sums: NDArray, member: NDArray[np.intp], count: int) -> float:
    """Mean silhouette from the sums of distances (N, count) to each cluster."""
    size = np.bincount(member, minlength=count)
    rows = np.arange(len(member))
    alone = size[member] == 1
    inside = sums[rows, member].astype(np.float64) / np.where(alone, 1, size[member] - 1)
    means = sums / size
    means[rows, member] = np.inf
    outside = means.min(axis=1)
    larger = np.maximum(inside, outside)
    value = np.divide(outside - inside, larger, out=np.zeros(len(member)), where=(larger > 0) & ~alone)
    return float(value.mean())


def _checked_points(points: NDArray) -> NDArray[np.float64]:
    """``points`` as a finite (N, d) float64 array."""
    array = np.asarray(points)
    if array.ndim != 2 or array.size == 0:
        raise ScanError(f"clusters: points of shape {array.shape}; pass (N, d) with at least one point and one axis")
    array = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ScanError("clusters: a point is NaN or infinite; leave it out or replace it")
    return array


def _numbered(labels: NDArray, number: int) -> tuple[NDArray[np.intp], int]:
    """Labels renumbered 0, 1, … without gaps, and how many there are."""
    array = np.asarray(labels)
    if array.shape != (number,):
        raise ScanError(f"clusters: labels of shape {array.shape} for {number} points; pass one label a point")
    found, member = np.unique(array, return_inverse=True)
    return member.astype(np.intp, copy=False), len(found)


def _require_parts(count: int, number: int) -> None:
    """Raise a ScanError unless ``count`` clusters of ``number`` points can be told apart."""
    if not 2 <= count < number:
        raise ScanError(f"clusters: {count} clusters of {number} points; the index needs 2 to N - 1 = {number - 1}")
