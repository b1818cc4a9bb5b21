"""Masks from elsewhere as annotations: an export of ours, a folder of masks beside images, a COCO file.

Rules, in the order in which they are asked:

- A record in ``annotations/`` is taken as it is, if the mask file beside it marks the same pixels.
- A mask file is read by the rule of `datasets.truth`: marked is what lies above half of its maximum, so that 0 and 1,
  0 and 255 and grey rims mean the same. Refused, each with its reason: another size than the scan, several classes,
  every pixel or the background marked (an inverted mask), JPEG noise only, a mask that contradicts its label.
- Each connected region of a mask file becomes a lesion; a mask of more than `MOST_REGIONS` becomes one.
- A black mask, or no mask and label 0, is a healthy scan.
- Of a COCO file each annotation is a lesion. An image without annotations stays open: nobody said it is healthy.

No file outside the folder is read, whatever a manifest or a COCO file names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.annotation import coco, rle
from tumorscope.annotation.records import Annotation, Decision, Edit, Lesion, ScanFacts, Source, now
from tumorscope.annotation.regrid import on_grid
from tumorscope.audit import mask_facts, mask_findings
from tumorscope.datasets import manifest
from tumorscope.datasets.truth import marked, values_of
from tumorscope.errors import DataError, ScanError
from tumorscope.evaluation.lesion_detection import components
from tumorscope.io.decoding import label, one_line
from tumorscope.scan import BoolArray, Scan

MOST_REGIONS = 64
"""Connected regions that become a lesion each; more of them are specks, or a texture."""
REFUSED = ("unreadable", "size", "off_grid", "faint", "classes", "empty", "unexpected", "full", "inverted")
"""Kinds of `audit.mask_findings` for which a mask is not taken."""
NOTED = ("grey", "outside", "whole", "tiny", "specks", "turned")
"""Kinds that an imported annotation carries as its note."""
LARGEST_RECORD = 2**26  # bytes of one record: 64 MiB


@dataclass(frozen=True)
class Imported:
    """A scan that came with an annotation.

    Parameters
    ----------
    path : Path
        The scan's file.
    scan : Scan
    annotation : Annotation
        On the grid of ``scan``.
    facts : dict
        What the manifest says of it, by its columns: patient, group, ...
    """

    path: Path
    scan: Scan
    annotation: Annotation
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A scan or mask that was not taken, and why: one line."""

    name: str
    error: str


def read(folder: str | Path, annotator: str = "", *, confined: bool = True) -> Iterator[Imported | Skipped]:
    """The annotations in a folder, one scan at a time, and what could not be taken.

    Parameters
    ----------
    folder : path
        An export, a folder of masks beside images as `datasets.survey` knows them, a folder with a manifest, or one
        with a COCO file. A folder that holds nothing but one folder stands for that.
    annotator : str
        Whom masks without a record are ascribed to.
    confined : bool
        Whether to refuse files outside the folder; False is for a manifest that the user wrote.

    Raises
    ------
    DataError
        If the folder is missing or holds nothing of the kind, or its manifest or COCO file cannot be read.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as place:
    ...     for name, value in (("images", 90), ("masks", 0)):
    ...         io.write_image(Path(place, name, "a.png"), np.full((5, 4), value, np.uint8))
    ...     found = list(read(place, "me"))
    >>> [(one.annotation.label, one.annotation.annotator, one.annotation.scan.shape) for one in found]
    [(0, 'me', (5, 4))]
    """
    place = _inner(Path(folder))
    held = [place / name for name in manifest.NAMES if (place / name).is_file()]
    files = [] if held else [path for path in sorted(place.glob("*.json")) if coco.is_coco(path)]
    if files:
        for file in files:
            yield from _of_coco(file, place, annotator)
        return
    findings: list[str] = []
    table = manifest.read(held[0], check_files=False) if held else manifest.build(place, findings=findings)
    for row in table.iter_rows(named=True):
        try:
            for column in ("path", "mask_path"):
                _within(row[column], place, confined)
            yield _of_row(row, place, annotator)
        except (ScanError, DataError) as error:
            yield Skipped(row["id"], str(error))
    for finding in findings:
        path, _, words = finding.partition(": ")
        if "left out" in words:
            yield Skipped(Path(path).name, f"{Path(path).name}: {words}")


def _inner(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{label(folder)}: there is no such folder; name one with masks, or unpack the ZIP first")
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return _inner(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder


def _within(path: str | None, folder: Path, confined: bool) -> None:
    """Refuse a file that is not there; where confined, one outside the folder as well, in the same words."""
    if path is None:
        return
    full = Path(path).resolve()
    if (confined and not full.is_relative_to(folder.resolve())) or not full.is_file():
        raise DataError(f"{label(Path(path).name)}: there is no such file in the folder; put it there")


def _of_row(row: Mapping[str, Any], folder: Path, annotator: str) -> Imported:
    """The annotation of a manifest's row."""
    scan = io.read(row["path"], channel=row["channel"])
    facts = {name: value for name, value in row.items() if name in manifest.SCHEMA and value is not None}
    record = folder / "annotations" / f"{row['id']}.json"
    if Path(row["id"]).name == row["id"] and record.is_file():
        drawn = None if row["mask_path"] is None else marked(values_of(io.read(row["mask_path"])))
        annotation = on_grid(_record(record), scan, drawn)
        return Imported(Path(row["path"]), scan, annotation, facts)
    if row["mask_path"] is None and row["label"] != 0:
        raise DataError(f"{label(row['id'])}: has neither a mask nor label 0; add a mask")
    mask, note = np.zeros(scan.shape, bool), ""
    if row["mask_path"] is not None:
        mask, note = _mask(row, scan)
    lesions = _lesions(mask, Path(row["mask_path"] or "").name, row)
    return Imported(Path(row["path"]), scan, _annotation(row["id"], scan, annotator, lesions, note), facts)


def _record(path: Path) -> Annotation:
    try:
        if path.stat().st_size > LARGEST_RECORD:
            raise DataError(f"{label(path.name)}: is larger than {LARGEST_RECORD:,} bytes; no annotation is")
        return Annotation.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{label(path.name)}: cannot be read as JSON ({one_line(error)}); export it again") from error


def _mask(row: Mapping[str, Any], scan: Scan) -> tuple[BoolArray, str]:
    """The mask of a row that passes the rules, and what is worth noting about it."""
    facts, _ = mask_facts.look(row)
    found = list(mask_findings.alone(row, {"neighbour": None, "neighbour_fit": None, **facts}))
    for finding in found:
        if finding.kind in REFUSED:
            raise DataError(f"{label(Path(finding.file).name)}: {finding.what}; {finding.remedy}")
    note = "; ".join(finding.what for finding in found if finding.kind in NOTED)
    return marked(values_of(io.read(row["mask_path"]))), note


def _lesions(mask: BoolArray, file: str, row: Mapping[str, Any]) -> tuple[Lesion, ...]:
    """The regions of a mask as lesions, made by whom the manifest names."""
    numbers: NDArray[np.int32]
    numbers, count = components(mask)
    if count > MOST_REGIONS:
        numbers, count = mask.astype(np.int32), 1
    made = row.get("mask_source")
    source = cast(Source, made if made in get_args(Source) else "import")
    detail, kind = {"file": file, "mask_source": made}, row.get("tumor_type")
    return tuple(_lesion(numbers == number, source, detail, kind, f"lesion {number}") for number in range(1, count + 1))


def _lesion(mask: BoolArray, source: Source, detail: dict[str, Any], tumor_type: str | None, name: str) -> Lesion:
    moment = now()
    edit = Edit(kind="import", time=moment, pixels=int(np.count_nonzero(mask)), detail=detail)
    return Lesion.from_dict({
        "name": name, "tumor_type": tumor_type, "mask": rle.encode_any(mask), "source": source, "started": moment,
        "finished": moment, "edits": [edit],
    })  # fmt: skip


def _annotation(
    own: str, scan: Scan, annotator: str, lesions: tuple[Lesion, ...], note: str, decision: Decision = "accepted"
) -> Annotation:
    return Annotation.from_dict({
        "case_id": label(own)[:200], "scan": ScanFacts.of(scan), "annotator": annotator, "lesions": lesions,
        "note": note, "decision": decision,
    })  # fmt: skip


def _of_coco(file: Path, folder: Path, annotator: str) -> Iterator[Imported | Skipped]:
    """The annotations of a COCO file, whose images lie below the folder."""
    known: dict[str, list[Path]] = {}
    for place in folder.rglob("*"):
        if place.is_file():
            known.setdefault(place.name, []).append(place)
    for one in coco.read(file):
        name = one.file_name.replace("\\", "/").rsplit("/", 1)[-1]
        exact = folder / one.file_name
        inside = exact.is_file() and exact.resolve().is_relative_to(folder.resolve())
        held = [exact] if inside else known.get(name, [])
        try:
            if len(held) != 1:
                what = "there are several such images" if held else "there is no such image"
                raise DataError(f"{label(name)[:80]}: {what} in the folder; put one beside {label(file.name)}")
            path = held[0]
            scan = io.read(path)
            lesions = _coco_lesions(one, scan, file.name)
            decision: Decision = "accepted" if lesions else "open"
            yield Imported(path, scan, _annotation(path.name.split(".")[0], scan, annotator, lesions, "", decision))
        except (ScanError, DataError) as error:
            yield Skipped(label(name)[:80], str(error))


def _coco_lesions(one: coco.Marked, scan: Scan, file: str) -> tuple[Lesion, ...]:
    if one.shape != scan.shape[-2:]:
        sizes = [f"{height}x{width}" for height, width in (one.shape, scan.shape[-2:])]
        raise DataError(f"{label(one.file_name)[:80]}: is {sizes[0]} in {file} and {sizes[1]} itself; correct the file")
    masks: dict[str, tuple[str, BoolArray]] = {}
    for index, own, category, mask in one.masks:
        if scan.is_volume and not (isinstance(index, int) and 0 <= index < scan.shape[0]):
            where = f"slice {index!r:.20} is none of this volume"
            raise DataError(f"{label(one.file_name)[:80]}: {where}; number them from 0")
        _, whole = masks.setdefault(own, (category, np.zeros(scan.shape, bool)))
        whole[index if scan.is_volume else ...] |= mask
    return tuple(
        _lesion(mask, "import", {"file": file}, None if category == coco.UNNAMED else category, f"lesion {number}")
        for number, (category, mask) in enumerate(masks.values(), start=1)
    )


__all__ = ["Imported", "Skipped", "read"]
