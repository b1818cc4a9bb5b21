"""The sides of a split: what is in them, and which rows may be augmented or balanced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tumorscope.datasets import splits
from tumorscope.datasets.families import families
from tumorscope.errors import DataError

TRAIN, HELD_OUT = "train", "val"


@dataclass(frozen=True)
class Part:
    """What one part of a split holds; ``name`` is None for the rows that no part uses.

    ``groups`` counts families: what is tied by group, patient, case or parent. ``patients`` counts those that are
    named. ``labels`` maps the name of each label, or its number where it has none, to its scans.
    """

    name: str | None
    scans: int
    groups: int
    patients: int
    labels: dict[str, int]


def tally(df: pl.DataFrame, by: str = "split") -> list[Part]:
    """The parts of the column ``by``: train, val, test first, others by name, unused rows last.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "group": ["g", "g", "h"], "label": [1, 1, 0]})
    >>> for part in tally(df.with_columns(split=pl.Series(["train", "train", None]))):
    ...     print(part.name, part.scans, part.groups, part.labels)
    train 2 1 {'1': 2}
    None 1 1 {'0': 1}
    """
    blank = pl.lit(None, pl.String)
    column = {name: pl.col(name) if name in df.columns else blank for name in ("label", "label_name", "source")}
    shown = pl.coalesce(column["label_name"], column["label"].cast(pl.String), pl.lit("unknown"))
    table = df.with_columns(_part=pl.col(by), _label=shown, _unit=pl.Series(families(df)))
    if "patient" in df.columns:
        table = table.with_columns(_patient=pl.when(pl.col("patient").is_not_null()).then("_unit"))
    else:
        table = table.with_columns(_patient=pl.lit(None, pl.Int64))
    first = {name: place for place, name in enumerate(("train", "val", "test"))}
    parts = []
    for key, rows in table.group_by("_part"):
        name = None if key[0] is None else str(key[0])
        counts = dict(sorted(rows["_label"].value_counts().rows()))
        patients = rows["_patient"].drop_nulls().n_unique()
        parts.append(Part(name, rows.height, rows["_unit"].n_unique(), patients, counts))
    return sorted(parts, key=lambda part: (part.name is None, first.get(part.name or "", 9), part.name or ""))


def training_side(df: pl.DataFrame, fold: int | None = None) -> pl.DataFrame:
    """``df`` with the split that training is to use; rows of ``split`` "train" may be augmented and balanced.

    Nothing is derived from a scan before it is known on which side it stands. Of a manifest in folds one is chosen:
    its rows become "val", those of the others "train", and ``fold`` is null from then on, because what is derived
    now must not be dealt out again. Copies (rows with a parent) are no part of what is held out.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest with ``group``, and with ``split`` or ``fold``.
    fold : int or None
        The fold that is held out, where there are folds.

    Raises
    ------
    DataError
        If there is no split, a group is cut or missing, a fold is to be chosen, or nothing is left to train on.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "group": ["g", "h", "i"], "fold": [0, 1, 1]})
    >>> training_side(df, fold=0)["split"].to_list()
    ['val', 'train', 'train']
    """
    kinds = {"split": pl.String, "fold": pl.Int64}
    table = df.with_columns([pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in df.columns])
    if table["split"].null_count() == table["fold"].null_count() == table.height:
        raise DataError("split: no scan is on a side yet; split first (tumorscope split, or splits.holdout)")
    bare = table.height if "group" not in table.columns else table["group"].null_count()
    if bare:
        raise DataError(f"group: {bare} of {table.height} rows have no group; fill it with manifest.assign_groups")
    splits.check(table)
    folds = sorted(table["fold"].drop_nulls().unique().to_list())
    if folds and fold not in folds:
        asked = "none was chosen" if fold is None else f"there is no fold {fold}"
        raise DataError(f"fold: the scans are in folds {_range(folds)} and {asked}; name the one held out (--fold)")
    if fold is not None and not folds:
        raise DataError(f"fold: the scans are in no folds, so that fold {fold} cannot be held out; leave it out")
    if folds:
        free = pl.col("fold").is_not_null() & (pl.col("split").is_null() | (pl.col("split") == TRAIN))
        side = pl.when(pl.col("fold") == fold).then(pl.lit(HELD_OUT)).otherwise(pl.lit(TRAIN))
        table = table.with_columns(split=pl.when(free).then(side).otherwise("split"), fold=pl.lit(None, pl.Int64))
        table = without_held_out_copies(table)
    if "fold" not in df.columns:
        table = table.drop("fold")
    if not (table["split"] == TRAIN).any():
        found = ", ".join(sorted(table["split"].drop_nulls().unique().to_list())) or "none"
        raise DataError(f"split: no scan is on the side 'train' (found {found}); split again with tumorscope split")
    return splits.check(table)


def need_patients(df: pl.DataFrame) -> pl.DataFrame:
    """``df`` itself, when every row names its patient: a split by group then is a split by patient.

    Raises
    ------
    DataError
        With the number of rows that name none, and the first of them.

    Examples
    --------
    >>> need_patients(pl.DataFrame({"id": ["a"], "patient": [None]}))
    Traceback (most recent call last):
    ...
    tumorscope.errors.DataError: patient: 1 of 1 rows name none (first: a); fill the column, or split by group alone
    """
    names = df["patient"] if "patient" in df.columns else pl.Series([None] * df.height)
    bare = names.is_null().arg_true()
    if len(bare):
        raise DataError(
            f"patient: {len(bare)} of {df.height} rows name none (first: {df['id'][int(bare[0])]}); "
            "fill the column, or split by group alone"
        )
    return df


def without_held_out_copies(df: pl.DataFrame) -> pl.DataFrame:
    """``df`` with a null ``split`` for every row with a parent that is not on the training side.

    A score on augmented copies of test scans says nothing more than the score on those scans, and hides how few
    they are.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b"], "parent_id": [None, "a"], "split": ["test", "test"]})
    >>> without_held_out_copies(df)["split"].to_list()
    ['test', None]
    """
    if "parent_id" not in df.columns:
        return df
    out = pl.col("parent_id").is_not_null() & (pl.col("split") != TRAIN)
    return df.with_columns(split=pl.when(out.fill_null(False)).then(None).otherwise("split"))


def refuse_known(df: pl.DataFrame, ids: Iterable[str]) -> None:
    """Raise `DataError` if one of the new ``ids`` stands in ``df`` already, whatever the case of its letters."""
    known = {own.casefold() for own in df["id"].to_list()}
    for own in ids:
        if own.casefold() in known:
            raise DataError(f"{own}: the manifest has this id already; start from the manifest without copies")


def _range(numbers: list[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"{first} to {last}" if len(numbers) == last - first + 1 > 1 else ", ".join(map(str, numbers))
