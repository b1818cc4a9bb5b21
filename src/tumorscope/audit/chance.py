"""The random-label test: what a way of testing is worth when there is nothing to learn.

Labels are dealt anew, whole groups at once, so that nothing in a picture tells its label. A sound protocol then scores
chance. One that lets copies of a training scan into the test scores more: it measures recognition, not diagnosis.

Only the sound protocol is here, with folds that cut no group. The leaky ones, for comparison, are in
``benchmarks/leaky_protocol.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.crossval import FOLDS, Task, balanced_accuracy
from tumorscope.errors import DataError, look_up

DEALS = 20  # times the labels are dealt anew
LEVEL = 0.95
REFUSED = ("scan", "random", "augmented")

IntArray = NDArray[np.int64]
#: Rows to learn from, their labels, rows to answer: the answers.
Pipeline = Callable[[IntArray, IntArray, IntArray], NDArray]


@dataclass(frozen=True)
class Chance:
    """Balanced accuracies of one pipeline under one protocol, with the labels as they are and dealt at random.

    Parameters
    ----------
    protocol : str
        How the scans were divided.
    true : float
        With the labels as they are.
    dealt : tuple of float
        With labels dealt anew, one for each deal.
    chance : float
        What a guess gets: one over the number of classes.
    scans, groups : int
        What was divided.
    """

    protocol: str
    true: float
    dealt: tuple[float, ...]
    chance: float
    scans: int
    groups: int

    @property
    def mean(self) -> float:
        """Mean over the deals: what the protocol itself is worth."""
        return float(np.mean(self.dealt))

    @property
    def low(self) -> float:
        """Lower end of the central 95 % of the deals."""
        return float(np.quantile(self.dealt, (1 - LEVEL) / 2))

    @property
    def high(self) -> float:
        """Upper end of the central 95 % of the deals."""
        return float(np.quantile(self.dealt, (1 + LEVEL) / 2))

    @property
    def leaks(self) -> bool:
        """Whether the central 95 % of the deals lie above chance."""
        return self.low > self.chance

    @property
    def p_value(self) -> float:
        """Share of the deals, the true labels among them, that score at least what the true labels do."""
        return (1 + sum(score >= self.true for score in self.dealt)) / (1 + len(self.dealt))

    def sentence(self) -> str:
        """What the protocol gives away, and what the true labels score beside that.

        Examples
        --------
        >>> print(Chance("folds by group", 0.81, (0.47, 0.50, 0.53), 0.5, 253, 210).sentence())
        With labels dealt at random folds by group score 0.50 balanced accuracy (0.47 to 0.53 in 95 % of 3 deals;
        chance is 0.50), so the protocol gives nothing away; with the true labels they score 0.81
        """
        verdict = "the protocol itself tells the answer" if self.leaks else "the protocol gives nothing away"
        spread = f"{self.low:.2f} to {self.high:.2f} in 95 % of {len(self.dealt)} deals; chance is {self.chance:.2f}"
        return (
            f"With labels dealt at random {self.protocol} score {self.mean:.2f} balanced accuracy ({spread}), "
            f"so {verdict}; with the true labels they score {self.true:.2f}"
        )


def deal(truth: IntArray, family: IntArray, rng: np.random.Generator) -> IntArray:
    """Labels (N,) dealt anew: each family gets the label of another, all its rows the same.

    A family of several labels hands on the most frequent of them.

    Examples
    --------
    >>> dealt = deal(np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 2]), np.random.default_rng(0))
    >>> dealt[0] == dealt[1], dealt[3] == dealt[4]
    (np.True_, np.True_)
    """
    _, member = np.unique(family, return_inverse=True)
    votes = np.zeros((member.max() + 1, truth.max() + 1), np.int64)
    np.add.at(votes, (member, truth), 1)
    return rng.permutation(votes.argmax(axis=1))[member]


def random_labels(
    pipeline: Pipeline,
    table: pl.DataFrame,
    target: str = "label",
    *,
    protocol: str = "group",
    folds: int = FOLDS,
    deals: int = DEALS,
    seed: int = 0,
) -> Chance:
    """Scores of a pipeline in cross-validation, with the labels as they are and dealt at random.

    Parameters
    ----------
    pipeline : callable
        ``pipeline(learn, labels, answer)`` learns from the rows ``learn`` of ``table``, whose class numbers are
        ``labels``, and returns class numbers for the rows ``answer``. Augmentation, selection of features and all
        else that looks at data belongs inside it.
    table : polars.DataFrame
        A manifest with groups.
    target : str
        Column to predict.
    protocol : "group"
        Folds that cut no group. There is no other here.
    folds, deals : int
        Parts of the cross-validation; times that labels are dealt. Each deal has folds of its own.
    seed : int
        Same seed, same folds and deals.

    Raises
    ------
    DataError
        For another protocol, or if there is nothing to predict (`crossval.Task.of`).
    """
    if protocol in REFUSED:
        raise DataError(
            f"protocol: '{protocol}' puts scans of one group on both sides; use 'group', "
            "or see benchmarks/leaky_protocol.py for what such a protocol scores"
        )
    look_up(protocol, ["group"], "protocol", DataError)
    task = Task.of(table, target, most=None)
    true = _score(pipeline, task, task.truth, folds, seed)
    rng = np.random.default_rng(seed)
    dealt = [_score(pipeline, task, deal(task.truth, task.family, rng), folds, seed + k) for k in range(deals)]
    return Chance("folds by group", true, tuple(dealt), 1 / len(task.classes), len(task.rows), task.groups)


def _score(pipeline: Pipeline, task: Task, truth: IntArray, folds: int, seed: int) -> float:
    fold = task.folds(folds, seed, truth)
    said = np.full(len(truth), -1, np.int64)
    for number in np.unique(fold):
        held = fold == number
        said[held] = pipeline(task.rows[~held], truth[~held], task.rows[held])
    return balanced_accuracy(truth, said)


def classifier(model: Any, features: NDArray) -> Pipeline:
    """The pipeline that fits a scikit-learn classifier to ``features``, one row for each row of the table.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> pipeline = classifier(KNeighborsClassifier(1), np.array([[0.0], [1.0], [0.1]]))
    >>> pipeline(np.array([0, 1]), np.array([0, 1]), np.array([2])).tolist()
    [0]
    """

    def run(learn: IntArray, labels: IntArray, answer: IntArray) -> NDArray:
        from sklearn.base import clone

        return clone(model).fit(features[learn], labels).predict(features[answer])

    return run


def nearest() -> Any:
    """The classifier that copies the label of the most similar training scan: memory, and nothing else."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1)


def linear() -> Any:
    """A linear support vector machine for `features.hog`."""
    from sklearn.svm import SVC

    return SVC(kernel="linear", C=1.0)
