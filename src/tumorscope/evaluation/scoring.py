"""All metrics of many resamples at once: scores are sorted once, resamples are weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import checked
from tumorscope.evaluation.statistics import Draws, Interval, percentile

Values = NDArray[np.float64]

BINS = 15  # of the calibration error, as `classification.ece`
FIXED = 0.95  # specificity (sensitivity) at which the other one is read off
_SLACK = 1e-9  # 0.07 * 100 is 7.000000000000001

#: Needs a threshold.
DECIDED = (
    "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "npv", "f1", "mcc", "binary_iou",
)  # fmt: skip
#: Needs an order of the scans only.
RANKED = ("roc_auc", "pr_auc", "sensitivity_at_specificity", "specificity_at_sensitivity")
#: Needs probabilities.
STATED = ("brier", "ece")
#: Of several classes.
MULTICLASS = ("accuracy", "balanced_accuracy", "macro_precision", "macro_f1", "macro_roc_auc", "macro_pr_auc", "mcc")
PER_CLASS = ("recall", "specificity", "precision", "f1", "roc_auc", "pr_auc")


class Scorer(Protocol):
    """What turns weights (R, N) into metrics (R, M), named by ``names``."""

    names: tuple[str, ...]

    def __call__(self, weights: Values) -> Values:
        """Metrics (R, M) under each row of ``weights`` (R, N)."""
        ...


def intervals(
    scorer: Scorer, groups: ArrayLike, rounds: int = 2000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Every metric of ``scorer`` with its percentile interval, whole groups drawn with replacement.

    The same as `statistics.bootstrap` with the same seed, for all metrics in one pass and without copying rows.

    Parameters
    ----------
    scorer : Scorer
    groups : (N,) array
        Group of each row.
    rounds, seed, level
        As for `statistics.bootstrap`.

    Examples
    --------
    >>> scorer = BinaryScorer([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> intervals(scorer, [0, 1, 2, 3], rounds=200)["roc_auc"].value
    0.75
    """
    if not 0 < level < 1:
        raise DataError(f"interval: {level} is no level; give one between 0 and 1, for example 0.95")
    draws = Draws(groups, rounds, seed)
    values = point(scorer, len(np.asarray(groups)))
    if draws.count < 2:
        return {name: percentile(values[name], np.empty(0), level, draws.count) for name in scorer.names}
    results = distribution(scorer, draws)
    return {name: percentile(values[name], results[:, k], level) for k, name in enumerate(scorer.names)}


def point(scorer: Scorer, rows: int) -> dict[str, float]:
    """Every metric on all rows, each counted once."""
    return dict(zip(scorer.names, scorer(np.ones((1, rows)))[0].tolist(), strict=True))


def distribution(scorer: Scorer, draws: Draws) -> Values:
    """Metrics (rounds, M) of each resample."""
    return np.concatenate([scorer(weights) for weights in draws.weights()])


class BinaryScorer:
    """Metrics of label 1 against label 0, for rows with weights.

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    scores : (N,) float array
    threshold : float or None
        Scores at or above it are called 1; None leaves the metrics out that need decisions.
    probabilities : bool
        Whether scores are probabilities; otherwise Brier score and calibration error are left out.
    fixed : float
        Specificity at which sensitivity is read off the ROC curve of the same rows, and the reverse.

    Examples
    --------
    >>> scorer = BinaryScorer([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> once, twice = scorer(np.array([[1, 1, 1, 1], [1, 0, 1, 1]]))
    >>> [float(found[scorer.names.index("roc_auc")]) for found in (once, twice)]
    [0.75, 1.0]
    """

    def __init__(
        self,
        labels: ArrayLike,
        scores: ArrayLike,
        threshold: float | None = 0.5,
        *,
        probabilities: bool = True,
        fixed: float = FIXED,
    ) -> None:
        truth, values = checked(labels, scores)
        if not 0 < fixed <= 1:
            raise DataError(f"evaluation: {fixed} cannot be asked of sensitivity or specificity; give one in (0, 1]")
        if probabilities and (values.min() < 0 or values.max() > 1):
            raise DataError(
                f"evaluation: probabilities reach from {values.min():g} to {values.max():g}; "
                "pass logits through a sigmoid, or say that they are scores (probabilities=False)"
            )
        self.names = (*(DECIDED if threshold is not None else ()), *RANKED, *(STATED if probabilities else ()))
        order = np.argsort(values, kind="stable")
        self._rows = order[truth[order]], order[~truth[order]]  # tumours and others, each by rising score
        ones, zeros = values[self._rows[0]], values[self._rows[1]]
        self._left = np.searchsorted(zeros, ones, side="left")  # others below each tumour
        right = np.searchsorted(zeros, ones, side="right")  # and those that tie with it
        self._right = None if np.array_equal(self._left, right) else right
        self._tied = None if (np.diff(ones) > 0).all() else np.searchsorted(ones, ones, side="left")
        self._above = np.searchsorted(ones, zeros, side="right")  # tumours not above each other
        self._fixed = fixed
        self._cuts = None if threshold is None else [int(np.searchsorted(part, threshold)) for part in (ones, zeros)]
        self._gaps = [_BinGaps(part, one) for part, one in ((ones, 1), (zeros, 0))] if probabilities else None

    def __call__(self, weights: Values) -> Values:
        """Metrics (R, M) under each row of ``weights`` (R, N)."""
        weights = np.asarray(weights, dtype=np.float64)
        ones, zeros = (np.take(weights, rows, axis=1) for rows in self._rows)
        positive, negative = _running(ones), _running(zeros)
        tumours, healthy = positive[:, -1], negative[:, -1]
        columns = []
        if self._cuts is not None:
            fn, tn = positive[:, self._cuts[0]], negative[:, self._cuts[1]]
            columns += rates(tumours - fn, healthy - tn, tn, fn)
        beaten = np.take(negative, self._left, axis=1)
        won = _dot(ones, beaten)
        if self._right is not None:
            won = (won + _dot(ones, np.take(negative, self._right, axis=1))) / 2  # ties count half
        under = positive[:, :-1] if self._tied is None else np.take(positive, self._tied, axis=1)
        found = tumours[:, None] - under
        np.subtract(healthy[:, None], beaten, out=beaten)  # others called at each tumour's score
        beaten += found
        # where nothing is called, nothing weighs either
        average = _dot(ones, np.divide(found, beaten, out=found, where=beaten > 0))
        columns += [_over(won, tumours * healthy), _over(average, tumours), *self._read_off(positive, negative)]
        if self._gaps is not None:
            total = tumours + healthy
            square = ones @ self._gaps[0].square + zeros @ self._gaps[1].square
            gap = np.abs(self._gaps[0](ones) + self._gaps[1](zeros)).sum(axis=1)
            columns += [_over(square, total), _over(gap, total)]
        return np.stack(columns, axis=1)

    def _read_off(self, positive: Values, negative: Values) -> tuple[Values, Values]:
        """Sensitivity at the fixed specificity, and the reverse, from running sums."""
        tumours, healthy = positive[:, -1], negative[:, -1]
        sensitivity, specificity = np.full(len(positive), np.nan), np.full(len(positive), np.nan)
        for row in np.flatnonzero((tumours > 0) & (healthy > 0)):
            last = np.searchsorted(negative[row, 1:], self._fixed * healthy[row] - _SLACK)  # other that must stay below
            sensitivity[row] = 1 - positive[row, self._above[last]] / tumours[row]
            limit = (1 - self._fixed) * tumours[row] + _SLACK
            first = np.searchsorted(positive[row, :-1], limit, side="right") - 1  # tumour that must be found
            specificity[row] = negative[row, self._left[first]] / healthy[row]
        return sensitivity, specificity


class _BinGaps:
    """Sums of weight times (probability - label) in each bin of the calibration error, for rows in rising order."""

    def __init__(self, stated: Values, label: int) -> None:
        self._gap = stated - label
        self.square = self._gap * self._gap
        which = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
        self._bins, self._starts = np.unique(which, return_index=True)

    def __call__(self, weights: Values) -> Values:
        sums = np.zeros((len(weights), BINS))
        if self._gap.size:
            sums[:, self._bins] = np.add.reduceat(weights * self._gap, self._starts, axis=1)
        return sums


def _running(weights: Values) -> Values:
    """Sums (R, n + 1) of the first 0, 1, ... n columns."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _dot(first: Values, second: Values) -> Values:
    return np.einsum("rk,rk->r", first, second)


def _over(part: Values, whole: Values | float) -> Values:
    """``part / whole``, NaN where ``whole`` is 0."""
    whole = np.broadcast_to(np.asarray(whole, dtype=np.float64), part.shape)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def rates(tp: Values, fp: Values, tn: Values, fn: Values) -> list[Values]:
    """The metrics of `DECIDED`, in their order, from counts (R,); each as in `classification.Confusion`."""
    sensitivity, specificity = _over(tp, tp + fn), _over(tn, tn + fp)
    wrong = fp + fn
    of_one, of_none = _over(tp, tp + wrong), _over(tn, tn + wrong)
    mean_iou = np.where(np.isnan(of_one), of_none, np.where(np.isnan(of_none), of_one, (of_one + of_none) / 2))
    margins = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    return [
        _over(tp + tn, tp + tn + wrong),
        (sensitivity + specificity) / 2,
        sensitivity,
        specificity,
        _over(tp, tp + fp),
        _over(tn, tn + fn),
        _over(2 * tp, 2 * tp + wrong),
        _over(tp * tn - fp * fn, margins),
        mean_iou,
    ]


class MulticlassScorer:
    """Metrics of several classes, for rows with weights: overall ones, then each class against the rest.

    The decision is the class of highest probability (the first of equal ones). Means over classes are NaN where one of
    them is: a class that is absent, or, for precision, never said, is not counted as 0.

    Parameters
    ----------
    labels : (N,) array of class numbers, 0 to K - 1
    probabilities : (N, K) float array
    classes : sequence of K names

    Examples
    --------
    >>> scorer = MulticlassScorer([0, 1, 2], np.eye(3), ["glioma", "meningioma", "none"])
    >>> scorer.names[0], scorer.names[-1], point(scorer, 3)["accuracy"]
    ('accuracy', 'pr_auc of none', 1.0)
    """

    def __init__(self, labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> None:
        truth, values = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
        count = len(classes)
        if values.ndim != 2 or values.shape != (len(truth), count) or truth.size == 0:
            raise DataError(
                f"evaluation: probabilities {values.shape} do not match {len(truth)} labels of {count} classes; "
                "give one row per scan, one column per class"
            )
        if not np.isin(truth, range(count)).all():
            raise DataError(f"evaluation: a label is no class number; use 0 to {count - 1}")
        self._count = count
        self._cells = truth.astype(np.int64) * count + np.argmax(values, axis=1)
        one_hot = sparse.csr_array(
            (np.ones(len(truth)), (self._cells, np.arange(len(truth)))), shape=(count * count, len(truth))
        )
        self._sums = one_hot
        self._ranks = [BinaryScorer(truth == k, values[:, k], None, probabilities=False) for k in range(count)]
        self.names = (*MULTICLASS, *(f"{name} of {label}" for label in classes for name in PER_CLASS))

    def __call__(self, weights: Values) -> Values:
        """Metrics (R, M) under each row of ``weights`` (R, N)."""
        weights = np.asarray(weights, dtype=np.float64)
        table = (self._sums @ weights.T).T.reshape(len(weights), self._count, self._count)
        total = table.sum(axis=(1, 2))
        right = np.diagonal(table, axis1=1, axis2=2)
        truth, said = table.sum(axis=2), table.sum(axis=1)
        recall, precision = _over(right, truth), _over(right, said)
        f1 = _over(2 * right, truth + said)
        specificity = _over(total[:, None] - truth - said + right, total[:, None] - truth)
        ranked = [rank(weights)[:, :2] for rank in self._ranks]
        auc, average = (np.stack([one[:, k] for one in ranked], axis=1) for k in (0, 1))
        overall = [
            _over(right.sum(axis=1), total),
            recall.mean(axis=1),
            precision.mean(axis=1),
            f1.mean(axis=1),
            auc.mean(axis=1),
            average.mean(axis=1),
            _multiclass_mcc(right, truth, said, total),
        ]
        each = np.stack([recall, specificity, precision, f1, auc, average], axis=2).reshape(len(weights), -1)
        return np.concatenate([np.stack(overall, axis=1), each], axis=1)


def _multiclass_mcc(right: Values, truth: Values, said: Values, total: Values) -> Values:
    """Gorodkin's correlation of K classes (Computational Biology and Chemistry 28, 2004); Matthews' for K = 2."""
    both = right.sum(axis=1) * total - (truth * said).sum(axis=1)
    spread = np.sqrt(np.maximum(total**2 - (said**2).sum(axis=1), 0)) * np.sqrt(
        np.maximum(total**2 - (truth**2).sum(axis=1), 0)
    )
    return _over(both, spread)


class RepeatedScorer:
    """Mean of each metric over several predictions of the same scans, such as repeated cross-validation.

    The mean of metrics, not the metric of mean predictions: averaging predictions would score an ensemble that nobody
    trained.

    Parameters
    ----------
    scorers : sequence of Scorer
        One for each repetition, all with the same names.
    rows : sequence of (n,) int arrays
        Places of each repetition's rows among all N.

    Examples
    --------
    >>> twice = [BinaryScorer([0, 1], [0.2, 0.8]), BinaryScorer([0, 1], [0.8, 0.2])]
    >>> point(RepeatedScorer(twice, [np.array([0, 1]), np.array([2, 3])]), 4)["roc_auc"]
    0.5
    """

    def __init__(self, scorers: Sequence[Scorer], rows: Sequence[NDArray[np.intp]]) -> None:
        self.names = scorers[0].names
        self._parts = list(zip(scorers, rows, strict=True))

    def __call__(self, weights: Values) -> Values:
        """Metrics (R, M) under each row of ``weights`` (R, N)."""
        return np.mean([scorer(weights[:, rows]) for scorer, rows in self._parts], axis=0)
