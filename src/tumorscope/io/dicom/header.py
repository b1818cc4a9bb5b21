"""What a DICOM header says, read so that a malformed element counts as an absent one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tumorscope.errors import ScanError
from tumorscope.io.decoding import decoding, label

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Differences that rounding leaves between slices of one stack: in direction cosines, and in millimetres of spacing.
ANGLE, SIZE = 0.005, 0.001

# Objects with pixel data that are no scans: segmentation, label map segmentation, radiotherapy dose.
_NO_SCANS = {
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "segmentation",
    "1.2.840.10008.5.1.4.1.1.481.2": "radiotherapy dose",
}


def load(path: Path, *, header_only: bool = False, tags: list[str] | None = None) -> Dataset:
    """The data set of a DICOM file, with or without preamble; its transfer syntax is always named.

    Raises
    ------
    ScanError
        If the file is damaged. The message quotes nothing from the file.
    """
    import pydicom
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with decoding(path, "DICOM file", private=True):
        data = pydicom.dcmread(path, force=True, stop_before_pixels=header_only, specific_tags=tags)
        if not element(data.file_meta, "TransferSyntaxUID"):
            implicit, little = data.original_encoding
            explicit = ExplicitVRLittleEndian if little or little is None else ExplicitVRBigEndian
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        if not UID(data.file_meta.TransferSyntaxUID).is_transfer_syntax:
            raise ScanError(f"{label(path)}: its transfer syntax is unknown; export it again as explicit little endian")
    return data


def element(data: Dataset, keyword: str) -> Any:
    """The value of an element, or None where it is absent, empty or malformed."""
    try:
        value = data.get(keyword)
    except Exception:  # pydicom converts on access, and raises nearly everything on malformed values
        return None
    return None if value is None or value == "" else value


def number(data: Dataset, keyword: str) -> float | None:
    """A numeric element (its first value), or None where there is no finite one."""
    value = element(data, keyword)
    try:
        result = float(value if isinstance(value, (int, float, str)) else value[0])
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return result if np.isfinite(result) else None


def count(data: Dataset, keyword: str) -> int:
    """A numeric element that counts something; 1 where it is absent."""
    value = number(data, keyword)
    return 1 if value is None else int(value)


def numbers(data: Dataset, keyword: str, length: int) -> tuple[float, ...] | None:
    """A numeric element of exactly ``length`` finite values, or None."""
    try:
        result = tuple(float(item) for item in element(data, keyword))
    except (TypeError, ValueError):
        return None
    return result if len(result) == length and all(np.isfinite(result)) else None


def kind_problem(data: Dataset) -> str | None:
    """Why this object is no scan, as "finding; remedy", or None. Works on a header without pixel data."""
    uid = element(data, "SOPClassUID") or ""
    if element(data, "DirectoryRecordSequence") is not None or uid == "1.2.840.10008.1.3.10":
        return "is a DICOMDIR index, not a scan; give the folder it lists"
    if str(uid) in _NO_SCANS or element(data, "Modality") == "SEG":
        return f"is a DICOM {_NO_SCANS.get(str(uid), 'segmentation')}, not a scan; give the series it was made for"
    if (number(data, "Rows") or 0) < 1 or (number(data, "Columns") or 0) < 1:
        name = str(getattr(uid, "name", ""))
        kind = f" ({name})" if name[:1].isalpha() else ""
        return f"is a DICOM object without an image{kind}, it has no pixel data; give the image series"
    return None


@dataclass(frozen=True)
class Place:
    """Where a frame lies: DICOM position and cosines (LPS) and (row, column) spacing in mm; None where not said."""

    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, float] | None = None

    @property
    def is_known(self) -> bool:
        """Whether all three are there."""
        return None not in (self.position, self.orientation, self.spacing)

    def stacks_with(self, other: Place) -> bool:
        """Whether two frames have one orientation and spacing, but for rounding."""
        pairs = ((self.orientation, other.orientation, ANGLE), (self.spacing, other.spacing, SIZE))
        for own, its, tolerance in pairs:
            if (own is None) != (its is None):
                return False
            if own is not None and its is not None and not np.allclose(own, its, rtol=0, atol=tolerance):
                return False
        return (self.position is None) == (other.position is None)


def is_enhanced(data: Dataset) -> bool:
    """Whether the file describes its frames in functional groups."""
    return bool(element(data, "SharedFunctionalGroupsSequence") or element(data, "PerFrameFunctionalGroupsSequence"))


def place_of(data: Dataset, frame: int = 0) -> Place:
    """Position, orientation and spacing of a file, or of one frame of an enhanced file."""
    parts: list[Dataset | None] = [data] * 3
    if is_enhanced(data):
        names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
        parts = [frame_part(data, frame, name) for name in names]
    position = numbers(parts[0], "ImagePositionPatient", 3) if parts[0] is not None else None
    orientation = numbers(parts[1], "ImageOrientationPatient", 6) if parts[1] is not None else None
    spacing = numbers(parts[2], "PixelSpacing", 2) if parts[2] is not None else None
    if spacing is not None and min(spacing) <= 0:
        spacing = None
    return Place(position, _unit(orientation), None if spacing is None else (spacing[0], spacing[1]))


def _unit(orientation: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Cosines scaled to length 1; None where they are zero or far from a right angle."""
    if orientation is None:
        return None
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if min(lengths) < 0.5 or abs(row @ column) > 0.1 * lengths[0] * lengths[1]:
        return None
    return tuple((*(row / lengths[0]).tolist(), *(column / lengths[1]).tolist()))


def frame_part(data: Dataset, frame: int, keyword: str) -> Dataset | None:
    """One functional group of a frame: its own, else the shared one, else None."""
    own = element(data, "PerFrameFunctionalGroupsSequence") or []
    shared = element(data, "SharedFunctionalGroupsSequence") or []
    for group in (*own[frame : frame + 1], *shared[:1]):
        if items := element(group, keyword):
            return items[0]  # type: ignore[no-any-return]
    return None


def bits_of(data: Dataset) -> int | None:
    """Bits that each sample uses."""
    bits = number(data, "BitsStored") or number(data, "BitsAllocated")
    return int(bits) if bits else None


def modality_of(data: Dataset) -> str | None:
    """The modality code, such as MR; None where it is no plain code."""
    value = element(data, "Modality")
    return value if isinstance(value, str) and value.isalnum() and len(value) <= 16 else None


def notes_of(data: Dataset) -> tuple[str, ...]:
    """What a reader of the pixels should know from the header."""
    burned = str(element(data, "BurnedInAnnotation")).upper() == "YES"
    return ("the file says that text is burned into its pixels",) if burned else ()
