"""From a folder to a manifest, with what was found on the way."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tumorscope.datasets import catalog, layouts
from tumorscope.datasets.catalog import Layout
from tumorscope.datasets.facts import Facts, facts, sha256
from tumorscope.datasets.labels import label_of, name_of, read_labels
from tumorscope.datasets.layouts import Entry
from tumorscope.datasets.numbering import BLOCK
from tumorscope.datasets.schema import table_of
from tumorscope.errors import DataError, ScanError

Given = Mapping[str, Mapping[str, Any]]
Row = dict[str, Any]

#: Suffixes of DICOM files; a file without a suffix is asked for its content.
DICOM = frozenset({".dcm", ".dicom", ".ima", ""})


@dataclass(frozen=True)
class Survey:
    """A folder's manifest, the known collection it is (or None), and findings, one sentence each."""

    table: pl.DataFrame
    layout: Layout | None
    findings: tuple[str, ...]


def survey(root: str | Path, layout: str | None = None, *, threads: int = 4) -> Survey:
    """The manifest of a folder, with the collection it was recognised as and what does not fit.

    Images are not decoded: sizes come from headers, hashes from bytes. Masks are decoded only where
    the label hangs on whether they are empty. A file that cannot be read keeps its row, with a
    finding; a mask that cannot be read, or has another size than its scan, is left out with a finding.

    Parameters
    ----------
    root : str or Path
        The data set's folder; it is recognised by its inner names alone, never by its own.
    layout : str or None
        Name of a known collection (`catalog`), or ``"classes"`` to take every folder's name as a
        class; None recognises it.
    threads : int
        Files read at once.

    Raises
    ------
    DataError
        If the folder is missing or empty, follows no known layout, or labels.csv contradicts itself.
    """
    folder = Path(os.path.abspath(root))
    if not folder.is_dir():
        raise DataError(f"{root}: is no folder; name a folder of scans or a manifest (.parquet, .csv)")
    paths = layouts.scan_files(folder)
    given = read_labels(folder / "labels.csv")
    known = _known(folder, paths, given, layout)
    read, findings = layouts.entries(folder, paths, known, layout == "classes") if paths else ([], [])
    found, more = layouts.join_masks(read)
    findings += more
    rows = _rows(folder, found, known, given, threads, findings)
    rows += _dicom_rows(folder, [row["id"] for row in rows], given, findings)
    if not rows:
        raise DataError(f"{folder}: holds no scan; put JPEG, PNG, TIFF, BMP, WebP, NIfTI or DICOM files in it")
    table = table_of(rows)
    _remark(folder, table, given, findings)
    return Survey(table, known, tuple(findings))


def _known(folder: Path, paths: Sequence[str], given: Given, layout: str | None) -> Layout | None:
    if layout == "classes":
        return None
    if layout is not None:
        return catalog.get(layout)
    types = {row["tumor_type"] for row in given.values() if row.get("tumor_type")}
    first = next((path for path in paths if not path.casefold().endswith(layouts.NIFTI)), None)
    shape = facts(folder / first).shape if first else None
    return catalog.recognise(paths, types, (shape[0], shape[1]) if shape else None)


def _rows(
    folder: Path, found: Sequence[Entry], known: Layout | None, given: Given, threads: int, findings: list[str]
) -> list[Row]:
    """One row for each raster or NIfTI scan."""
    classes = sorted({entry.word for entry in found if entry.word and entry.word.startswith("=")})
    ids = unique_ids([_name(entry) for entry in found], [entry.path for entry in found])
    extras = [given.get(own.casefold()) or given.get(_stem(entry)) or {} for entry, own in zip(found, ids, strict=True)]
    labels = [label_of(entry, extra, known, classes) for entry, extra in zip(found, extras, strict=True)]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        scans = list(pool.map(lambda entry: facts(entry.path), found))
        masks = list(pool.map(_mask_facts, found, (label["label"] is None for label in labels)))
    rows = []
    for entry, own, extra, label, scan, mask in zip(found, ids, extras, labels, scans, masks, strict=True):
        if scan.problem:
            findings.append(f"{entry.path}: cannot be read ({scan.problem}); replace the file or drop its row")
        mask_path = _fitting_mask(entry, scan, mask, findings)
        if label["label"] is None and mask_path is not None and mask is not None and mask.inside is not None:
            label["label"] = int(mask.inside)
            label["label_name"] = name_of(label["label"], known)
            label["tumor_type"] = known.tumor_type if known and mask.inside else None
        settled = {name: value for name, value in extra.items() if name not in label}
        row = _row(folder, entry, own, scan, mask_path) | _collection(known, entry, folder, mask_path)
        rows.append(row | label | settled)
    return rows


def _row(folder: Path, entry: Entry, own: str, scan: Facts, mask_path: str | None) -> Row:
    return {
        "id": own,
        "path": str(entry.path),
        "mask_path": mask_path,
        "patient": entry.patient,
        "case": entry.case,
        "sequence": entry.sequence,
        "slice": entry.slice,
        "split": entry.split,
        "source": folder.name,
        "synthetic": False,
        "width": scan.shape[0] if scan.shape else None,
        "height": scan.shape[1] if scan.shape and len(scan.shape) > 1 else None,
        "sha256": scan.sha256,
    }


def _collection(known: Layout | None, entry: Entry, folder: Path, mask_path: str | None) -> Row:
    """The columns that a known collection settles for all its rows."""
    if known is None:
        return {}
    row: Row = {"licence": known.licence, "plane": known.plane, "mask_source": known.mask_source if mask_path else None}
    if known.channels and known.sequence:
        row["channel"] = known.channels[known.sequence]
    if known.group_rule == "blocks" and _stem(entry).isdigit():
        row["group"] = f"{folder.name}:{int(_stem(entry)) // BLOCK * BLOCK:04d}+"
    return row


def _stem(entry: Entry) -> str:
    return layouts.stem(entry.relative).casefold()


def _name(entry: Entry) -> str:
    """The id that a scan asks for: its stem, in a case folder with the patient or case in front."""
    own = layouts.stem(entry.relative)
    if entry.case is None or own.casefold().startswith(entry.case.casefold()):
        return own
    return f"{entry.patient or entry.case}_{own}"


def _mask_facts(entry: Entry, decode: bool) -> Facts | None:
    return facts(entry.mask, decode=decode) if entry.mask else None


def _fitting_mask(entry: Entry, scan: Facts, mask: Facts | None, findings: list[str]) -> str | None:
    """The mask's path when it can be used; otherwise None and a finding."""
    if entry.mask is None or mask is None:
        return None
    if mask.problem:
        findings.append(f"{entry.mask}: cannot be read ({mask.problem}) and is left out; replace the file")
        return None
    if scan.shape and mask.shape != scan.shape[: len(mask.shape or ())]:
        sizes = ["x".join(map(str, shape or ())) for shape in (mask.shape, scan.shape)]
        findings.append(f"{entry.mask}: is {sizes[0]} but its scan is {sizes[1]}, and is left out; resample the mask")
        return None
    return str(entry.mask)


def _remark(folder: Path, table: pl.DataFrame, given: Given, findings: list[str]) -> None:
    """Findings about the table as a whole."""
    table_path = folder / "labels.csv"
    stems = Counter(layouts.stem(Path(path).name).casefold() for path in table["path"].to_list())
    have = {own.casefold() for own in table["id"].to_list()}
    missing = [key for key in given if key not in stems and key not in have]
    if missing:
        findings.append(f"{table_path}: ids without a scan: {len(missing)} (first: {missing[0]}); correct them")
    twice = [key for key in given if stems[key] > 1]
    if twice:
        findings.append(f"{table_path}: ids of several scans: {len(twice)} (first: {twice[0]}); rename the scans")
    bare = table.filter(pl.col("label").is_null())
    if bare.height:
        findings.append(f"{bare['path'][0]}: no label (scans: {bare.height}); give it in labels.csv (id,tumor_type)")
    copies = table["sha256"].drop_nulls().len() - table["sha256"].drop_nulls().n_unique()
    if copies:
        findings.append(f"{folder}: copies of another to the byte: {copies}; they share its group, no split parts them")


def unique_ids(names: Sequence[str], paths: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """``names``, with the folders of the path in front of those that stand already (case ignored).

    Examples
    --------
    >>> unique_ids(["1", "1"], [Path("yes/1.jpg"), Path("no/1.jpg")])
    ['1', 'no_1']
    """
    have = {name.casefold() for name in taken}
    result = []
    for name, path in zip(names, paths, strict=True):
        own, folders = name, [part for part in path.parts[:-1] if part != path.anchor]
        while own.casefold() in have and folders:
            own = f"{folders.pop()}_{own}"
        copy = 2
        while own.casefold() in have:
            own, copy = f"{name}-{copy}", copy + 1
        have.add(own.casefold())
        result.append(own)
    return result


def _dicom_rows(folder: Path, taken: Sequence[str], given: Given, findings: list[str]) -> list[Row]:
    """One row for each DICOM series that a path names: a folder of one series, or a file."""
    from tumorscope import io

    items = [item for top in _dicom_folders(folder) for item in io.discover([top])]
    items = [item for item in items if not _is_other(item.path)]
    series = Counter(item.path for item in items)
    findings += [f"{item.error} (left out)" for item in items if item.error is not None]
    findings += [
        f"{path}: holds {count} series and is left out; give each series a folder of its own"
        for path, count in series.items()
        if count > 1
    ]
    usable = [item for item in items if item.error is None and series[item.path] == 1]
    ids = unique_ids([item.id for item in usable], [item.path for item in usable], taken)
    rows = []
    for item, own in zip(usable, ids, strict=True):
        extra = given.get(own.casefold(), {})
        row = {"id": own, "path": str(item.path), "source": folder.name, "synthetic": False} | _header(item.files)
        entry = Entry(item.path, item.path.relative_to(folder).as_posix())
        rows.append(row | label_of(entry, extra, None, ()) | {k: v for k, v in extra.items() if k in row and k != "id"})
    return rows


def _is_other(path: Path) -> bool:
    """Whether a file was read as raster or NIfTI already."""
    return path.suffix.casefold() in layouts.RASTER or path.name.casefold().endswith(layouts.NIFTI)


def _dicom_folders(folder: Path) -> Iterator[Path]:
    """The topmost folders that hold a DICOM file themselves."""
    from tumorscope import io

    inside: list[Path] = []
    for here, names in layouts.walk(folder):
        if any(here.is_relative_to(top) for top in inside):
            continue
        for name in names:
            if (here / name).suffix.casefold() not in DICOM:
                continue
            try:
                if io.sniff(here / name) == "dicom":
                    inside.append(here)
                    break
            except ScanError:
                continue  # a file of another kind; what cannot be read at all is found by discover
    yield from inside


def _header(files: Sequence[Path]) -> Row:
    """Patient, size and hash of a series. The patient is a hash of the identifier, which itself stays out."""
    import pydicom

    tags = ["PatientID", "Rows", "Columns"]
    header = pydicom.dcmread(files[0], stop_before_pixels=True, specific_tags=tags, force=True)
    who = str(header.get("PatientID") or "")
    return {
        "patient": f"dicom-{hashlib.sha256(who.encode()).hexdigest()[:12]}" if who else None,
        "width": header.get("Columns"),
        "height": header.get("Rows"),
        "sha256": sha256(files),
    }
