"""Splits that never cut a group, a patient, a case or a family of derived images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.datasets.families import families, keys_of
from tumorscope.datasets.numbering import BLOCK, GAP, cells_of, clear_of_gap, majority, numbers_of
from tumorscope.errors import DataError, look_up

FRACTIONS: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
BOTH = ("source", "label")  # columns whose combinations are spread evenly over the parts


def grouped_kfold(df: pl.DataFrame, folds: int = 5, seed: int = 0, stratify: str | None = "label") -> pl.DataFrame:
    """``df`` with ``fold`` 0 to ``folds - 1``, each family of rows inside one fold.

    Rows that share a group, a patient, a case or an ancestor are dealt out together, the largest
    families first, each to the fold that leaves the strata of ``stratify`` most even.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest whose ``group`` is filled (`manifest.assign_groups`).
    folds : int
        Number of folds, at least 2.
    seed : int
        Same rows and seed, same folds; the order of the rows does not matter.
    stratify : str or None
        Column whose values are spread evenly; a missing value is a stratum of its own.

    Raises
    ------
    DataError
        If a row has no group, or there are fewer families than folds.

    Examples
    --------
    >>> df = pl.DataFrame({"id": list("abcdef"), "group": list("uuvwxy"), "label": [0, 0, 1, 1, 0, 1]})
    >>> folds = grouped_kfold(df, folds=2)["fold"].to_list()
    >>> folds[0] == folds[1], sorted(folds)
    (True, [0, 0, 0, 1, 1, 1])
    """
    if folds < 2:
        raise DataError(f"folds: {folds} is not a number of folds; give 2 or more")
    units = _units(df, folds, "folds")
    shares = np.full(folds, 1 / folds)
    choice = _deal(units, _strata(df, stratify), shares, seed)
    turn = np.random.default_rng(seed).permutation(folds)
    return check(df.with_columns(pl.Series("fold", turn[choice], dtype=pl.Int64)), by="fold")


def holdout(
    df: pl.DataFrame, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0, stratify: str | None = "label"
) -> pl.DataFrame:
    """``df`` with ``split``, each family of rows inside one part, in the given proportions.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest whose ``group`` is filled.
    fractions : mapping of str to float
        Share of the rows for each part; the shares sum to 1.
    seed, stratify
        As for `grouped_kfold`.

    Raises
    ------
    DataError
        If a row has no group, the shares do not sum to 1, or a part would stay empty.

    Examples
    --------
    >>> df = pl.DataFrame({"id": list("abcd"), "group": list("uvwx"), "label": [0, 0, 1, 1]})
    >>> parts = holdout(df, {"train": 0.5, "test": 0.5})
    >>> sorted(parts.group_by("split").agg(pl.col("label").sort()).rows())
    [('test', [0, 1]), ('train', [0, 1])]
    """
    names, shares = _parts(fractions)
    units = _units(df, len(names), "parts")
    choice = _deal(units, _strata(df, stratify), shares, seed)
    return check(_named(df, choice, names), by="split")


def blocks(
    df: pl.DataFrame,
    fractions: Mapping[str, float] = FRACTIONS,
    *,
    order: str = "id",
    block: int = BLOCK,
    gap: int = GAP,
    seed: int = 0,
    stratify: str | None = "tumor_type",
) -> pl.DataFrame:
    """``df`` with ``split`` by blocks of neighbouring numbers, with a gap between the parts.

    For numbered slices without patient ids, where neighbours are slices of one patient. A block
    runs on past ``block`` numbers until it cuts no group. Two rows of different parts are always
    more than ``gap`` numbers apart: rows too near to another part get a null split, from the part
    with the largest share first. A group whose members stand far apart keeps its most frequent part;
    its other rows get null.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest. ``group`` may be missing or null: the block itself then is the group.
    order : str
        Column that numbers the rows: integers, or text with one number in it (its last digits count).
    block, gap : int
        In steps of ``order``.
    fractions, seed, stratify
        As for `holdout`; ``stratify`` is left out where the manifest lacks the column.

    Raises
    ------
    DataError
        If ``order`` is missing or a row has no number, the rows come from several sources, or there
        are fewer blocks than parts.

    Examples
    --------
    >>> df = pl.DataFrame({"id": [f"{n:04d}" for n in range(1, 401)]})
    >>> parts = blocks(df, block=100, gap=5, fractions={"train": 0.75, "test": 0.25})
    >>> parts["split"].value_counts().sort("split").rows()[-2][0]
    'test'
    """
    names, shares = _parts(fractions)
    if block < 1 or gap < 0:
        raise DataError(f"blocks: block {block} and gap {gap} make no blocks; give block >= 1 and gap >= 0")
    if "source" in df.columns and df["source"].n_unique() > 1:
        found = df["source"].n_unique()
        raise DataError(f"source: blocks of {found} sources share no numbering; split each source by itself, then join")
    numbers = numbers_of(df, order)
    groups = families(df)
    cells = cells_of(numbers, groups, block)
    if len(set(cells.tolist())) < len(names):
        found = len(set(cells.tolist()))
        raise DataError(f"blocks: {found} blocks cannot fill {len(names)} parts; give a smaller block")
    strata = _strata(df, stratify if stratify in df.columns else None)
    choice = _deal(_canonical(df, cells), strata, shares, seed)
    keep = majority(choice, groups)
    rank = np.argsort(np.argsort(-shares, kind="stable"), kind="stable")
    keep &= clear_of_gap(numbers, np.where(keep, choice, -1), gap, rank)
    return check(_named(df, np.where(keep, choice, -1), names), by="split")


def by_source(
    df: pl.DataFrame,
    fractions: Mapping[str, float] = FRACTIONS,
    *,
    ordered: Iterable[str] = (),
    block: int = BLOCK,
    gap: int = GAP,
    seed: int = 0,
    stratify: Sequence[str] | None = BOTH,
) -> pl.DataFrame:
    """``df`` of several sources with ``split``: the ordered ones by `blocks`, all others by `holdout`.

    The shares hold in every source and label, or in what else ``stratify`` names. A family that reaches
    into an ordered source takes the part that most of it has there. Where the gap cuts into that family,
    or two ordered sources disagree about it, its rows elsewhere get null: one of them may be the copy of
    a row inside the gap.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest whose ``group`` is filled.
    fractions, block, gap, seed
        As for `blocks`.
    ordered : iterable of str
        Sources whose neighbours in number are slices of one patient.
    stratify : sequence of str or None
        Columns whose combinations are spread evenly in the sources that are not ordered.

    Raises
    ------
    DataError
        As `blocks` and `holdout`, or if an ordered source is not in the table.

    Examples
    --------
    >>> df = pl.DataFrame({"id": [f"{n}" for n in range(80)], "source": ["a"] * 40 + ["b"] * 40, "label": [1] * 80})
    >>> df = df.with_columns(group=pl.col("id"))
    >>> parts = by_source(df, {"train": 0.5, "test": 0.5}, ordered=["a"], block=10, gap=2)
    >>> parts.filter(pl.col("source") == "b")["split"].null_count()
    0
    """
    if "source" not in df.columns:
        df = df.with_columns(source=pl.lit(None, pl.String))
    sources = df["source"].unique(maintain_order=True).drop_nulls().to_list()
    first = [look_up(name, sources, "source", DataError) for name in dict.fromkeys(ordered)]
    unit = families(df)
    split: list[str | None] = [None] * df.height
    settled: dict[int, str | None] = {}
    for name in sorted(first):
        rows = (df["source"] == name).fill_null(False).arg_true().to_list()
        part = _undivided(blocks(df[rows], fractions, block=block, gap=gap, seed=seed)["split"].to_list(), unit[rows])
        parts: dict[int, set[str | None]] = {}
        for row, value in zip(rows, part, strict=True):
            parts.setdefault(int(unit[row]), set()).add(value)
            split[row] = value if settled.get(int(unit[row]), value) == value else None
        for number, values in parts.items():
            alone = next(iter(values)) if len(values) == 1 else None
            settled[number] = alone if settled.get(number, alone) == alone else None
    rest = [row for row, name in enumerate(df["source"].to_list()) if name not in first]
    free = [row for row in rest if int(unit[row]) not in settled]
    for row in rest:
        split[row] = settled.get(int(unit[row]))
    if free:
        table = _with_stratum(df[free], stratify)
        for row, value in zip(free, holdout(table, fractions, seed, "_stratum")["split"].to_list(), strict=True):
            split[row] = value
    return check(df.with_columns(pl.Series("split", split, dtype=pl.String)), by="split")


def cross_validation(
    df: pl.DataFrame,
    folds: int = 5,
    test: float = 0.0,
    *,
    ordered: Iterable[str] = (),
    block: int = BLOCK,
    gap: int = GAP,
    seed: int = 0,
    stratify: Sequence[str] | None = BOTH,
) -> pl.DataFrame:
    """``df`` with ``fold`` 0 to ``folds - 1``; with a share for ``test`` also with ``split``, "train" or "test".

    As `by_source`, with the folds for parts: test scans are in no fold, rows inside a gap in no part at all.
    Without a test share ``split`` is null: each fold is held out in turn.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest whose ``group`` is filled.
    folds : int
        Number of folds, at least 2.
    test : float
        Share of the rows that no fold sees, in [0, 1).
    ordered, block, gap, seed, stratify
        As for `by_source`.

    Raises
    ------
    DataError
        As `by_source`, or if ``folds`` or ``test`` is out of range.

    Examples
    --------
    >>> df = pl.DataFrame({"id": list("abcd"), "group": list("uvwx"), "label": [1, 1, 1, 1]})
    >>> sorted(cross_validation(df, 2, test=0.5)["fold"].to_list(), key=str)
    [0, 1, None, None]
    """
    if folds < 2:
        raise DataError(f"folds: {folds} is not a number of folds; give 2 or more")
    if not 0 <= test < 1:
        raise DataError(f"test: {test:g} is no share that leaves scans for the folds; give one in [0, 1)")
    names = {f"fold {number}": number for number in range(folds)}
    fractions = ({"test": test} if test else {}) | dict.fromkeys(names, (1 - test) / folds)
    dealt = by_source(df, fractions, ordered=ordered, block=block, gap=gap, seed=seed, stratify=stratify)
    parts = dealt["split"].to_list()
    split = [None if not test or part is None else "test" if part == "test" else "train" for part in parts]
    number = [None if part is None else names.get(part) for part in parts]
    both = [pl.Series("split", split, dtype=pl.String), pl.Series("fold", number, dtype=pl.Int64)]
    return check(df.with_columns(both))


def check(df: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """``df`` itself, when neither its ``split`` nor its ``fold`` cuts what belongs together.

    Rows with a null part are used by nobody and do not count.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest.
    by : "split", "fold" or None
        The column to check; None checks both where they stand.

    Raises
    ------
    DataError
        Naming the group, patient, case or family that is cut, and the parts it is in.

    Examples
    --------
    >>> check(pl.DataFrame({"id": ["a", "b"], "group": ["g", "g"], "split": ["train", "test"]}))
    Traceback (most recent call last):
    ...
    tumorscope.errors.DataError: split: group 'g' is in test and train; split again with splits.holdout (... --again)
    """
    for column in [by] if by else ["split", "fold"]:
        if column not in df.columns:
            continue
        parts = df[column].to_list()
        for kind, keys in keys_of(df).items():
            _check_keys(column, parts, kind, keys)
        _check_keys(column, parts, "family", _names(df, families(df)))
    return df


def _check_keys(column: str, parts: Sequence[Hashable], kind: str, keys: Sequence[Hashable]) -> None:
    seen: dict[Hashable, Hashable] = {}
    for part, key in zip(parts, keys, strict=True):
        if part is None or key is None:
            continue
        first = seen.setdefault(key, part)
        if first != part:
            shown = key[-1] if isinstance(key, tuple) else key
            both = " and ".join(sorted((str(first), str(part))))
            remedy = "splits.grouped_kfold" if column == "fold" else "splits.holdout"
            raise DataError(
                f"{column}: {kind} '{shown}' is in {both}; split again with {remedy} (tumorscope split --again)"
            )


def _names(df: pl.DataFrame, unit: NDArray[np.int64]) -> list[str]:
    """The smallest id of each row's unit: a name that does not hang on the order of the rows."""
    ids = df["id"].to_list()
    smallest: dict[int, str] = {}
    for number, name in zip(unit.tolist(), ids, strict=True):
        smallest[number] = min(smallest.get(number, str(name)), str(name))
    return [smallest[number] for number in unit.tolist()]


def _canonical(df: pl.DataFrame, unit: NDArray[np.int64]) -> NDArray[np.int64]:
    """``unit`` renumbered 0, 1, ... in the order of the units' smallest ids."""
    names = _names(df, unit)
    rank = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([rank[name] for name in names], np.int64)


def _units(df: pl.DataFrame, wanted: int, what: str) -> NDArray[np.int64]:
    if "group" not in df.columns or df["group"].null_count():
        bare = df.height if "group" not in df.columns else df["group"].null_count()
        raise DataError(f"group: {bare} of {df.height} rows have no group; fill it with manifest.assign_groups")
    units = _canonical(df, families(df))
    count = len(set(units.tolist()))
    if count < wanted:
        raise DataError(f"group: {count} groups cannot fill {wanted} {what}; ask for fewer {what} or add data")
    return units


def _undivided(part: Sequence[str | None], unit: NDArray[np.int64]) -> list[str | None]:
    """``part`` with null where a unit has another part more often: rows of one source can be tied through another."""
    votes: dict[int, Counter[str]] = {}
    for value, number in zip(part, unit.tolist(), strict=True):
        if value is not None:
            votes.setdefault(number, Counter())[value] += 1
    winner = {number: min(count, key=lambda name: (-count[name], name)) for number, count in votes.items()}
    return [value if winner.get(number) == value else None for value, number in zip(part, unit.tolist(), strict=True)]


def _with_stratum(df: pl.DataFrame, stratify: Sequence[str] | None) -> pl.DataFrame:
    """``df`` with the column ``_stratum``: the values of the columns ``stratify``, those that have one, as text."""
    names = [name for name in stratify or () if stratify is not BOTH or name in df.columns]
    for name in names:
        if name not in df.columns:
            raise DataError(f"{name}: is no column to stratify by; name one of {', '.join(df.columns)}")
    if not names:
        return df.with_columns(_stratum=pl.lit(""))
    both = pl.concat_str([pl.col(name).cast(pl.String) for name in names], ignore_nulls=True, separator=" ")
    return df.with_columns(both.alias("_stratum"))


def _strata(df: pl.DataFrame, stratify: str | None) -> NDArray[np.int64]:
    if stratify is None:
        return np.zeros(df.height, np.int64)
    if stratify not in df.columns:
        raise DataError(f"{stratify}: is no column to stratify by; name one of {', '.join(df.columns)}")
    values = ["" if value is None else repr(value) for value in df[stratify].to_list()]
    rank = {value: number for number, value in enumerate(sorted(set(values)))}
    return np.array([rank[value] for value in values], np.int64)


def _parts(fractions: Mapping[str, float]) -> tuple[list[str], NDArray[np.float64]]:
    shares = np.array(list(fractions.values()), float)
    if len(shares) < 2 or not np.all(shares > 0) or not math.isclose(shares.sum(), 1, abs_tol=1e-6):
        given = ", ".join(f"{name} {share:g}" for name, share in fractions.items())
        raise DataError(f"fractions: {given or 'none'} are no shares of a whole; give two or more that sum to 1")
    return list(fractions), shares


def _deal(
    unit: NDArray[np.int64], stratum: NDArray[np.int64], shares: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """Part of each row: units dealt largest first, each to the part that is then nearest its due.

    The due of a part is its share of every stratum and of all rows; the cost is the summed squared
    distance from it, in shares of the stratum.
    """
    count = np.zeros((unit.max() + 1, stratum.max() + 1))
    np.add.at(count, (unit, stratum), 1)
    count = np.column_stack([count, count.sum(1)])
    total = count.sum(0)
    weight = count / np.maximum(total, 1)
    shuffled = np.random.default_rng(seed).permutation(len(count))
    order = shuffled[np.argsort(-count[shuffled, -1], kind="stable")]
    filled = np.zeros((len(shares), count.shape[1]))
    part = np.empty(len(count), np.int64)
    waiting = len(order)
    for index in order:
        empty = filled[:, -1] == 0
        cost = ((filled + weight[index] - shares[:, None]) ** 2 - (filled - shares[:, None]) ** 2).sum(1)
        if empty.sum() >= waiting:
            cost[~empty] = np.inf
        part[index] = np.argmin(np.round(cost, 12))
        filled[part[index]] += weight[index]
        waiting -= 1
    return part[unit]


def _named(df: pl.DataFrame, choice: NDArray[np.int64], names: Sequence[str]) -> pl.DataFrame:
    values = [None if number < 0 else names[number] for number in choice.tolist()]
    return df.with_columns(pl.Series("split", values, dtype=pl.String))
