"""K-means of points for many k at once: seeded, deterministic, close to the best that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError

SUMMARY = 2500  # cells at most that stand for all points while starts are tried
STARTS = 8  # by k-means++ for each k
ROUNDS_UP, ROUNDS_DOWN = 10, 20  # rounds of moving a centre elsewhere, on the way up through k and back
SWAPS = 3  # moves tried in a round for each optimum
HEATS = {1: 3, 5: 1}  # starts, the best ones, that go on after each of these iterations
BEYOND = 2  # k above the largest wanted that the search goes up to
PLACES = 2  # of a centre that is added or taken away
KEPT = 3  # different optima of the cells that are gone on with
REFINED, NEAR = 2, 1.003  # of them that are refined on the points, if their sum of squares is near the best
CANDIDATES = 200  # places tried for a new centre
ITERATIONS = 300  # of Lloyd's algorithm at most; slices settle in 5 to 100
SETTLED = 1e-4  # of the largest coordinate: a centre of cells that moves less has settled
SAME = 1e-5  # relative difference of sums of squares below which two optima count as one

Optimum = tuple[float, NDArray[np.float32]]  # sum of squares, centres


@dataclass(frozen=True)
class Partition:
    """Points in k clusters.

    Attributes
    ----------
    labels : (N,) int32 array
        0…k − 1; each point has the label of its nearest centre.
    centers : (k, d) float64 array
        Means of the clusters.
    within : float
        Sum of squared distances of the points to their centres (inertia).
    """

    labels: NDArray[np.int32]
    centers: NDArray[np.float64]
    within: float


def kmeans(points: NDArray, ks: Sequence[int], *, seed: int = 0) -> list[Partition]:
    """Clusters of small within-cluster sum of squares for each of ``ks``: the best that a wide search finds.

    The search runs on a summary: means and sizes of the cells of a grid, at most 2,500. For each k it starts from
    greedy k-means++ [1]_, from the optima for k − 1 with a centre added where it helps most [2]_ and, on the way back,
    from those for k + 1 without the centre that is missed least. What Lloyd's algorithm reaches is bettered by moving
    single centres to random places [3]_. The best are refined on all points until no label changes.

    Parameters
    ----------
    points : (N, d) array
    ks : sequence of int
        Each at least 1 and at most the number of distinct points.
    seed : int
        Same points and seed, same clusters.

    Returns
    -------
    list of Partition
        In the order of ``ks``. No exact optimum is known for more than one axis (for one, see
        `intensity_clusters.exact_kmeans`).

    Raises
    ------
    ScanError
        If there are no points, values are not finite, or a k is out of range.

    References
    ----------
    .. [1] Arthur, Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    .. [2] Likas, Vlassis, Verbeek, "The global k-means clustering algorithm", Pattern Recognition 36, 2003.
    .. [3] Fränti, "Efficiency of random swap clustering", Journal of Big Data 5, 2018.

    Examples
    --------
    >>> points = np.array([[0, 0], [0, 1], [9, 9], [9, 8], [5, 0]])
    >>> [partition.within for partition in kmeans(points, [3, 5])]
    [1.0, 0.0]
    """
    array = _checked(points, ks)
    best = _Search(*summarize(array, SUMMARY), seed).optima(max(ks))
    return [_refined(array, best[k]) for k in ks]


def _checked(points: NDArray, ks: Sequence[int]) -> NDArray[np.float64]:
    """``points`` in float64, after a check of them and of ``ks``."""
    array = np.asarray(points)
    if array.ndim != 2 or array.size == 0:
        raise ScanError(f"k-means: points of shape {array.shape}; pass (N, d) with at least one point and one axis")
    array = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ScanError("k-means: a point is NaN or infinite; leave it out or replace it")
    if len(ks) == 0 or min(ks) < 1:
        raise ScanError(f"k-means: k = {list(ks)}; pass whole numbers from 1 up")
    distinct = len(np.unique(array, axis=0))
    if max(ks) > distinct:
        raise ScanError(f"k-means: {distinct} distinct points cannot form {max(ks)} clusters; pass k up to {distinct}")
    return array


def summarize(points: NDArray[np.float64], most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means (M, d) and sizes (M,) of the points in each cell of the finest regular grid with at most ``most`` cells.

    The points themselves, each of size 1, where there are no more than ``most``; the different ones with their numbers
    where those are no more.

    Examples
    --------
    >>> summarize(np.repeat([[0.0], [1.0]], 3, axis=0), 4)[1]
    array([3., 3.])
    >>> summarize(np.array([[0.0], [1.0], [10.0], [12.0]]), 3)
    (array([[ 0.5], [10. ], [12. ]]), array([2., 1., 1.]))
    """
    if len(points) <= most:
        return points, np.ones(len(points))
    distinct, counts = np.unique(points, axis=0, return_counts=True)
    if len(distinct) <= most:
        return distinct, counts.astype(np.float64)
    low, span = points.min(axis=0), float(np.ptp(points, axis=0).max())
    cell = np.zeros(len(points), np.int64)
    side = span / 2
    while True:
        place = np.floor((points - low) / side).astype(np.int64)
        key = np.ravel_multi_index(tuple(place.T), tuple(place.max(axis=0) + 1))
        found, index = np.unique(key, return_inverse=True)
        if len(found) > most:
            break
        cell = index
        side *= 0.8
    sizes = np.bincount(cell).astype(np.float64)
    means = [np.bincount(cell, weights=axis) / sizes for axis in points.T]
    return np.column_stack(means), sizes


def _refined(points: NDArray[np.float64], starts: Sequence[NDArray[np.float64]]) -> Partition:
    """The best of Lloyd's optima on all points from the given starts, each (k, d)."""
    from sklearn.cluster import KMeans

    models = [KMeans(len(start), init=start, n_init=1, max_iter=ITERATIONS, tol=0).fit(points) for start in starts]
    best = min(models, key=lambda model: model.inertia_)
    return Partition(best.labels_.astype(np.int32, copy=False), best.cluster_centers_, float(best.inertia_))


class _Search:
    """Optima of weighted cells for k = 1, 2, …, each found from random starts and from its neighbours in k.

    Lloyd's algorithm runs from many starts side by side, in float32: one matrix product gives the distances of all.
    """

    def __init__(self, cells: NDArray[np.float64], weights: NDArray[np.float64], seed: int) -> None:
        self.shift = np.average(cells, axis=0, weights=weights)
        self.scale = float(np.abs(cells - self.shift).max()) or 1.0
        self.cells = ((cells - self.shift) / self.scale).astype(np.float32)
        self.weights = weights.astype(np.float32)
        self.norms = np.square(self.cells).sum(axis=1)
        self.scatter = float(self.norms @ self.weights)
        self.lifted = np.vstack([self.cells.T, np.ones_like(self.norms)])
        self.moments = np.column_stack([self.cells * self.weights[:, None], self.weights])
        self.generator = np.random.default_rng(seed)
        self.places = self.cells[:: max(1, len(cells) // CANDIDATES)]
        self.between = self._squared(self.places)

    def _less_norm(self, centers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Squared distances (..., M) of every cell to ``centers`` (..., d), less the cell's own squared length."""
        return np.concatenate([-2 * centers, np.square(centers).sum(-1, keepdims=True)], axis=-1) @ self.lifted

    def _squared(self, centers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Squared distances (..., M) of every cell to ``centers`` (..., d), at least 0."""
        return np.maximum(self._less_norm(centers) + self.norms, 0)

    def optima(self, largest: int) -> dict[int, list[NDArray[np.float64]]]:
        """Centres of the best few optima, best first, for each k from 1 to ``largest``."""
        highest = min(largest + BEYOND, len(self.cells))
        found: dict[int, list[Optimum]] = {1: [(self.scatter, np.zeros((1, self.cells.shape[1]), np.float32))]}
        for k in range(2, highest + 1):
            starts = [*self._seeded(k), *self._with_one_more(found[k - 1])]
            found[k] = self._swapped(self._settled(starts), ROUNDS_UP)
        for k in range(highest - 1, 1, -1):
            fewer = self._settled(self._with_one_less(found[k + 1]))
            found[k] = self._swapped(_distinct(found[k] + fewer), ROUNDS_DOWN)
        near = {
            k: [pair for place, pair in enumerate(pairs[:REFINED]) if place == 0 or pair[0] <= pairs[0][0] * NEAR]
            for k, pairs in found.items()
        }
        return {k: [centers * self.scale + self.shift for _, centers in pairs] for k, pairs in near.items()}

    def _seeded(self, k: int) -> NDArray[np.float32]:
        """STARTS sets (STARTS, k, d) of centres by greedy k-means++, drawn side by side."""
        trials = 2 + int(np.log(k))
        centers = np.empty((STARTS, k, self.cells.shape[1]), np.float32)
        nearest = np.ones((STARTS, len(self.cells)), np.float32)
        rows = np.arange(STARTS)
        for number in range(k):
            share = np.cumsum(nearest * self.weights, axis=1, dtype=np.float64)
            drawn = self.generator.random((STARTS, trials)) * share[:, -1:]
            picked = np.stack([np.searchsorted(row, at) for row, at in zip(share, drawn, strict=True)])
            tried = self.cells[np.minimum(picked, len(self.cells) - 1)]
            left = self._squared(tried)
            if number:
                left = np.minimum(left, nearest[:, None])
            best = np.argmin(left @ self.weights, axis=1)
            centers[:, number], nearest = tried[rows, best], left[rows, best]
        return centers

    def _with_one_more(self, pairs: Sequence[Optimum]) -> list[NDArray[np.float32]]:
        """Each set of centres with one more, at each of the few places that lower the sum of squares most."""
        starts = []
        for _, centers in pairs:
            left = self._squared(centers).min(axis=0)
            for _ in range(PLACES):
                at = int((np.maximum(left - self.between, 0) @ self.weights).argmax())
                starts.append(np.vstack([centers, self.places[at]]))
                left = np.minimum(left, self.between[at])  # the next place is to help elsewhere
        return starts

    def _with_one_less(self, pairs: Sequence[Optimum]) -> list[NDArray[np.float32]]:
        """Each set of centres without one, for each of the few that are missed least."""
        starts = []
        for _, centers in pairs:
            distances = self._squared(centers)
            owner = distances.argmin(axis=0)
            two = np.partition(distances, 1, axis=0)[:2]
            loss = np.bincount(owner, weights=(two[1] - two[0]) * self.weights, minlength=len(centers))
            starts += [np.delete(centers, at, axis=0) for at in np.argsort(loss, kind="stable")[:PLACES]]
        return starts

    def _swapped(self, pairs: list[Optimum], rounds: int) -> list[Optimum]:
        """The optima, bettered by moving single centres, drawn at random, to cells far from all centres."""
        k = len(pairs[0][1])
        if len(self.cells) <= k:
            return pairs
        for _ in range(rounds):
            starts = []
            for _, centers in pairs:
                share = np.cumsum(self._squared(centers).min(axis=0) * self.weights, dtype=np.float64)
                picked = np.searchsorted(share, self.generator.random(SWAPS) * share[-1])
                for at in np.minimum(picked, len(self.cells) - 1):
                    moved = centers.copy()
                    moved[self.generator.integers(k)] = self.cells[at]
                    starts.append(moved)
            pairs = _distinct(pairs + self._settled(starts))
        return pairs

    def _settled(self, starts: Sequence[NDArray[np.float32]]) -> list[Optimum]:
        """The best different optima that Lloyd's algorithm reaches from the starts, each (k, d)."""
        centers = np.stack(starts)
        k, axes = centers.shape[1:]
        moving = np.arange(len(centers))
        total = np.full(len(centers), np.inf)
        for step in range(ITERATIONS):
            now = centers[moving]
            distances = self._less_norm(now)
            least = distances.min(axis=1)
            total[moving] = self.scatter + (least @ self.weights).astype(np.float64)
            member = (distances == least[:, None]).astype(np.float32)
            sums = (member.reshape(-1, len(self.cells)) @ self.moments).reshape(len(moving), k, axes + 1)
            size = sums[..., axes:]
            new = np.where(size > 0, sums[..., :axes] / np.maximum(size, 1e-9), now)
            centers[moving] = new
            if step in HEATS:
                moving = moving[np.argsort(total[moving], kind="stable")[: HEATS[step]]]
                continue
            moving = moving[np.abs(new - now).max(axis=(1, 2)) > SETTLED]
            if not len(moving):
                break
        return _distinct(list(zip(total.tolist(), centers, strict=True)))


def _distinct(pairs: Sequence[Optimum]) -> list[Optimum]:
    """The KEPT pairs of smallest sums of squares that differ, smallest first."""
    kept: list[Optimum] = []
    for value, centers in sorted(pairs, key=lambda pair: pair[0]):
        if not kept or value > kept[-1][0] * (1 + SAME):
            kept.append((value, centers))
    return kept[:KEPT]
