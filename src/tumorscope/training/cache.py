"""Prepared squares on disk, memory-mapped: each scan is decoded, cleaned and cropped once.

A cache is keyed by the scans' content and the preparation's settings; it is built under a
temporary name and renamed, so that a killed build leaves nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets.facts import sha256
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError, OutputError, TumorscopeError
from tumorscope.imaging.preparation import Preparation
from tumorscope.scan import BoolArray, FloatArray
from tumorscope.training.augment import quantiles

IMAGES, PLANES, SHAPE = "images.u8", "planes.u8", "shape.json"
AHEAD = 4  # records that each thread may be ahead of the file
MASK_BIT, HEAD_BIT = 1, 2  # planes of the second array
SMALLEST_HEAD = 0.02  # of the slice: below this a slice of a volume is blank and left out
Slice = tuple[FloatArray, NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]
SCHEMA = {
    "id": pl.String,
    "slice": pl.Int64,
    "source": pl.String,
    "group": pl.String,
    "split": pl.String,
    "label": pl.Int64,
    "has_mask": pl.Boolean,
}
VERSION = 2  # raise when the stored layout or the preparation changes


@dataclass(frozen=True)
class Cache:
    """Prepared slices in one place.

    Parameters
    ----------
    images : (N, S, S) or (N, S, S, 3) uint8 array
        Prepared squares, 255 for 1.0; with three channels where the preparation colours them.
    planes : (N, S, S) uint8 array
        Bit 0 the lesion, bit 1 the head.
    quantiles : (N, 65) float32 array
        Quantiles of the intensities inside each head.
    table : polars.DataFrame
        One row a slice, in the arrays' order: ``id, slice, source, group, split, label, has_mask``.
    folder : Path or None
        Where it lies. A loading process opens it there instead of receiving a copy.
    """

    images: NDArray[np.uint8]
    planes: NDArray[np.uint8]
    quantiles: FloatArray
    table: pl.DataFrame
    folder: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> Cache:
        """The cache that `build` left in ``folder``."""
        shape = tuple(json.loads((folder / SHAPE).read_text(encoding="utf-8")))
        return cls(
            np.memmap(folder / IMAGES, np.uint8, "r", shape=shape),
            np.memmap(folder / PLANES, np.uint8, "r", shape=shape[:3]),
            np.load(folder / "quantiles.npy"),
            pl.read_parquet(folder / "table.parquet"),
            folder,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is not None:
            return Cache.open, (self.folder,)
        return Cache, (self.images, self.planes, self.quantiles, self.table)

    def image(self, index: int) -> FloatArray:
        """Square ``index`` as float32 in [0, 1], (S, S) or (S, S, 3)."""
        return self.images[index].astype(np.float32) / np.float32(255)

    def mask(self, index: int) -> BoolArray:
        """Lesion of square ``index``; empty also where no mask is known."""
        return (self.planes[index] & MASK_BIT).astype(bool)

    def head(self, index: int) -> BoolArray:
        """Head of square ``index``."""
        return (self.planes[index] & HEAD_BIT).astype(bool)


def build(
    manifest: pl.DataFrame,
    preparation: Preparation,
    folder: Path,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Cache:
    """The cache of ``manifest`` in ``folder``; read when it is there, made when it is not.

    Raises
    ------
    ScanError, DataError
        If a scan or mask cannot be read, or they do not lie on one grid; the file is named.
    """
    place = folder / _key(manifest, preparation)
    if not place.is_dir():
        draft = place.with_name(place.name + ".partial")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _check_space(manifest, preparation, folder)
        _write(manifest, preparation, draft, workers, progress)
        draft.rename(place)
    return Cache.open(place)


def _key(manifest: pl.DataFrame, preparation: Preparation) -> str:
    columns = [name for name in ("id", "channel", "label", "split", "group") if name in manifest.columns]
    rows = manifest.select(columns).rows()
    content = [
        (row.get("sha256") or _digest(row["path"]), _digest(row.get("mask_path"))) for row in manifest.to_dicts()
    ]
    text = json.dumps([VERSION, preparation.to_dict(), columns, rows, content], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(path: str | None) -> str | None:
    """Hash of a file, or of the files in a folder; None where there is none, which reading it will tell."""
    place = None if path is None else Path(path)
    if place is None or not place.exists():
        return None
    return sha256(sorted(place.iterdir()) if place.is_dir() else [place])


def _write(
    manifest: pl.DataFrame,
    preparation: Preparation,
    draft: Path,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    spread: list[FloatArray] = []
    rows: list[dict[str, Any]] = []
    records = manifest.to_dicts()
    side, channels = preparation.size, preparation.channels
    shape = (side, side) if channels == 1 else (side, side, channels)
    with (
        (draft / IMAGES).open("wb") as images,
        (draft / PLANES).open("wb") as planes,
        ThreadPoolExecutor(max(1, workers)) as pool,
    ):
        for done, slices in enumerate(_ahead(pool, records, preparation, max(1, workers)), start=1):
            for grey, image, plane, row in slices:
                images.write(image.tobytes())
                planes.write(plane.tobytes())
                spread.append(quantiles(grey, (plane & HEAD_BIT).astype(bool)))
                rows.append(row)
            if progress:
                progress(done, len(records))
    if not rows:
        raise DataError("training data: no usable slice among the scans; check the manifest")
    np.save(draft / "quantiles.npy", np.stack(spread))
    (draft / SHAPE).write_text(json.dumps([len(rows), *shape]), encoding="utf-8")
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(draft / "table.parquet")


def _ahead(
    pool: ThreadPoolExecutor, records: list[dict[str, Any]], preparation: Preparation, workers: int
) -> Iterator[list[Slice]]:
    """The prepared slices of each record, in order; only a few records wait in memory."""
    waiting: deque[Future[list[Slice]]] = deque()
    for record in records:
        waiting.append(pool.submit(_prepared, record, preparation))
        if len(waiting) > AHEAD * workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _prepared(row: dict[str, Any], preparation: Preparation) -> list[Slice]:
    """All slices of a row; whatever goes wrong, the file is named."""
    try:
        return list(prepare_row(row, preparation))
    except TumorscopeError:
        raise
    except Exception as error:
        raise DataError(
            f"{row['path']}: cannot be prepared ({type(error).__name__}: {error}); drop the row, or report it"
        ) from error


def _check_space(manifest: pl.DataFrame, preparation: Preparation, folder: Path) -> None:
    """Refuse to begin what the disk cannot hold; a volume is counted as one slice, so this is the least."""
    needed = manifest.height * preparation.size**2 * (preparation.channels + 1)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder}: the prepared scans need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "make room, or name another disk with --cache"
        )


def prepare_row(row: dict[str, Any], preparation: Preparation) -> Iterator[Slice]:
    """The prepared slices of one manifest row.

    Each comes as the grey square (S, S) in [0, 1], the same or its colours as uint8, the planes (S, S) uint8, and the
    slice's own row.
    """
    scan = io.read(row["path"], channel=row.get("channel"))
    if scan.axes[0] == "C":
        raise DataError(
            f"{row['path']}: holds {scan.pixels.shape[0]} sequences; name one in the manifest's channel column"
        )
    truth = read_mask(row, scan.shape)
    volume = scan.is_volume
    for number in range(scan.shape[0]) if volume else [0]:
        pixels = scan.pixels[number] if volume else scan.pixels
        lesion = None if truth is None else truth[number] if volume else truth
        prepared = preparation.prepare(pixels)
        if volume and (prepared.crop.mode == "none" or prepared.head.mean() < SMALLEST_HEAD):
            continue
        head = prepared.to_square(prepared.head)
        plane = head.astype(np.uint8) * HEAD_BIT
        label = row["label"]
        if lesion is not None:
            plane |= prepared.to_square(lesion).astype(np.uint8) * MASK_BIT
            label = int(lesion.any())
        known = lesion is not None or label == 0
        seen = np.rint(preparation.tinted(prepared.pixels) * 255).astype(np.uint8)
        image = seen[0] if preparation.channels == 1 else np.ascontiguousarray(seen.transpose(1, 2, 0))
        yield (
            image.astype(np.float32) / np.float32(255) if preparation.channels == 1 else prepared.pixels,
            image,
            plane,
            {
                "id": row["id"],
                "slice": number if volume else row.get("slice"),
                "source": row["source"],
                "group": row["group"],
                "split": row["split"],
                "label": int(label),
                "has_mask": known,
            },
        )
