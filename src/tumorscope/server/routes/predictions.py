"""Predictions: what a bundle says about a case, and its maps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tumorscope.annotation import rle
from tumorscope.io import write_mask
from tumorscope.scan import BoolArray, Scan
from tumorscope.server import pictures, predicting
from tumorscope.server.explaining import explained
from tumorscope.server.problems import Problem
from tumorscope.server.routes.common import ASK, ERRORS, KEEP, MOST, Here, Id, download, fetched, kept, row
from tumorscope.server.tables import Case, Prediction
from tumorscope.server.workspace import Workspace

router = APIRouter(tags=["predictions"], responses={key: ERRORS[key] for key in (404, 422)})


class Wanted(BaseModel):
    """Which model to ask."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, max_length=255, description="name of a bundle; the default one without")


@router.post("/cases/{case_id}/predictions", status_code=201, responses={key: ERRORS[key] for key in (409, 429, 507)})
async def predict(case_id: Id, here: Here, wanted: Wanted | None = None) -> dict[str, Any]:
    """Predict a case and store what is found."""
    model = here.models.named(None if wanted is None else wanted.model)
    case = await run_in_threadpool(fetched, here.store, Case, case_id)
    answer = await here.pooled(lambda: predicting.compute(case, here.scan(case), model))
    await run_in_threadpool(predicting.store, here, answer)
    return answer.facts


@router.get("/cases/{case_id}/predictions")
def list_predictions(case_id: Id, here: Here) -> list[dict[str, Any]]:
    """All predictions of a case, the newest first."""
    with here.store.reading() as session:
        row(session, Case, case_id)
        found = session.execute(
            select(Prediction.facts)
            .where(Prediction.case_id == case_id)
            .order_by(Prediction.created.desc(), Prediction.id)
        )
        return list(found.scalars())


@router.get("/predictions/{prediction_id}/probability.nii.gz", response_class=Response)
def get_probability(prediction_id: Id, request: Request, here: Here) -> Response:
    """Each pixel's probability in steps of 1/255, on the grid of the case's image."""
    prediction, scan = _both(here, prediction_id)
    values = predicting.unpacked(here.blobs.read(prediction.map))
    return kept(request, lambda: pictures.nifti(values, scan), f"{prediction_id} p", "application/gzip", KEEP)


@router.get("/predictions/{prediction_id}/uncertainty.nii.gz", response_class=Response)
def get_uncertainty(prediction_id: Id, request: Request, here: Here) -> Response:
    """Entropy of each pixel's probability in bits, 0 to 1, on the grid of the case's image."""
    prediction, scan = _both(here, prediction_id)
    values = predicting.uncertainty_of(predicting.unpacked(here.blobs.read(prediction.map)))
    return kept(request, lambda: pictures.nifti(values, scan), f"{prediction_id} u", "application/gzip", KEEP)


@router.get("/predictions/{prediction_id}/mask.nii.gz", response_class=Response)
def get_mask_volume(prediction_id: Id, here: Here) -> Response:
    """The mask as NIfTI on the grid and affine of the file that the case came from."""
    prediction, scan = _both(here, prediction_id)
    mask = rle.decode_any(prediction.facts["mask"])
    return download(mask_file(mask, scan, ".nii.gz"), f"{prediction_id}.nii.gz", "application/gzip")


@router.get("/predictions/{prediction_id}/mask.png", response_class=Response, responses={409: ERRORS[409]})
def get_mask_picture(prediction_id: Id, here: Here) -> Response:
    """The mask of a 2-D scan as PNG, 0 and 255, of the width and height of the file that the case came from."""
    prediction, scan = _both(here, prediction_id)
    if scan.is_volume:
        raise Problem(409, "volume", "the mask of a volume is no picture; take mask.nii.gz")
    mask = rle.decode_any(prediction.facts["mask"])
    return download(mask_file(mask, scan, ".png"), f"{prediction_id}.png", "image/png")


@router.get(
    "/predictions/{prediction_id}/explanation.png",
    response_class=Response,
    responses={key: ERRORS[key] for key in (409, 429)},
)
async def get_explanation(
    prediction_id: Id,
    request: Request,
    here: Here,
    index: Annotated[int | None, Query(ge=0, le=MOST, description="slice of a volume; the one that says most")] = None,
) -> Response:
    """Where the network of a training run looked (Grad-CAM), over the slice. Needs torch and the run's folder."""
    prediction, scan = await run_in_threadpool(_both, here, prediction_id)
    model = here.models.named(prediction.model)
    key = (prediction_id, index)
    content = await here.pooled(lambda: here.volumes.get(key, lambda: explained(model, scan, prediction.facts, index)))
    return kept(request, lambda: content, f"{prediction_id} {index}", "image/png", ASK)


def mask_file(mask: BoolArray, scan: Scan, suffix: str) -> bytes:
    """A mask as the bytes of a file on the grid of the scan's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mask{suffix}"
        write_mask(path, mask, scan)
        return path.read_bytes()


def _both(here: Workspace, prediction_id: str) -> tuple[Prediction, Scan]:
    with here.store.reading() as session:
        prediction = row(session, Prediction, prediction_id)
        case = row(session, Case, prediction.case_id)
    return prediction, here.scan(case)
