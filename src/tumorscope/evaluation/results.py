"""What a metric is called, what it means, and what needs no skill: a number with its sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tumorscope.evaluation.statistics import Interval

#: Title and meaning of each metric; {v} is the value in percent, {value} as it is.
METRICS: Mapping[str, tuple[str, str]] = {
    "accuracy": ("accuracy", "{v} % of the answers are right"),
    "balanced_accuracy": ("balanced accuracy", "averaged over the classes, {v} % of the answers are right"),
    "sensitivity": ("sensitivity", "{v} % of the tumours are found"),
    "specificity": ("specificity", "{v} % of the scans without a tumour are left alone"),
    "precision": ("precision", "{v} % of the alarms are tumours"),
    "npv": ("negative predictive value", "{v} % of the all-clears are right"),
    "f1": ("F1", "the harmonic mean of precision and sensitivity is {value}"),
    "mcc": ("Matthews correlation", "answer and truth correlate by {value}"),
    "binary_iou": ("binary IoU", "averaged over both classes, intersection over union is {value}"),
    "roc_auc": ("ROC-AUC", "a scan with a tumour scores above one without in {v} % of the pairs"),
    "pr_auc": ("PR-AUC", "the average precision over all thresholds is {value}"),
    "sensitivity_at_specificity": (
        "sensitivity at {fixed} % specificity",
        "with at most {left} % false alarms {v} % of the tumours could be found, were the threshold known",
    ),
    "specificity_at_sensitivity": (
        "specificity at {fixed} % sensitivity",
        "with at most {left} % of the tumours missed {v} % of other scans could be left alone, were the limit known",
    ),
    "brier": ("Brier score", "the mean squared error of the probability is {value}"),
    "ece": ("calibration error", "stated probabilities are off by {v} points on average"),
    "macro_precision": ("macro precision", "averaged over the classes, {v} % of the calls are right"),
    "macro_f1": ("macro F1", "averaged over the classes, F1 is {value}"),
    "macro_roc_auc": ("macro ROC-AUC", "averaged over the classes against the rest, the AUC is {value}"),
    "macro_pr_auc": ("macro PR-AUC", "averaged over the classes against the rest, the average precision is {value}"),
    "recall": ("recall", "{v} % of the scans of this class are recognised"),
}
LESS_IS_BETTER = ("brier", "ece")


@dataclass(frozen=True)
class Result:
    """One metric with its interval, what needs no skill, and its meaning.

    Attributes
    ----------
    name : str
        Key of `METRICS`, or "METRIC of CLASS".
    interval : Interval
    trivial : float
        What always naming the larger class, or a score without information, gets; NaN where that is undefined.
    fixed : float
        Specificity or sensitivity that is held, for the two metrics that hold one.

    Examples
    --------
    >>> print(Result("roc_auc", Interval(0.912, 0.881, 0.94), 0.5).sentence())
    ROC-AUC 0.912 (95 % interval 0.881 to 0.940; without skill 0.500): a scan with a tumour scores above one without in
    91 % of the pairs.
    >>> print(Result("roc_auc", Interval(math.nan, math.nan, math.nan, reason="one class only")).sentence())
    ROC-AUC is unknown: one class only.
    """

    name: str
    interval: Interval
    trivial: float = math.nan
    fixed: float = 0.95

    @property
    def title(self) -> str:
        """The name as people say it."""
        metric, of, label = self.name.partition(" of ")
        return METRICS[metric][0].format(fixed=f"{100 * self.fixed:g}") + of + label

    @property
    def beyond_trivial(self) -> bool:
        """Whether the whole interval is better than what needs no skill."""
        if self.name in LESS_IS_BETTER:
            return self.interval.high < self.trivial
        return self.interval.low > self.trivial

    def sentence(self) -> str:
        """The number, how sure it is, and what it means."""
        span, title = self.interval, self.title[0].upper() + self.title[1:]
        if math.isnan(span.value):
            return f"{title} is unknown: {span.reason or 'undefined on these scans'}."
        parts = []
        if span.bounded:
            parts.append(f"{100 * span.level:.0f} % interval {span.low:.3f} to {span.high:.3f}")
        else:
            parts.append(f"no interval: {span.reason}")
        if not math.isnan(self.trivial):
            parts.append(f"without skill {self.trivial:.3f}")
        meaning = METRICS[self.name.partition(" of ")[0]][1].format(
            v=f"{100 * span.value:.0f}", value=f"{span.value:.3f}", left=f"{100 * (1 - self.fixed):.3g}"
        )
        return f"{title} {span.value:.3f} ({'; '.join(parts)}): {meaning}."

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words; None for NaN."""
        span = self.interval
        return {
            "metric": self.name,
            "title": self.title,
            "value": known(span.value),
            "low": known(span.low),
            "high": known(span.high),
            "level": span.level,
            "trivial": known(self.trivial),
            "reason": span.reason or None,
            "sentence": self.sentence(),
        }


def known(value: Any) -> Any:
    """``value`` with NaN and infinity as None, also within dictionaries and lists: what JSON can hold."""
    if isinstance(value, dict):
        return {key: known(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [known(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
