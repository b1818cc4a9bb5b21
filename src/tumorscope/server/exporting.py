"""Annotations as files: one as a mask, many as a data set in a ZIP that `tumorscope train` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from tumorscope.annotation.export import Annotated, export_zip
from tumorscope.annotation.records import DECIDED, Annotation
from tumorscope.server import tables

if TYPE_CHECKING:
    from tumorscope.server.workspace import Workspace

PARTS: dict[str, tuple[str, ...]] = {
    "all": ("arrays", "coco"), "png": (), "nifti": (), "npz": ("arrays",), "coco": ("coco",)
}  # fmt: skip
"""Forms of a data set, and what stands in it beside images, masks, records and the manifest. Masks of pictures are
PNG and those of volumes NIfTI in each of them."""
KINDS = {
    "png": "image/png", "nifti": "application/gzip", "coco": "application/json", "npz": "application/octet-stream",
    "json": "application/json",
}  # fmt: skip
"""Forms of one annotation, and the media type of each."""


def annotated(workspace: Workspace, case: tables.Case, record: Annotation) -> Annotated:
    """An annotation with its scan and what is known of it: the patient's pseudonym keeps slices of one in one group."""
    facts = {"id": case.name, "patient": case.patient, "group": case.patient}
    return Annotated(workspace.scan(case), record, {key: value for key, value in facts.items() if value is not None})


def write_zip(workspace: Workspace, path: Path, form: str, reviews: Sequence[str], annotator: str | None) -> None:
    """Write the newest annotation of each case as a data set.

    Parameters
    ----------
    workspace : Workspace
    path : Path
    form : str
        A key of `PARTS`.
    reviews : sequence of str
        Decisions to take; of these only the accepted and corrected can become truth.
    annotator : str or None
        Take this one's annotations instead of the newest.

    Raises
    ------
    DataError
        If there is none.
    """
    export_zip(_chosen(workspace, reviews or DECIDED, annotator), path, PARTS[form])


def _chosen(workspace: Workspace, reviews: Sequence[str], annotator: str | None) -> Iterator[Annotated]:
    """One annotation a case, by name of the case; read one at a time."""
    wanted = select(tables.Case.id).order_by(tables.Case.name, tables.Case.id)
    with workspace.store.reading() as session:
        cases = list(session.execute(wanted).scalars())
    for identifier in cases:
        found = select(tables.Annotation).where(tables.Annotation.case_id == identifier)
        if annotator is not None:
            found = found.where(tables.Annotation.annotator == annotator)
        newest = found.order_by(tables.Annotation.modified.desc(), tables.Annotation.id).limit(1)
        with workspace.store.reading() as session:
            case = session.get(tables.Case, identifier)
            row = session.execute(newest).scalar_one_or_none()
        if case is not None and row is not None and row.decision in reviews:
            yield annotated(workspace, case, Annotation.from_dict(row.record))
