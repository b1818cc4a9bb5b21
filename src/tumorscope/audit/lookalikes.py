"""Data sets that are no copies of each other and yet come from one collection, and those that a model tells apart.

Both spoil a test. Inside one collection an external test is none. Where two collections are easily told apart and
hold different classes, a model may learn the collection in place of the tumour.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.crossval import Task
from tumorscope.audit.duplicates import Duplicates, label_texts
from tumorscope.audit.features import pixels, tissue
from tumorscope.audit.measure import Measured
from tumorscope.audit.shortcuts import forest
from tumorscope.datasets.likeness import first_look, likeness
from tumorscope.evaluation.statistics import Interval, bootstrap

IntArray = NDArray[np.int64]
#: Scans of each side that are compared; more of them change no finding.
MOST = 200
#: Scans a side, each of another family, without which nothing is said.
LEAST = 15
#: Of the smaller side's families: from here on two sides with common copies are one collection.
SHARED = 0.05
# What was measured on navoneel, healthy and 700 of cheng, each family once and common copies left out: navoneel and
# healthy, known to be one web collection, mix at 0.57 and are told apart with an AUC of 0.83 (their healthy classes
# 0.55 and 0.77); either of them and cheng mix at 0.12 to 0.26 with AUC 0.94 to 0.98.
MIXED, PARTED = 0.5, 0.4
ALIKE, APART = 0.85, 0.8
UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))
ROUNDS = 1000


@dataclass(frozen=True)
class Kinship:
    """How two sets of scans are related.

    Parameters
    ----------
    one, other : str
        ``SOURCE``, or ``LABEL of SOURCE``.
    labels : tuple
        Label of each side, None for a whole source.
    scans : int
        Scans of each side that were compared: each of another family, none with a copy on the other side.
    families : tuple of int
        Families on each side, before that.
    shared : int
        Families with scans on both sides.
    mixing : Interval
        How often the most similar scan lies on the other side, as a share of what random mixing would give: 1 for one
        population, 0 for two that have nothing in common. NaN where there are too few scans.
    heads, around : Interval
        AUC of telling the sides apart, in cross-validation by family: from the heads, and from the picture with the
        head blotted out. 0.5 for one population.
    within, between : float
        Median likeness of a scan to the most similar one of its own side, and of the other.
    """

    one: str
    other: str
    labels: tuple[str | None, str | None]
    scans: int
    families: tuple[int, int]
    shared: int
    mixing: Interval
    heads: Interval
    around: Interval
    within: float
    between: float

    @property
    def verdict(self) -> str:
        """``one collection``, ``apart``, or ``unclear``."""
        if self.shared >= max(2, SHARED * min(self.families)):
            return "one collection"
        if np.isnan(self.mixing.value):
            return "unclear"
        if self.mixing.value >= MIXED and self.heads.value < ALIKE:
            return "one collection"
        if self.mixing.value <= PARTED and max(self.heads.low, self.around.low) > APART:
            return "apart"
        return "unclear"

    def sentence(self) -> str:
        """What the two have to do with each other, with the numbers it stands on."""
        evidence = []
        if self.shared:
            evidence.append(f"{self.shared} groups of copies have scans in both")
        if not np.isnan(self.mixing.value):
            rest = "of the rest " if self.shared else ""
            evidence.append(
                f"{rest}the most similar scan lies on the other side {self.mixing.value:.2f} times as often as if they "
                f"were one (95 % interval {self.mixing.low:.2f} to {self.mixing.high:.2f})"
            )
            evidence.append(f"a classifier tells them apart with AUC {self.heads.value:.2f} from the heads")
            evidence.append(f"AUC {self.around.value:.2f} from what is around them")
        facts = ", ".join(evidence) or "too few scans to compare"
        return f"{self.one} and {self.other} {self._meaning()}: {facts}"

    def _meaning(self) -> str:
        if self.verdict == "one collection":
            return "come from one collection, so neither is an external test of the other"
        if self.verdict == "apart":
            if self.labels[0] != self.labels[1]:
                return "can be told apart without a look at the tumour, so a model may learn the set instead of it"
            return "come from different collections"
        return "cannot be called one collection or two"


def look_alikes(measured: Measured, found: Duplicates, *, most: int = MOST, seed: int = 0) -> tuple[Kinship, ...]:
    """Kinship of every two sources, and of every two classes of different sources.

    Parameters
    ----------
    measured : Measured
        Of several sources; of one, nothing is found.
    found : Duplicates
        Of the same scans.
    most : int
        Scans of each side that are compared, drawn at random.
    seed : int
        For the drawing, the folds and the intervals.
    """
    table = measured.table.with_columns(
        found.clean["group"],
        source=pl.col("source").fill_null("data") if "source" in measured.table.columns else pl.lit("data"),
        _label=pl.Series(label_texts(measured.table), dtype=pl.String),
    )
    whole = Measured(table, measured.prints, measured.heads, measured.around)
    return tuple(_kinship(whole, *pair, most, seed) for pair in _pairs(whole.table))


@dataclass(frozen=True)
class _Side:
    name: str
    source: str
    label: str | None
    rows: IntArray


def _pairs(table: pl.DataFrame) -> Iterator[tuple[_Side, _Side]]:
    """Sources two by two, then classes of different sources; of sources with one class each, their classes alone."""
    readable = table["problem"].is_null() if "problem" in table.columns else pl.Series([True] * table.height)
    rows = table.with_row_index("_row").filter(readable & table.select(pl.col("group").is_not_null()).to_series())
    sources, classes = [], []
    for (source,), part in rows.sort("source", "id").group_by("source", maintain_order=True):
        sources.append(_Side(str(source), str(source), None, _places(part)))
        labels = part["_label"].drop_nulls().unique().sort().to_list()
        for label in labels:
            chosen = part.filter(pl.col("_label") == label)
            classes.append(_Side(f"{label} of {source}", str(source), label, _places(chosen)))
    several = {side.source for side in sources if sum(one.source == side.source for one in classes) != 1}
    for one, other in itertools.combinations(sources, 2):
        if several & {one.source, other.source}:
            yield one, other
    for one, other in itertools.combinations(classes, 2):
        if one.source != other.source:
            yield one, other


def _places(part: pl.DataFrame) -> IntArray:
    return part["_row"].to_numpy().astype(np.int64)


def _kinship(measured: Measured, one: _Side, other: _Side, most: int, seed: int) -> Kinship:
    group = measured.table["group"].to_numpy()
    first = [{group[row]: row for row in side.rows[::-1].tolist()} for side in (one, other)]  # the first of each family
    shared = set(first[0]) & set(first[1])
    alone = [np.array(sorted(row for key, row in of.items() if key not in shared), np.int64) for of in first]
    count = min(len(alone[0]), len(alone[1]), most)
    mixing, heads, around, within, between = UNKNOWN, UNKNOWN, UNKNOWN, float("nan"), float("nan")
    if count >= LEAST:
        rng = np.random.default_rng(seed)
        rows = np.concatenate([np.sort(rng.permutation(some)[:count]) for some in alone])
        mixing, within, between = _mixing(measured.prints[rows], count, seed)
        part = measured.only(rows)
        origin = pl.Series("origin", [0] * count + [1] * count)
        heads = _told_apart(part, origin, np.concatenate([pixels(part.heads), tissue(part.heads)], axis=1), seed)
        around = _told_apart(part, origin, pixels(part.around), seed)
    return Kinship(
        one=one.name,
        other=other.name,
        labels=(one.label, other.label),
        scans=count if count >= LEAST else 0,
        families=(len(first[0]), len(first[1])),
        shared=len(shared),
        mixing=mixing,
        heads=heads,
        around=around,
        within=within,
        between=between,
    )


def _mixing(prints: NDArray[np.float32], count: int, seed: int) -> tuple[Interval, float, float]:
    """Share of nearest neighbours on the other side over that of random mixing; median likeness within and between.

    Parameters
    ----------
    prints : (2 * count, 2, 24, 24) float array
        One side, then the other; no two of one family.
    """
    looks = [first_look(prints[:, view]) for view in (0, 1)]
    like = np.maximum(*(likeness(look, look) for look in looks))
    np.fill_diagonal(like, -np.inf)
    side = np.repeat([False, True], count)
    own = np.where(side[:, None] == side, like, -np.inf).max(1)
    across = np.where(side[:, None] != side, like, -np.inf).max(1)
    by_chance = count / (2 * count - 1)
    interval = bootstrap(np.mean, (across > own) / by_chance, rounds=ROUNDS, seed=seed)
    return interval, float(np.median(own)), float(np.median(across))


def _told_apart(part: Measured, origin: pl.Series, features: NDArray, seed: int) -> Interval:
    task = Task.of(part.table.with_columns(origin), "origin", most=None)
    return task.assess(forest(seed), features[task.rows], seeds=1, seed=seed).auc
