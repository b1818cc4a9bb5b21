"""Sets of classes that hold the truth as often as promised, for each class: Mondrian conformal prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.recalibration import VALIDATION, refuse_overlap, validation
from tumorscope.evaluation.statistics import Interval, share

Values = NDArray[np.float64]

_SLACK = 1e-9  # 0.9 * 10 is 9.000000000000002


@dataclass(frozen=True)
class Conformal:
    """Thresholds that turn class probabilities into sets.

    Attributes
    ----------
    coverage : float
        Promised for the scans of each class.
    limits : (K,) float array
        A class is in the set when 1 - its probability is at most its limit; infinite (always in) where the class has
        too few validation scans to promise anything else.
    classes : tuple of str
    counts : (K,) int array
        Validation scans of each class.
    """

    coverage: float
    limits: Values
    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    fitted: Predictions | None = field(default=None, repr=False)

    def sets(self, probabilities: ArrayLike) -> NDArray[np.bool_]:
        """Whether each class is in each scan's set, (N, K).

        Parameters
        ----------
        probabilities : (N,) or (N, K) float array
            Of label 1, or of each class.
        """
        return 1 - _columns(probabilities) <= self.limits + _SLACK

    def sentence(self) -> str:
        """What is promised."""
        loose = [name for name, limit in zip(self.classes, self.limits, strict=True) if math.isinf(limit)]
        note = f" Too few validation scans of {', '.join(loose)}: always in the set." if loose else ""
        return (
            f"Each set holds the true class for at least {100 * self.coverage:.0f} % of the scans of every class.{note}"
        )


def conformal_limits(
    labels: ArrayLike, probabilities: ArrayLike, coverage: float = 0.9
) -> tuple[Values, NDArray[np.int64]]:
    """Limit of each class and number of its scans, from validation rows.

    The nonconformity of a scan is 1 - the probability of its true class. The limit of a class with n scans is its
    ceil((n + 1) · coverage)-th smallest one, or infinite where that is more than n [1]_, [2]_. Scans of the class that
    are exchangeable with these are then covered with at least this chance.

    Parameters
    ----------
    labels : (N,) int array
        Class numbers.
    probabilities : (N,) or (N, K) float array
    coverage : float
        In (0, 1).

    References
    ----------
    .. [1] Vovk, Gammerman, Shafer, "Algorithmic learning in a random world", 2005, sec. 4.5 (Mondrian).
    .. [2] Sadinle, Lei, Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", J. Am. Stat.
       Assoc. 114, 2019.

    Examples
    --------
    >>> limits, counts = conformal_limits([1] * 9 + [0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 0.8)
    >>> limits.round(6).tolist(), counts.tolist()
    ([inf, 0.8], [1, 9])
    """
    if not 0 < coverage < 1:
        raise DataError(f"conformal: a coverage of {coverage} cannot be promised; give one between 0 and 1, say 0.9")
    columns, truth = _columns(probabilities), np.asarray(labels, dtype=np.int64)
    if len(columns) != len(truth):
        raise DataError(
            f"conformal: {len(truth)} labels and {len(columns)} rows of probabilities do not match; pair them"
        )
    count = columns.shape[1]
    strange = 1 - columns[np.arange(len(truth)), truth]
    limits, counts = np.full(count, np.inf), np.bincount(truth, minlength=count)
    for k in range(count):
        own = np.sort(strange[truth == k])
        place = math.ceil((len(own) + 1) * coverage - _SLACK)
        if place <= len(own):
            limits[k] = own[place - 1]
    return limits, counts


def fit_conformal(predictions: Predictions, coverage: float = 0.9, split: str = VALIDATION) -> Conformal:
    """Sets fitted on validation scans alone, named as for `recalibration.fit_calibrator`.

    The promise is for scans that are exchangeable with these. Scans of one patient are alike, so that the measured
    coverage (`measure`) varies more than for independent scans; where test data come from elsewhere, it need not hold.

    Raises
    ------
    DataError
        As `fit_calibrator`, or for a coverage outside (0, 1).
    """
    rows = validation(predictions, split, "conformal")
    if not rows.probabilities:
        raise DataError(f"{rows.name}: scores are no probabilities; give a column 'probability'")
    limits, counts = conformal_limits(rows.truth, rows.scores, coverage)
    return Conformal(coverage, limits, rows.classes, counts, rows)


@dataclass(frozen=True)
class Coverage:
    """How often the sets held the truth on scans that nothing was fitted on.

    Attributes
    ----------
    promised : float
    overall : Interval
    per_class : dict of str to Interval
    size : float
        Mean number of classes in a set.
    single, empty : float
        Share of sets with exactly one class, and with none.
    """

    promised: float
    overall: Interval
    per_class: dict[str, Interval]
    size: float
    single: float
    empty: float

    def sentence(self) -> str:
        """Whether the promise was kept, and what it costs.

        Examples
        --------
        >>> held = Interval(0.94, 0.90, 0.97)
        >>> Coverage(0.9, held, {"none": held, "tumour": Interval(0.7, 0.6, 0.8)}, 1.2, 0.8, 0.0).sentence()
        'Sets that promise 90 % hold the truth for 94 % of the scans; short of it for tumour (70 %, 95 % interval 60 to
        80). 80 % of the scans get a single answer.'
        """
        short = [
            f"{name} ({100 * span.value:.0f} %, {100 * span.level:.0f} % interval "
            f"{100 * span.low:.0f} to {100 * span.high:.0f})"
            for name, span in self.per_class.items()
            if span.high < self.promised
        ]
        kept = f"short of it for {', '.join(short)}" if short else "no class is shown to fall short"
        held = f"{100 * self.overall.value:.0f} % of the scans"
        return (
            f"Sets that promise {100 * self.promised:.0f} % hold the truth for {held}; {kept}. "
            f"{100 * self.single:.0f} % of the scans get a single answer."
        )


def measure(conformal: Conformal, predictions: Predictions, level: float = 0.95) -> Coverage:
    """Coverage of the sets on other scans, of all and of each class.

    Raises
    ------
    DataError
        If the classes differ, or a scan or its group was fitted on.
    """
    if predictions.classes != conformal.classes:
        raise DataError(f"{predictions.name}: its classes are not those of the sets; fit them on the same model")
    if conformal.fitted is not None:
        refuse_overlap(predictions, conformal.fitted, "the sets were fitted on")
    sets = conformal.sets(predictions.scores)
    held = sets[np.arange(len(predictions)), predictions.truth]
    sizes = sets.sum(axis=1)
    per_class = {}
    for k, name in enumerate(predictions.classes):
        own = predictions.truth == k
        per_class[name] = share(held[own], predictions.groups[own], level)
    return Coverage(
        promised=conformal.coverage,
        overall=share(held, predictions.groups, level),
        per_class=per_class,
        size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
        empty=float((sizes == 0).mean()),
    )


def _columns(probabilities: ArrayLike) -> Values:
    values = np.asarray(probabilities, dtype=np.float64)
    return np.stack([1 - values, values], axis=1) if values.ndim == 1 else values
