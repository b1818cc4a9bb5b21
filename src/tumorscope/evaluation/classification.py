"""How well scores tell scans with a tumour from scans without: label 1 against label 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


def checked(labels: ArrayLike, scores: ArrayLike, what: str = "scores") -> tuple[Labels, Scores]:
    """``labels`` as bool and ``scores`` as float64, both (N,).

    Raises
    ------
    DataError
        If the two differ in length, hold no row, the labels are not 0 and 1, or a score is NaN.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise DataError(
            f"evaluation: {truth.shape} labels do not match {values.shape} {what}; give one of each per scan"
        )
    if truth.size == 0:
        raise DataError("evaluation: there are no rows; give at least one scan")
    if truth.dtype != bool and not np.isin(truth, (0, 1)).all():
        raise DataError("evaluation: a label is neither 0 nor 1; map classes to tumour (1) against none (0) first")
    if np.isnan(values).any():
        raise DataError(
            f"evaluation: {int(np.isnan(values).sum())} {what} are NaN; leave failed scans out or score them"
        )
    return truth.astype(bool), values


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Chance that a scan with a tumour scores above one without, ties counting half.

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    scores : (N,) float array
        Higher for "tumour"; only their order matters.

    Returns
    -------
    float
        Area under the ROC curve in [0, 1]; NaN when one of the two classes is absent, for then there is none.

    Raises
    ------
    DataError
        As :func:`checked`.

    References
    ----------
    .. [1] Hanley, McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> roc_auc([0, 1], [0.5, 0.5])
    0.5
    """
    truth, values = checked(labels, scores)
    positive, negative = values[truth], np.sort(values[~truth])
    if positive.size == 0 or negative.size == 0:
        return math.nan
    positive = np.sort(positive)  # sorted needles make the searches several times faster
    below = np.searchsorted(negative, positive, side="left").sum()
    not_above = np.searchsorted(negative, positive, side="right").sum()
    return float((below + not_above) / (2 * positive.size * negative.size))


def pr_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision: precision at each threshold, weighted by the gain in sensitivity (no interpolation).

    Without skill it equals the share of tumour scans, not one half. NaN when no scan has a tumour.

    Examples
    --------
    >>> round(pr_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    truth, values = checked(labels, scores)
    if not truth.any():
        return math.nan
    order = np.argsort(-values, kind="stable")
    hits, ranked = truth[order], values[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)  # tied scores enter together
    found = np.cumsum(hits)[ends]
    precision = found / (ends + 1)
    gained = np.diff(found, prepend=0) / found[-1]
    return float(np.sum(precision * gained))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


@dataclass(frozen=True)
class Confusion:
    """Counts of right and wrong decisions, and the rates made from them; NaN where a rate divides by nothing.

    Attributes
    ----------
    tp, fp, tn, fn : int
        Tumours found, false alarms, healthy scans left alone, tumours missed.

    Examples
    --------
    >>> counts = Confusion(tp=8, fp=1, tn=9, fn=2)
    >>> counts.sensitivity, counts.specificity, counts.accuracy, round(counts.f1, 4)
    (0.8, 0.9, 0.85, 0.8421)
    """

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def sensitivity(self) -> float:
        """Share of tumours that were found (recall)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Share of healthy scans that were left alone."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> float:
        """Share of alarms that were tumours (positive predictive value); moves with their share in the data."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def accuracy(self) -> float:
        """Share of right decisions; misleading where one class is rare."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.tn + self.fn)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and sensitivity."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def mcc(self) -> float:
        """Matthews correlation of decision and label, in [-1, 1]; NaN where either takes one value only [1]_.

        .. [1] Matthews, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme",
           Biochimica et Biophysica Acta 405, 1975.
        """
        margins = (self.tp + self.fp) * (self.tp + self.fn) * (self.tn + self.fp) * (self.tn + self.fn)
        return (self.tp * self.tn - self.fp * self.fn) / math.sqrt(margins) if margins else math.nan

    @property
    def binary_iou(self) -> float:
        """Mean of both classes' intersection over union: of tumour, tp/(tp+fp+fn), and of none, tn/(tn+fp+fn).

        What Keras' ``BinaryIoU`` computes over scans (not pixels) with its default classes 0 and 1, where a score at
        the threshold counts as 1 [1]_. As there, a class that is neither present nor said is left out of the mean.

        .. [1] https://keras.io/api/metrics/segmentation_metrics/#binaryiou-class

        Examples
        --------
        >>> counts = confusion([0, 1, 0, 1], np.array([0.1, 0.2, 0.4, 0.7]) >= 0.3)  # the example on that page
        >>> round(counts.binary_iou, 6)
        0.333333
        """
        wrong = self.fp + self.fn
        parts = [right / (right + wrong) for right in (self.tp, self.tn) if right + wrong]
        return sum(parts) / len(parts) if parts else math.nan


def confusion(labels: ArrayLike, decisions: ArrayLike) -> Confusion:
    """Counts of ``decisions`` (1 for tumour) against ``labels``, both (N,) arrays of 0 and 1.

    Examples
    --------
    >>> confusion([1, 1, 0, 0, 0], [1, 0, 0, 0, 1])
    Confusion(tp=1, fp=1, tn=2, fn=1)
    """
    truth, values = checked(labels, decisions, "decisions")
    said, _ = checked(values, values, "decisions")
    return Confusion(
        tp=int((truth & said).sum()),
        fp=int((~truth & said).sum()),
        tn=int((~truth & ~said).sum()),
        fn=int((truth & ~said).sum()),
    )


def threshold_at_sensitivity(labels: ArrayLike, scores: ArrayLike, sensitivity: float = 0.95) -> float:
    """The highest threshold t at which ``score >= t`` still finds the wanted share of tumours.

    Raises
    ------
    DataError
        As :func:`checked`, if no scan has a tumour, or if ``sensitivity`` is not in (0, 1].

    Examples
    --------
    >>> threshold_at_sensitivity([1, 1, 1, 1, 0], [0.9, 0.8, 0.7, 0.2, 0.6], 0.75)
    0.7
    """
    truth, values = checked(labels, scores)
    if not 0 < sensitivity <= 1:
        raise DataError(
            f"evaluation: a sensitivity of {sensitivity} cannot be asked for; give a share above 0, up to 1"
        )
    if not truth.any():
        raise DataError("evaluation: no scan has a tumour; a threshold for sensitivity needs some")
    falling = np.sort(values[truth])[::-1]
    needed = math.ceil(sensitivity * falling.size - 1e-9)  # 0.07 * 100 is 7.000000000000001
    return float(falling[max(needed, 1) - 1])


def _probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Labels, Scores]:
    truth, values = checked(labels, probabilities, "probabilities")
    if values.min() < 0 or values.max() > 1:
        raise DataError(
            f"evaluation: probabilities reach from {values.min():g} to {values.max():g}; pass logits through a sigmoid"
        )
    return truth, values


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared distance of probability and label: 0 at best, 0.25 for always saying one half.

    Examples
    --------
    >>> brier([1, 0], [0.75, 0.25])
    0.0625
    """
    truth, values = _probabilities(labels, probabilities)
    return float(np.mean((values - truth) ** 2))


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean gap between stated probability and share of tumours, over equal-width bins.

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    probabilities : (N,) array in [0, 1]
        Of a tumour, not of the decision taken.
    bins : int
        Number of bins; a bin takes in its lower edge, the last one both. Bins weigh by their rows. On few rows
        the error is biased upward.

    References
    ----------
    .. [1] Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    Examples
    --------
    >>> round(ece([1, 1, 1, 0], [0.9, 0.9, 0.9, 0.9], bins=10), 6)
    0.15
    """
    truth, values = _probabilities(labels, probabilities)
    if bins < 1:
        raise DataError(f"evaluation: {bins} bins hold nothing; give 1 or more")
    which = np.minimum((values * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(which, weights=values - truth, minlength=bins)
    return float(np.abs(gaps).sum() / values.size)
