"""The bench that every training of a tuning runs on: one set of prepared scans, one way to train and to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.imaging.preparation import Preparation
from tumorscope.models.classifiers import Classifier
from tumorscope.training.classifier_data import Squares
from tumorscope.training.classifier_fit import Watch, answers, fit, initial
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.classifier_run import told
from tumorscope.training.classify import figures
from tumorscope.training.divisions import Division

FLOOR = 1e-7  # of a probability, before its logarithm

Progress = Callable[[str, int, int], None]  # what is being done, trainings behind, trainings in all


@dataclass
class Bench:
    """What every training of a tuning draws from: scans, weights, and the number of trainings behind.

    Parameters
    ----------
    recipe : ClassifierRecipe
        As it was given.
    table : polars.DataFrame
        The manifest.
    cache : Path
        Where prepared squares are kept.
    offline : Path or None
        Folder with pretrained weights.
    progress : callable or None
    total : int
        Trainings in all.
    """

    recipe: ClassifierRecipe
    table: pl.DataFrame
    cache: Path
    offline: Path | None = None
    progress: Progress | None = None
    total: int = 0
    done: int = 0
    words: str = ""
    prepared: dict[Preparation, Squares] = field(default_factory=dict)

    def squares(self, recipe: ClassifierRecipe) -> Squares:
        """The scans as the recipe prepares them, from memory or the cache."""
        key = recipe.preparation
        if key not in self.prepared:
            self.prepared[key] = Squares.of(self.table, key, self.cache)
        return self.prepared[key]

    def trained(
        self, recipe: ClassifierRecipe, one: Division, folder: Path, seed: int, watch: Watch | None = None
    ) -> Classifier:
        """The recipe's network, trained on a division."""
        squares = self.squares(recipe)
        ids = squares.table["id"]
        train, val = (squares.rows(ids.is_in(list(names))) for names in (one.train, one.val))
        network, _ = initial(recipe, squares.labels.outputs, seed, self.offline)
        fit(network, recipe, squares, train, val, folder, seed=seed, watch=watch)
        return network

    def asked(self, network: Classifier, recipe: ClassifierRecipe, names: frozenset[str]) -> tuple[pl.DataFrame, float]:
        """What a network says of some scans, and the recipe's figure of it."""
        squares = self.squares(recipe)
        rows = squares.rows(squares.table["id"].is_in(list(names)))
        said = answers(network, squares, rows)
        return told(squares, rows, said), figure(recipe.fit.monitor, said, squares.truth[rows])

    def count(self, words: str, trainings: int = 0) -> None:
        """Tell what is being done, after some more trainings."""
        self.done, self.words = self.done + trainings, words or self.words
        if self.progress is not None:
            self.progress(self.words, self.done, self.total)


def figure(monitor: str, said: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The figure that scores a trial: as `classify.figures`, or the plain cross-entropy for ``loss``.

    Examples
    --------
    >>> said, truth = np.array([0.5, 0.5]), np.array([0, 1])
    >>> figure("loss", said, truth), figure("auc", said, truth)
    (0.693, 0.5)
    """
    if monitor != "loss":
        return figures(said, truth)[monitor]
    each = np.stack([1 - said, said], 1) if said.ndim == 1 else said
    return float(-np.log(np.clip(each[np.arange(len(truth)), truth], FLOOR, 1)).mean())
