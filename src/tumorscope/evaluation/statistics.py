"""Intervals that respect groups: scans of one patient are not independent witnesses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError


@dataclass(frozen=True)
class Interval:
    """A value and the interval around it; ``low`` and ``high`` are NaN where the data cannot tell.

    Examples
    --------
    >>> str(Interval(0.9123, 0.8811, 0.9402))
    '0.912 [0.881, 0.940]'
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    metric: Callable[..., float],
    *data: ArrayLike,
    groups: ArrayLike | None = None,
    rounds: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of a metric, whole groups drawn with replacement.

    Parameters
    ----------
    metric : callable
        Called with each array of ``data``, rows resampled; returns a number. NaN rounds (say, an AUC on one class)
        are left out.
    *data : (N, ...) arrays
        Rows that belong together stand at the same index.
    groups : (N,) array, optional
        Patient or near-duplicate group of each row; rows of one group are drawn together. Each row its own when absent.
    rounds : int
        Number of resamples.
    seed : int
        The same seed gives the same interval.
    level : float
        Coverage aimed at, in (0, 1).

    Returns
    -------
    Interval
        The metric on all rows, and the interval. Its bounds are NaN with fewer than two groups, or when the metric
        is NaN on all rows or in half of the rounds or more.

    Raises
    ------
    DataError
        If there is no data, lengths differ, or ``rounds`` or ``level`` is out of range.

    References
    ----------
    .. [1] Efron, Tibshirani, "An introduction to the bootstrap", 1993, ch. 13.
    .. [2] Field, Welsh, "Bootstrapping clustered data", J. R. Stat. Soc. B 69, 2007.

    Examples
    --------
    >>> bootstrap(np.mean, [0.0, 1.0, 1.0, 1.0], rounds=500)
    Interval(value=0.75, low=0.25, high=1.0, level=0.95)
    """
    arrays = [np.asarray(values) for values in data]
    if not arrays or arrays[0].ndim == 0 or len(arrays[0]) == 0:
        raise DataError("bootstrap: there are no rows; give arrays with one row per scan")
    keys = np.arange(len(arrays[0])) if groups is None else np.asarray(groups)
    lengths = {len(values) for values in (*arrays, keys)}
    if len(lengths) > 1:
        raise DataError(
            f"bootstrap: arrays of {sorted(lengths)} rows were given together; give one row per scan in each"
        )
    if rounds < 1 or not 0 < level < 1:
        raise DataError(
            f"bootstrap: {rounds} rounds at level {level} make no interval; give rounds >= 1, 0 < level < 1"
        )
    value = float(metric(*arrays))
    draw = _Resampler(keys)
    if draw.count < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan, level)
    rng = np.random.default_rng(seed)
    results = np.empty(rounds)
    for number in range(rounds):
        rows = draw(rng)
        results[number] = metric(*(values[rows] for values in arrays))
    usable = results[~np.isnan(results)]
    if 2 * usable.size <= rounds:
        return Interval(value, math.nan, math.nan, level)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


class _Resampler:
    """Row numbers of as many groups as there are, drawn with replacement."""

    def __init__(self, groups: NDArray) -> None:
        _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        self.count = len(sizes)
        self._rows = np.argsort(member, kind="stable")
        self._sizes = sizes
        self._starts = np.cumsum(sizes) - sizes

    def __call__(self, rng: np.random.Generator) -> NDArray[np.intp]:
        chosen = rng.integers(self.count, size=self.count)
        if self.count == len(self._rows):
            return self._rows[chosen]
        sizes = self._sizes[chosen]
        ends = np.cumsum(sizes)
        within = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
        return self._rows[np.repeat(self._starts[chosen], sizes) + within]
