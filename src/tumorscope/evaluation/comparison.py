"""Whether one model is better than another on the same scans: DeLong, McNemar, and Holm's correction for many looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import checked
from tumorscope.evaluation.statistics import Draws, Interval, percentile

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """First model's metric less the second's, with interval and p-value; NaN, with a reason, where it cannot be told.

    Attributes
    ----------
    interval : Interval
        Of the difference.
    p : float
        Two-sided, for no difference.
    method : str
        What made them.
    """

    interval: Interval
    p: float
    method: str

    def sentence(self, first: str = "the first", second: str = "the second", metric: str = "AUC") -> str:
        """Whether the difference is real.

        Examples
        --------
        >>> Difference(Interval(0.03, 0.01, 0.05), 0.002, "DeLong").sentence("resnet18", "classical")
        'resnet18 has a higher AUC than classical: by 0.030 (95 % interval 0.010 to 0.050; p = 0.002, DeLong).'
        """
        span = self.interval
        if math.isnan(self.p):
            return f"Whether {first} and {second} differ in {metric} cannot be told: {span.reason or 'undefined'}."
        numbers = (
            f"{100 * span.level:.0f} % interval {span.low:.3f} to {span.high:.3f}; {p_text(self.p)}, {self.method}"
        )
        if not span.bounded:
            numbers = f"{p_text(self.p)}, {self.method}"
        if self.p >= 1 - span.level:
            return f"No difference in {metric} between {first} and {second} is shown: {span.value:+.3f} ({numbers})."
        word = "higher" if span.value > 0 else "lower"
        return f"{first} has a {word} {metric} than {second}: by {abs(span.value):.3f} ({numbers})."


def p_text(p: float) -> str:
    """A p-value as text.

    Examples
    --------
    >>> p_text(0.0312), p_text(1e-9), p_text(0.4)
    ('p = 0.031', 'p < 0.001', 'p = 0.400')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def delong_covariance(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> tuple[Values, Values]:
    """AUC (M,) of M models on the same scans, and their covariance (M, M).

    Without groups DeLong's [1]_, from midranks in O(N log N) [2]_. With groups the same structural components are
    summed within each group first [3]_: scans of one patient are not counted as independent. With groups of one scan
    each it is DeLong's.

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    scores : (N,) or (M, N) float array
    groups : (N,) array, optional

    Returns
    -------
    auc : (M,) float array
        NaN with one class only.
    covariance : (M, M) float array
        NaN with fewer than two scans, or groups, of a class.

    Raises
    ------
    DataError
        As `classification.checked`.

    References
    ----------
    .. [1] DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
       characteristic curves: a nonparametric approach", Biometrics 44, 1988.
    .. [2] Sun, Xu, "Fast implementation of DeLong's algorithm for comparing the areas under correlated receiver
       operating characteristic curves", IEEE Signal Processing Letters 21(11), 2014.
    .. [3] Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997.

    Examples
    --------
    >>> auc, covariance = delong_covariance([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> auc.tolist(), covariance.tolist()
    ([0.75], [[0.125]])
    """
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    for row in rows:
        truth, _ = checked(labels, row)
    count = len(rows)
    tumours, healthy = int(truth.sum()), int((~truth).sum())
    if not tumours or not healthy:
        return np.full(count, np.nan), np.full((count, count), np.nan)
    of_tumours, of_healthy = np.empty((count, tumours)), np.empty((count, healthy))
    for k, row in enumerate(rows):
        ones, zeros = row[truth], row[~truth]
        ranks = stats.rankdata(np.concatenate([ones, zeros]))
        of_tumours[k] = (ranks[:tumours] - stats.rankdata(ones)) / healthy
        of_healthy[k] = 1 - (ranks[tumours:] - stats.rankdata(zeros)) / tumours
    auc = of_tumours.mean(axis=1)
    keys = np.arange(len(truth)) if groups is None else np.asarray(groups)
    if len(keys) != len(truth):
        raise DataError(f"DeLong: {len(truth)} scans and {len(keys)} groups do not match; give one for each scan")
    return auc, _clustered(of_tumours - auc[:, None], of_healthy - auc[:, None], keys[truth], keys[~truth])


def _clustered(ones: Values, zeros: Values, ones_in: NDArray, zeros_in: NDArray) -> Values:
    """Covariance (M, M) from centred components (M, m) and (M, n) and the groups that they are in."""
    _, member = np.unique(np.concatenate([ones_in, zeros_in]), return_inverse=True)
    total = int(member.max()) + 1
    first, second = member[: ones.shape[1]], member[ones.shape[1] :]
    with_ones, with_zeros = len(np.unique(first)), len(np.unique(second))
    if with_ones < 2 or with_zeros < 2:
        return np.full((len(ones), len(ones)), np.nan)
    summed = np.stack([np.bincount(first, row, total) for row in ones]) / ones.shape[1]
    other = np.stack([np.bincount(second, row, total) for row in zeros]) / zeros.shape[1]
    both = summed @ other.T * (total / (total - 1))
    return (
        summed @ summed.T * (with_ones / (with_ones - 1))
        + other @ other.T * (with_zeros / (with_zeros - 1))
        + both
        + both.T
    )


def auc_interval(
    labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """ROC-AUC with DeLong's interval (or Obuchowski's for groups), without drawing resamples.

    The normal interval, cut at 0 and 1. NaN bounds, with a reason, where the classes are separated without an error:
    the variance is then 0, which says nothing of other scans.

    Examples
    --------
    >>> str(auc_interval([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6]))
    '0.889 [0.581, 1.000]'
    >>> auc_interval([0, 0, 1, 1], [1, 2, 3, 4]).reason
    'every tumour scores above every other scan: no variance to go by'
    """
    auc, covariance = delong_covariance(labels, scores, groups)
    value, variance = float(auc[0]), float(covariance[0, 0])
    if math.isnan(value):
        return Interval(value, math.nan, math.nan, level, "one class only")
    if math.isnan(variance):
        return Interval(value, math.nan, math.nan, level, "fewer than two groups of a class")
    if variance <= 1e-15:
        side = "every tumour scores above every other scan" if value > 0.5 else "the scores do not vary"
        return Interval(value, math.nan, math.nan, level, f"{side}: no variance to go by")
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    return Interval(value, max(0.0, value - half), min(1.0, value + half), level)


def delong(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, groups: ArrayLike | None = None, level: float = 0.95
) -> Difference:
    """Difference of two models' ROC-AUC on the same scans, by DeLong's test.

    DeLong's test takes scans to be independent. Where several scans share a group give ``groups``: the variance is then
    Obuchowski's, and the bootstrap over groups (`paired_bootstrap`) is a check that assumes no normal distribution.

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    first, second : (N,) float arrays
        Scores of the two models, scan by scan.
    groups : (N,) array, optional
    level : float

    Returns
    -------
    Difference
        p is 1 for equal scores; NaN, with a reason, with one class only or without variance.

    Examples
    --------
    >>> labels = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> result = delong(labels, [1, 2, 3, 6, 4, 5, 7, 8], [1, 5, 3, 6, 4, 2, 7, 8])
    >>> round(result.interval.value, 4), round(result.p, 2)
    (0.1875, 0.27)
    """
    auc, covariance = delong_covariance(labels, np.stack([np.asarray(first), np.asarray(second)]), groups)
    method = "DeLong" if groups is None else "DeLong for groups (Obuchowski)"
    value = float(auc[0] - auc[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if math.isnan(variance):
        reason = "one class only" if math.isnan(value) else "fewer than two groups of a class"
        return Difference(Interval(value, math.nan, math.nan, level, reason), math.nan, method)
    if variance <= 1e-15:
        if value == 0:
            return Difference(Interval(0.0, 0.0, 0.0, level), 1.0, method)
        return Difference(Interval(value, math.nan, math.nan, level, "no variance to go by"), math.nan, method)
    spread = math.sqrt(variance)
    half = float(stats.norm.ppf((1 + level) / 2)) * spread
    p = float(2 * stats.norm.sf(abs(value) / spread))
    return Difference(Interval(value, value - half, value + half, level), p, method)


@dataclass(frozen=True)
class McNemar:
    """Scans that one model gets right and the other wrong, and whether the two numbers differ by more than chance.

    Attributes
    ----------
    first_only, second_only : int
        Scans that only the first, only the second model gets right.
    p : float
        Exact, two-sided binomial; at any number of scans. 1 where the models disagree nowhere.
    mid_p : float
        The same, counting half of the observed table's probability: closer to the level aimed at, where the exact one
        is too careful [1]_.

    References
    ----------
    .. [1] Fagerland, Lydersen, Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are better
       than exact conditional", BMC Medical Research Methodology 13, 2013.
    """

    first_only: int
    second_only: int
    p: float
    mid_p: float

    def sentence(self, first: str = "the first", second: str = "the second") -> str:
        """Which model errs less, and whether that is chance.

        Examples
        --------
        >>> mcnemar([True] * 9 + [False], [False] * 8 + [True, True]).sentence("resnet18", "classical")
        'resnet18 alone is right on 8 scans, classical alone on 1: more than chance gives (exact McNemar p = 0.039,
        mid-p 0.021).'
        """
        alone = f"{first} alone is right on {self.first_only} scans, {second} alone on {self.second_only}"
        tests = f"exact McNemar {p_text(self.p)}, mid-{p_text(self.mid_p).replace('= ', '')}"
        if self.p >= 0.05:
            return f"{alone}: not more than chance gives ({tests})."
        return f"{alone}: more than chance gives ({tests})."


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """McNemar's exact test on two models' right and wrong answers for the same scans.

    It takes scans to be independent: where groups hold several scans, use `paired_bootstrap` on the accuracy instead.

    Parameters
    ----------
    first_right, second_right : (N,) arrays of 0 and 1
        Whether each model's answer is right.

    Raises
    ------
    DataError
        If the two differ in length, are empty, or hold other values.

    Examples
    --------
    >>> result = mcnemar([1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1])
    >>> result.first_only, result.second_only, result.p, result.mid_p
    (6, 1, 0.125, 0.0703125)
    """
    one, two = (checked(np.asarray(right), np.zeros(len(np.asarray(right))), "answers")[0]
                for right in (first_right, second_right))  # fmt: skip
    if len(one) != len(two):
        raise DataError(f"McNemar: {len(one)} and {len(two)} answers are no pairs; match the models scan by scan")
    only = int((one & ~two).sum()), int((two & ~one).sum())
    total = sum(only)
    if total == 0:
        return McNemar(0, 0, 1.0, 1.0)
    tail = float(stats.binom.cdf(min(only), total, 0.5))
    mid = 2 * tail - float(stats.binom.pmf(min(only), total, 0.5))
    return McNemar(*only, min(1.0, 2 * tail), min(1.0, mid))


def holm(p_values: ArrayLike) -> Values:
    """p-values corrected for looking at all of them (Holm's step-down), which keeps the chance of any false alarm.

    NaN values are no tests: they stay NaN and do not count.

    References
    ----------
    .. [1] Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, float("nan")]).round(6).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    values = np.asarray(p_values, dtype=np.float64).ravel()
    result = np.full(values.shape, np.nan)
    rows = np.flatnonzero(~np.isnan(values))
    order = rows[np.argsort(values[rows], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors)) if len(order) else []
    return result


def bootstrap_difference(first: Values, second: Values, value: float, draws: Draws, level: float = 0.95) -> Difference:
    """Difference of two metrics that were computed on the same resamples (R,) and (R,).

    p is twice the smaller share of resamples on either side of no difference, one added to each count. Where no
    resample is on the other side, which bounds p only by the rounds, it is the normal one of the resamples' spread:
    otherwise nothing could survive a correction for a hundred pairs.

    Examples
    --------
    >>> draws = Draws(np.arange(50), rounds=999)
    >>> ahead = np.random.default_rng(0).normal(0.05, 0.01, 999)
    >>> bootstrap_difference(ahead, np.zeros(999), 0.05, draws).p < 1e-5
    True
    """
    apart = first - second
    span = percentile(value, apart, level, draws.count)
    usable = apart[~np.isnan(apart)]
    if not span.bounded:
        return Difference(span, math.nan, "bootstrap over groups")
    side = min(int((usable <= 0).sum()), int((usable >= 0).sum()))
    p = min(1.0, 2 * (side + 1) / (usable.size + 1))
    spread = float(usable.std())
    if side == 0 and spread > 0:
        p = min(p, float(2 * stats.norm.sf(abs(value) / spread)))
    return Difference(span, p, "bootstrap over groups")
