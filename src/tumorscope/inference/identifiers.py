"""Patient identifiers of DICOM files: a table of its own, written only when asked for."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tumorscope.errors import ScanError
from tumorscope.io import Item, atomic, sniff

TABLE = "identifiers.csv"
TAGS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyDescription",
    "SeriesNumber", "SeriesDescription", "StudyInstanceUID", "SeriesInstanceUID",
)  # fmt: skip
"""DICOM attributes, each a column; together they lead from a row of the results back to the archive."""


def write_identifiers(items: Sequence[Item], path: Path) -> Path:
    """``path``, a CSV with the columns ``id`` and `TAGS`, one row for each DICOM scan that can be opened.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with (
        atomic(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("id", *TAGS))
        for item in items:
            values = identifiers(item)
            if values is not None:
                table.writerow((item.id, *values))
    return path


def identifiers(item: Item) -> list[str] | None:
    """The values of `TAGS` in the (first) file of an item; None when it is no DICOM file that can be opened."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    file = item.files[0] if item.files else item.path
    try:
        if sniff(file) != "dicom":
            return None
        data = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(TAGS))
        return [str(data.get(tag, "")) for tag in TAGS]
    except (ScanError, InvalidDicomError, OSError, EOFError, ValueError):
        return None  # its row in predictions.csv already says what is wrong with it
