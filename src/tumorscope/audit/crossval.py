"""Predictions for each scan by a model that saw nothing of its family, and what they are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.datasets import splits
from tumorscope.datasets.families import families
from tumorscope.errors import DataError
from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.statistics import Interval, bootstrap

FOLDS = 5
SEEDS = 3  # repetitions with other folds: one division of a small set into folds is a matter of luck
ROUNDS = 1000  # of the bootstrap
MOST = 3000  # scans; of a larger set whole families are drawn at random, which changes no finding and saves hours

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """How well something predicts a label, beside what needs no skill.

    Parameters
    ----------
    accuracy, balanced_accuracy : Interval
        Share of right answers, over all scans and as the mean of the classes' shares.
    auc : Interval
        Of the second class against the first; NaN where there are more than two.
    always : float
        Accuracy of always guessing the larger class.
    chance : float
        Balanced accuracy of any guess without skill: one over the number of classes.
    scans, groups : int
        What was scored, and how many independent families that is.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    auc: Interval
    always: float
    chance: float
    scans: int
    groups: int

    @property
    def beyond_chance(self) -> bool:
        """Whether the whole interval lies above chance: of the AUC where there is one, or of the balanced accuracy."""
        if math.isnan(self.auc.value):
            return self.balanced_accuracy.low > self.chance
        return self.auc.low > 0.5

    def sentence(self, what: str, target: str = "label") -> str:
        """What ``what`` (a plural) tells of the label.

        Examples
        --------
        >>> narrow, none = Interval(0.745, 0.684, 0.802), Interval(float("nan"), float("nan"), float("nan"))
        >>> print(Score(narrow, narrow, none, 0.61, 0.5, 253, 210).sentence("File traits alone"))
        File traits alone predict the label with 74 % accuracy (95 % interval 68 to 80 %; always guessing the larger
        class gives 61 %)
        """
        always = f"always guessing the larger class gives {_percent(self.always)} %"
        accuracy = f"{_percent(self.accuracy.value)} % accuracy"
        if math.isnan(self.accuracy.low):
            return f"{what} predict the {target} with {accuracy}; too few scans to tell what that is worth ({always})"
        low, high = _percent(self.accuracy.low), _percent(self.accuracy.high)
        numbers = f"95 % interval {low} to {high} %; {always}"
        if not self.beyond_chance:
            return f"{what} tell nothing of the {target}: {accuracy} ({numbers})"
        if self.accuracy.low > self.always:
            return f"{what} predict the {target} with {accuracy} ({numbers})"
        by, least = (self.balanced_accuracy, self.chance) if math.isnan(self.auc.value) else (self.auc, 0.5)
        measure = "AUC" if by is self.auc else "balanced accuracy"
        spread = f"95 % interval {by.low:.2f} to {by.high:.2f}; without skill {least:.2f}"
        return f"{what} tell something of the {target}: {measure} {by.value:.2f} ({spread})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


@dataclass(frozen=True)
class Task:
    """A label to predict, and families that stay on one side of every fold.

    Parameters
    ----------
    rows : (N,) int array
        Places in the table that it was made from.
    truth : (N,) int array
        Class number of each row, 0 to K - 1.
    classes : tuple of str
        Their names.
    table : polars.DataFrame
        The rows, with their ``group``.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    classes: tuple[str, ...]
    table: pl.DataFrame
    family: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, table: pl.DataFrame, target: str = "label", *, most: int | None = MOST, seed: int = 0) -> Task:
        """The readable rows of a measured manifest that have a label.

        Of more than ``most`` rows whole families are drawn at random.

        Raises
        ------
        DataError
            If a row has no group, the column is missing, fewer than two classes stand in it, or a class has fewer
            than two families.
        """
        if target not in table.columns:
            raise DataError(f"{target}: the manifest has no such column; name one of {', '.join(table.columns)}")
        usable = pl.col(target).is_not_null()
        if "problem" in table.columns:
            usable &= pl.col("problem").is_null()
        rows = table.select(usable.alias("use"))["use"].arg_true().to_numpy().astype(np.int64)
        family = families(table[rows]) if len(rows) else np.zeros(0, np.int64)
        if most is not None and len(rows) > most:
            order = np.random.default_rng(seed).permutation(int(family.max()) + 1)
            sizes = np.bincount(family)[order]
            drawn = order[: max(1, int(np.searchsorted(np.cumsum(sizes), most, side="right")))]
            kept = np.isin(family, drawn)
            rows, family = rows[kept], family[kept]
        chosen = table[rows]
        values = sorted(chosen[target].unique().to_list())
        truth = np.array([values.index(value) for value in chosen[target].to_list()], np.int64)
        task = cls(rows, truth, tuple(_names(chosen, target, values)), chosen, family)
        task._require_classes(target)
        return task

    @classmethod
    def possible(cls, table: pl.DataFrame, target: str = "label") -> bool:
        """Whether there is anything to predict: two classes of two families at least."""
        try:
            cls.of(table, target)
        except DataError:
            return False
        return True

    def _require_classes(self, target: str) -> None:
        if len(self.classes) < 2:
            found = f"only '{self.classes[0]}'" if self.classes else "none"
            raise DataError(f"{target}: {found} among {len(self.rows)} scans; what predicts it needs two classes")
        for number, name in enumerate(self.classes):
            count = len(set(self.family[self.truth == number].tolist()))
            if count < 2:
                raise DataError(f"{target}: all scans of '{name}' are one group; add scans or leave the class out")

    @property
    def groups(self) -> int:
        """Number of families."""
        return len(set(self.family.tolist()))

    def folds(self, folds: int = FOLDS, seed: int = 0, truth: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Fold of each row; no family is cut. Fewer folds where a class has fewer families.

        ``truth`` are other labels, by which to keep the folds even.
        """
        truth = self.truth if truth is None else truth
        least = min(len(set(self.family[truth == number].tolist())) for number in range(len(self.classes)))
        labelled = self.table.with_columns(pl.Series("_truth", truth))
        dealt = splits.grouped_kfold(labelled, max(2, min(folds, least)), seed, "_truth")
        return dealt["fold"].to_numpy().astype(np.int64)

    def predict(self, model: Any, features: NDArray, *, folds: int = FOLDS, seed: int = 0) -> Probabilities:
        """Class probabilities (N, K) of each row from a model fitted on the other folds.

        Parameters
        ----------
        model : scikit-learn classifier
            With ``predict_proba``; it is cloned for each fold.
        features : (N, ...) array
            In the order of ``rows``.
        """
        return self.predict_as(model, features, self.truth, self.folds(folds, seed))

    def predict_as(self, model: Any, features: NDArray, truth: NDArray, fold: NDArray[np.int64]) -> Probabilities:
        """As `predict`, with other labels and given folds."""
        from sklearn.base import clone

        result = np.zeros((len(truth), len(self.classes)))
        for number in np.unique(fold):
            held = fold == number
            fitted = clone(model).fit(features[~held], truth[~held])
            result[np.ix_(held, fitted.classes_)] = fitted.predict_proba(features[held])
        return result

    def score(self, predictions: Sequence[Probabilities], *, rounds: int = ROUNDS, seed: int = 0) -> Score:
        """What predictions (several, of different folds) are worth; intervals from whole families drawn again."""
        said = np.stack([np.argmax(one, axis=1) for one in predictions], axis=1)
        right = (said == self.truth[:, None]).mean(axis=1)
        count = len(self.classes)
        interval = partial(bootstrap, groups=self.family, rounds=rounds, seed=seed)
        shares = np.bincount(self.truth, minlength=count) / len(self.truth)
        if count == 2:
            positive = np.stack([one[:, 1] for one in predictions], axis=1)
            auc = interval(_mean_auc, self.truth, positive)
        else:
            auc = Interval(float("nan"), float("nan"), float("nan"))
        return Score(
            accuracy=interval(np.mean, right),
            balanced_accuracy=interval(partial(_balanced, count=count), self.truth, right),
            auc=auc,
            always=float(shares.max()),
            chance=1 / count,
            scans=len(self.truth),
            groups=self.groups,
        )

    def assess(self, model: Any, features: NDArray, *, folds: int = FOLDS, seeds: int = SEEDS, seed: int = 0) -> Score:
        """Score of a model in cross-validation by family, repeated over ``seeds`` divisions into folds."""
        return self.score([self.predict(model, features, folds=folds, seed=seed + k) for k in range(seeds)], seed=seed)


def _names(table: pl.DataFrame, target: str, values: Sequence[Any]) -> list[str]:
    """Names of the classes: ``label_name`` where the label has one."""
    names: dict[Any, str] = {}
    if target == "label" and "label_name" in table.columns:
        names = dict(table.select("label", "label_name").drop_nulls().unique().rows())
    return [str(names.get(value, value)) for value in values]


def _balanced(truth: NDArray[np.int64], right: NDArray[np.float64], count: int) -> float:
    """Mean over the classes of the share that is right; NaN where a class is absent."""
    size = np.bincount(truth, minlength=count)
    return float(np.mean(np.bincount(truth, right, count) / size)) if size.all() else float("nan")


def _mean_auc(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    return float(np.mean([roc_auc(truth, column) for column in scores.T]))


def balanced_accuracy(truth: NDArray, said: NDArray) -> float:
    """Mean over the classes of the share that is right; NaN where fewer than two classes are present.

    Examples
    --------
    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    present = np.unique(truth)
    if len(present) < 2:
        return float("nan")
    return float(np.mean([np.mean(said[truth == one] == one) for one in present]))
