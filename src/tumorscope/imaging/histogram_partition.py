"""The best way to cut a histogram into k intervals: one-dimensional k-means, solved exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError

FIRST = 8  # of the halving: so many j and up to twice as many look at every i, which costs less than their levels


def partition_histogram(values: NDArray, counts: NDArray, k: int) -> tuple[NDArray[np.intp], float]:
    """First value of each of k intervals, and their within-cluster sum of squares, which no other k intervals undercut.

    In one dimension the clusters of an optimum are intervals, so dynamic programming over where they end finds it. Of
    the first j values, m intervals can have the between-cluster sum of squares

        S(m, j) = max over i of S(m − 1, i) + (A(j) − A(i))² / (W(j) − W(i))

    with the cumulated counts W and count-weighted values A [1]_. The best i grows with j, so that halving the range of
    j again and again costs O(k · n log n) [2]_. The same between-cluster sum of squares, over the same histogram, is
    what Otsu's method with several thresholds maximises [3]_: both have the same optimum.

    Parameters
    ----------
    values : (n,) array
        Ascending, all different.
    counts : (n,) array
        How many pixels have each value; above 0.
    k : int
        1 to n.

    Returns
    -------
    starts : (k,) array
        Index of the first value of each interval; the first is 0. Of equal optima the one with the earliest cuts.
    within : float
        Σ counts · (value − mean of its interval)².

    Raises
    ------
    ScanError
        If k is out of range, or values and counts do not fit.

    References
    ----------
    .. [1] Wang, Song, "Ckmeans.1d.dp: optimal k-means clustering in one dimension by dynamic programming", The R
       Journal 3(2), 2011.
    .. [2] Grønlund and others, "Fast exact k-means, k-medians and Bregman divergence clustering in 1D",
       arXiv:1701.07204, 2017.
    .. [3] Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man, and
       Cybernetics 9(1), 1979.

    Examples
    --------
    >>> starts, within = partition_histogram(np.array([0, 1, 9, 10]), np.array([5, 5, 5, 5]), 2)
    >>> starts.tolist(), within
    ([0, 2], 5.0)
    """
    places, weights = np.asarray(values, np.float64), np.asarray(counts, np.float64)
    if places.ndim != 1 or places.shape != weights.shape or not (weights > 0).all() or not (np.diff(places) > 0).all():
        raise ScanError("histogram: values have to ascend, with one count above 0 for each; use np.unique")
    number = len(places)
    if not 1 <= k <= number:
        raise ScanError(f"histogram: {number} different values cannot form {k} clusters; pass k from 1 to {number}")
    centred = places - np.average(places, weights=weights)
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    moment = np.concatenate([[0.0], np.cumsum(weights * centred)])
    best = np.zeros(number + 1)
    best[1:] = moment[1:] ** 2 / mass[1:]
    origins = []
    for m in range(2, k):
        best, origin = _with_one_more(best, mass, moment, m)
        origins.append(origin)
    starts = np.zeros(k, np.intp)
    if k > 1:  # the last interval ends at the last value
        last = best[k - 1 : number] + (moment[-1] - moment[k - 1 : number]) ** 2 / (mass[-1] - mass[k - 1 : number])
        starts[-1] = k - 1 + last.argmax()
    for m in range(k - 2, 0, -1):
        starts[m] = origins[m - 1][starts[m + 1]]
    return starts, _within(centred, weights, starts)


def _with_one_more(
    best: NDArray[np.float64], mass: NDArray[np.float64], moment: NDArray[np.float64], m: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """S(m, j) from S(m − 1, i), and the first best i of each j, for j from m on; level by level of the halving."""
    number = len(mass) - 1
    offset = m - 1  # j = offset + t for t = 1…n
    n = number - offset
    origin = np.zeros(n + 2, np.intp)
    origin[0], origin[n + 1] = m - 1, number - 1
    more = np.full(number + 1, -np.inf)
    stride = max(1, (1 << (n.bit_length() - 1)) // FIRST)
    t = np.arange(stride, n + 1, stride)
    low, high = np.full(len(t), m - 1), t + offset - 1
    while True:
        length = high - low + 1
        begin = np.cumsum(length) - length
        i = np.arange(int(length.sum())) + np.repeat(low - begin, length)
        j = t + offset
        gained = np.repeat(moment[j], length) - moment[i]
        value = best[i] + gained * gained / (np.repeat(mass[j], length) - mass[i])
        top = np.maximum.reduceat(value, begin)
        first = np.where(value == np.repeat(top, length), i, number)
        more[j], origin[t] = top, np.minimum.reduceat(first, begin)
        stride //= 2
        if not stride:
            break
        t = np.arange(stride, n + 1, 2 * stride)
        low = origin[t - stride]
        high = np.minimum(origin[np.minimum(t + stride, n + 1)], t + offset - 1)
    found = np.zeros(number + 1, np.intp)
    found[m:] = origin[1 : n + 1]
    return more, found


def _within(values: NDArray[np.float64], weights: NDArray[np.float64], starts: NDArray[np.intp]) -> float:
    """Within-cluster sum of squares of the intervals that begin at ``starts``."""
    size = np.add.reduceat(weights, starts)
    mean = np.add.reduceat(weights * values, starts) / size
    apart = values - np.repeat(mean, np.diff(np.append(starts, len(values))))
    return float((weights * apart**2).sum())
