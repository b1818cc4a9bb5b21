"""Curves over every threshold: ROC, precision and recall, and risk against coverage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import checked

Values = NDArray[np.float64]

_SLACK = 1e-9  # 0.07 * 100 is 7.000000000000001


@dataclass(frozen=True)
class Roc:
    """Sensitivity and specificity at each threshold, from "call nothing" (threshold infinite) to "call everything".

    Attributes
    ----------
    thresholds, sensitivity, specificity, precision : (K + 1,) float arrays
        A scan is called when its score is at or above the threshold; K distinct scores. Precision is NaN where nothing
        is called. Sensitivity is NaN throughout where no scan has a tumour, specificity where all have one.
    """

    thresholds: Values
    sensitivity: Values
    specificity: Values
    precision: Values

    def sensitivity_at(self, specificity: float) -> float:
        """The largest sensitivity among the thresholds with at least this specificity, on the same rows.

        Examples
        --------
        >>> roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).sensitivity_at(0.95)
        0.5
        """
        return self._best(self.sensitivity, self.specificity, specificity, "specificity")

    def specificity_at(self, sensitivity: float) -> float:
        """The largest specificity among the thresholds with at least this sensitivity, on the same rows."""
        return self._best(self.specificity, self.sensitivity, sensitivity, "sensitivity")

    @staticmethod
    def _best(wanted: Values, fixed: Values, least: float, what: str) -> float:
        if not 0 < least <= 1:
            raise DataError(f"evaluation: a {what} of {least} cannot be asked for; give a share above 0, up to 1")
        if np.isnan(wanted).any() or np.isnan(fixed).any():
            return math.nan
        return float(wanted[fixed >= least - _SLACK].max())

    def sentence(self, specificity: float = 0.95) -> str:
        """What the curve says at one specificity.

        Examples
        --------
        >>> roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).sentence()
        'With at most 5 % false alarms among scans without a tumour, 50 % of the tumours are found; the threshold is
        read off these same scans, which flatters it.'
        """
        found = self.sensitivity_at(specificity)
        if math.isnan(found):
            return "Only one class is present: there is no ROC curve."
        return (
            f"With at most {100 * (1 - specificity):.3g} % false alarms among scans without a tumour, "
            f"{100 * found:.0f} % of the tumours are found; the threshold is read off these same scans, "
            "which flatters it."
        )


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> Roc:
    """Sensitivity, specificity and precision at each distinct score.

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    scores : (N,) float array

    Raises
    ------
    DataError
        As `classification.checked`.

    Examples
    --------
    >>> curve = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> curve.thresholds.tolist(), curve.sensitivity.tolist(), curve.specificity.tolist()
    ([inf, 0.8, 0.4, 0.35, 0.1], [0.0, 0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.5, 0.0])
    """
    truth, values = checked(labels, scores)
    order = np.argsort(-values, kind="stable")
    hits, ranked = truth[order], values[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    found = np.concatenate([[0], np.cumsum(hits)[ends]]).astype(np.float64)
    called = np.concatenate([[0], ends + 1]).astype(np.float64)
    tumours, healthy = float(truth.sum()), float((~truth).sum())
    return Roc(
        thresholds=np.concatenate([[np.inf], ranked[ends]]),
        sensitivity=found / tumours if tumours else np.full(len(found), np.nan),
        specificity=1 - (called - found) / healthy if healthy else np.full(len(found), np.nan),
        precision=np.divide(found, called, out=np.full(len(found), np.nan), where=called > 0),
    )


@dataclass(frozen=True)
class RiskCoverage:
    """Share of wrong answers among the surest scans, for each number of scans answered.

    Attributes
    ----------
    coverage, risk : (N,) float arrays
        Of the 1, 2, ... N surest scans: their share of all, and the share of wrong answers among them. Scans of equal
        confidence are answered in random order, of which this is the mean.
    aurc : float
        Area under the curve: the mean of ``risk``. 0 is best, the error rate of all scans is what an uninformative
        confidence gives.
    least : float
        AURC of the same answers if all wrong ones were the least sure.
    """

    coverage: Values
    risk: Values
    aurc: float
    least: float

    @property
    def excess(self) -> float:
        """AURC beyond the least possible one: what a better confidence could gain with the same answers (E-AURC)."""
        return self.aurc - self.least

    def risk_at(self, coverage: float) -> float:
        """Share of wrong answers among the surest scans that make up at least this share of all."""
        if not 0 < coverage <= 1:
            raise DataError(f"evaluation: a coverage of {coverage} answers nothing; give a share above 0, up to 1")
        return float(self.risk[math.ceil(coverage * len(self.risk) - _SLACK) - 1])

    def sentence(self, coverage: float = 0.8) -> str:
        """What leaving out the least sure scans gains.

        Examples
        --------
        >>> risk_coverage([1, 1, 1, 1, 0], [0.9, 0.8, 0.9, 0.7, 0.6]).sentence()
        'Answering only the surest 80 % of the scans, 0.0 % of the answers are wrong, against 20.0 % of all.'
        """
        return (
            f"Answering only the surest {100 * coverage:.0f} % of the scans, {100 * self.risk_at(coverage):.1f} % of "
            f"the answers are wrong, against {100 * self.risk_at(1):.1f} % of all."
        )


def risk_coverage(right: ArrayLike, confidence: ArrayLike) -> RiskCoverage:
    """The risk-coverage curve of answers and how sure they are.

    Parameters
    ----------
    right : (N,) array of 0 and 1
        Whether each answer is right.
    confidence : (N,) float array
        Higher for surer, say the probability of the class that is named.

    Raises
    ------
    DataError
        As `classification.checked`.

    References
    ----------
    .. [1] Geifman, El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.
    .. [2] Geifman, Uziel, El-Yaniv, "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019.

    Examples
    --------
    >>> curve = risk_coverage([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6])
    >>> curve.risk.round(3).tolist(), round(curve.aurc, 4)
    ([0.0, 0.5, 0.333, 0.5], 0.3333)
    """
    answers, values = checked(right, confidence, "confidences")
    order = np.argsort(-values, kind="stable")
    wrong, ranked = (~answers[order]).astype(np.float64), values[order]
    block = np.concatenate([[0], np.cumsum(np.diff(ranked) != 0)])
    expected = (np.bincount(block, wrong) / np.bincount(block))[block]  # within a tie any order is as likely
    places = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(expected) / places
    best = np.cumsum(np.sort(wrong)) / places
    return RiskCoverage(places / len(wrong), risk, float(risk.mean()), float(best.mean()))
