"""Annotations as a data set: images, masks, records and a manifest that `tumorscope train` reads.

::

    images/ID.png      the scan: its own file where that can stand for it, else lossless PNG, TIFF or NIfTI
    masks/ID.png       0 and 255; of a volume ID.nii.gz, 0 and 1, on the grid and affine of the input
    annotations/ID.json  the record (`annotation.records`)
    arrays/ID.npz      image (float32), mask (uint8, numbers of the lesions), spacing (mm; empty: not known)
    coco.json          run lengths, boxes and areas of each lesion, on the axes that the exported files are read with
    manifest.csv       one row a scan

What was rejected or is still open is left out, with a note. Files of DICOM and NIfTI inputs are written anew, without
their headers' text, so that no identifier of a patient travels along.
"""

from __future__ import annotations

import gzip
import io as streams
import json
import os
import secrets
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast

import numpy as np
import polars as pl

from tumorscope import io
from tumorscope.annotation.coco import Coco
from tumorscope.annotation.records import Annotation
from tumorscope.annotation.regrid import on_grid
from tumorscope.datasets import manifest
from tumorscope.datasets.facts import sha256
from tumorscope.datasets.folder import file_name
from tumorscope.datasets.labels import NAMES
from tumorscope.datasets.schema import table_of
from tumorscope.errors import DataError, OutputError, ScanError, look_up
from tumorscope.io.decoding import label, one_line, quiet
from tumorscope.scan import Scan

PARTS = ("arrays", "coco")
"""Parts of an export that may be left out; images, masks, records and the manifest always stand in it."""
FORMATS = {"png": ".png", "nifti": ".nii.gz", "coco": ".coco.json", "npz": ".npz", "json": ".json"}
"""What `one_file` writes, and the ending of each."""
KEPT = (
    "patient", "case", "sequence", "slice", "group", "source", "split", "fold", "parent_id", "synthetic", "plane",
    "licence",
)  # fmt: skip
"""Columns of the manifest that an export takes from what is known of a scan."""
RASTER = {"png": ".png", "jpeg": ".jpg", "bmp": ".bmp", "webp": ".webp", "tiff": ".tif"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in a ZIP, so that the same annotations give the same bytes


@dataclass(frozen=True)
class Annotated:
    """A scan with its annotation.

    Parameters
    ----------
    scan : Scan
    annotation : Annotation
        Of this scan: of its shape.
    facts : mapping
        What else is known, by the names of the manifest's columns: ``patient`` and ``group`` above all, without which a
        split may part what belongs together; ``id`` names the files; ``channel`` says which one the scan is.

    Raises
    ------
    DataError
        If the annotation is of another shape, or a fact is no column of a manifest.
    """

    scan: Scan
    annotation: Annotation
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own, given = self.scan.shape, self.annotation.scan.shape
        if own != given:
            sizes = ["x".join(map(str, shape)) for shape in (given, own)]
            name = label(self.annotation.scan.name)
            raise DataError(f"{name}: the annotation is {sizes[0]}, its scan {sizes[1]}; give the scan it was made on")
        for name in self.facts:
            look_up(name, manifest.SCHEMA, "column of a manifest", DataError)


@dataclass(frozen=True)
class Exported:
    """What an export holds: the manifest as a table, and a line on each annotation that was left out."""

    table: pl.DataFrame
    left_out: tuple[str, ...]


def export_folder(items: Iterable[Annotated], folder: str | Path, parts: Sequence[str] = PARTS) -> Exported:
    """Write annotations as a data set into a new folder: all of it, or nothing.

    Parameters
    ----------
    items : iterable of Annotated
        Taken one at a time, so that a generator holds one scan in memory.
    folder : path
        Not yet there, or empty.
    parts : sequence of str
        Which of `PARTS` to write.

    Raises
    ------
    DataError
        If nothing is left to export, or a part is unknown.
    OutputError
        If the folder holds something, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from tumorscope.annotation.records import ScanFacts
    >>> scan = Scan.of(np.arange(20).reshape(4, 5), name="a.png")
    >>> healthy = Annotation(case_id="a", scan=ScanFacts.of(scan), decision="accepted")
    >>> with tempfile.TemporaryDirectory() as place:
    ...     done = export_folder([Annotated(scan, healthy, {"patient": "7"})], Path(place, "out"), parts=())
    ...     names = sorted(path.relative_to(place).as_posix() for path in Path(place).rglob("*.*"))
    >>> names
    ['out/annotations/a.json', 'out/images/a.png', 'out/manifest.csv', 'out/masks/a.png']
    >>> done.table.select("id", "label", "patient", "mask_source").rows()
    [('a', 0, '7', 'human')]
    """
    target = Path(os.path.abspath(folder))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{label(target)}: exists and holds something; choose an empty or a new folder")
    draft = target.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        draft.mkdir(parents=True)
        done = _fill(items, draft, parts, lambda: None)
        if target.is_dir():
            target.rmdir()
        draft.replace(target)
    except OSError as error:
        raise OutputError(f"{label(target)}: cannot be written ({one_line(error)}); check space and rights") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    moved = [pl.col(column).str.replace(str(draft), str(target), literal=True) for column in ("path", "mask_path")]
    return Exported(done.table.with_columns(moved), done.left_out)


def export_zip(items: Iterable[Annotated], out: str | Path | BinaryIO, parts: Sequence[str] = PARTS) -> Exported:
    """Write annotations as a data set into a ZIP: a file, all of it or nothing, or an open stream.

    Arguments and errors as for `export_folder`. A stream need not be seekable; it is left open, and a failure leaves it
    broken off.
    """
    if isinstance(out, str | Path):
        with io.atomic(out) as draft, draft.open("wb") as file:
            return export_zip(items, file, parts)
    with TemporaryDirectory() as place, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        folder = Path(place)

        def drain() -> None:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
                plain = path.suffix in (".json", ".csv", ".tif", ".bmp")
                entry.compress_type = zipfile.ZIP_DEFLATED if plain else zipfile.ZIP_STORED
                entry.external_attr = 0o644 << 16
                with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                    shutil.copyfileobj(source, sink)
                path.unlink()

        done = _fill(items, folder, parts, drain)
        drain()
        bare = [pl.col(column).str.strip_prefix(f"{folder}{os.sep}") for column in ("path", "mask_path")]
        return Exported(done.table.with_columns(bare), done.left_out)


def one_file(item: Annotated, form: str) -> tuple[str, bytes]:
    """Name and content of one annotation as one file: all its lesions together, whatever its decision.

    Parameters
    ----------
    item : Annotated
    form : str
        A key of `FORMATS`: ``png`` (0 and 255; 2-D only) or ``nifti`` for the mask on the grid of the scan's file,
        ``coco``, ``npz``, or ``json`` for the record.

    Raises
    ------
    DataError
        For an unknown form.
    ScanError
        For a volume as PNG.

    Examples
    --------
    >>> from tumorscope.annotation.records import ScanFacts
    >>> scan = Scan.of(np.zeros((4, 5), np.float32), name="a.png")
    >>> name, content = one_file(Annotated(scan, Annotation(case_id="a", scan=ScanFacts.of(scan))), "png")
    >>> name, content[1:4]
    ('a.png', b'PNG')
    """
    suffix = FORMATS[look_up(form, FORMATS, "form of a mask", DataError)]
    name = _name(item, set()) + suffix
    with TemporaryDirectory() as place:
        file = Path(place, "mask" + suffix)
        if form == "coco":
            whole = Coco()
            whole.add(item.annotation, item.annotation.scan.name)
            _write_json(file, whole.to_dict())
        elif form == "json":
            _write_json(file, item.annotation.to_dict())
        elif form == "npz":
            _write_arrays(file, item)
        else:
            io.write_mask(file, item.annotation.mask(), item.scan)
        return name, file.read_bytes()


def _fill(items: Iterable[Annotated], folder: Path, parts: Sequence[str], after: Callable[[], None]) -> Exported:
    """Write all of an export into ``folder``; ``after`` is called when the files of an annotation are complete."""
    for part in parts:
        look_up(part, PARTS, "part of an export", DataError)
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    names: set[str] = set()
    whole = Coco()
    for item in items:
        own = label(item.annotation.scan.name)
        if not item.annotation.decided:
            left_out.append(f"{own}: its decision is '{item.annotation.decision}'; accept or correct it to export it")
            continue
        name = _name(item, names)
        try:
            row = _write(item, name, folder, "arrays" in parts)
        except (ScanError, DataError) as error:
            for path in list(folder.glob("*/*")):
                if _stem(path.name) == name:
                    path.unlink()
            left_out.append(str(error))
            continue
        if "coco" in parts:
            whole.add(_as_read(item, Path(row["mask_path"])), Path(row["path"]).relative_to(folder).as_posix())
        rows.append(row)
        after()
    if not rows:
        more = f" (the first of {len(left_out)} left out: {left_out[0]})" if left_out else ""
        raise DataError(f"export: there is no accepted or corrected annotation{more}; decide on a scan first")
    table = table_of(rows)
    manifest.write(table, folder / "manifest.csv")
    if "coco" in parts:
        _write_json(folder / "coco.json", whole.to_dict())
    return Exported(table, tuple(left_out))


def _write(item: Annotated, name: str, folder: Path, arrays: bool) -> dict[str, Any]:
    """The files of one annotation, and its row."""
    scan, annotation = item.scan, item.annotation
    for part in ("images", "masks", "annotations"):
        (folder / part).mkdir(exist_ok=True)
    mask = folder / "masks" / (name + (".nii.gz" if scan.is_volume else ".png"))
    image, copied = _write_scan(item, folder / "images", name, mask)
    _write_json(folder / "annotations" / f"{name}.json", annotation.to_dict())
    if arrays:
        (folder / "arrays").mkdir(exist_ok=True)
        _write_arrays(folder / "arrays" / f"{name}.npz", item)
    marked = cast(int, annotation.label)
    return {
        **{column: item.facts.get(column) for column in KEPT},
        "id": name,
        "path": str(image),
        "mask_path": str(mask),
        "channel": item.facts.get("channel") if copied else None,
        "label": marked,
        "label_name": NAMES[marked],
        "tumor_type": (annotation.tumor_type or item.facts.get("tumor_type")) if marked else None,
        "synthetic": bool(item.facts.get("synthetic")),
        "mask_source": annotation.mask_source or item.facts.get("mask_source"),
        "plane": item.facts.get("plane") or scan.plane,
        "width": scan.shape[-1],
        "height": scan.shape[-2],
        "sha256": sha256([image]),
    }


def _write_scan(item: Annotated, folder: Path, name: str, mask: Path) -> tuple[Path, bool]:
    """Image and mask on one grid: the image's path, and whether it is the scan's own file."""
    scan = item.scan
    marked = item.annotation.mask()
    suffix = RASTER.get(scan.source.format)
    if not scan.is_volume:
        io.write_image(mask, marked.astype(np.uint8) * np.uint8(255))
        if suffix is not None and _stands_for(scan, item.facts.get("channel")):
            image = folder / (name + suffix)
            shutil.copyfile(scan.source.path, image)
            return image, True
    if scan.axes[0] == "C":
        raise DataError(f"{label(scan.source.path.name)}: has several channels; choose one with scan.channel")
    if scan.is_volume:
        io.write_mask(mask, marked, scan)
        image = folder / f"{name}.nii.gz"
        _write_beside(image, scan, mask)
        return image, False
    return _write_plane(folder, name, scan), False


def _stands_for(scan: Scan, channel: int | None) -> bool:
    """Whether the scan's file, copied, is read as this scan, and on the grid that it stores."""
    file, grid = scan.source.path, scan.grid
    if grid.order != tuple(range(len(grid.order))) or any(grid.flips) or not file.is_file():
        return False
    try:
        again = io.read(file, channel=channel)
    except ScanError:
        return False
    return again.axes == scan.axes and np.array_equal(again.pixels, scan.pixels)


def _write_plane(folder: Path, name: str, scan: Scan) -> Path:
    """A 2-D scan without loss: whole numbers as PNG of 8 or 16 bits, others as TIFF of floats."""
    from PIL import Image

    pixels = scan.pixels
    whole = bool((pixels == np.rint(pixels)).all() and pixels.min() >= 0)
    if whole and pixels.max() <= 255:
        path = folder / f"{name}.png"
        io.write_image(path, pixels.astype(np.uint8))
    elif whole and pixels.max() <= 65535:
        path = folder / f"{name}.png"
        Image.fromarray(pixels.astype(np.uint16)).save(path, format="PNG")
    else:
        import tifffile

        path = folder / f"{name}.tif"
        tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, software=False)
    return path


def _write_beside(image: Path, scan: Scan, mask: Path) -> None:
    """A volume as NIfTI with the geometry of its mask, which is on the input's grid already."""
    import nibabel as nib

    stored = scan.grid.to_file(scan.pixels)
    with quiet():
        drawn: Any = nib.load(mask)
        header = drawn.header.copy()
        header.set_data_dtype(np.float32)
        voxels = stored.reshape(drawn.shape) if scan.source.format == "nifti" else stored.transpose(2, 1, 0)
        content = type(drawn)(np.asarray(voxels, np.float32), None, header).to_bytes()
    image.write_bytes(gzip.compress(content, compresslevel=5, mtime=0))


def _as_read(item: Annotated, mask: Path) -> Annotation:
    """The annotation on the axes that the exported files are read with."""
    if not item.scan.is_volume:
        return item.annotation
    drawn = io.read(mask)
    return on_grid(item.annotation, drawn, drawn.pixels > 0, nifti=item.scan.source.format == "nifti")


def _write_arrays(path: Path, item: Annotated) -> None:
    content = streams.BytesIO()
    spacing = np.asarray(item.scan.spacing or (), np.float64)
    np.savez_compressed(content, image=item.scan.pixels, mask=item.annotation.label_map(), spacing=spacing)
    path.write_bytes(content.getvalue())


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _name(item: Annotated, taken: set[str]) -> str:
    """The scan's id or its file's stem, fit for a file name and unlike all ``taken``, case ignored."""
    name = file_name(str(item.facts.get("id") or "") or _stem(item.annotation.scan.name) or item.annotation.case_id)
    own, copy = name, 2
    while (key := unicodedata.normalize("NFC", own).casefold()) in taken:
        own, copy = f"{name}-{copy}", copy + 1
    taken.add(key)
    return own


def _stem(name: str) -> str:
    """A file's name without its ending; '.nii.gz' counts as one, a number (of a DICOM file) as none."""
    if name.lower().endswith(".nii.gz"):
        return name[:-7]
    path = Path(name)
    return name if path.suffix[1:].isdigit() else path.stem


__all__ = ["FORMATS", "PARTS", "Annotated", "Exported", "export_folder", "export_zip", "one_file"]
