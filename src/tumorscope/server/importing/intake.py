"""From files to cases: what is a scan is read, stripped to pixels and geometry, and stored; the rest is told of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tumorscope.datasets.facts import sha256
from tumorscope.errors import ScanError
from tumorscope.io import read, sniff
from tumorscope.scan import Scan
from tumorscope.server import pictures, scans
from tumorscope.server.importing.unpack import Limits, is_zip, unpack
from tumorscope.server.importing.upload import Part
from tumorscope.server.store import new_id, now
from tumorscope.server.tables import Case

if TYPE_CHECKING:
    from tumorscope.server.workspace import Workspace


@dataclass(frozen=True)
class Found:
    """The files of one scan, the name that its case gets, and the one that its errors get."""

    files: tuple[Path, ...]
    name: str
    patient: str | None = None
    shown: str = ""


@dataclass
class Taken:
    """What became of an upload: cases, and the names of what was left out with the reasons."""

    created: list[Case] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def take(workspace: Workspace, parts: Sequence[Part], folder: Path, channel: int | None = None) -> Taken:
    """Cases made of uploaded files, ZIPs among them, each stored before the next is read.

    DICOM files are put together by series, wherever in the upload they lie. A file that is no scan, or cannot be
    read, is skipped and the others are taken.

    Parameters
    ----------
    workspace : Workspace
    parts : sequence of Part
    folder : Path
        For what ZIPs unpack to; the caller removes it.
    channel : int or None
        The sequence to take from files that hold several.

    Raises
    ------
    Problem
        413 for an archive beyond the limits.
    OSError, OutputError
        If the disk is full; what was stored before stays.
    """
    settings = workspace.settings
    taken = Taken()
    limits = Limits(settings.max_unpacked, settings.max_members, settings.max_ratio)
    files: list[Part] = []
    for number, part in enumerate(parts):
        if is_zip(part.path):
            unpacked = unpack(part, folder / f"zip-{number:06d}", limits)
            files += unpacked.files
            taken.skipped += unpacked.skipped
        else:
            files.append(part)
    for found in _scans(workspace, files, taken):
        try:
            taken.created.append(store_scan(workspace, found, channel))
        except ScanError as error:
            shown = found.shown or found.name
            taken.skipped.append((shown, _shown(error, found.files, shown)))
    return taken


def _scans(workspace: Workspace, files: Sequence[Part], taken: Taken) -> Iterator[Found]:
    """The scans among files: one each, but for DICOM series."""
    dicom: list[Part] = []
    for part in files:
        try:
            if sniff(part.path) == "dicom":
                dicom.append(part)
            else:
                yield Found((part.path,), _case_name(part.name), shown=part.name)
        except ScanError as error:
            taken.skipped.append((part.name, _shown(error, (part.path,), part.name)))
    if dicom:
        yield from _series(workspace, dicom, taken)


def _series(workspace: Workspace, parts: Sequence[Part], taken: Taken) -> Iterator[Found]:
    from tumorscope.io.dicom import group

    names = {part.path: part.name for part in parts}
    groups = group([part.path for part in parts])
    for path, error in groups.damaged:
        taken.skipped.append((names[path], error.replace(str(path), names[path])))
    for path in groups.left_out:
        taken.skipped.append((names[path], f"{names[path]}: is a DICOM object that is no scan; give the image series"))
    for number, series in enumerate(groups.series, start=1):
        patient, own = workspace.pseudonyms.of_dicom(series.files)
        keep = workspace.settings.dicom_names == "file"
        name = _case_name(names[series.files[0]]) if keep else own or f"series-{new_id()[:16]}"
        if not keep and sum(one.headers[0].series == series.headers[0].series for one in groups.series) > 1:
            name += f"-{number}"  # one series in several orientations or sizes
        yield Found(series.files, name, patient, names[series.files[0]])


def store_scan(workspace: Workspace, found: Found, channel: int | None) -> Case:
    """The case of a scan, once it is on the disk; nothing of the files stays but pixels and geometry.

    Raises
    ------
    ScanError
        If it cannot be read, or holds several channels and none was chosen.
    """
    settings = workspace.settings
    wanted = settings.channel if channel is None else channel
    files = list(found.files)
    scan = read(files[0], channel=wanted, files=files if len(files) > 1 else None, max_pixels=settings.max_pixels)
    if scan.axes[0] == "C":
        raise ScanError(
            f"{files[0]}: holds {scan.pixels.shape[0]} channels, maybe several sequences; "
            f"send it again with the form field channel, 0 to {scan.pixels.shape[0] - 1}"
        )
    with workspace.blobs.pinned(scans.pack(scan), pictures.thumbnail(scan)) as (pixels, picture):
        case = case_of(scan, found, sha256(files), pixels, picture)
        with workspace.store.writing() as session:
            session.add(case)
    return case


def case_of(scan: Scan, found: Found, digest: str, pixels: str, picture: str) -> Case:
    """The row of a scan whose blobs are written."""
    return Case(
        id=new_id(),
        name=found.name,
        added=now(),
        sha256=digest,
        scan=pixels,
        thumbnail=picture,
        shape=list(scan.shape),
        axes=scan.axes,
        spacing=None if scan.spacing is None else [float(step) for step in scan.spacing],
        affine=None if scan.affine is None else scan.affine.tolist(),
        modality=scan.source.modality,
        format=scan.source.format,
        patient=found.patient,
        notes=list(scan.source.notes),
        review="open",
    )


def _case_name(name: str) -> str:
    """A file's name without its suffix."""
    return re.sub(r"(\.nii\.gz|\.[A-Za-z]{2,5})$", "", name, flags=re.IGNORECASE) or name


def _shown(error: ScanError, files: Sequence[Path], name: str) -> str:
    """An error with the client's own name in place of where the file lies."""
    text = str(error)
    for path in files:
        text = text.replace(str(path), name)
    return text.replace("--channel", "channel")
