"""Jobs: batches that go on where they were, whatever happens to the server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from tumorscope.server import jobs
from tumorscope.server.problems import Problem
from tumorscope.server.routes.common import ERRORS, MOST, Here, Id, paged, row
from tumorscope.server.store import now
from tumorscope.server.tables import Job

router = APIRouter(tags=["jobs"], responses={422: ERRORS[422]})

MOST_CASES = 100_000


class Batch(BaseModel):
    """What to do with which cases."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["predict"] = "predict"
    cases: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, max_length=MOST_CASES, description="ids; all that the model has not predicted without"
    )
    model: str | None = Field(default=None, max_length=255)


@router.post("/jobs", status_code=202, responses={key: ERRORS[key] for key in (404, 409, 507)})
def add_job(batch: Batch, here: Here) -> dict[str, Any]:
    """Begin a batch; it survives a stop of the server and does each case once."""
    model = here.models.named(batch.model)
    version = model.load().bundle.metadata.version
    with here.store.writing() as session:
        job = jobs.create(session, batch.cases, model.name, version)
        answer = jobs.facts(session, job)
    here.jobs.wake()
    return answer


@router.get("/jobs")
def list_jobs(
    here: Here,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
) -> list[dict[str, Any]]:
    """Batches, the newest first."""
    with here.store.reading() as session:
        found = session.execute(paged(select(Job).order_by(Job.created.desc(), Job.id), limit, offset)).scalars().all()
        return [jobs.facts(session, job) for job in found]


@router.get("/jobs/{job_id}", responses={404: ERRORS[404]})
def get_job(job_id: Id, here: Here) -> dict[str, Any]:
    """How far a batch is."""
    with here.store.reading() as session:
        return jobs.facts(session, row(session, Job, job_id))


@router.delete("/jobs/{job_id}", responses={key: ERRORS[key] for key in (404, 409)})
def cancel_job(job_id: Id, here: Here) -> dict[str, Any]:
    """Cancel a batch that is not finished; what it has done stays."""
    with here.store.writing() as session:
        job = row(session, Job, job_id)
        if job.state not in jobs.UNFINISHED:
            raise Problem(409, "finished", f"the batch is {job.state} already; there is nothing to cancel")
        job.state, job.finished = "cancelled", now()
        session.flush()
        return jobs.facts(session, job)
