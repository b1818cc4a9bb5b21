"""Intervals that respect groups: scans of one patient are not independent witnesses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tumorscope.errors import DataError

CELLS = 2**18  # weights held at once: small enough for the cache, large enough that NumPy's calls cost nothing


@dataclass(frozen=True)
class Interval:
    """A value and the interval around it; ``low`` and ``high`` are NaN where the data cannot tell.

    ``reason`` says why something is NaN; empty where nothing is.

    Examples
    --------
    >>> str(Interval(0.9123, 0.8811, 0.9402))
    '0.912 [0.881, 0.940]'
    >>> str(Interval(math.nan, math.nan, math.nan, reason="no scan has a tumour"))
    'unknown (no scan has a tumour)'
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    reason: str = field(default="", repr=False)

    def __str__(self) -> str:
        if self.reason and math.isnan(self.value):
            return f"unknown ({self.reason})"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def bounded(self) -> bool:
        """Whether both bounds are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))


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
        return percentile(value, np.empty(0), level, draw.count)
    rng = np.random.default_rng(seed)
    results = np.empty(rounds)
    for number in range(rounds):
        rows = draw(rng)
        results[number] = metric(*(values[rows] for values in arrays))
    return percentile(value, results, level, draw.count)


def percentile(value: float, results: NDArray[np.float64], level: float = 0.95, groups: int = 2) -> Interval:
    """The interval between the outer quantiles of resampled ``results`` around ``value``.

    Parameters
    ----------
    value : float
        The metric on all rows.
    results : (rounds,) float array
        The metric on each resample; NaN where it has none.
    level : float
        Coverage aimed at.
    groups : int
        How many groups were drawn from.

    Returns
    -------
    Interval
        With NaN bounds and a reason for fewer than two groups, for a NaN value, or where half of the rounds or more
        are NaN.

    Examples
    --------
    >>> str(percentile(0.5, np.linspace(0, 1, 101), 0.9))
    '0.500 [0.050, 0.950]'
    >>> percentile(0.5, np.zeros(9), groups=1).reason
    'one group only: nothing to draw from'
    """
    if math.isnan(value):
        return Interval(value, math.nan, math.nan, level, "undefined on these rows")
    if groups < 2:
        return Interval(value, math.nan, math.nan, level, "one group only: nothing to draw from")
    usable = results[~np.isnan(results)]
    if 2 * usable.size <= results.size:
        return Interval(value, math.nan, math.nan, level, "undefined in half of the resamples or more")
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


class Draws:
    """How often each row stands in each resample of whole groups: the bootstrap as weights.

    A metric that takes weights needs no copies of rows, and what it sorts it sorts once. The same seed draws the same
    groups as in `bootstrap`.

    Parameters
    ----------
    groups : (N,) array
        Group of each row.
    rounds : int
        Number of resamples.
    seed : int

    Examples
    --------
    >>> draws = Draws(["a", "a", "b"], rounds=2)
    >>> draws.count, np.concatenate(list(draws.weights())).tolist()
    (2, [[0.0, 0.0, 2.0], [1.0, 1.0, 1.0]])
    """

    def __init__(self, groups: ArrayLike, rounds: int = 2000, seed: int = 0) -> None:
        keys = np.asarray(groups)
        if keys.ndim != 1 or keys.size == 0:
            raise DataError(f"bootstrap: groups of shape {keys.shape} are no list of rows; give one group for each row")
        if rounds < 1:
            raise DataError(f"bootstrap: {rounds} rounds make no interval; give 1 or more")
        names, member = np.unique(keys, return_inverse=True)
        self.count = len(names)
        self.rounds = rounds
        self._member = member
        self._seed = seed

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Arrays (R, N) of whole numbers, row by row of the resamples, until ``rounds`` are through."""
        rng = np.random.default_rng(self._seed)
        size = len(self._member)
        step = max(1, CELLS // size)
        for start in range(0, self.rounds, step):
            block = np.empty((min(step, self.rounds - start), size))
            for row in block:
                counts = np.bincount(rng.integers(self.count, size=self.count), minlength=self.count)
                np.take(counts.astype(np.float64), self._member, out=row, mode="clip")
            yield block


def share(right: ArrayLike, groups: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """A share with Wilson's interval, narrowed to what the groups know.

    Scans of one group repeat each other, so that n of them count as ``effective`` ones (see `effective_size`). Unlike
    a bootstrap interval it has a width where all answers are right: 10 of 10 is 1.0 [0.72, 1.0], not 1.0 [1.0, 1.0].

    Parameters
    ----------
    right : (N,) bool array
    groups : (N,) array, optional
        Each row its own when absent.
    level : float

    Returns
    -------
    Interval
        All NaN, with a reason, for no rows.

    References
    ----------
    .. [1] Wilson, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22, 1927.
    .. [2] Korn, Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
       from survey data", Survey Methodology 24, 1998.

    Examples
    --------
    >>> str(share([1] * 10))
    '1.000 [0.722, 1.000]'
    >>> str(share([1] * 10, groups=[0] * 5 + [1] * 5))
    '1.000 [0.342, 1.000]'
    """
    answers = np.asarray(right, dtype=np.float64)
    if not 0 < level < 1:
        raise DataError(f"interval: {level} is no level; give one between 0 and 1, for example 0.95")
    if answers.size == 0:
        return Interval(math.nan, math.nan, math.nan, level, "no such scans")
    value = float(answers.mean())
    size = effective_size(answers, groups)
    z = float(stats.norm.ppf((1 + level) / 2))
    middle = (value + z * z / (2 * size)) / (1 + z * z / size)
    half = z * math.sqrt(value * (1 - value) / size + z * z / (4 * size * size)) / (1 + z * z / size)
    # the value itself is inside by the formula; rounding must not push a bound past it
    return Interval(value, max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value)), level)


def effective_size(right: ArrayLike, groups: ArrayLike | None = None) -> float:
    """The number of independent scans that would tell a share as precisely as these grouped ones.

    The rows divided by the design effect: the variance of the share between groups over that of independent rows.
    Never more than the rows; where all answers agree, which tells nothing of the design effect, the number of groups.

    Examples
    --------
    >>> effective_size([1, 0, 1, 0]), round(effective_size([1, 1, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2, 3, 3]), 6)
    (4.0, 3.0)
    """
    answers = np.asarray(right, dtype=np.float64)
    if groups is None:
        return float(answers.size)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(member) != answers.size:
        raise DataError(f"interval: {answers.size} rows and {len(member)} groups do not match; give one for each row")
    count = int(member.max()) + 1 if answers.size else 0
    value = float(answers.mean()) if answers.size else math.nan
    if count == answers.size or count < 2 or value in (0.0, 1.0):
        return float(count)
    sizes, hits = np.bincount(member), np.bincount(member, answers)
    between = count / (count - 1) * float(np.sum((hits - value * sizes) ** 2))
    if between <= 0:
        return float(answers.size)
    return min(float(answers.size), max(1.0, value * (1 - value) * answers.size**2 / between))


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
