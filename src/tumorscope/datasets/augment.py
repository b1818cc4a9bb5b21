"""Changed copies of training scans on disk, made after the split and bound to their parents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets import manifest, splits
from tumorscope.datasets.folder import file_name, settle
from tumorscope.datasets.sides import TRAIN, refuse_known, training_side
from tumorscope.datasets.truth import read_mask
from tumorscope.datasets.variation import Ranges, brighten, draw, move, move_mask
from tumorscope.errors import DataError, OutputError, ScanError, TumorscopeError
from tumorscope.io.decoding import label, one_line
from tumorscope.scan import FloatArray, Scan

SETTINGS = "augment.json"
VERSION = 1  # raise when the same settings give other pixels

Progress = Callable[[int, int, str | None], None]


@dataclass(frozen=True)
class Augmented:
    """What was made of a manifest.

    Parameters
    ----------
    table : polars.DataFrame
        The manifest with the copies behind its own rows.
    scans : int
        Training scans that copies were asked of.
    made, kept : int
        Copies drawn now, and copies found in place from an earlier run.
    passed_over : int
        Training rows that have a parent themselves: copies are not copied again.
    failed : tuple of str
        One line for each scan that has no copies, with the reason.
    """

    table: pl.DataFrame
    scans: int
    made: int
    kept: int
    passed_over: int
    failed: tuple[str, ...]

    def sentence(self) -> str:
        """What was done, for a person."""
        scans = "1 training scan" if self.scans == 1 else f"{self.scans} training scans"
        text = f"{self.made + self.kept} copies of {scans}, which share their groups and their side"
        text += f"; {self.kept} were there already" if self.kept else ""
        text += f"; {self.passed_over} rows that are copies themselves were passed over" if self.passed_over else ""
        return text + (f"; {len(self.failed)} scans failed" if self.failed else "")


def offspring(df: pl.DataFrame, folder: str | Path, copies: int, *, fold: int | None = None) -> pl.DataFrame:
    """The rows of all copies to be: ``copies`` of each training scan without a parent, files below ``folder``.

    A copy ``ID-a1``, ``ID-a2``, ... keeps every column of its scan (group, patient, case, split, label, ...) but
    ``id``, ``path``, ``mask_path``, ``channel``, ``parent_id`` and ``sha256``, which is null. Nothing is written.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest with groups and a split.
    folder : path
        Where the copies will lie: ``images/`` and ``masks/``.
    copies : int
        Copies of each scan, at least 1.
    fold : int or None
        The fold that is held out, for a manifest in folds.

    Raises
    ------
    DataError
        As `sides.training_side`, or if every training row is a copy itself or an id is taken.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a"], "path": ["a.jpg"], "group": ["g"], "split": ["train"], "label": [1]})
    >>> offspring(df, "out", 2).select("id", "parent_id", "group", "split").rows()
    [('a-a1', 'a', 'g', 'train'), ('a-a2', 'a', 'g', 'train')]
    """
    if copies < 1:
        raise DataError(f"copies: {copies} is no number of copies; give 1 or more")
    table = manifest.conform(training_side(df, fold), "manifest")
    parents = table.filter((pl.col("split") == TRAIN) & pl.col("parent_id").is_null())
    if parents.is_empty():
        raise DataError("parent_id: every training row is a copy itself; start from the manifest without copies")
    place = Path(os.path.abspath(folder))
    rows = []
    for row in parents.iter_rows(named=True):
        name = file_name(row["id"])
        for number in range(1, copies + 1):
            own = {"id": f"{row['id']}-a{number}", "parent_id": row["id"], "channel": None, "sha256": None}
            own["path"] = str(place / "images" / f"{name}-a{number}.png")
            own["mask_path"] = str(place / "masks" / f"{name}-a{number}.png") if row["mask_path"] else None
            rows.append({**row, **own, "synthetic": False})
    refuse_known(table, [row["id"] for row in rows])
    return pl.DataFrame(rows, schema=table.schema)


def augment(
    df: pl.DataFrame,
    out: str | Path,
    copies: int,
    *,
    ranges: Ranges | None = None,
    seed: int = 0,
    fold: int | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Augmented:
    """The manifest with changed copies of its training scans, whose files are written below ``out``.

    A copy depends on the seed, its scan's id and its number alone. PNG of 8 bits, or of 16 where the source has more
    than 8; values are kept as they are where they fit, otherwise the scan's range fills the 16 bits. Masks move with
    their images. The originals stay untouched. A killed run goes on where it stopped; ``out/manifest.parquet`` is
    written when all is done.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest with groups and a split, its paths absolute or as seen from here.
    out : path
        A folder that holds none of the originals, nor lies among them.
    copies : int
        Copies of each scan.
    ranges : Ranges or None
        How far a copy may differ.
    seed : int
    fold : int or None
        The fold that is held out, for a manifest in folds.
    workers : int
        Scans at once.
    progress : callable or None
        Called after each scan with the scans done, their total, and the error of this one or None.

    Raises
    ------
    DataError
        As `offspring`, if a scan is a volume, or no scan could be copied.
    OutputError
        If ``out`` lies among the originals, holds copies made otherwise, or cannot be written to.
    """
    settings = ranges or Ranges()
    place = Path(os.path.abspath(out))
    table = manifest.conform(training_side(df, fold), "manifest")
    planned = offspring(table, place, copies)
    asked = set(planned["parent_id"].to_list())
    parents = {row["id"]: row for row in table.iter_rows(named=True) if row["id"] in asked}
    _refuse_among(table, place)
    _refuse_volumes(parents)
    _settle(place, settings, seed, parents)
    jobs = [(parents[key[0]], rows.to_dicts()) for key, rows in planned.group_by("parent_id", maintain_order=True)]
    made: list[dict[str, Any]] = []
    failed: list[str] = []
    drawn = 0
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            work = pool.map(lambda job: _copy(job[0], job[1], settings, seed), jobs)
            for done, (rows, fresh, error) in enumerate(work, start=1):
                made += rows
                drawn += fresh
                failed += [error] if error else []
                if progress:
                    progress(done, len(jobs), error)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if not made:
        raise DataError(f"augment: none of {len(jobs)} training scans could be copied; the first: {failed[0]}")
    result = splits.check(pl.concat([table, pl.DataFrame(made, schema=table.schema)]))
    manifest.write(result, place / "manifest.parquet")
    passed = table.filter(pl.col("split") == TRAIN).height - len(parents)
    return Augmented(result, len(jobs), drawn, len(made) - drawn, passed, tuple(failed))


def _refuse_among(table: pl.DataFrame, place: Path) -> None:
    """Refuse an output folder that a later reading of the originals' folder would take for more originals."""
    for source, rows in table.filter(pl.col("parent_id").is_null()).group_by("source"):
        folders = {os.path.dirname(os.path.abspath(path)) for path in rows["path"].to_list()}
        common = Path(os.path.commonpath(folders))
        if common != Path(common.anchor) and place.is_relative_to(common):
            name = f" of '{source[0]}'" if source[0] else ""
            raise OutputError(f"{label(place)}: lies among the scans{name} in {label(common)}; choose another folder")


def _refuse_volumes(parents: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse before anything is written what is plainly a volume: NIfTI and DICOM folders are looked at."""
    for row in parents.values():
        path = Path(row["path"])
        if path.is_dir() or path.name.casefold().endswith((".nii", ".nii.gz")):
            try:
                scan = io.read(path, channel=row["channel"])
            except ScanError:  # told when its copies are made
                continue
            _refuse_volume(scan, path)


def _refuse_volume(scan: Scan, path: str | Path) -> None:
    if scan.is_volume:
        raise DataError(f"{label(path)}: is a volume, and copies are made of 2-D scans; cut it into slices first")


def _settle(place: Path, ranges: Ranges, seed: int, parents: Mapping[str, Mapping[str, Any]]) -> None:
    """Note in the folder what is made there; an earlier note must say the same."""
    columns = ("id", "path", "channel", "mask_path", "sha256")
    rows = sorted([str(row["id"]), *[row[name] for name in columns[1:]]] for row in parents.values())
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    note = {"version": VERSION, "seed": seed, "ranges": asdict(ranges), "scans": digest}

    def otherwise(there: dict[str, Any]) -> str:
        return "holds copies made " + (
            "of other scans" if {**there, "scans": digest} == note else "with other settings"
        )

    settle(place, SETTINGS, note, otherwise)


def _copy(
    parent: Mapping[str, Any], rows: list[dict[str, Any]], ranges: Ranges, seed: int
) -> tuple[list[dict[str, Any]], int, str | None]:
    """The rows of one scan's copies with their hashes, how many were drawn now, and the error or None."""
    try:
        missing = [row for row in rows if not _in_place(parent, row)]
        if missing:
            scan = io.read(parent["path"], channel=parent["channel"])
            _refuse_volume(scan, parent["path"])
            lesion = read_mask(parent, scan.shape)
            pixels, full = _levels(scan)
            for row in missing:
                change = draw(ranges, _generator(seed, row))
                if lesion is not None:
                    io.write_image(row["mask_path"], move_mask(lesion, change).astype(np.uint8) * np.uint8(255))
                _write(Path(row["path"]), brighten(move(pixels, change), change, full), full)
        return [_with_hash(row) for row in rows], len(missing), None
    except OutputError:
        raise
    except TumorscopeError as error:
        return [], 0, str(error)
    except (cv2.error, OSError, MemoryError) as error:
        return [], 0, f"{label(parent['path'])}: cannot be copied ({one_line(error)}); drop its row or replace the file"


def _generator(seed: int, row: Mapping[str, Any]) -> np.random.Generator:
    """Random numbers that hang on the seed and the copy's own id, which holds its scan's and its number."""
    return np.random.default_rng([seed, *hashlib.sha256(row["id"].encode()).digest()[:8]])


def _in_place(parent: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether a copy's files are there and not older than what they were made from."""
    made = [Path(row[name]) for name in ("path", "mask_path") if row[name]]
    origin = [Path(parent[name]) for name in ("path", "mask_path") if parent[name]]
    if not all(file.is_file() for file in made):
        return False
    newest = max((file.stat().st_mtime_ns for file in origin if file.exists()), default=0)
    return all(file.stat().st_mtime_ns >= newest for file in made)


def _levels(scan: Scan) -> tuple[FloatArray, float]:
    """Pixels (H, W) or (H, W, 3) on the scale of a PNG, and that scale's end: 255 or 65535."""
    pixels = scan.pixels
    if scan.axes[0] == "C":
        if pixels.shape[0] != 3:
            count, name = pixels.shape[0], label(scan.source.path)
            raise DataError(f"{name}: holds {count} sequences; name one in the manifest's channel column")
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    low, high = float(pixels.min()), float(pixels.max())
    if scan.source.bits is not None and scan.source.bits <= 8 and low >= 0 and high <= 255:
        return pixels, 255.0
    if low >= 0 and high <= 65535 and np.array_equal(pixels, np.rint(pixels)):
        return pixels, 65535.0
    return ((pixels - low) * np.float32(65535 / max(high - low, 1e-30))).astype(np.float32), 65535.0


def _write(path: Path, pixels: FloatArray, full: float) -> None:
    """A grey or colour PNG of 8 or 16 bits."""
    levels: NDArray = np.rint(pixels).astype(np.uint8 if full == 255 else np.uint16)
    if levels.ndim == 3:
        levels = np.ascontiguousarray(levels[..., ::-1])  # OpenCV writes blue first
    _, encoded = cv2.imencode(".png", levels)
    with io.atomic(path) as draft:
        draft.write_bytes(encoded.tobytes())


def _with_hash(row: dict[str, Any]) -> dict[str, Any]:
    content = Path(row["path"]).read_bytes()
    height, width = _size(content)
    return {**row, "sha256": hashlib.sha256(content).hexdigest(), "width": width, "height": height}


def _size(png: bytes) -> tuple[int, int]:
    """Height and width in a PNG's header."""
    return int.from_bytes(png[20:24], "big"), int.from_bytes(png[16:20], "big")
