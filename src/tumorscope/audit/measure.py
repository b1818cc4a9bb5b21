"""One pass over every scan of a data set: what the findings of an audit are made from.

Each scan is read once, by several processes, and what was measured is kept by content hash, so that a second
audit of the same files reads nothing again and a killed one goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.store import Store
from tumorscope.audit.traits import AROUND_SIDE, ARRAYS, HEAD_SIDE, SCHEMA, Row, traits
from tumorscope.audit.views import fingerprint
from tumorscope.datasets.duplicates import SIDE
from tumorscope.datasets.facts import sha256
from tumorscope.datasets.processes import portions

VERSION = "2"  # raise when anything that is measured changes; views.json counts by itself
PORTION = 16  # scans handed to a process at once
SHARD = 256  # scans a file of the cache; a killed run loses fewer than these
STORED: dict[str, type[pl.DataType]] = {"key": pl.String, **SCHEMA, **ARRAYS}

Progress = Callable[[int, int], None]
Task = tuple[str, str, int | None]


@dataclass(frozen=True)
class Measured:
    """What is known of N scans, all arrays in the order of the table's rows.

    Parameters
    ----------
    table : polars.DataFrame
        The manifest, with more columns: ``problem`` (why a scan could not be read, else null), ``pixel_hash``
        (SHA-256 of the decoded pixels' shape and values, so that a copy in another file format is found), the file
        traits ``bytes, suffix, file_format, mode, bits``, ``scan_width, scan_height`` of the slice that was looked
        at, ``scan_plane`` as the file itself tells it, the guesses of `views` and the traits of `quality`.
    prints : (N, 2, 24, 24) float32 array
        `datasets.duplicates.fingerprints`, to half precision; zeros for a scan that could not be read.
    heads : (N, 64, 64) uint8 array
        The head as `imaging.preparation` prepares it: cleaned, cropped, normalised, padded to a square.
    around : (N, 48, 48) uint8 array
        The whole picture with the head blotted out by mid-grey, padded to a square with black: what a model may know
        of the label without seeing the head. The head's outline shows, nothing of its inside.
    """

    table: pl.DataFrame
    prints: NDArray[np.float32]
    heads: NDArray[np.uint8]
    around: NDArray[np.uint8]

    def only(self, rows: Sequence[int] | NDArray[np.integer]) -> Measured:
        """The scans in these rows, in this order."""
        chosen = np.asarray(rows, np.int64)
        return Measured(self.table[chosen], self.prints[chosen], self.heads[chosen], self.around[chosen])

    @property
    def readable(self) -> Measured:
        """The scans that could be read."""
        return self.only(self.table["problem"].is_null().arg_true().to_numpy())

    def sentence(self) -> str:
        """How many scans could be read.

        Examples
        --------
        >>> measure(pl.DataFrame({"id": ["a"], "path": ["missing.png"]})).sentence()
        '1 of 1 scans could not be read; the first: missing.png: there is no such file; check the path'
        """
        problems = self.table["problem"].drop_nulls()
        if not len(problems):
            return f"all {self.table.height} scans could be read"
        return f"{len(problems)} of {self.table.height} scans could not be read; the first: {problems[0]}"


def measure(
    table: pl.DataFrame, *, cache: str | Path | None = None, workers: int = 2, progress: Progress | None = None
) -> Measured:
    """Measurements of every scan of a manifest.

    A scan that cannot be read gets its ``problem`` and zeros, and the others go on. Several channels are averaged
    unless the manifest names one; a volume is seen by its middle slice. Files of the same content are read once.

    Parameters
    ----------
    table : polars.DataFrame
        A manifest (`datasets.manifest.load`).
    cache : str or Path or None
        A folder where measurements are kept by the content of the file; None keeps nothing. The manifest's
        ``sha256`` is believed as long as the file has the size that was measured; where it is null the file is
        hashed. Scans with a problem are tried again each time.
    workers : int
        Processes that read at once; 1 reads in this one.
    progress : callable or None
        Called with (scans done, scans in all).

    Raises
    ------
    OutputError
        If the cache cannot be written.

    Examples
    --------
    >>> measure(pl.DataFrame({"id": ["a"], "path": ["missing.png"]})).table["problem"].to_list()
    ['missing.png: there is no such file; check the path']
    """
    paths = [Path(path) for path in table["path"].to_list()]
    channels = table["channel"].to_list() if "channel" in table.columns else [None] * table.height
    known = table["sha256"].to_list() if "sha256" in table.columns else [None] * table.height
    sizes = [file_size(path) for path in paths]
    board = _Board([content_key(*row) for row in zip(paths, channels, known, sizes, strict=True)])
    store = Store(Path(cache), f"{VERSION}-{fingerprint()}") if cache is not None else None
    for found in store.find(board.open) if store else ():
        board.fill(found.iter_rows(named=True))
    tasks = [(key, str(paths[rows[0]]), channels[rows[0]]) for key, rows in board.open.items()]
    fresh: list[Row] = []
    try:
        for done in portions(_measured, tasks, workers, size=PORTION):
            board.fill(done)
            fresh += [row for row in done if row["problem"] is None]
            if store and len(fresh) >= SHARD:
                store.add(fresh, STORED)
                fresh = []
            if progress:
                progress(board.done, table.height)
    finally:
        if store:
            store.add(fresh, STORED)
    facts = pl.DataFrame(
        {"bytes": sizes, "suffix": [path.suffix.casefold() for path in paths]},
        schema={"bytes": pl.Int64, "suffix": pl.String},
    )
    measured = pl.DataFrame(board.rows, schema=SCHEMA)
    kept = table.drop(set(table.columns) & {*facts.columns, *measured.columns})
    return Measured(pl.concat([kept, facts, measured], how="horizontal"), board.prints, board.heads, board.around)


class _Board:
    """Arrays of all rows, filled as measurements come in; ``open`` holds the rows of each key that is still missing."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.open: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            self.open.setdefault(key, []).append(row)
        self.done = 0
        self.rows: list[Row] = [{}] * len(keys)
        self.prints = np.zeros((len(keys), 2, SIDE, SIDE), np.float32)
        self.heads = np.zeros((len(keys), HEAD_SIDE, HEAD_SIDE), np.uint8)
        self.around = np.zeros((len(keys), AROUND_SIDE, AROUND_SIDE), np.uint8)

    def fill(self, rows: Iterable[Row]) -> None:
        """Enter measurements under their keys."""
        for row in rows:
            places = self.open.pop(row["key"])
            self.done += len(places)
            for place in places:
                self.rows[place] = {name: row.get(name) for name in SCHEMA}
            if row["problem"] is not None:
                continue
            small = np.frombuffer(row["print"], np.float16).reshape(2, SIDE, SIDE).astype(np.float32)
            length = np.sqrt((small**2).sum(axis=(1, 2), keepdims=True))
            self.prints[places] = small / np.where(length > 0, length, 1)
            self.heads[places] = np.frombuffer(row["head"], np.uint8).reshape(HEAD_SIDE, HEAD_SIDE)
            self.around[places] = np.frombuffer(row["around"], np.uint8).reshape(AROUND_SIDE, AROUND_SIDE)


def file_size(path: Path) -> int | None:
    """Bytes of a file, or of the files in a folder; None where there is none."""
    try:
        if path.is_dir():
            return sum(entry.stat().st_size for entry in path.iterdir() if entry.is_file())
        return path.stat().st_size
    except OSError:
        return None


def content_key(path: Path, channel: int | None, known: str | None, size: int | None) -> str:
    """What a measurement is kept under: hash (``known``, or of the file or folder), channel and size in bytes.

    The path itself stands for the hash where there is no content to go by.

    Examples
    --------
    >>> content_key(Path("a.png"), None, "77af", 1024), content_key(Path("missing.png"), 2, None, None)
    ('77af None 1024', 'missing.png 2')
    """
    if known is None:
        try:
            files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
            known = sha256(files)
        except OSError:
            return f"{path} {channel}"
    return f"{known} {channel} {size}"


def _measured(task: Task) -> Row:
    key, path, channel = task
    return {"key": key, **traits(path, channel)}
