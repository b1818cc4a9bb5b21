"""How a data set is divided: one split, or folds that are tested in turn; by group, never through one."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tumorscope.datasets import splits
from tumorscope.errors import DataError
from tumorscope.training.classifier_recipe import Data

SALT = 2  # of the draw of validation scans, so that it is none of an epoch's from the same seed


@dataclass(frozen=True)
class Division:
    """One division of the scans, by the manifest's ids: what is learnt from, what picks the epoch, what is tested."""

    name: str
    repeat: int
    fold: int
    train: frozenset[str]
    val: frozenset[str]
    test: frozenset[str]


def divisions(table: pl.DataFrame, settings: Data, seed: int) -> list[Division]:
    """How the scans are held out: by the manifest's own split or folds, else as the recipe says; never across a group.

    With folds, each is tested once a repeat by a model that learnt from the others, of which a share is held back to
    pick the epoch: no number comes from scans that chose anything. Synthetic scans are only learnt from, and only
    where none of their group is held out.

    Raises
    ------
    DataError
        If a group is cut, or a part is empty or lacks a class.
    """
    if settings.folds or table["fold"].is_not_null().any():
        found = _folds(table, settings, seed)
    else:
        found = [_parts("", 0, -1, table, _split(table, settings, seed))]
    labels = dict(table.select("id", "label").rows())
    for one in found:
        _check(one, labels)
    return found


def _split(table: pl.DataFrame, settings: Data, seed: int) -> pl.Series:
    """``train``, ``val`` or ``test`` of each row: the manifest's, a validation part added where it has none."""
    if table["split"].null_count() < table.height:
        splits.check(table)
        own = table["split"]
        return own if (own == "val").any() else _validation(table, own == "train", own, settings, seed)
    shares = {"train": 1 - settings.validation - settings.test, "val": settings.validation, "test": settings.test}
    return _dealt(table, {name: share for name, share in shares.items() if share}, settings, seed)


def _folds(table: pl.DataFrame, settings: Data, seed: int) -> list[Division]:
    own = table["fold"].is_not_null().any()
    if own:
        splits.check(table, by="fold")
    found = []
    apart = (table["split"] == "test").fill_null(False)  # the manifest's own test stays out of every fold
    for repeat in range(1 if own else settings.repeats):
        if own:
            fold = table["fold"]
        else:
            whole = _without_sides(table.filter(~apart))
            fold = splits.cross_validation(
                whole, settings.folds, ordered=_ordered(table, settings), block=settings.block, gap=settings.gap,
                seed=seed + repeat,
            )["fold"]  # fmt: skip
            fold = pl.Series("fold", [None] * table.height, pl.Int64).scatter((~apart).arg_true(), fold)
        fold = fold.set(apart, None)
        for number in sorted(fold.drop_nulls().unique().to_list()):
            held = (fold == number).fill_null(False)
            rest = (fold != number).fill_null(False)
            split = pl.Series("split", ["test" if one else None for one in held], pl.String)
            split = _validation(table, rest, split, settings, seed + repeat * 1000 + number + 1)
            found.append(_parts(f"r{repeat}f{number}", repeat, int(number), table, split))
    return found


def _validation(table: pl.DataFrame, rest: pl.Series, split: pl.Series, settings: Data, seed: int) -> pl.Series:
    """``split`` with ``train`` and ``val`` filled in for the rows of ``rest``, by group."""
    rows = rest.fill_null(False).arg_true()
    part = _dealt(table[rows], {"train": 1 - settings.validation, "val": settings.validation}, settings, seed + SALT)
    return split.scatter(rows, part)


def _dealt(table: pl.DataFrame, shares: dict[str, float], settings: Data, seed: int) -> pl.Series:
    plain = _without_sides(table)
    ordered = _ordered(table, settings)
    return splits.by_source(plain, shares, ordered=ordered, block=settings.block, gap=settings.gap, seed=seed)["split"]


def _without_sides(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(split=pl.lit(None, pl.String), fold=pl.lit(None, pl.Int64))


def _ordered(table: pl.DataFrame, settings: Data) -> list[str]:
    return [name for name in settings.ordered if name in set(table["source"].to_list())]


def _parts(name: str, repeat: int, fold: int, table: pl.DataFrame, split: pl.Series) -> Division:
    """The division of a split; synthetic scans stay in training."""
    sides = table.select("id", pl.col("synthetic").fill_null(False)).with_columns(split.alias("split"))
    real = sides.filter(~pl.col("synthetic") | (pl.col("split") == "train"))
    train, val, test = (frozenset(real.filter(pl.col("split") == side)["id"].to_list()) for side in splits.FRACTIONS)
    return Division(name, repeat, fold, train, val, test)


def _check(one: Division, labels: dict[str, int | None]) -> None:
    """Refuse a division that cannot be learnt from or judged; a label that only a mask tells may be any."""
    where = f" of {one.name}" if one.name else ""
    known = {labels[name] for name in one.train | one.val | one.test} - {None}
    for part, ids, least in (("training", one.train, len(known)), ("validation", one.val, 2)):
        classes = {labels[name] for name in ids}
        if len(classes) < max(2, least) and None not in classes:
            finding = f"{len(ids)} scans of {len(classes)} of {len(known)} classes"
            raise DataError(f"split: the {part} part{where} has {finding}; give more data or another split")
