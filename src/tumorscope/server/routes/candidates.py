"""Candidates: what an engine of prompted segmentation answers to clicks, boxes and scribbles."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from tumorscope.annotation.engine import DEFAULT
from tumorscope.annotation.prompts import Prompts
from tumorscope.server.engines import Asked
from tumorscope.server.routes.common import ERRORS, MOST, Here, Id, fetched, sayable
from tumorscope.server.tables import Case

router = APIRouter(tags=["candidates"], responses={key: ERRORS[key] for key in (404, 409, 422, 429)})


class Question(BaseModel):
    """Prompts on one slice."""

    model_config = ConfigDict(extra="forbid")

    engine: str = Field(default=DEFAULT, max_length=64)
    axis: Annotated[int, Field(ge=0, le=2)] = 0
    index: Annotated[int, Field(ge=0, le=MOST)] = 0
    prompts: dict[str, Any] = Field(description="points, box and scribbles in pixels of the slice")
    previous: dict[str, Any] | None = Field(default=None, description="mask to be corrected, run lengths")
    previous_token: str | None = Field(default=None, max_length=64, description="candidate to be corrected")


@router.post("/cases/{case_id}/candidates")
async def ask(case_id: Id, question: Question, here: Here) -> dict[str, Any]:
    """Candidate masks for prompts, the best first. The first question about a slice embeds it, the others are quick."""
    sayable({"prompts": question.prompts, "previous": question.previous})
    prompts = Prompts.from_dict(question.prompts)
    case = await run_in_threadpool(fetched, here.store, Case, case_id)
    asked = Asked(
        case.scan, question.engine, question.axis, question.index, prompts, question.previous, question.previous_token
    )
    begun = time.perf_counter()
    found = await here.pooled(lambda: here.engines.ask(asked, here.scan(case)))
    return {**found, "seconds": round(time.perf_counter() - begun, 4)}
