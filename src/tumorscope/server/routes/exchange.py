"""Exchange: data sets out and in, and how far two annotators agree."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from tumorscope.annotation.records import LONGEST_NAME
from tumorscope.server.agreeing import compared
from tumorscope.server.exporting import write_zip
from tumorscope.server.importing.annotations import Brought, bring
from tumorscope.server.importing.upload import received
from tumorscope.server.problems import Problem
from tumorscope.server.routes.cases import UPLOAD
from tumorscope.server.routes.common import ERRORS, Here, split
from tumorscope.server.workspace import Workspace

router = APIRouter(tags=["exchange"], responses={422: ERRORS[422]})

Name = Annotated[str, Query(max_length=LONGEST_NAME)]


@router.get("/export", response_class=Response, responses={507: ERRORS[507]})
def export_all(
    here: Here,
    format: Literal["all", "png", "nifti", "npz", "coco"] = "all",
    review: Annotated[str, Query(max_length=200, description="decisions to take")] = "accepted,corrected",
    annotator: Annotated[str | None, Query(max_length=LONGEST_NAME, description="whose annotations")] = None,
) -> Response:
    """A ZIP with images, masks, records and the manifest that ``tumorscope train`` reads; one annotation a case."""
    path = here.incoming / f"{secrets.token_hex(16)}.zip"
    try:
        write_zip(here, path, format, split(review), annotator)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    gone = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, media_type="application/zip", filename="tumorscope-export.zip", background=gone)


@router.post("/import", openapi_extra=UPLOAD, responses={key: ERRORS[key] for key in (413, 507)})
async def import_all(request: Request, here: Here) -> dict[str, Any]:
    """Take annotations from a ZIP: an export of ours, masks beside images with or without a manifest, or a COCO file.

    The form field ``files`` holds one archive; ``annotator`` names whose masks without a record are.
    """
    async with received(request, here.incoming, here.settings.max_members) as upload:
        if len(upload.files) != 1:
            raise Problem(422, "invalid", "the form has not exactly one file; send one ZIP as the field 'files'")
        annotator = upload.fields.get("annotator", "")[:LONGEST_NAME]
        brought = await run_in_threadpool(_bring, here, upload.files[0].path, annotator)
    return {
        "imported": brought.imported,
        "skipped": [{"name": name, "error": error} for name, error in brought.skipped],
    }


@router.get("/agreement")
def agreement(here: Here, a: Name, b: Name) -> dict[str, Any]:
    """How far two annotators agree on the scans that both decided on: Dice, surface Dice, and each scan's row."""
    return compared(here, a, b)


def _bring(here: Workspace, path: Path, annotator: str) -> Brought:
    return bring(here, path, path.with_name("unpacked"), annotator)
