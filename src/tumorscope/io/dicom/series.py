"""DICOM folders: which files form one series, and the volume they make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tumorscope.errors import ScanError
from tumorscope.io.decoding import check_pixels, label, noted
from tumorscope.io.dicom.assemble import flat_scan, loose_scan, stacked_scan
from tumorscope.io.dicom.header import (
    Place,
    bits_of,
    count,
    element,
    kind_problem,
    load,
    modality_of,
    notes_of,
    number,
    place_of,
)
from tumorscope.io.dicom.pixels import full_value, values
from tumorscope.io.dicom.single import read_dicom
from tumorscope.io.dicom.stack import arrange
from tumorscope.scan import Scan, Source

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "Modality", "Rows",
    "Columns", "NumberOfFrames", "SamplesPerPixel", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "DirectoryRecordSequence",
]  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What grouping needs to know of one file. ``shape`` is rows, columns, samples."""

    path: Path
    uid: str
    series: str
    number: int | None
    instance: float
    frames: int
    shape: tuple[int, int, int]
    place: Place

    def stacks_with(self, other: Header) -> bool:
        """Whether two files of one series and size also share orientation and spacing; multi-frame files never do."""
        return self.frames == other.frames == 1 and self.place.stacks_with(other.place)


@dataclass(frozen=True)
class Series:
    """Headers of the files that make one scan, by instance number."""

    headers: tuple[Header, ...]

    @property
    def number(self) -> int | None:
        """Series number."""
        return self.headers[0].number

    @property
    def files(self) -> tuple[Path, ...]:
        """Paths of the files."""
        return tuple(header.path for header in self.headers)


@dataclass
class Groups:
    """The series among some DICOM files, what is no scan, and what cannot be read."""

    series: list[Series] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    damaged: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence on what was left out."""
        if not self.left_out:
            return ()
        one = len(self.left_out) == 1
        what = "DICOM object that is no scan" if one else "DICOM objects that are no scans"
        return (f"{len(self.left_out)} {what} (segmentation, report or the like) left out of the folder",)


def header_of(path: Path) -> Header | None:
    """The header of a file with an image, or None for a DICOM object that is no scan.

    Raises
    ------
    ScanError
        If the file is damaged.
    """
    data = load(path, header_only=True, tags=_TAGS)
    if kind_problem(data):
        return None
    series, instance = number(data, "SeriesNumber"), number(data, "InstanceNumber")
    return Header(
        path,
        str(element(data, "SOPInstanceUID") or path),
        str(element(data, "SeriesInstanceUID") or ""),
        None if series is None else int(series),
        float("inf") if instance is None else instance,
        count(data, "NumberOfFrames"),
        (count(data, "Rows"), count(data, "Columns"), count(data, "SamplesPerPixel")),
        place_of(data),
    )


def group(paths: Iterable[Path]) -> Groups:
    """DICOM files sorted into series: same SeriesInstanceUID, size, orientation and spacing.

    A localiser's three orientations become three series; a multi-frame file is one by itself. Series are ordered by
    number, their files by instance number, then by name.
    """
    found = Groups()
    members: dict[tuple[str, tuple[int, int, int]], list[list[Header]]] = {}
    for path in sorted(paths, key=lambda p: natural(str(p))):
        try:
            header = header_of(path)
        except ScanError as error:
            found.damaged.append((path, str(error)))
            continue
        if header is None:
            found.left_out.append(path)
            continue
        stacks = members.setdefault((header.series, header.shape), [])
        home = next((headers for headers in stacks if header.stacks_with(headers[0])), None)
        if home is None:
            stacks.append([header])
        else:
            home.append(header)
    lists = [headers for stacks in members.values() for headers in stacks]
    found.series = [Series(tuple(sorted(headers, key=lambda h: h.instance))) for headers in lists]
    found.series.sort(key=lambda s: (s.number is None, s.number or 0))
    return found


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which "2" comes before "10".

    Examples
    --------
    >>> sorted(["IM10", "IM2"], key=natural)
    ['IM2', 'IM10']
    """
    parts = re.split(r"([0-9]+)", text)
    return tuple((0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts if part)


def several(path: Path, found: Groups) -> str:
    """The one line for a folder that does not hold exactly one series."""
    if not found.series:
        if found.damaged:
            return found.damaged[0][1]
        return f"{label(path)}: the folder holds no DICOM image; give the files, or a folder of DICOM slices"
    names = ", ".join(
        f"number {'?' if series.number is None else series.number} with {len(series.files)}"
        for series in found.series[:6]
    )
    more = ", ..." if len(found.series) > 6 else ""
    return (
        f"{label(path)}: the folder holds {len(found.series)} series ({names}{more} files), not one; "
        "give the files of one, or let discover() tell them apart"
    )


def read_series(files: Sequence[Path], path: Path, *, channel: int | None, max_pixels: int) -> Scan:
    """The volume that the files of one series make; a single file gives what `read_dicom` gives.

    Slices are sorted along their normal. Copies of one instance count once; a second image at a position is left
    out; a missing slice stays blank. Each is told in a note.

    Raises
    ------
    ScanError
        If a file is damaged or no image, or the files do not form one series.
    """
    found = group(files)
    if found.damaged:
        raise ScanError(found.damaged[0][1])
    if len(found.series) != 1:
        raise ScanError(several(path, found))
    scan = read_group(found.series[0], path, channel=channel, max_pixels=max_pixels)
    return scan.noting(*found.notes)


def read_group(series: Series, path: Path, *, channel: int | None, max_pixels: int) -> Scan:
    """The volume of a `Series` that `group` found; as `read_series`."""
    if len(series.files) == 1:
        return read_dicom(series.files[0], channel=channel, max_pixels=max_pixels)
    unique = list({header.uid: header for header in reversed(series.headers)}.values())[::-1]
    copies = len(series.headers) - len(unique)
    rows, columns, samples = unique[0].shape
    check_pixels(path, (len(unique), rows, columns, *((samples,) if samples > 1 else ())), max_pixels)
    source = Source(path, "dicom", files=tuple(header.path for header in unique))
    if copies:
        source = noted(source, f"{copies} {'copy' if copies == 1 else 'copies'} of slices already there left out")
    frames: list[np.ndarray] = []
    full, step, thickness = 255.0, None, 1.0
    for header in unique:
        data = load(header.path)
        frames.append(values(data, header.path, max_pixels)[0])
        if frames[-1].shape != frames[0].shape:
            raise ScanError(f"{label(header.path)}: its pixels differ in shape from the rest of its series; remove it")
        if len(frames) == 1:
            full, step = full_value(data), number(data, "SpacingBetweenSlices")
            thickness = abs(step or number(data, "SliceThickness") or 1.0)
            source = replace(noted(source, *notes_of(data)), bits=bits_of(data), modality=modality_of(data))
    place = unique[0].place
    if len(frames) == 1:
        return flat_scan(frames[0], place, thickness, full, source, channel)
    if not place.is_known:
        return loose_scan(np.stack(frames), place, step, full, source, channel)
    positions = [header.place.position or () for header in unique]
    order = [header.instance for header in unique]
    stack = arrange(positions, place.orientation or (), place.spacing or (), order, thickness)
    check_pixels(path, (len(stack.members), rows, columns), max_pixels)
    return stacked_scan(np.stack(frames), stack, full, source, channel)
