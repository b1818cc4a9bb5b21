"""A folder on this machine brought into a workspace, each scan once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from tumorscope.datasets import manifest
from tumorscope.datasets.facts import sha256
from tumorscope.errors import DataError, ScanError
from tumorscope.io import Item, discover, sniff
from tumorscope.server.importing.intake import Found, store_scan
from tumorscope.server.tables import Case

if TYPE_CHECKING:
    from tumorscope.server.workspace import Workspace

Count = Callable[[int, int, str | None], None]


@dataclass
class Brought:
    """Cases that the workspace then holds, and scans that could not be read."""

    cases: int = 0
    failed: int = 0


def bring_folder(workspace: Workspace, folder: Path, count: Count) -> Brought:
    """Make a case of each scan in a folder that is not in the workspace by its content yet.

    Masks that the folder's layout shows to be such are no scans and left out. ``count`` is told of each scan: how many
    are done, of how many, and what went wrong.
    """
    masks, patients = _known(folder)
    items = [item for item in discover([folder]) if item.path.resolve() not in masks]
    with workspace.store.reading() as session:
        known = set(session.execute(select(Case.sha256)).scalars())
    brought = Brought()
    for number, item in enumerate(items, start=1):
        problem = None
        try:
            if item.error is not None:
                raise ScanError(item.error)
            digest = sha256(item.files)
            if digest not in known:
                store_scan(workspace, _found(workspace, item, patients.get(item.path.resolve())), item.channel)
                known.add(digest)
        except ScanError as error:
            brought.failed += 1
            problem = str(error).replace("a form field", "an option")
        except OSError as error:
            brought.failed += 1
            problem = f"{item.path}: cannot be read ({error.strerror}); check its permissions"
        count(number, len(items), problem)
    with workspace.store.reading() as session:
        brought.cases = session.execute(select(func.count()).select_from(Case)).scalar_one()
    return brought


def _known(folder: Path) -> tuple[set[Path], dict[Path, str]]:
    """Mask files of a folder, and the patient of each scan where the layout tells."""
    try:
        table = manifest.build(folder, findings=[])
    except (DataError, ScanError):
        return set(), {}
    masks = {Path(path).resolve() for path in table["mask_path"].drop_nulls().to_list()}
    rows = table.select("path", "patient").drop_nulls().rows()
    return masks, {Path(path).resolve(): patient for path, patient in rows}


def _found(workspace: Workspace, item: Item, patient: str | None) -> Found:
    """What a case is made from; of DICOM files the names are dropped unless the settings keep them."""
    own = Found(item.files, item.id, None if patient is None else workspace.pseudonyms.of("patient", patient))
    if sniff(item.files[0]) != "dicom":
        return own
    person, series = workspace.pseudonyms.of_dicom(item.files)
    if workspace.settings.dicom_names == "pseudonym":
        own = replace(own, name=series or workspace.pseudonyms.of("series", sha256(item.files)) or "series")
    return replace(own, patient=person)
