"""Cases: the work list, uploads, and what is shown of a scan."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tumorscope.server import pictures
from tumorscope.server.importing.intake import Taken, take
from tumorscope.server.importing.upload import Upload, received
from tumorscope.server.problems import Problem
from tumorscope.server.routes.common import ERRORS, KEEP, MOST, Here, Id, fetched, kept, paged, row, split
from tumorscope.server.tables import Annotation, Case, Prediction
from tumorscope.server.workspace import Workspace

router = APIRouter(tags=["cases"], responses={key: ERRORS[key] for key in (404, 422)})

UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "channel": {"type": "integer", "minimum": 0},
                    },
                }
            }
        },
    }
}
SORTS: dict[str, Any] = {
    "name": Case.name, "added": Case.added, "probability": Case.probability, "review": Case.review
}  # fmt: skip
MOST_CHANNELS = 4096


@router.get("/cases")
def list_cases(
    here: Here,
    q: Annotated[str | None, Query(max_length=200, description="part of a name")] = None,
    decision: Annotated[str | None, Query(max_length=200, description="of the model, several with commas")] = None,
    review: Annotated[str | None, Query(max_length=200, description="open, accepted, corrected, rejected")] = None,
    lesions: Annotated[
        str | None, Query(pattern="^(none|some|[0-9]{1,6})$", description="none, some, or how many")
    ] = None,
    sort: Literal["name", "added", "probability", "review"] = "added",
    order: Literal["asc", "desc"] = "desc",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
) -> dict[str, Any]:
    """Part of the work list, with the number of all that fit and how far their review is."""
    wanted = _wanted(q, decision, lesions)
    reviews = split(review)
    chosen = [*wanted, Case.review.in_(reviews)] if reviews else wanted
    column = SORTS[sort]
    directed = column.asc() if order == "asc" else column.desc()
    statement: Select[Any] = select(Case).where(*chosen).order_by(column.is_(None), directed, Case.id)
    with here.store.reading() as session:
        items = session.execute(paged(statement, limit, offset)).scalars().all()
        total = session.execute(select(func.count()).select_from(Case).where(*chosen)).scalar_one()
        counted = session.execute(select(Case.review, func.count()).where(*wanted).group_by(Case.review))
        counts = dict.fromkeys(("open", "accepted", "corrected", "rejected"), 0) | {key: n for key, n in counted}
    return {"items": [shown(case) for case in items], "total": total, "counts": {"review": counts}}


@router.post("/cases", status_code=201, openapi_extra=UPLOAD, responses={key: ERRORS[key] for key in (413, 507)})
async def add_cases(request: Request, here: Here) -> dict[str, Any]:
    """Store uploaded scans: images, NIfTI, DICOM series, ZIPs of them. What cannot be read is skipped with its reason.

    The form field ``files`` holds the files; ``channel`` picks a sequence in files that hold several.
    """
    async with received(request, here.incoming, here.settings.max_members) as upload:
        if not upload.files:
            raise Problem(422, "invalid", "the form has no files; send them as the field 'files'")
        taken = await run_in_threadpool(_take, here, upload)
    return {
        "created": [shown(case) for case in taken.created],
        "skipped": [{"name": name, "error": error} for name, error in taken.skipped],
    }


@router.get("/cases/{case_id}")
def get_case(case_id: Id, here: Here) -> dict[str, Any]:
    """A case with its newest prediction and the list of its annotations."""
    with here.store.reading() as session:
        case = row(session, Case, case_id)
        prediction = None if case.prediction_id is None else session.get(Prediction, case.prediction_id)
        return {
            **shown(case),
            "notes": case.notes,
            "prediction": None if prediction is None else prediction.facts,
            "annotations": summaries(session, case_id),
        }


@router.delete("/cases/{case_id}", status_code=204)
def delete_case(case_id: Id, here: Here) -> Response:
    """Delete a case with its predictions and annotations, and its pixels from the disk."""
    with here.store.writing() as session:
        case = row(session, Case, case_id)
        maps = session.execute(select(Prediction.map).where(Prediction.case_id == case_id)).scalars()
        digests = [case.scan, case.thumbnail, *maps]
        session.delete(case)
    here.forget(digests)
    return Response(status_code=204)


@router.get("/cases/{case_id}/thumbnail.png", response_class=Response)
def get_thumbnail(case_id: Id, request: Request, here: Here) -> Response:
    """The middle slice, 160 pixels on its longer side."""
    case = fetched(here.store, Case, case_id)
    return kept(request, lambda: here.blobs.read(case.thumbnail), case.thumbnail, "image/png", KEEP)


@router.get("/cases/{case_id}/image.nii.gz", response_class=Response, responses={429: ERRORS[429]})
async def get_image(
    case_id: Id, request: Request, here: Here, variant: Literal["original", "musica"] = "original"
) -> Response:
    """The pixels as NIfTI on the scan's own grid, as they are or enhanced; no identifier in the header."""
    case = await run_in_threadpool(fetched, here.store, Case, case_id)
    key = (case.scan, variant)

    def make() -> bytes:
        scan = here.scan(case)
        return pictures.nifti(pictures.variant(scan, variant), scan)

    content = here.volumes.peek(key)
    if content is None:
        content = await here.pooled(lambda: here.volumes.get(key, make))
    return kept(request, lambda: content, f"{case.scan} {variant}", "application/gzip", KEEP)


def shown(case: Case) -> dict[str, Any]:
    """A case as the API gives it."""
    keys = (
        "id", "name", "added", "shape", "axes", "spacing", "modality", "patient", "decision", "probability", "lesions",
        "review", "annotation_id",
    )  # fmt: skip
    return {**{key: getattr(case, key) for key in keys}, "unit": "px" if case.spacing is None else "mm"}


def summaries(session: Session, case_id: str) -> list[dict[str, Any]]:
    """The annotations of a case in short, the newest first."""
    columns = ("id", "annotator", "decision", "revision", "created", "modified")
    found = session.execute(
        select(*(getattr(Annotation, name) for name in columns))
        .where(Annotation.case_id == case_id)
        .order_by(Annotation.modified.desc(), Annotation.id)
    )
    return [dict(zip(columns, values, strict=True)) for values in found]


def _wanted(q: str | None, decision: str | None, lesions: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if q:
        wanted.append(Case.name.icontains(q, autoescape=True))
    if decisions := split(decision):
        wanted.append(Case.decision.in_(decisions))
    if lesions == "none":
        wanted.append(Case.lesions == 0)
    elif lesions == "some":
        wanted.append(Case.lesions > 0)
    elif lesions is not None:
        wanted.append(Case.lesions == int(lesions))
    return wanted


def _take(here: Workspace, upload: Upload) -> Taken:
    folder = upload.files[0].path.with_name(f"unpacked-{secrets.token_hex(4)}")
    return take(here, upload.files, folder, channel_of(upload))


def channel_of(upload: Upload) -> int | None:
    """The form field ``channel``.

    Raises
    ------
    Problem
        422 where it is no small number.
    """
    text = upload.fields.get("channel", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) >= MOST_CHANNELS:
        raise Problem(422, "invalid", "channel: is no number from 0 on; count the sequences from 0")
    return int(text)
