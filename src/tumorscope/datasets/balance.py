"""Even classes on the training side: rows repeated, rows left out, or weights. Nothing else is touched."""

from __future__ import annotations

import numpy as np
import polars as pl

from tumorscope.datasets import splits
from tumorscope.datasets.families import families
from tumorscope.datasets.sides import TRAIN, refuse_known, training_side
from tumorscope.errors import DataError

Classes = dict[int | str, list[int]]


def oversample(df: pl.DataFrame, by: str = "label", *, seed: int = 0, fold: int | None = None) -> pl.DataFrame:
    """``df`` with training rows repeated until every class of ``by`` has as many as the largest.

    Each row of a class is repeated equally often, a random part of them once more. A repeated row ``ID-r1``,
    ``ID-r2``, ... has the original as its parent and stands in its group and on its side. It shows the same file:
    repetition adds no scan. Rows without a class stay as they are.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest with groups and a split.
    by : str
        Column of the class.
    seed : int
        Same rows and seed, same choice; the order of the rows does not matter.
    fold : int or None
        The fold that is held out, for a manifest in folds (`sides.training_side`).

    Raises
    ------
    DataError
        As `sides.training_side`, or if the training side has fewer than two classes.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "group": ["a", "b", "c"], "split": ["train"] * 3, "label": [1, 1, 0]})
    >>> oversample(df).select("id", "parent_id", "split").rows()[-1]
    ('c-r1', 'c', 'train')
    """
    table = training_side(df, fold)
    if "parent_id" not in table.columns:
        table = table.with_columns(parent_id=pl.lit(None, pl.String))
    rng = np.random.default_rng(seed)
    classes = _classes(table, by)
    largest = max(map(len, classes.values()))
    rows: list[int] = []
    numbers: list[int] = []
    for members in classes.values():
        times, more = divmod(largest, len(members))
        lucky = {members[place] for place in rng.permutation(len(members))[:more].tolist()}
        for row in members:
            extra = times - 1 + (row in lucky)
            rows += [row] * extra
            numbers += range(1, extra + 1)
    names = [f"{own}-r{number}" for own, number in zip(table["id"].gather(rows), numbers, strict=True)]
    refuse_known(table, names)
    repeated = table[rows].with_columns(parent_id=pl.col("id"), id=pl.Series(names, dtype=pl.String))
    return splits.check(pl.concat([table, repeated], how="vertical"))


def undersample(df: pl.DataFrame, by: str = "label", *, seed: int = 0, fold: int | None = None) -> pl.DataFrame:
    """``df`` without as many training rows as it takes to make every class of ``by`` as small as the smallest.

    Whole families (what is tied by group, patient, case or parent) go first, in random order, as long as a whole
    one fits into what is to go; single rows of one family only make up the rest.

    Parameters
    ----------
    df, by, seed, fold
        As for `oversample`.

    Raises
    ------
    DataError
        As `oversample`.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "group": ["g", "g", "h"], "split": ["train"] * 3, "label": [1, 1, 0]})
    >>> undersample(df)["label"].to_list()
    [1, 0]
    """
    table = training_side(df, fold)
    rng = np.random.default_rng(seed)
    unit = families(table).tolist()
    classes = _classes(table, by)
    smallest = min(map(len, classes.values()))
    gone: set[int] = set()
    for members in classes.values():
        excess = len(members) - smallest
        together: dict[int, list[int]] = {}
        for row in members:
            together.setdefault(unit[row], []).append(row)
        whole = list(together.values())
        kept: list[list[int]] = []
        for place in rng.permutation(len(whole)).tolist():
            if len(whole[place]) <= excess:
                gone.update(whole[place])
                excess -= len(whole[place])
            else:
                kept.append(whole[place])
        if excess:  # what is left of it is smaller than every family that stays
            family = min(kept, key=len)
            gone.update(family[place] for place in rng.permutation(len(family))[:excess].tolist())
    stays = [row not in gone for row in range(table.height)]
    return splits.check(table.filter(pl.Series(stays)))


def class_weights(df: pl.DataFrame, by: str = "label", *, fold: int | None = None) -> dict[int | str, float]:
    """Weight of each class of ``by``: rows on the training side / (classes x rows of the class).

    That is "balanced" in scikit-learn; the weights of all training rows average 1.

    Raises
    ------
    DataError
        As `oversample`.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "group": ["a", "b", "c"], "split": ["train"] * 3, "label": [1, 1, 0]})
    >>> class_weights(df)
    {0: 1.5, 1: 0.75}
    """
    classes = _classes(training_side(df, fold), by)
    total = sum(map(len, classes.values()))
    return {value: total / (len(classes) * len(members)) for value, members in classes.items()}


def weigh(df: pl.DataFrame, by: str = "label", *, fold: int | None = None) -> pl.DataFrame:
    """``df`` with the column ``weight``: the `class_weights` of training rows, null for all others.

    Raises
    ------
    DataError
        As `oversample`.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "group": ["a", "b", "c"], "label": [1, 0, 1]})
    >>> weigh(df.with_columns(split=pl.Series(["train", "train", "test"])))["weight"].to_list()
    [1.0, 1.0, None]
    """
    table = training_side(df, fold)
    weights = class_weights(table, by)
    each = pl.col(by).replace_strict(list(weights), list(weights.values()), default=None, return_dtype=pl.Float64)
    return splits.check(table.with_columns(weight=pl.when(pl.col("split") == TRAIN).then(each)))


def _classes(table: pl.DataFrame, by: str) -> Classes:
    """Rows of each class on the training side, by name; classes in order, rows ordered by id."""
    if by not in table.columns:
        raise DataError(f"{by}: is no column to balance by; name one of {', '.join(table.columns)}")
    found: Classes = {}
    ids, values, sides = (table[name].to_list() for name in ("id", by, "split"))
    for row in sorted(range(table.height), key=ids.__getitem__):
        if sides[row] == TRAIN and values[row] is not None:
            found.setdefault(values[row], []).append(row)
    if len(found) < 2:
        names = ", ".join(map(str, found)) or "none"
        raise DataError(f"{by}: the training side has too few classes to balance ({names}); balance by another column")
    return dict(sorted(found.items()))
