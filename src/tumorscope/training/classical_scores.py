"""What repeated out-of-fold predictions are worth: means over the divisions, intervals by group."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.audit.crossval import balanced_accuracy
from tumorscope.evaluation.classification import brier, roc_auc
from tumorscope.evaluation.statistics import Interval, bootstrap

Chances = NDArray[np.float64]
Metric = Callable[[NDArray[np.int64], Chances], float]


def scores(
    truth: NDArray[np.int64], chances: Chances, family: NDArray[np.int64], *, rounds: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Figures of a classifier, each the mean over the divisions, beside what needs no skill.

    The divisions are scored one by one: the mean of their probabilities would be the prediction of many models, which
    is better than that of one.

    Parameters
    ----------
    truth : (N,) int array
        Class of each row, 0 to K − 1.
    chances : (R, N, K) float array
        Class probabilities of each division; NaN for a row that it did not hold out. Rows that none held out are left
        out.
    family : (N,) int array
        Rows that are drawn together for the intervals.
    rounds, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``scans, groups, accuracy_of_the_larger_class, balanced_accuracy_without_skill``, and with ``value, low, high``
        (None where the data cannot tell) ``accuracy, balanced_accuracy``, for two classes also ``auc, sensitivity,
        specificity, brier``.

    Examples
    --------
    >>> said = np.array([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]])
    >>> found = scores(np.array([0, 1, 1]), said, np.arange(3), rounds=50)
    >>> round(found["accuracy"]["value"], 3), found["auc"]["value"]
    (0.667, 1.0)
    """
    rows = np.isfinite(chances[:, :, 0]).any(axis=0)
    truth, family, several = truth[rows], family[rows], np.moveaxis(chances[:, rows], 0, 1)
    classes = chances.shape[2]
    found: dict[str, Any] = {
        "scans": len(truth),
        "groups": len(set(family.tolist())),
        "accuracy_of_the_larger_class": float(np.bincount(truth, minlength=classes).max() / len(truth)),
        "balanced_accuracy_without_skill": 1 / classes,
    }
    for name, metric in _metrics(classes).items():
        mean = _over_divisions(metric)
        found[name] = _plain(bootstrap(mean, truth, several, groups=family, rounds=rounds, seed=seed))
    return found


def _over_divisions(metric: Metric) -> Metric:
    """Mean of a metric over the divisions, each on the rows that it held out; (N, R, K) probabilities in."""

    def mean(truth: NDArray[np.int64], several: Chances) -> float:
        found = []
        for said in np.moveaxis(several, 1, 0):
            known = np.isfinite(said[:, 0])
            found.append(metric(truth[known], said[known]) if known.any() else math.nan)
        return float(np.mean(found))

    return mean


def _metrics(classes: int) -> dict[str, Metric]:
    """Metrics of true classes (N,) and class probabilities (N, K)."""
    both: dict[str, Metric] = {
        "accuracy": lambda truth, said: float(np.mean(said.argmax(axis=1) == truth)),
        "balanced_accuracy": lambda truth, said: balanced_accuracy(truth, said.argmax(axis=1)),
    }
    if classes > 2:
        return both
    return both | {
        "auc": lambda truth, said: roc_auc(truth, said[:, 1]),
        "sensitivity": lambda truth, said: _share(said.argmax(axis=1) == 1, truth == 1),
        "specificity": lambda truth, said: _share(said.argmax(axis=1) == 0, truth == 0),
        "brier": lambda truth, said: brier(truth, said[:, 1]),
    }


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(right[among].mean()) if among.any() else math.nan


def _plain(interval: Interval) -> dict[str, float | None]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
