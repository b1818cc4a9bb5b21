"""Annotations: saved masks with all that is known of how they came about."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, update
from starlette.responses import Response

from tumorscope.annotation import records
from tumorscope.annotation.export import one_file
from tumorscope.server.exporting import KINDS, annotated
from tumorscope.server.predicting import summarise
from tumorscope.server.problems import Problem
from tumorscope.server.routes.common import ERRORS, MOST, Here, Id, download, fetched, row, sayable
from tumorscope.server.saving import add, scan_facts
from tumorscope.server.store import new_id
from tumorscope.server.tables import Annotation, Case

router = APIRouter(tags=["annotations"], responses={key: ERRORS[key] for key in (404, 422)})


class Saved(BaseModel):
    """What an annotator saves."""

    model_config = ConfigDict(extra="forbid")

    annotator: str = Field(default="", max_length=records.LONGEST_NAME, description="name or pseudonym")
    decision: Literal["accepted", "corrected", "rejected", "open"] = "open"
    note: str = Field(default="", max_length=records.LONGEST_NOTE)
    lesions: list[dict[str, Any]] = Field(
        default=[], max_length=records.MOST_LESIONS, description="see docs/explanation/mask-provenance.md"
    )


class Changed(Saved):
    """What an annotator saves over an earlier revision."""

    revision: Annotated[int, Field(ge=0, le=MOST)] = Field(description="the revision that was changed")


@router.post("/cases/{case_id}/annotations", status_code=201, responses={507: ERRORS[507]})
def add_annotation(case_id: Id, saved: Saved, here: Here) -> dict[str, Any]:
    """Save a new annotation of a case."""
    lesions = sayable(saved.lesions)
    with here.store.writing() as session:
        case = row(session, Case, case_id)
        record = records.Annotation.from_dict(
            {
                "id": new_id(), "case_id": case_id, "scan": scan_facts(case), "annotator": saved.annotator,
                "decision": saved.decision, "note": saved.note, "lesions": lesions,
            }
        )  # fmt: skip
        add(session, case, record)
        return record.to_dict()


@router.put("/annotations/{annotation_id}", responses={key: ERRORS[key] for key in (409, 507)})
def change_annotation(annotation_id: Id, changed: Changed, here: Here) -> dict[str, Any]:
    """Save over an annotation; refused where somebody saved another revision since."""
    lesions = sayable(changed.lesions)
    with here.store.writing() as session:
        stored = row(session, Annotation, annotation_id)
        former = records.Annotation.from_dict(stored.record)
        record = former.revised(
            annotator=changed.annotator, decision=changed.decision, note=changed.note, lesions=lesions
        )
        values = record.to_dict()
        done = session.execute(
            update(Annotation)
            .where(Annotation.id == annotation_id, Annotation.revision == changed.revision)
            .values(
                record=values,
                revision=record.revision,
                modified=record.modified,
                decision=record.decision,
                annotator=record.annotator,
            )
        )
        if done.rowcount != 1:  # type: ignore[attr-defined]
            revisions = f"revision {stored.revision}, yours {changed.revision}"
            raise Problem(
                409, "revision", f"the annotation was saved by somebody else since ({revisions}); load it again"
            )
        summarise(session, row(session, Case, stored.case_id))
        return values


@router.get("/annotations/{annotation_id}")
def get_annotation(annotation_id: Id, here: Here) -> dict[str, Any]:
    """An annotation, whole."""
    return fetched(here.store, Annotation, annotation_id).record


@router.get("/cases/{case_id}/annotations")
def list_annotations(case_id: Id, here: Here) -> list[dict[str, Any]]:
    """All annotations of a case, the newest first."""
    with here.store.reading() as session:
        row(session, Case, case_id)
        found = session.execute(
            select(Annotation.record)
            .where(Annotation.case_id == case_id)
            .order_by(Annotation.modified.desc(), Annotation.id)
        )
        return list(found.scalars())


@router.delete("/annotations/{annotation_id}", status_code=204)
def delete_annotation(annotation_id: Id, here: Here) -> Response:
    """Delete an annotation."""
    with here.store.writing() as session:
        stored = row(session, Annotation, annotation_id)
        case = row(session, Case, stored.case_id)
        session.delete(stored)
        summarise(session, case)
    return Response(status_code=204)


@router.get("/annotations/{annotation_id}/export", response_class=Response, responses={409: ERRORS[409]})
def export_annotation(
    annotation_id: Id, here: Here, format: Literal["png", "nifti", "coco", "npz", "json"] = "png"
) -> Response:
    """The mask of all lesions together as a file on the grid of the scan's file; ``json`` gives the record itself."""
    with here.store.reading() as session:
        stored = row(session, Annotation, annotation_id)
        case = row(session, Case, stored.case_id)
    if format == "png" and "Z" in case.axes:
        raise Problem(409, "volume", "the mask of a volume is no picture; export it as nifti")
    name, content = one_file(annotated(here, case, records.Annotation.from_dict(stored.record)), format)
    return download(content, name, KINDS[format])
