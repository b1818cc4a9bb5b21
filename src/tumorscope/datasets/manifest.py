"""The manifest: one row a scan, with the columns that every command understands."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tumorscope import io
from tumorscope.datasets.catalog import LAYOUTS
from tumorscope.datasets.grouping import assign_groups
from tumorscope.datasets.schema import MASK_SOURCES, SCHEMA, conform, validate
from tumorscope.datasets.survey import Survey, survey
from tumorscope.errors import DataError, look_up

__all__ = [
    "MASK_SOURCES",
    "SCHEMA",
    "Survey",
    "assign_groups",
    "build",
    "load",
    "read",
    "survey",
    "with_sequence",
    "write",
]

Data = str | Path | pl.DataFrame
NAMES = ("manifest.parquet", "manifest.csv")
log = logging.getLogger("tumorscope")


def build(root: str | Path, layout: str | None = None, *, findings: list[str] | None = None) -> pl.DataFrame:
    """The manifest of a folder; what does not fit is logged as warnings, or appended to ``findings`` where given.

    Raises
    ------
    DataError
        As `survey`.
    """
    found = survey(root, layout)
    if findings is not None:
        findings += found.findings
        return found.table
    for finding in found.findings:
        log.warning("%s", finding)
    return found.table


def read(path: str | Path, *, check_files: bool = True) -> pl.DataFrame:
    """The manifest in a Parquet or CSV file, checked; its relative paths start at the file's folder.

    Parameters
    ----------
    path : str or Path
        ``.parquet`` or ``.csv``.
    check_files : bool
        Whether each scan and mask must be there.

    Raises
    ------
    DataError
        One line: the file, the row, what is wrong, what to do.
    """
    file = Path(path)
    kind = _kind(file)
    if not file.is_file():
        raise DataError(f"{file}: there is no such manifest; name a .parquet or .csv file")
    try:
        table = pl.read_parquet(file) if kind == ".parquet" else pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        words = str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be read as {kind[1:]} ({words}); write it again") from error
    table = validate(conform(table, str(file)), str(file))
    for column in ("path", "mask_path"):
        full = [None if value is None else os.path.abspath(file.parent / value) for value in table[column].to_list()]
        if check_files:
            _check_files(file, column, full)
        table = table.with_columns(pl.Series(column, full, dtype=pl.String))
    return table


def _kind(file: Path) -> str:
    suffix = file.suffix.casefold()
    if suffix not in (".parquet", ".csv"):
        raise DataError(f"{file}: a manifest is a .parquet or .csv file; rename it or name another")
    return suffix


def _check_files(file: Path, column: str, paths: Sequence[str | None]) -> None:
    absent = [(row, path) for row, path in enumerate(paths, start=1) if path is not None and not Path(path).exists()]
    if absent:
        row, path = absent[0]
        more = f" ({len(absent)} are missing)" if len(absent) > 1 else ""
        raise DataError(f"{file}: row {row} has {column} {path}, which is not there{more}; move it back or correct it")


def write(df: pl.DataFrame, path: str | Path) -> Path:
    """Write a manifest and return its path; paths below its folder are stored relative to it.

    Such a folder can be moved as a whole. Other paths are stored absolute. The file is written under a
    temporary name and renamed.

    Raises
    ------
    DataError
        If the table is no valid manifest, or the suffix is neither ``.parquet`` nor ``.csv``.
    OutputError
        If the file cannot be written.
    """
    file = Path(path)
    kind = _kind(file)
    table = validate(conform(df, file.name), file.name)
    folder = file.parent.resolve()
    for column in ("path", "mask_path"):
        stored = [None if value is None else _stored(Path(value), folder) for value in table[column].to_list()]
        table = table.with_columns(pl.Series(column, stored, dtype=pl.String))
    with io.atomic(file) as draft:
        table.write_parquet(draft) if kind == ".parquet" else table.write_csv(draft)
    return file


def _stored(path: Path, folder: Path) -> str:
    """``path`` as a manifest in ``folder`` names it. Links are kept: only the folder part is made absolute."""
    full = Path(os.path.abspath(path))
    for base in (folder, Path(os.path.abspath(folder))):
        if full.is_relative_to(base):
            return full.relative_to(base).as_posix()
    return str(full)


def load(data: Data | Sequence[Data], *, groups: bool = True, findings: list[str] | None = None) -> pl.DataFrame:
    """The manifest of a folder, a manifest file, a table, or several of these one after the other.

    A folder that holds ``manifest.parquet`` or ``manifest.csv`` is read from it. ``source`` is the
    folder's name. An id that two sources share gets its source in front.

    Parameters
    ----------
    data : str, Path, polars.DataFrame, or a sequence of them
        What to load.
    groups : bool
        Whether to fill ``group`` where it is missing (`assign_groups`): reads every scan once.
    findings : list of str or None
        What does not fit in a folder (`survey`) is appended here instead of being logged.

    Raises
    ------
    DataError
        As `build` and `read`, or if two sources mean different things by one label.
    """
    several = list(data) if isinstance(data, Sequence) and not isinstance(data, str) else [data]
    if not several:
        raise DataError("data: nothing was given; name a folder or a manifest")
    tables = [_load_one(item, findings) for item in several]
    if len(tables) > 1:
        tables = _apart(tables)
    table = pl.concat(tables, how="diagonal_relaxed")
    table = validate(table, " + ".join(sorted({str(name) for name in table["source"].unique().to_list()})))
    if groups and (table["group"].null_count() or len(tables) > 1):
        table = assign_groups(table)
    return table


def _load_one(item: Data, findings: list[str] | None) -> pl.DataFrame:
    if isinstance(item, pl.DataFrame):
        return validate(conform(item, "table"), "table")
    path = Path(item)
    if path.is_dir():
        held = [path / name for name in NAMES if (path / name).is_file()]
        if not held:
            return build(path, findings=findings)
        path = held[0]
    table = read(path)
    return table.with_columns(pl.col("source").fill_null(path.resolve().parent.name))


def _apart(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """The tables with sources of different names, and ids that no two of them share."""
    sources = Counter(name for table in tables for name in table["source"].unique().to_list())
    count = Counter(own.casefold() for table in tables for own in table["id"].to_list())
    seen: Counter[str] = Counter()
    result = []
    for table in tables:
        clash = [name for name in table["source"].unique(maintain_order=True).to_list() if sources[name] > 1]
        for name in clash:
            seen[name] += 1
            if seen[name] > 1:
                new = f"{name}-{seen[name]}"
                own = pl.col("group").str.strip_prefix(f"{name}:")
                table = table.with_columns(
                    source=pl.col("source").replace(name, new),
                    group=pl.when(pl.col("group").str.starts_with(f"{name}:")).then(f"{new}:" + own).otherwise("group"),
                )
        renamed = {
            own: f"{source}_{own}" for own, source in table.select("id", "source").rows() if count[own.casefold()] > 1
        }
        result.append(table.with_columns(pl.col("id", "parent_id").replace(renamed)))
    return result


def with_sequence(df: pl.DataFrame, sequence: str) -> pl.DataFrame:
    """``df`` with the channel of ``sequence`` chosen in rows whose collection keeps several in one file.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest; rows without a channel stay as they are.
    sequence : str
        ``"t1"``, ``"flair"``, ``"t1ce"`` for TCGA-LGG.

    Raises
    ------
    DataError
        If no known collection has that sequence.

    Examples
    --------
    >>> rows = pl.DataFrame({"id": ["a"], "channel": [1], "sequence": ["flair"]})
    >>> with_sequence(rows, "t1ce").rows()
    [('a', 2, 't1ce')]
    """
    channels = {name: number for layout in LAYOUTS for name, number in layout.channels.items()}
    number = channels[look_up(sequence, channels, "sequence in one file", DataError)]
    several = pl.col("channel").is_not_null()
    return df.with_columns(
        channel=pl.when(several).then(number).otherwise(pl.col("channel")),
        sequence=pl.when(several).then(pl.lit(sequence)).otherwise(pl.col("sequence")),
    )
