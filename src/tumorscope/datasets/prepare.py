"""A data set through ordered steps: new pictures, masks that moved with them, and a manifest; the originals stay."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.datasets.augment import file_name
from tumorscope.datasets.facts import sha256
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError, OutputError, ScanError, TumorscopeError
from tumorscope.imaging import steps as imaging
from tumorscope.imaging.geometry import Box
from tumorscope.io.decoding import label, one_line
from tumorscope.scan import Scan

SETTINGS = "prepare.json"
VERSION = 1  # raise when the same settings give other pixels
CHUNK = 8  # scans handed to a process at once
AHEAD = 4  # chunks in flight for each process: memory stays bounded
FEW = 24  # scans; for fewer no process is started, which takes longer than the work

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
    percentiles do. Masks are cut and resized with their scans. Each picture hangs on its own scan and the steps alone;
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
    for done, (row, was_there, error) in enumerate(_results(jobs, values, str(place), key, workers), 1):
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
    file = place / SETTINGS
    if file.is_file():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{label(file)}: cannot be read ({one_line(error)}); choose another folder") from error
        if there != settings:
            raise OutputError(f"{label(place)}: was prepared by other steps; choose another folder, or remove this one")
        return
    if place.is_file() or (place.is_dir() and any(not name.startswith(".") for name in os.listdir(place))):
        raise OutputError(f"{label(place)}: exists and holds something else; choose an empty or a new folder")
    with io.atomic(file) as draft:
        draft.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def _results(
    jobs: Sequence[tuple[Row, str]], steps: list[Row], place: str, key: str, workers: int
) -> Iterator[tuple[Row, bool, str | None]]:
    """What became of each job, in order."""
    if workers <= 1 or len(jobs) < FEW:
        for job in jobs:
            yield _prepared(job, _steps(steps), Path(place), key)
        return
    import joblib

    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    pool = joblib.Parallel(workers, return_as="generator", batch_size=1, pre_dispatch=AHEAD * workers)
    for done in pool(joblib.delayed(_chunk)(chunk, steps, place, key) for chunk in chunks):
        yield from done


def _chunk(jobs: Sequence[tuple[Row, str]], steps: list[Row], place: str, key: str) -> list[Any]:
    """Several jobs in a process of its own, where OpenCV must not start a thread for each core."""
    import cv2

    cv2.setNumThreads(1)
    return [_prepared(job, _steps(steps), Path(place), key) for job in jobs]


def _steps(values: list[Row]) -> tuple[imaging.Step, ...]:
    return tuple(imaging.step(one) for one in values)


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
    content = row["sha256"] or sha256(sorted(path.iterdir()) if path.is_dir() else [path])
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
        return _made_volume(scan, lesion, name, steps, place)
    picture = imaging.run(scan.pixels, steps)
    shown = picture.colors if picture.colors is not None else _eight_bits(picture)
    file = place / "images" / f"{name}.png"
    io.write_image(file, shown)
    mask_path = None
    if lesion is not None:
        mask_path = f"masks/{name}.png"
        io.write_image(place / mask_path, picture.with_mask(lesion).astype(np.uint8) * np.uint8(255))
    facts = {"width": int(shown.shape[1]), "height": int(shown.shape[0]), "sha256": sha256([file])}
    return {"path": f"images/{name}.png", "mask_path": mask_path, **facts, "prepared": "; ".join(picture.notes)}


def _made_volume(scan: Scan, lesion: Any, name: str, steps: Sequence[imaging.Step], place: Path) -> Row:
    pictures = imaging.run_volume(scan.pixels, steps)
    box = pictures[0].box
    file = place / "images" / f"{name}.nii.gz"
    corner = (0, box.top, box.left)
    io.write_volume(file, np.stack([one.pixels for one in pictures]), scan, corner)
    mask_path = None
    if lesion is not None:
        mask_path = f"masks/{name}.nii.gz"
        cut = np.stack([_cut(box, plane) for plane in lesion])
        io.write_volume(place / mask_path, cut.astype(np.float32), scan, corner)
    notes = "; ".join(dict.fromkeys(note for one in pictures for note in one.notes))
    facts = {"width": box.shape[1], "height": box.shape[0], "sha256": sha256([file])}
    return {"path": f"images/{name}.nii.gz", "mask_path": mask_path, **facts, "prepared": notes}


def _cut(box: Box, plane: Any) -> Any:
    return box.cut(plane)


def _grey(scan: Scan) -> Scan:
    """A colour scan as one channel of their mean; several sequences in one file need a choice."""
    from dataclasses import replace

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
        pixels = imaging.normalize(pixels, where=picture.head if picture.head.any() else None)
    return np.rint(pixels * 255).astype(np.uint8)
