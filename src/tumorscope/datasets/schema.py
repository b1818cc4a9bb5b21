"""The manifest's columns, and the check that a table keeps to them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import polars as pl

from tumorscope.errors import DataError, look_up

#: Name and type of every column, in order.
SCHEMA: dict[str, type[pl.DataType]] = {
    "id": pl.String,
    "path": pl.String,
    "channel": pl.Int64,
    "mask_path": pl.String,
    "label": pl.Int64,
    "label_name": pl.String,
    "tumor_type": pl.String,
    "patient": pl.String,
    "case": pl.String,
    "sequence": pl.String,
    "slice": pl.Int64,
    "group": pl.String,
    "source": pl.String,
    "split": pl.String,
    "fold": pl.Int64,
    "parent_id": pl.String,
    "synthetic": pl.Boolean,
    "mask_source": pl.String,
    "plane": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "sha256": pl.String,
    "licence": pl.String,
}
REQUIRED = ("id", "path")
MASK_SOURCES = ("human", "sam", "sam2", "click", "classical", "kmeans", "model", "phantom", "synthetic")
PLANES = ("axial", "coronal", "sagittal")
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def conform(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """``table`` with every column of `SCHEMA` in its type and order; other columns follow, unchanged.

    Empty text becomes null. Text that is no integer where one belongs is an error, not a null.

    Parameters
    ----------
    table : polars.DataFrame
        Any table with ``id`` and ``path``.
    name : str
        What errors call it: the manifest's file.

    Raises
    ------
    DataError
        For a missing or misspelt column, or a value of the wrong kind, with its row (counted from 1).

    Examples
    --------
    >>> conform(pl.DataFrame({"id": ["a"], "path": ["a.png"], "label": ["1"]}), "m.csv")["label"].to_list()
    [1]
    """
    for column in REQUIRED:
        if column not in table.columns:
            found = ", ".join(table.columns) or "none"
            raise DataError(f"{name}: column '{column}' is missing (found {found}); add it")
    for column in table.columns:
        near = difflib.get_close_matches(column, set(SCHEMA) - set(table.columns), n=1, cutoff=0.8)
        if column not in SCHEMA and near:
            raise DataError(f"{name}: unknown column '{column}'; did you mean '{near[0]}'? rename it")
    blank = pl.Series([None] * table.height)
    typed = [
        _cast(table[column] if column in table.columns else blank.alias(column), kind, name)
        for column, kind in SCHEMA.items()
    ]
    extra = [table[column] for column in table.columns if column not in SCHEMA]
    return pl.DataFrame(typed + extra)


def _cast(column: pl.Series, kind: type[pl.DataType], name: str) -> pl.Series:
    if column.dtype == pl.String:
        blank = column.str.strip_chars() == ""
        column = pl.select(pl.when(~blank).then(column).otherwise(None).alias(column.name)).to_series()
    if kind == pl.Boolean and column.dtype == pl.String:
        result = column.str.to_lowercase().replace_strict(TRUTH, default=None, return_dtype=pl.Boolean)
    elif kind == pl.Int64 and column.dtype.is_float():
        column = column.fill_nan(None)
        whole = column.cast(pl.Int64, strict=False)
        result = pl.select(pl.when(whole == column).then(whole).otherwise(None).alias(column.name)).to_series()
    elif kind == pl.Int64 and column.dtype == pl.String:
        result = column.str.strip_chars().str.replace(r"^([+-]?\d+)\.0+$", "$1").cast(pl.Int64, strict=False)
    else:
        result = column.cast(kind, strict=False)
    lost = (result.is_null() & column.is_not_null()).arg_true()
    if len(lost):
        word = {pl.Int64: "integer", pl.Boolean: "true or false"}.get(kind, "text")
        raise DataError(
            f"{name}: row {lost[0] + 1} has {column.name} '{column[lost[0]]}', which is no {word}; "
            "correct it, or leave it empty for unknown"
        )
    return result


def validate(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """``table`` itself, when its rows do not contradict each other. Files are not looked at.

    Raises
    ------
    DataError
        For an empty or repeated id, an empty path, a negative number, a word that is not among the
        allowed ones, or a row that is its own ancestor.
    """
    for column in REQUIRED:
        bare = table[column].is_null().arg_true()
        if len(bare):
            raise DataError(f"{name}: row {bare[0] + 1} has no {column}; every row needs one")
    seen: dict[str, int] = {}
    for row, own in enumerate(table["id"].to_list(), start=1):
        first = seen.setdefault(own.casefold(), row)
        if first != row:
            raise DataError(f"{name}: rows {first} and {row} share the id '{own}' (case ignored); give each its own")
    for column in ("channel", "label", "fold"):
        below = (table[column] < 0).arg_true()
        if len(below):
            raise DataError(f"{name}: row {below[0] + 1} has {column} {table[column][below[0]]}; use 0 or more")
    for column, words in (("mask_source", MASK_SOURCES), ("plane", PLANES)):
        for word in table[column].drop_nulls().unique().to_list():
            look_up(word, words, f"{column} in {name}", DataError)
    _check_names(table, name)
    _check_ancestors(table, name)
    return table


def _check_names(table: pl.DataFrame, name: str) -> None:
    pairs = table.select("label", "label_name").drop_nulls().unique().sort("label", "label_name")
    for column, other in (("label", "label_name"), ("label_name", "label")):
        twice = pairs.filter(pl.col(column).is_duplicated())
        if twice.height:
            both = " and ".join(f"'{value}'" for value in twice.filter(pl.col(column) == twice[column][0])[other])
            raise DataError(f"{name}: {column} '{twice[column][0]}' means {both}; give each label one name")


def _check_ancestors(table: pl.DataFrame, name: str) -> None:
    parent = {own: above for own, above in table.select("id", "parent_id").rows() if above is not None}
    safe: set[str] = set()
    for own in parent:
        path: list[str] = []
        at: str | None = own
        while at is not None and at not in safe:
            if at in path:
                raise DataError(f"{name}: '{own}' descends from itself through parent_id; correct its parent_id")
            path.append(at)
            at = parent.get(at)
        safe.update(path)


def table_of(rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Table of `SCHEMA` from one dictionary a row; what a row does not name is null."""
    return pl.DataFrame([{column: row.get(column) for column in SCHEMA} for row in rows], schema=SCHEMA)
