"""Everything there is to say of a model's predictions: metrics, intervals, calibration, sets, slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import threshold_at_sensitivity
from tumorscope.evaluation.conformal import Coverage, fit_conformal, measure
from tumorscope.evaluation.curves import RiskCoverage, Roc, risk_coverage, roc_curve
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.recalibration import METHODS, VALIDATION, Calibrator, fit_calibrator, refuse_overlap
from tumorscope.evaluation.reliability import Reliability, reliability
from tumorscope.evaluation.results import Result, known
from tumorscope.evaluation.scoring import (
    FIXED,
    BinaryScorer,
    MulticlassScorer,
    RepeatedScorer,
    Scorer,
    intervals,
)
from tumorscope.evaluation.statistics import Interval, share
from tumorscope.evaluation.subgroups import Subgroups, subgroups

ROUNDS = 2000  # of the bootstrap: quantiles of 2.5 % then rest on 50 resamples
COVERAGE = 0.9  # promised by the conformal sets
SHARES = ("accuracy", "sensitivity", "specificity", "precision", "npv", "recall")  # have a width at 0 and 1 (Wilson)


@dataclass(frozen=True)
class Evaluation:
    """What a model's predictions are worth.

    Attributes
    ----------
    name : str
        Of the predictions.
    scans, groups : int
    counts : dict of str to int
        Scans of each class.
    threshold : float
        From which class 1 is said; NaN for several classes, or for scores without one.
    results : dict of str to Result
    confusion : (K, K) int array
        Rows: truth; columns: answer.
    roc : Roc or None
        Of two classes.
    reliability : Reliability or None
        Of label 1; for several classes of the class named.
    risk_coverage : RiskCoverage or None
    subgroups : Subgroups
    calibrated : dict of str to (Calibrator, Reliability)
        Fitted on validation, judged here; empty without validation scans.
    coverage : Coverage or None
        Of conformal sets fitted on validation.
    notes : tuple of str
        What a reader has to know.
    """

    name: str
    scans: int
    groups: int
    counts: dict[str, int]
    threshold: float
    results: dict[str, Result]
    confusion: NDArray[np.int64]
    roc: Roc | None
    reliability: Reliability | None
    risk_coverage: RiskCoverage | None
    subgroups: Subgroups
    calibrated: dict[str, tuple[Calibrator, Reliability]] = field(default_factory=dict)
    coverage: Coverage | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Result:
        return self.results[name]

    def sentences(self) -> list[str]:
        """Everything in plain words, the most important first."""
        told = [f"{self.scans} scans in {self.groups} groups: {', '.join(f'{n} {k}' for k, n in self.counts.items())}."]
        told += [*self.notes, *(result.sentence() for name, result in self.results.items() if " of " not in name)]
        if self.reliability is not None:
            told.append(self.reliability.sentence())
        for calibrator, after in self.calibrated.values():
            told.append(f"{calibrator.sentence()} Here it brings the calibration error to {after.ece:.3f}.")
        if self.risk_coverage is not None:
            told.append(self.risk_coverage.sentence())
        if self.coverage is not None:
            told.append(self.coverage.sentence())
        return told + self.subgroups.sentences()

    def table(self) -> pl.DataFrame:
        """One row for each metric: metric, title, value, low, high, level, trivial, reason, sentence."""
        return pl.DataFrame([result.to_dict() for result in self.results.values()], infer_schema_length=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for metrics.json; None where something is unknown."""
        calibration = {
            name: {"temperature": one.temperature, "ece": after.ece, "brier": after.brier, "sentence": one.sentence()}
            for name, (one, after) in self.calibrated.items()
        }
        return known(
            {
                "name": self.name,
                "scans": self.scans,
                "groups": self.groups,
                "counts": self.counts,
                "threshold": self.threshold,
                "metrics": [result.to_dict() for result in self.results.values()],
                "confusion": self.confusion.tolist(),
                "reliability": None if self.reliability is None else _plain(self.reliability),
                "aurc": None if self.risk_coverage is None else self.risk_coverage.aurc,
                "excess_aurc": None if self.risk_coverage is None else self.risk_coverage.excess,
                "calibrated": calibration,
                "coverage": None if self.coverage is None else _covered(self.coverage),
                "slices": [one.to_dict() for one in self.subgroups.slices],
                "notes": list(self.notes),
                "sentences": self.sentences(),
            }
        )


def evaluate_predictions(
    predictions: Predictions,
    validation: Predictions | None = None,
    *,
    threshold: float | None = None,
    sensitivity: float | None = None,
    slices: Sequence[str] | None = None,
    coverage: float = COVERAGE,
    fixed: float = FIXED,
    rounds: int = ROUNDS,
    seed: int = 0,
    level: float = 0.95,
) -> Evaluation:
    """Metrics with intervals by group, curves, calibration and slices of a model's predictions.

    Nothing is fitted on ``predictions``. The threshold is 0.5 (0 of a score), a given one, or one that reaches a wanted
    sensitivity on the validation scans; calibration and conformal sets come from the validation scans, and a scan (or
    its group) that stands in both is an error.

    Parameters
    ----------
    predictions : Predictions
        What is judged: test scans, or out-of-fold predictions (with ``repeat`` where they were repeated).
    validation : Predictions, optional
        Scans that may be fitted on; all their rows, or those with ``split`` "val" where the column exists.
    threshold : float, optional
        From which a scan is called a tumour.
    sensitivity : float, optional
        Choose the threshold on the validation scans so that this share of their tumours is found.
    slices : sequence of str, optional
        Columns to slice by (`subgroups.subgroups`).
    coverage : float
        Promised by the conformal sets.
    fixed : float
        Specificity at which sensitivity is read off, and the reverse.
    rounds, seed, level
        Of the bootstrap, as for `statistics.bootstrap`. Intervals of shares that are exactly 0 or 1 are Wilson's.

    Raises
    ------
    DataError
        For settings that contradict each other, or scans that stand on both sides.

    Examples
    --------
    >>> table = pl.DataFrame({"id": list("abcdef"), "label": [0, 0, 0, 1, 1, 1]})
    >>> table = table.with_columns(probability=pl.Series([0.1, 0.2, 0.6, 0.4, 0.8, 0.9]))
    >>> found = evaluate_predictions(Predictions.of(table), rounds=200)
    >>> found["roc_auc"].interval.value, found.confusion.tolist()
    (0.889, [[2, 1], [1, 2]])
    """
    limit = _threshold(predictions, validation, threshold, sensitivity)
    repeats = predictions.repeats()
    scorers = [_scorer(predictions.only(rows), limit, fixed) for rows in repeats]
    scorer = scorers[0] if len(scorers) == 1 else RepeatedScorer(scorers, repeats)
    found = intervals(scorer, predictions.groups, rounds, seed, level)
    said = predictions.decisions(limit) if not math.isnan(limit) or not predictions.binary else None
    found = _with_reasons(found, predictions, said, level)
    trivial = _trivial(predictions)
    results = {name: Result(name, span, trivial.get(name, math.nan), fixed) for name, span in found.items()}
    once = predictions.only(repeats[0])
    evaluation = Evaluation(
        name=predictions.name,
        scans=len(once),
        groups=len(np.unique(once.groups)),
        counts={name: int((once.truth == k).sum()) for k, name in enumerate(once.classes)},
        threshold=limit,
        results=results,
        confusion=_confusion(once, said[repeats[0]] if said is not None else None),
        roc=roc_curve(once.truth, once.scores) if once.binary else None,
        reliability=_diagram(once, level) if once.probabilities else None,
        risk_coverage=_risk_coverage(once) if once.probabilities else None,
        subgroups=subgroups(predictions, slices, limit, level) if said is not None else Subgroups((), 0),
        notes=tuple(_notes(predictions, len(repeats))),
    )
    if validation is None or not predictions.probabilities:
        return evaluation
    return _with_validation(evaluation, once, validation, coverage, level)


def _with_validation(
    evaluation: Evaluation, once: Predictions, validation: Predictions, coverage: float, level: float
) -> Evaluation:
    """The evaluation with what was fitted on validation scans and judged on these."""
    rows = _marked(validation)
    calibrators = [fit_calibrator(rows, method) for method in METHODS] if len(np.unique(rows.truth)) > 1 else []
    calibrated = {}
    for calibrator in calibrators:
        calibrated[calibrator.method] = (calibrator, _diagram(calibrator(once), level))
    return replace(evaluation, calibrated=calibrated, coverage=measure(fit_conformal(rows, coverage), once, level))


def _marked(validation: Predictions) -> Predictions:
    """Validation scans with ``split`` filled in: being passed as ``validation`` says what they are."""
    if "split" in validation.table.columns and validation.table["split"].null_count() < len(validation):
        return validation.part(VALIDATION)
    return replace(validation, table=validation.table.with_columns(split=pl.lit(VALIDATION)))


def _threshold(
    predictions: Predictions, validation: Predictions | None, threshold: float | None, sensitivity: float | None
) -> float:
    if validation is not None:
        refuse_overlap(predictions, _marked(validation), "stand in the validation scans too")
    if not predictions.binary:
        if threshold is not None or sensitivity is not None:
            raise DataError("evaluation: of several classes the most probable one is said; leave the threshold out")
        return math.nan
    if threshold is not None and sensitivity is not None:
        raise DataError("evaluation: a threshold and a sensitivity were given; give one of them")
    if sensitivity is not None:
        if validation is None:
            raise DataError("evaluation: a threshold for a sensitivity is chosen on validation scans; give some")
        rows = _marked(validation)
        return threshold_at_sensitivity(rows.truth, rows.scores, sensitivity)
    if threshold is not None:
        return threshold
    return 0.5 if predictions.probabilities else math.nan


def _scorer(rows: Predictions, threshold: float, fixed: float) -> Scorer:
    if not rows.binary:
        return MulticlassScorer(rows.truth, rows.scores, rows.classes)
    limit = None if math.isnan(threshold) else threshold
    return BinaryScorer(rows.truth, rows.scores, limit, probabilities=rows.probabilities, fixed=fixed)


def _trivial(rows: Predictions) -> dict[str, float]:
    """What an answer without skill gets, by metric."""
    shares = np.bincount(rows.truth, minlength=len(rows.classes)) / len(rows)
    always = {"accuracy": float(shares.max()), "balanced_accuracy": 1 / len(rows.classes), "mcc": 0.0}
    if not rows.binary:
        each = {f"roc_auc of {name}": 0.5 for name in rows.classes}
        each |= {f"pr_auc of {name}": float(shares[k]) for k, name in enumerate(rows.classes)}
        return {**always, "macro_roc_auc": 0.5, "macro_pr_auc": float(shares.mean()), **each}
    tumours = float(shares[1])
    return {**always, "roc_auc": 0.5, "pr_auc": tumours, "precision": tumours, "brier": tumours * (1 - tumours)}


def _with_reasons(
    found: dict[str, Interval], rows: Predictions, said: NDArray[np.int64] | None, level: float
) -> dict[str, Interval]:
    """Intervals with a plain reason for each NaN, and with a width for shares of exactly 0 or 1."""
    absent = [name for k, name in enumerate(rows.classes) if not (rows.truth == k).any()]
    silent = [] if said is None else [name for k, name in enumerate(rows.classes) if not (said == k).any()]
    changed = {}
    for name, span in found.items():
        if math.isnan(span.value):
            reason = f"no scan of {', '.join(absent)}" if absent else f"{', '.join(silent)} is never said"
            span = replace(span, reason=reason)
        elif span.bounded and span.low == span.high and span.value in (0.0, 1.0):
            span = _wider(name, span, rows, said, level)
        changed[name] = span
    return changed


def _wider(name: str, span: Interval, rows: Predictions, said: NDArray[np.int64] | None, level: float) -> Interval:
    """Wilson's interval of a share of 0 or 1; NaN bounds, with the reason, of what is no share."""
    metric, _, label = name.partition(" of ")
    if said is not None and metric in SHARES:
        number = rows.classes.index(label) if label else 1
        chosen = {
            "accuracy": np.ones(len(rows), bool),
            "sensitivity": rows.truth == 1,
            "recall": rows.truth == number,
            "specificity": rows.truth != number,
            "precision": said == number,
            "npv": said == 0,
        }[metric]
        size = np.full(int(chosen.sum()), span.value)
        return share(size, rows.groups[chosen], level)
    nan = math.nan
    return Interval(span.value, nan, nan, level, "every resample gives the same; these scans cannot tell more")


def _confusion(rows: Predictions, said: NDArray[np.int64] | None) -> NDArray[np.int64]:
    count = len(rows.classes)
    if said is None:
        return np.zeros((count, count), np.int64)
    return np.bincount(rows.truth * count + said, minlength=count * count).reshape(count, count)


def _diagram(rows: Predictions, level: float) -> Reliability:
    if rows.binary:
        return reliability(rows.truth, rows.scores, groups=rows.groups, level=level)
    right, sure = rows.decisions() == rows.truth, rows.scores.max(axis=1)
    return reliability(right, np.clip(sure, 0, 1), groups=rows.groups, level=level)


def _risk_coverage(rows: Predictions) -> RiskCoverage:
    sure = np.maximum(rows.scores, 1 - rows.scores) if rows.binary else rows.scores.max(axis=1)
    return risk_coverage(rows.decisions() == rows.truth, sure)


def _notes(rows: Predictions, repeats: int) -> list[str]:
    notes = [f"{count} rows {reason} are left out." for reason, count in rows.left_out.items()]
    if not rows.known_groups:
        notes.append(
            "The file does not say which scans belong to one patient (group, patient or case); each counts as "
            "independent, and if that is wrong all intervals are too narrow."
        )
    if repeats > 1:
        notes.append(
            f"Each metric is the mean of {repeats} repetitions; curves, slices and calibration show the first."
        )
    if not rows.probabilities:
        notes.append("Scores are no probabilities: nothing is said of calibration.")
    return notes


def _plain(diagram: Reliability) -> dict[str, Any]:
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(diagram).items()} | {
        "sentence": diagram.sentence()
    }


def _covered(coverage: Coverage) -> dict[str, Any]:
    return {
        "promised": coverage.promised,
        "overall": coverage.overall.value,
        "per_class": {name: vars(span) for name, span in coverage.per_class.items()},
        "size": coverage.size,
        "single": coverage.single,
        "empty": coverage.empty,
        "sentence": coverage.sentence(),
    }
