"""Test scans that training has seen: twins across a split, and what copying their labels would score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.duplicates import Duplicates, label_texts
from tumorscope.audit.measure import Measured
from tumorscope.audit.wording import differences
from tumorscope.datasets.likeness import first_look, likeness
from tumorscope.datasets.neighbours import UNDOES
from tumorscope.evaluation.statistics import Interval, bootstrap

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
#: Test scans times training scans that are compared all with all; of more, test scans are drawn.
MOST = 50_000_000
#: Rows of the product computed at once: 128 x 20,000 floats are 10 MB, eight of which are held.
ROWS = 128
ROUNDS = 1000  # of the bootstrap
TRAIN, TEST = "train", "test"
UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Copying:
    """What the label of the most similar training scan scores on some test scans.

    Parameters
    ----------
    scans : int
        Test scans that have a label.
    accuracy, balanced_accuracy : Interval
        Share of right labels, over the scans and as the mean of the classes'; NaN where there are none or, for the
        second, one class only. Intervals draw whole groups.
    always : float
        Accuracy of always saying what most training scans are.
    """

    scans: int
    accuracy: Interval
    balanced_accuracy: Interval
    always: float


@dataclass(frozen=True)
class Leak:
    """Twins of test scans in training.

    Parameters
    ----------
    train, test : str
        What the two sides are called.
    scans : int
        Readable test scans.
    with_twin, equal : int
        Those with a copy in training, and those of which the copy is equal to the byte or pixel.
    twins : polars.DataFrame
        One row for each test scan with a twin, its best: ``kind, agreement`` (null where the two are copies only
        through a third), ``test_id, train_id, test_label, train_label``, and the ``difference`` of the latter in words.
    every, twinned, untwinned : Copying
        The score of the nearest training thumbnail on all test scans, those with a twin and those without. Of no scan
        where training has but one label.
    compared : int
        Test scans that the three scores are of; fewer than ``scans`` in very large sets.
    """

    train: str
    test: str
    scans: int
    with_twin: int
    equal: int
    twins: pl.DataFrame
    every: Copying
    twinned: Copying
    untwinned: Copying
    compared: int

    def sentences(self) -> tuple[str, ...]:
        """How many twins there are, and what copying labels scores."""
        return tuple(text for text in (self.sentence(), self._copying()) if text)

    def sentence(self) -> str:
        """How many test scans have a twin in training.

        Examples
        --------
        >>> none = Copying(0, UNKNOWN, UNKNOWN, 0.5)
        >>> Leak("train", "test", 50, 31, 12, pl.DataFrame(), none, none, none, 50).sentence()
        '31 of 50 test scans (62 %) have a twin in train, 12 of them an equal one: what is measured there is memory'
        """
        if not self.with_twin:
            return f"none of {self.scans} {self.test} scans has a twin in {self.train}"
        share = 100 * self.with_twin / self.scans
        have = "has" if self.with_twin == 1 else "have"
        equal = f", {self.equal} of them an equal one" if self.equal else ""
        return (
            f"{self.with_twin} of {self.scans} {self.test} scans ({share:.0f} %) {have} a twin in {self.train}{equal}: "
            "what is measured there is memory"
        )

    def _copying(self) -> str:
        if not self.every.scans:
            return ""
        parts = []
        for some, what in ((self.twinned, "of those with a twin"), (self.untwinned, "of those without")):
            if some.scans and self.twinned.scans:
                parts.append(f"{100 * some.accuracy.value:.0f} % {what}")
        within = f" ({', '.join(parts)})" if parts else ""
        interval = ""
        if not np.isnan(self.every.accuracy.low):
            interval = f", 95 % interval {100 * self.every.accuracy.low:.0f} to {100 * self.every.accuracy.high:.0f} %"
        return (
            f"Copying the label of the most similar {self.train} scan is right for "
            f"{100 * self.every.accuracy.value:.0f} % of {self.every.scans} {self.test} scans{interval}{within}; "
            f"always saying what most {self.train} scans are, for {100 * self.every.always:.0f} %"
        )


def leaks(measured: Measured, found: Duplicates, *, target: str = "label", seed: int = 0) -> tuple[Leak, ...]:
    """Every pair of sides that the manifest knows.

    Where ``split`` is filled: each other part against train. Where ``fold`` is: all folds at once, each scan against
    the other folds' scans. Of several sources: each against each other one, as if one were the training set and the
    other its external test.

    Parameters
    ----------
    measured : Measured
    found : Duplicates
        Of the same scans.
    target : str
        Column that is to be predicted.
    seed : int
        For the intervals and for what is drawn of very large sets.
    """
    return tuple(
        _leak(measured, found, train, test, fold, names, target, seed)
        for train, test, fold, names in _sides(measured.table)
    )


def leak(
    measured: Measured, found: Duplicates, train: BoolArray, test: BoolArray, names: tuple[str, str] = (TRAIN, TEST),
    *, target: str = "label", seed: int = 0,
) -> Leak:  # fmt: skip
    """Twins between two sides given as masks (N,) of rows; other arguments as for `leaks`."""
    return _leak(measured, found, train, test, np.zeros(len(train), np.int64), names, target, seed)


def _sides(table: pl.DataFrame) -> Iterator[tuple[BoolArray, BoolArray, IntArray, tuple[str, str]]]:
    """Training side, test side, number that twins must not share (0 for none), and the names of the sides."""
    none = np.zeros(table.height, np.int64)

    def parts(column: str) -> list[str]:
        return sorted(str(part) for part in table[column].drop_nulls().unique()) if column in table.columns else []

    def rows(column: str, part: str) -> BoolArray:
        return (table[column] == part).fill_null(False).to_numpy()

    splits, folds, sources = parts("split"), parts("fold"), parts("source")
    if TRAIN in splits:
        for part in splits:
            if part != TRAIN:
                yield rows("split", TRAIN), rows("split", part), none, (TRAIN, part)
    if len(folds) > 1:
        used = table["fold"].is_not_null().to_numpy()
        yield used, used, table["fold"].fill_null(-1).to_numpy() + 1, ("another fold", "held-out")
    for one in sources if len(sources) > 1 else ():
        for other in sources:
            if one != other:
                yield rows("source", one), rows("source", other), none, (one, other)


def _leak(
    measured: Measured, found: Duplicates, train: BoolArray, test: BoolArray, fold: IntArray, names: tuple[str, str],
    target: str, seed: int,
) -> Leak:  # fmt: skip
    table = measured.table
    readable = table["problem"].is_null().to_numpy() if "problem" in table.columns else np.ones(table.height, bool)
    train, test = train & readable, test & readable
    twins = _twins(measured, found, train, test, fold)
    twin = np.zeros(table.height, bool)
    twin[twins["row"].to_numpy()] = True
    label = table[target].to_list() if target in table.columns else [None] * table.height
    labelled = np.array([value is not None for value in label], bool)
    known = np.flatnonzero(train & labelled)
    if len({label[row] for row in known}) < 2:  # to copy the only label there is, is no classifier
        known = known[:0]
    drawn = _drawn(np.flatnonzero(test & labelled), known, seed)
    nearest = _nearest(measured.prints, drawn, known, fold)
    right = np.array([label[a] == label[b] for a, b in zip(drawn, nearest, strict=True) if b >= 0], bool)
    drawn = drawn[nearest >= 0]
    truth = np.array([str(label[row]) for row in drawn], object)
    commonest = _commonest([label[row] for row in known])
    groups = np.unique(found.clean["group"].to_numpy()[drawn], return_inverse=True)[1]

    def scored(part: BoolArray) -> Copying:
        return _copying(truth[part], right[part], groups[part], commonest, seed)

    has = twin[drawn]
    return Leak(
        train=names[0],
        test=names[1],
        scans=int(test.sum()),
        with_twin=int(twin.sum()),
        equal=int((twins["kind"] != "near").sum()),
        twins=twins.drop("row"),
        every=scored(np.ones(len(drawn), bool)),
        twinned=scored(has),
        untwinned=scored(~has),
        compared=len(drawn),
    )


def _twins(measured: Measured, found: Duplicates, train: BoolArray, test: BoolArray, fold: IntArray) -> pl.DataFrame:
    """The best twin of each test scan: equal ones first, then the best agreement, then the first id.

    Two copies of one group are twins even where they are no pair by themselves.
    """
    undone = pl.col("turn").replace_strict(range(len(UNDOES)), UNDOES.tolist(), return_dtype=pl.Int64)
    known = ("kind", "agreement")
    group = found.groups.select(row="rows", of="rows").explode("row").explode("of").cast(pl.Int64)
    pairs = pl.concat(
        [
            found.pairs.select(pl.col("row_1").alias("row"), pl.col("row_2").alias("of"), *known, "turn"),
            found.pairs.select(pl.col("row_2").alias("row"), pl.col("row_1").alias("of"), *known, undone),
            group.with_columns(kind=pl.lit("near"), agreement=pl.lit(None, pl.Float64), turn=pl.lit(0, pl.Int64)),
        ]
    )
    row, of = pairs["row"].to_numpy(), pairs["of"].to_numpy()
    apart = (fold[row] == 0) | (fold[row] != fold[of])
    rank = pl.col("kind").replace_strict({"bytes": 0, "pixels": 1, "near": 2}, return_dtype=pl.Int64)
    names = measured.table["id"]
    twins = (
        pairs.filter(pl.Series(test[row] & train[of] & apart & (row != of), dtype=pl.Boolean))
        .sort(rank, pl.col("agreement").fill_null(0.0).neg(), pl.col("of").replace_strict(
            range(len(names)), names.to_list(), return_dtype=pl.String), maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
        .sort("row")
    )  # fmt: skip
    i, j = twins["row"].to_numpy(), twins["of"].to_numpy()
    words = differences(measured, i, j, twins["turn"].to_numpy(), twins["kind"].to_list())
    direct = twins["agreement"].is_not_null().to_list()
    said = [text if known else "through a third copy" for text, known in zip(words, direct, strict=True)]
    label = pl.Series(label_texts(measured.table), dtype=pl.String)
    return twins.select("row", "kind", "agreement").with_columns(
        test_id=names.gather(i), train_id=names.gather(j), test_label=label.gather(i), train_label=label.gather(j),
        difference=pl.Series(said, dtype=pl.String),
    )  # fmt: skip


def _drawn(test: IntArray, train: IntArray, seed: int) -> IntArray:
    """The test rows, or as many of them as `MOST` comparisons allow."""
    allowed = max(1, MOST // max(len(train), 1))
    if len(test) <= allowed:
        return test
    return np.sort(np.random.default_rng(seed).choice(test, allowed, replace=False))


def _nearest(prints: NDArray[np.float32], test: IntArray, train: IntArray, fold: IntArray) -> IntArray:
    """The most similar training row of each test row, (T,); -1 where there is none to compare with."""
    nearest = np.full(len(test), -1, np.int64)
    if not len(train):
        return nearest
    known = [first_look(prints[train, view]) for view in (0, 1)]
    for start in range(0, len(test), ROWS):
        rows = test[start : start + ROWS]
        like = np.maximum(*(likeness(first_look(prints[rows, view]), known[view]) for view in (0, 1)))
        like[(rows[:, None] == train) | ((fold[rows, None] > 0) & (fold[rows, None] == fold[train]))] = -np.inf
        best = like.argmax(1)
        nearest[start : start + ROWS] = np.where(np.isfinite(like.max(1)), train[best], -1)
    return nearest


def _commonest(labels: list[object]) -> str:
    """The most frequent training label, as text; of equally frequent ones the first."""
    counts = {str(value): labels.count(value) for value in sorted(set(labels), key=str)}
    return max(counts, key=lambda name: counts[name]) if counts else ""


def _copying(truth: NDArray, right: BoolArray, groups: IntArray, commonest: str, seed: int) -> Copying:
    if not len(truth):
        return Copying(0, UNKNOWN, UNKNOWN, float("nan"))
    interval = partial(bootstrap, groups=groups, rounds=ROUNDS, seed=seed)
    names, number = np.unique(truth.astype(str), return_inverse=True)
    balanced = interval(partial(_balanced, count=len(names)), number, right) if len(names) > 1 else UNKNOWN
    return Copying(len(truth), interval(np.mean, right), balanced, float((truth == commonest).mean()))


def _balanced(number: IntArray, right: BoolArray, count: int) -> float:
    """Mean over the classes of the share that is right; NaN where a class is absent."""
    size = np.bincount(number, minlength=count)
    return float(np.mean(np.bincount(number, right, count) / size)) if size.all() else float("nan")
