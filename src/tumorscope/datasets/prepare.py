"""A data set through ordered steps: new pictures, masks that moved with them, and a manifest; the originals stay."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.datasets.facts import sha256
from tumorscope.datasets.folder import file_name, settle
from tumorscope.datasets.processes import portions
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError, OutputError, ScanError, TumorscopeError
from tumorscope.imaging import steps as imaging
from tumorscope.imaging.intensity import normalize
from tumorscope.io.decoding import label, one_line
from tumorscope.scan import Scan

SETTINGS = "prepare.json"
GUESSED = "kmeans"  # what `mask_source` says of a guess by clusters
VERSION = 1  # raise when the same settings give other pixels

Row = dict[str, Any]
Progress = Callable[[int, int, str | None], None]


@dataclass(frozen=True)
class Prepared:
    """What became of a manifest.

    Parameters
    ----------
    table : polars.DataFrame
        The manifest of the new pictures, with ``prepared``: what the steps found in each scan.
    made, kept : int
        Scans prepared now, and found in place from an earlier run.
    failed : tuple of str
        One line for each scan that could not be prepared.
    """

    table: pl.DataFrame
    made: int
    kept: int
    failed: tuple[str, ...]

    def sentence(self) -> str:
        """What was done, for a person."""
        text = f"{self.made + self.kept} scans prepared"
        text += f", {self.kept} of them by an earlier run" if self.kept else ""
        return text + (f"; {len(self.failed)} failed, the first: {self.failed[0]}" if self.failed else "")


def prepare(
    df: pl.DataFrame,
    steps: Sequence[imaging.Step],
    out: str | Path,
    *,
    workers: int = 2,
    progress: Progress | None = None,
) -> Prepared:
    """The manifest of scans after ``steps``, written below ``out``.

    2-D scans become PNG (8-bit grey, or RGB where the last step colours), volumes become NIfTI in float32 that lies
    where the volume lies. Grey values of 0 to 1 become 0 to 255; where no step brought them there, the head's own
    percentiles do. Masks are cut and resized with their scans; a scan without one gets the guess of a ``cluster-mask``
    step, and ``mask_source`` says ``kmeans``. Each picture hangs on its own scan and the steps alone;
    a killed run goes on where it stopped.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest, its paths absolute or as seen from here. Every column is kept but those that the picture changes.
    steps : sequence of Step
        In order (`imaging.steps.parse`).
    out : path
        A folder that holds none of the originals.
    workers : int
        Processes; 1 works in this one.
    progress : callable or None
        Called after each scan with the scans done, their total, and the error of this one or None.

    Raises
    ------
    DataError
        If no scan could be prepared.
    OutputError
        If ``out`` holds something else, or cannot be written to.
    """
    chosen = imaging.checked(steps)
    place = Path(os.path.abspath(out))
    table = manifest.conform(df, "manifest")
    values = [one.model_dump() for one in chosen]
    settings: Row = {"version": VERSION, "steps": values}
    _settle(place, settings, table)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    jobs = [(row, file_name(row["id"])) for row in table.iter_rows(named=True)]
    rows: list[Row] = []
    failed: list[str] = []
    kept = 0
    work = partial(_prepared, steps=chosen, place=place, key=key)
    results = itertools.chain.from_iterable(portions(work, jobs, workers))
    for done, (row, was_there, error) in enumerate(results, 1):
        if error is None:
            rows.append(row)
            kept += was_there
        else:
            failed.append(error)
        if progress:
            progress(done, len(jobs), error)
    if not rows:
        raise DataError(f"prepare: none of {len(jobs)} scans could be prepared; the first: {failed[0]}")
    result = pl.DataFrame(rows, schema={**table.schema, "prepared": pl.String})
    manifest.write(result, place / "manifest.parquet")
    return Prepared(result, len(rows) - kept, kept, tuple(failed))


def _settle(place: Path, settings: dict[str, Any], table: pl.DataFrame) -> None:
    """Note in the folder by which steps it is made; an earlier note must say the same."""
    for path in table["path"].to_list():
        if Path(os.path.abspath(path)).is_relative_to(place):
            raise OutputError(f"{label(place)}: holds the scan {label(path)}; originals stay untouched, choose another")
    settle(place, SETTINGS, settings, lambda there: "was prepared by other steps")


def _prepared(
    job: tuple[Row, str], steps: Sequence[imaging.Step], place: Path, key: str
) -> tuple[Row, bool, str | None]:
    """The row of one scan after the steps, whether it was there already, and the error or None."""
    row, name = job
    try:
        own = _own_key(row, key)
        note = place / "notes" / f"{name}.json"
        there = _earlier(note, own)
        if there is None:
            there = _made(row, name, steps, place)
            with io.atomic(note) as draft:
                draft.write_text(json.dumps({"key": own, **there}), encoding="utf-8")
            return {**row, **_absolute(there, place)}, False, None
        return {**row, **_absolute(there, place)}, True, None
    except OutputError:
        raise
    except TumorscopeError as error:
        return row, False, str(error)
    except (OSError, MemoryError, ValueError) as error:
        return row, False, f"{label(row['path'])}: cannot be prepared ({one_line(error)}); drop its row or replace it"


def _own_key(row: Row, key: str) -> str:
    """What a picture hangs on: the steps, and the content of its scan and mask."""
    path = Path(row["path"])
    if not path.exists():
        raise ScanError(f"{label(path)}: there is no such file; check the path")
    content = sha256(sorted(path.iterdir()) if path.is_dir() else [path])  # a manifest's may be of an older file
    mask = sha256([Path(row["mask_path"])]) if row["mask_path"] else None
    return hashlib.sha256(json.dumps([key, content, row["channel"], mask]).encode()).hexdigest()


def _earlier(note: Path, own: str) -> Row | None:
    """What an earlier run noted of the same scan and steps, where its files are still there."""
    try:
        there = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    folder = note.parent.parent
    files = [folder / there[column] for column in ("path", "mask_path") if there.get(column)]
    if there.pop("key", None) != own or not all(file.is_file() for file in files):
        return None
    return there


def _absolute(there: Row, place: Path) -> Row:
    full = {name: str(place / there[name]) if there[name] else None for name in ("path", "mask_path")}
    return {**there, **full, "channel": None}


def _made(row: Row, name: str, steps: Sequence[imaging.Step], place: Path) -> Row:
    """The columns of one scan that change, its files written."""
    scan = io.read(row["path"], channel=row["channel"])
    if scan.axes[0] == "C":
        scan = scan.channel(0) if scan.pixels.shape[0] == 1 else _grey(scan)
    lesion = read_mask(row, scan.shape)
    if scan.is_volume:
        return _made_volume(row, scan, lesion, name, steps, place)
    picture = imaging.run(scan.pixels, steps)
    shown = picture.colors if picture.colors is not None else _eight_bits(picture)
    file = place / "images" / f"{name}.png"
    io.write_image(file, shown)
    mask = picture.guess if lesion is None else picture.with_mask(lesion)
    if mask is not None:
        io.write_image(place / "masks" / f"{name}.png", mask.astype(np.uint8) * np.uint8(255))
    facts = {"width": int(shown.shape[1]), "height": int(shown.shape[0]), "sha256": sha256([file])}
    return {**_paths(row, f"{name}.png", mask, lesion), **facts, "prepared": "; ".join(picture.notes)}


def _paths(row: Row, name: str, mask: Any, lesion: Any) -> Row:
    """Where a picture and its mask lie, and who drew the mask."""
    source = GUESSED if lesion is None else row["mask_source"]
    return {
        "path": f"images/{name}",
        "mask_path": None if mask is None else f"masks/{name}",
        "mask_source": None if mask is None else source,
    }


def _made_volume(row: Row, scan: Scan, lesion: Any, name: str, steps: Sequence[imaging.Step], place: Path) -> Row:
    pictures = imaging.run_volume(scan.pixels, steps)
    box = pictures[0].box
    file = place / "images" / f"{name}.nii.gz"
    corner = (0, box.top, box.left)
    io.write_volume(file, np.stack([one.pixels for one in pictures]), scan, corner)
    planes: list[Any] = [one.guess for one in pictures] if lesion is None else [box.cut(plane) for plane in lesion]
    mask = None if planes[0] is None else np.stack(planes)
    if mask is not None:
        io.write_volume(place / "masks" / f"{name}.nii.gz", mask.astype(np.float32), scan, corner)
    notes = "; ".join(dict.fromkeys(note for one in pictures for note in one.notes))
    facts = {"width": box.shape[1], "height": box.shape[0], "sha256": sha256([file])}
    return {**_paths(row, f"{name}.nii.gz", mask, lesion), **facts, "prepared": notes}


def _grey(scan: Scan) -> Scan:
    """A colour scan as one channel of their mean; several sequences in one file need a choice."""
    if scan.pixels.shape[0] != 3:
        count = scan.pixels.shape[0]
        raise DataError(
            f"{label(scan.source.path)}: holds {count} sequences; name one in the manifest's channel column"
        )
    return replace(scan, pixels=scan.pixels.mean(axis=0, dtype=np.float32), axes=scan.axes[1:])


def _eight_bits(picture: imaging.Picture) -> Any:
    """(H, W) uint8 of a grey picture; brought to 0…1 where no step did."""
    pixels = picture.pixels
    if pixels.min() < 0 or pixels.max() > 1:
        pixels = normalize(pixels, where=picture.head if picture.head.any() else None)
    return np.rint(pixels * 255).astype(np.uint8)
