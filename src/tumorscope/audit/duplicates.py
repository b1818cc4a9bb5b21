"""Scans that stand in a data set more than once: to the byte, to the pixel, or nearly, within and across sources."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.keeping import kept
from tumorscope.audit.measure import Measured
from tumorscope.audit.wording import differences
from tumorscope.datasets import duplicates
from tumorscope.datasets.families import ancestry, join, keys_of

IntArray = NDArray[np.int64]
KINDS = ("bytes", "pixels", "near")
MEANS = {"bytes": "to the byte", "pixels": "to the pixel", "near": "nearly"}
OVERLAP = 0.05  # of the scans of a source; from here on leaving copies out makes no external test of it
PAIRS = {
    "row_1": pl.Int64, "row_2": pl.Int64, "id_1": pl.String, "id_2": pl.String, "source_1": pl.String,
    "source_2": pl.String, "label_1": pl.String, "label_2": pl.String, "kind": pl.String, "agreement": pl.Float64,
    "turn": pl.Int64, "difference": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Duplicates:
    """What is a copy of what in N scans.

    Parameters
    ----------
    pairs : polars.DataFrame
        One row a pair: ``row_1, row_2, id_1, id_2, source_1, source_2, label_1, label_2``, ``kind`` (bytes, pixels or
        near), ``agreement`` of the detail (0.94 to 1), ``turn`` (`datasets.duplicates.Copies`), and the ``difference``
        in words.
    groups : polars.DataFrame
        One row a group of two or more copies, the largest first: ``group, scans, rows, ids, sources, labels``,
        ``conflict`` (whether labels differ) and ``keep`` (the id to keep; null in a conflict).
    clean : polars.DataFrame
        One row a scan, in the order of the table: ``id``, ``copies`` (the name of its group of copies, null where it
        has none), ``group`` (what must stay on one side of a split: copies, patient, case and parents together),
        ``keep`` and ``reason``.
    sources : polars.DataFrame
        ``source, scans, distinct, redundant``.
    between : polars.DataFrame
        One row for two sources with copies of each other: ``source_1, source_2, groups``, and how many scans of each
        stand in the other (``scans_1, scans_2``).
    scans, distinct : int
        Readable scans, and how many different ones these are.
    repeats : dict
        Scans that are redundant because of each kind of copy.
    """

    pairs: pl.DataFrame
    groups: pl.DataFrame
    clean: pl.DataFrame
    sources: pl.DataFrame
    between: pl.DataFrame
    scans: int
    distinct: int
    repeats: dict[str, int]

    @property
    def redundant(self) -> int:
        """Scans that can go without losing a distinct one."""
        return self.scans - self.distinct

    @property
    def conflicts(self) -> pl.DataFrame:
        """The groups whose scans carry different labels."""
        return self.groups.filter("conflict")

    def sentence(self) -> str:
        """How many scans repeat another one, and how.

        Examples
        --------
        >>> empty = pl.DataFrame()
        >>> repeats = {"bytes": 25, "pixels": 0, "near": 29}
        >>> Duplicates(empty, empty, empty, empty, empty, 253, 199, repeats).sentence()
        '54 of 253 scans repeat another one (25 to the byte, 29 nearly): 199 are distinct'
        """
        if not self.redundant:
            return f"none of {self.scans} scans repeats another one"
        how = ", ".join(f"{count} {MEANS[kind]}" for kind, count in self.repeats.items() if count)
        verb = "repeats" if self.redundant == 1 else "repeat"
        return f"{self.redundant} of {self.scans} scans {verb} another one ({how}): {self.distinct} are distinct"

    def sentences(self) -> tuple[str, ...]:
        """`sentence`, what stands in two data sets, and what is labelled in two ways."""
        found = [self.sentence()]
        sizes = dict(self.sources.select("source", "scans").rows())
        for one, other, _, ours, theirs in self.between.rows():
            many = ours >= OVERLAP * sizes[one] or theirs >= OVERLAP * sizes[other]
            what = "neither can be an external test of the other" if many else "leave them out of any test"
            found.append(
                f"{ours} of {sizes[one]} scans of {one} stand again in {other} "
                f"({theirs} of the {sizes[other]} there): {what}"
            )
        conflicts = self.conflicts
        if conflicts.height:
            names = ", ".join(conflicts["ids"][0].to_list()[:3])
            several = "group of copies carries" if conflicts.height == 1 else "groups of copies carry"
            found.append(f"{conflicts.height} {several} different labels; the first: {names}")
        elif self.groups.height:
            found.append("no two copies carry different labels")
        return tuple(found)

    def with_groups(self, table: pl.DataFrame) -> pl.DataFrame:
        """``table`` (the one that was measured) with the recommended ``group``."""
        return table.with_columns(self.clean["group"])


def find_duplicates(measured: Measured, threshold: float = duplicates.THRESHOLD) -> Duplicates:
    """Copies among all scans of a measured manifest.

    Parameters
    ----------
    measured : Measured
    threshold : float
        Agreement of the detail from which two scans are copies; see `datasets.duplicates`.

    Raises
    ------
    DataError
        If the threshold is no correlation.
    """
    table = _complete(measured.table)
    found = duplicates.copies(measured.prints, threshold)
    near = duplicates.groups(measured.prints, threshold, found=found)
    copy_of = _tied(table, near)
    readable = table["problem"].is_null().to_numpy()
    pairs = _pairs(measured, table, _every(table, found, copy_of, measured.prints.any(axis=(1, 2, 3))))
    groups = _groups(table, copy_of)
    clean = kept(table, groups).with_columns(group=pl.Series(_recommended(table, copy_of), dtype=pl.String))
    best = clean.filter(pl.col("keep") & pl.col("copies").is_not_null()).select("copies", keep="id")
    distinct = len(set(copy_of[readable].tolist()))
    return Duplicates(
        pairs=pairs,
        groups=groups.join(best, left_on="group", right_on="copies", how="left", maintain_order="left"),
        clean=clean.select("id", "copies", "group", "keep", "reason"),
        sources=_sources(table.filter(pl.Series(readable)), copy_of[readable]),
        between=_between(table, copy_of),
        scans=int(readable.sum()),
        distinct=distinct,
        repeats=_repeats(table.filter(pl.Series(readable)), distinct),
    )


def _complete(table: pl.DataFrame) -> pl.DataFrame:
    """``table`` with a source for each row and its label as text; columns that it lacks are null."""
    absent = [name for name in ("source", "label", "label_name", "problem", "sha256", "pixel_hash", "channel")
              if name not in table.columns]  # fmt: skip
    table = table.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    return table.with_columns(
        source=pl.col("source").fill_null("data"),
        label_text=pl.Series(label_texts(table), dtype=pl.String),
        # One file holds several scans where a channel is chosen: its bytes alone do not make a copy.
        sha256=pl.when(pl.col("sha256").is_not_null()).then(
            pl.concat_str("sha256", pl.col("channel").cast(pl.String).fill_null(""))
        ),
    )


def label_texts(table: pl.DataFrame) -> list[str | None]:
    """Name of each row's label, its number where it has no name, None where it has none.

    Examples
    --------
    >>> label_texts(pl.DataFrame({"id": ["a", "b"], "label": [1, 0], "label_name": [None, "no"]}))
    ['1', 'no']
    """
    absent = [pl.lit(None, pl.String).alias(name) for name in ("label_name", "label") if name not in table.columns]
    known = table.with_columns(absent).with_columns(pl.col("label_name", "label").cast(pl.String))
    return known.select(pl.coalesce("label_name", "label"))["label_name"].to_list()


def _tied(table: pl.DataFrame, near: IntArray) -> IntArray:
    """Number of the group of copies of each row: equal bytes, equal pixels or nearly equal, directly or in steps."""
    ties: list[list[tuple[str, object]]] = [[("near", number)] for number in near.tolist()]
    for kind in ("sha256", "pixel_hash"):
        for tied, key, problem in zip(ties, table[kind].to_list(), table["problem"].to_list(), strict=True):
            if key is not None and problem is None:
                tied.append((kind, key))
    return join(ties)


@dataclass(frozen=True)
class _Every:
    """All pairs of copies, those of blank scans with equal bytes or pixels too."""

    i: IntArray
    j: IntArray
    agreement: NDArray[np.float64]
    turn: IntArray


def _every(table: pl.DataFrame, found: duplicates.Copies, copy_of: IntArray, visible: Any) -> _Every:
    """The near pairs inside the groups (the ends of a chain that was cut are none), and equal scans that are blank.

    Equal scans that are not blank are among the near ones already.
    """
    together = copy_of[found.i] == copy_of[found.j]
    i, j = found.i[together], found.j[together]
    added: set[tuple[int, int]] = set()
    blank = table.with_row_index("_row").filter(pl.Series(~visible) & pl.col("problem").is_null())
    for kind in ("sha256", "pixel_hash"):
        for (key,), rows in blank.group_by(kind):
            if key is not None:
                added |= set(combinations(rows["_row"].to_list(), 2))
    more = np.array(sorted(added), np.int64).reshape(-1, 2)
    i, j = np.concatenate([i, more[:, 0]]), np.concatenate([j, more[:, 1]])
    agreement = np.concatenate([found.value[together].astype(np.float64), np.ones(len(more))])
    turn = np.concatenate([found.turn[together], np.zeros(len(more), np.int64)])
    order = np.lexsort((j, i))
    return _Every(i[order], j[order], agreement[order], turn[order])


def _pairs(measured: Measured, table: pl.DataFrame, every: _Every) -> pl.DataFrame:
    sides = {}
    for number, rows in ((1, every.i), (2, every.j)):
        sides[f"row_{number}"] = pl.Series(rows, dtype=pl.Int64)
        for name, column in (("id", "id"), ("source", "source"), ("label", "label_text")):
            sides[f"{name}_{number}"] = table[column].gather(rows)
    kind = np.full(len(every.i), "near", object)
    for name, column in (("pixels", "pixel_hash"), ("bytes", "sha256")):
        keys = table[column]
        kind[(keys.gather(every.i) == keys.gather(every.j)).fill_null(False).to_numpy()] = name
    words = differences(measured, every.i, every.j, every.turn, kind.tolist())
    rest = {
        "kind": pl.Series(kind.tolist(), dtype=pl.String), "agreement": every.agreement.clip(max=1),
        "turn": every.turn, "difference": pl.Series(words, dtype=pl.String),
    }  # fmt: skip
    return pl.DataFrame({**sides, **rest}, schema=PAIRS)


def _names(table: pl.DataFrame, unit: IntArray) -> list[str]:
    """Name of each row's unit: the source and id of its first member in alphabetical order."""
    names: dict[int, str] = {}
    for number, source, own in zip(unit.tolist(), table["source"].to_list(), table["id"].to_list(), strict=True):
        names[number] = min(names.get(number, f"{source}:{own}"), f"{source}:{own}")
    return [names[number] for number in unit.tolist()]


def _groups(table: pl.DataFrame, copy_of: IntArray) -> pl.DataFrame:
    names = _names(table, copy_of)
    rows = table.select("id", "source", "label_text").with_columns(
        pl.Series("copies", names, dtype=pl.String), pl.Series("row", np.arange(table.height), dtype=pl.Int64)
    )
    several = rows.filter(pl.col("row").count().over("copies") > 1).sort("copies", "id")
    return (
        several.group_by("copies", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("scans"),
            pl.col("row").alias("rows"),
            pl.col("id").alias("ids"),
            pl.col("source").unique().sort().alias("sources"),
            pl.col("label_text").drop_nulls().unique().sort().alias("labels"),
        )
        .with_columns(conflict=pl.col("labels").list.len() > 1)
        .rename({"copies": "group"})
        .sort("scans", "group", descending=[True, False])
    )


def _recommended(table: pl.DataFrame, copy_of: IntArray) -> list[str]:
    """Name of what must stay together: copies, and what the manifest ties by group, patient, case or parent."""
    ties: list[list[object]] = [[("copies", number), *keys] for number, keys in
                                zip(copy_of.tolist(), ancestry(table), strict=True)]  # fmt: skip
    for keys in keys_of(table).values():
        for tied, key in zip(ties, keys, strict=True):
            if key is not None:
                tied.append(key)
    return _names(table, join(ties))


def _sources(table: pl.DataFrame, copy_of: IntArray) -> pl.DataFrame:
    rows = table.select("source").with_columns(unit=pl.Series(copy_of))
    counted = rows.group_by("source").agg(
        scans=pl.len().cast(pl.Int64), distinct=pl.col("unit").n_unique().cast(pl.Int64)
    )
    return counted.with_columns(redundant=pl.col("scans") - pl.col("distinct")).sort("source")


def _between(table: pl.DataFrame, copy_of: IntArray) -> pl.DataFrame:
    counts = table.select("source").with_columns(unit=pl.Series(copy_of)).group_by("unit", "source").len("scans")
    both = counts.join(counts, on="unit", suffix="_2").filter(pl.col("source") < pl.col("source_2"))
    return (
        both.group_by("source", "source_2")
        .agg(
            pl.len().cast(pl.Int64).alias("groups"),
            pl.col("scans").sum().cast(pl.Int64).alias("scans_1"),
            pl.col("scans_2").sum().cast(pl.Int64),
        )
        .rename({"source": "source_1"})
        .sort("source_1", "source_2")
    )


def _repeats(table: pl.DataFrame, distinct: int) -> dict[str, int]:
    """Scans that equal bytes make redundant, those that equal pixels make so besides, and the rest."""
    count = table.height

    def different(*columns: str) -> int:
        keys = [
            [(column, key) for column, key in zip(columns, row, strict=True) if key is not None]
            for row in table.select(columns).rows()
        ]
        return len(set(join([key or [("row", place)] for place, key in enumerate(keys)]).tolist()))

    bytes_, pixels = different("sha256"), different("sha256", "pixel_hash")
    return {"bytes": count - bytes_, "pixels": bytes_ - pixels, "near": pixels - distinct}
