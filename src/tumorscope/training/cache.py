"""Prepared squares on disk, memory-mapped: each scan is decoded, cleaned and cropped once.

A cache is keyed by the scans' content and the preparation's settings; it is built under a
temporary name and renamed, so that a killed build leaves nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError
from tumorscope.imaging.preparation import Preparation
from tumorscope.scan import BoolArray, FloatArray
from tumorscope.training.augment import quantiles

MASK_BIT, HEAD_BIT = 1, 2  # planes of the second array
SMALLEST_HEAD = 0.02  # of the slice: below this a slice of a volume is blank and left out
SCHEMA = {
    "id": pl.String,
    "slice": pl.Int64,
    "source": pl.String,
    "group": pl.String,
    "split": pl.String,
    "label": pl.Int64,
    "has_mask": pl.Boolean,
}
VERSION = 1  # raise when the stored layout or the preparation changes


@dataclass(frozen=True)
class Cache:
    """Prepared slices in one place.

    Parameters
    ----------
    images : (N, S, S) uint8 array
        Prepared squares, 255 for 1.0.
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
        return cls(
            np.load(folder / "images.npy", mmap_mode="r"),
            np.load(folder / "planes.npy", mmap_mode="r"),
            np.load(folder / "quantiles.npy"),
            pl.read_parquet(folder / "table.parquet"),
            folder,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is not None:
            return Cache.open, (self.folder,)
        return Cache, (self.images, self.planes, self.quantiles, self.table)

    def image(self, index: int) -> FloatArray:
        """Square ``index`` as float32 in [0, 1]."""
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
        _write(manifest, preparation, draft, workers, progress)
        draft.rename(place)
    return Cache.open(place)


def _key(manifest: pl.DataFrame, preparation: Preparation) -> str:
    columns = [name for name in ("id", "sha256", "mask_path", "label", "split", "group") if name in manifest.columns]
    rows = manifest.select(columns).rows()
    text = json.dumps([VERSION, preparation.to_dict(), columns, rows], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(
    manifest: pl.DataFrame,
    preparation: Preparation,
    draft: Path,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    images: list[NDArray] = []
    planes: list[NDArray] = []
    spread: list[FloatArray] = []
    rows: list[dict[str, Any]] = []
    records = manifest.to_dicts()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, slices in enumerate(pool.map(lambda row: list(prepare_row(row, preparation)), records), start=1):
            for image, plane, row in slices:
                images.append(image)
                planes.append(plane)
                spread.append(quantiles(image.astype(np.float32) / np.float32(255), (plane & HEAD_BIT).astype(bool)))
                rows.append(row)
            if progress:
                progress(done, len(records))
    if not rows:
        raise DataError("training data: no usable slice among the scans; check the manifest")
    np.save(draft / "images.npy", np.stack(images))
    np.save(draft / "planes.npy", np.stack(planes))
    np.save(draft / "quantiles.npy", np.stack(spread))
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(draft / "table.parquet")


def prepare_row(row: dict[str, Any], preparation: Preparation) -> Iterator[tuple[NDArray, NDArray, dict[str, Any]]]:
    """The prepared slices of one manifest row: image and planes, (S, S) uint8 each, and the slice's own row."""
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
        yield (
            np.rint(prepared.pixels * 255).astype(np.uint8),
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
