"""Annotations from elsewhere: an export of ours, masks beside images, a COCO file, packed as a ZIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from tumorscope.annotation import archive
from tumorscope.annotation.records import Annotation
from tumorscope.annotation.regrid import on_grid
from tumorscope.datasets.facts import sha256
from tumorscope.errors import DataError, ScanError
from tumorscope.io import sniff
from tumorscope.server import pictures, scans, tables
from tumorscope.server.importing.intake import Found, case_of
from tumorscope.server.importing.upload import LONGEST_NAME, shown_name
from tumorscope.server.problems import is_full
from tumorscope.server.saving import add, scan_facts
from tumorscope.server.store import new_id

if TYPE_CHECKING:
    from tumorscope.annotation.importing import Imported
    from tumorscope.server.workspace import Workspace


@dataclass
class Brought:
    """How many annotations came in, and what was left out with the reasons."""

    imported: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def bring(workspace: Workspace, path: Path, folder: Path, annotator: str) -> Brought:
    """Take the annotations of a ZIP, and the scans that are not here yet.

    A scan is known by the hash that its record names. An annotation that is here already is left out.

    Parameters
    ----------
    workspace : Workspace
    path : Path
        The archive.
    folder : Path
        To unpack to, not yet there; the caller removes it. Here and nowhere else are names of an archive used as names
        of files, below this folder and after `archive.unpack` has checked each.
    annotator : str
        Whom masks without a record are ascribed to.

    Raises
    ------
    DataError
        If it is no archive of annotations, or above the limits.
    """
    from tumorscope.annotation import importing  # with it comes scikit-learn, which a server that starts can do without

    settings = workspace.settings
    limits = archive.Limits(settings.max_members, settings.max_unpacked, settings.max_ratio)
    brought = Brought()
    try:
        archive.unpack(path, folder, limits)
        for one in importing.read(folder, annotator):
            if isinstance(one, importing.Skipped):
                brought.skipped.append((one.name, one.error.replace(f"{folder}/", "")))
                continue
            try:
                _take(workspace, one)
                brought.imported += 1
            except (DataError, ScanError) as error:
                brought.skipped.append((one.annotation.scan.name, str(error).replace(f"{folder}/", "")))
    except (DataError, OSError, ValueError) as error:
        if is_full(error):
            raise
        text = str(error).replace(f"{folder}/", "").replace(str(folder), "archive").replace(str(path), "archive")
        raise DataError(text) from error
    return brought


def _take(workspace: Workspace, one: Imported) -> None:
    """Store one annotation, and its scan where no case has it."""
    if one.scan.axes[0] == "C":
        raise DataError(f"{one.path.name}: holds several channels; name one in the manifest's channel column")
    own, record = sha256([one.path]), one.annotation
    with (
        workspace.blobs.pinned(scans.pack(one.scan), pictures.thumbnail(one.scan)) as (pixels, picture),
        workspace.store.writing() as session,
    ):
        wanted = select(tables.Case).where(tables.Case.sha256.in_({record.scan.sha256, own}))
        case, record = _home(workspace, session.execute(wanted).scalars().all(), record)
        if case is None:
            name = shown_name(record.scan.name)[:LONGEST_NAME]
            found = _without_names(workspace, Found((one.path,), name, one.facts.get("patient")))
            case = case_of(one.scan, found, record.scan.sha256, pixels, picture)
            session.add(case)
            session.flush()
        _add(session, case, record)


def _without_names(workspace: Workspace, found: Found) -> Found:
    """What a case is made from, under the pseudonyms that every import gives: see `profile`."""
    patient = None if found.patient is None else workspace.pseudonyms.of("patient", found.patient)
    if sniff(found.files[0]) != "dicom":
        return replace(found, patient=patient)
    person, series = workspace.pseudonyms.of_dicom(found.files)
    if workspace.settings.dicom_names == "pseudonym":
        found = replace(found, name=series or workspace.pseudonyms.of("series", sha256(list(found.files))) or "series")
    return replace(found, patient=person)


def _home(
    workspace: Workspace, cases: Sequence[tables.Case], record: Annotation
) -> tuple[tables.Case | None, Annotation]:
    """The first case whose grid a record fits, and the record on it; None and the record where it fits none."""
    for case in cases:
        try:
            return case, on_grid(record, workspace.scan(case))
        except DataError:
            continue
    return None, record


def _add(session: Session, case: tables.Case, record: Annotation) -> None:
    former = session.get(tables.Annotation, record.id)
    values = {**record.to_dict(), "case_id": case.id, "scan": scan_facts(case)}
    if former is not None:
        if former.case_id == case.id and former.record["lesions"] == values["lesions"]:
            raise DataError(f"{case.name}: this annotation is here already; nothing was changed")
        values["id"] = new_id()
    add(session, case, Annotation.from_dict(values))
