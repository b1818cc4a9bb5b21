"""Batches that survive: each case's result is stored together with its mark, so that it is done once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tumorscope.errors import TumorscopeError
from tumorscope.inference.predictor import Stopped
from tumorscope.server import predicting
from tumorscope.server.problems import Problem, is_full, missing
from tumorscope.server.store import new_id, now
from tumorscope.server.tables import Case, Job, JobItem, Prediction

if TYPE_CHECKING:
    from tumorscope.server.workspace import Workspace

log = logging.getLogger("tumorscope.server")

KINDS = ("predict",)
UNFINISHED = ("waiting", "running")
PATIENCE = 5.0  # seconds before a batch that found the disk full tries again
MOST_ERRORS = 100  # that an answer lists
DELETED = "the case was deleted"


class Runner:
    """A thread that hands the items of one batch after the other to the pool.

    Parameters
    ----------
    workspace : Workspace
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Go on with what an earlier server left, then with what comes."""
        self._thread.start()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the items in work; the rest waits for the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                job = self._next_job()
                if job is None:
                    self._wake.wait()
                else:
                    self._do(job)
            except Exception as error:  # the thread must outlive whatever one round meets
                log.error("jobs: %s; trying again in %g s", "disk full" if is_full(error) else type(error), PATIENCE)
                self._stop.wait(PATIENCE)

    def _next_job(self) -> Job | None:
        """The oldest unfinished batch, marked as running."""
        with self._workspace.store.writing() as session:
            wanted = select(Job).where(Job.state.in_(UNFINISHED)).order_by(Job.created, Job.id).limit(1)
            job = session.execute(wanted).scalar_one_or_none()
            if job is not None and job.state == "waiting":
                job.state, job.started = "running", now()
            return job

    def _do(self, job: Job) -> None:
        """All items of a batch that are not done, as many at once as the pool has workers."""
        pending: set[Future[None]] = set()
        given: set[int] = set()
        failure: BaseException | None = None
        while not self._stop.is_set() and failure is None:
            positions = self._open_positions(job.id, given, self._workspace.pool.workers - len(pending))
            for position, case_id in positions:
                given.add(position)
                pending.add(self._workspace.pool.submit(partial(self._item, job, position, case_id), patient=True))
            if not pending:
                break
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            failure = next((one.exception() for one in done if not one.cancelled() and one.exception()), None)
        for one in wait(pending).done:
            failure = failure or (None if one.cancelled() else one.exception())
        if failure is not None:
            raise failure
        if not self._stop.is_set():
            self._finish(job.id)

    def _open_positions(self, job_id: str, given: set[int], count: int) -> list[tuple[int, str]]:
        with self._workspace.store.reading() as session:
            if session.execute(select(Job.state).where(Job.id == job_id)).scalar() != "running":
                return []  # cancelled
            rows = session.execute(
                select(JobItem.position, JobItem.case_id)
                .where(JobItem.job_id == job_id, JobItem.state == "waiting")
                .order_by(JobItem.position)
                .limit(count + len(given))
            )
            return [(position, case) for position, case in rows if position not in given][: max(count, 0)]

    def _item(self, job: Job, position: int, case_id: str) -> None:
        """Predict one case and store the result with the mark; a case that fails is marked with its error."""
        workspace = self._workspace
        try:
            with workspace.store.reading() as session:
                case = session.get(Case, case_id)
            if case is None:
                raise TumorscopeError(DELETED)
            model = workspace.models.named(job.model)
            answer = predicting.compute(case, workspace.scan(case), model, self._stop.is_set)
            predicting.store(workspace, answer, lambda session: mark(session, job.id, position, answer.facts["id"]))
        except Stopped:
            return
        except Problem:
            self._failed(job.id, position, DELETED)
        except TumorscopeError as error:
            if is_full(error):
                raise
            self._failed(job.id, position, workspace.without_paths(str(error), case_id))
        except MemoryError:
            self._failed(job.id, position, "the scan does not fit into memory")
        except Exception as error:
            if is_full(error):
                raise
            log.exception("jobs: item %d of a batch", position)
            self._failed(job.id, position, f"internal error, {type(error).__name__}; the server's log shows where")

    def _failed(self, job_id: str, position: int, error: str) -> None:
        with self._workspace.store.writing() as session:
            mark(session, job_id, position, error=error)

    def _finish(self, job_id: str) -> None:
        with self._workspace.store.writing() as session:
            job = session.get(Job, job_id)
            if job is None or job.state != "running":
                return
            state = "failed" if job.failed and not job.done else "done"
            job.state, job.finished = state, now()


def mark(session: Session, job_id: str, position: int, prediction: str | None = None, error: str | None = None) -> bool:
    """Mark a waiting item and count it; False where it was done or its batch cancelled before."""
    state = "done" if error is None else "failed"
    running = select(Job.id).where(Job.id == job_id, Job.state == "running").exists()
    changed = session.execute(
        update(JobItem)
        .where(JobItem.job_id == job_id, JobItem.position == position, JobItem.state == "waiting", running)
        .values(state=state, error=error, prediction_id=prediction)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        return False
    job = session.get(Job, job_id)
    assert job is not None
    if error is None:
        job.done += 1
    else:
        job.failed += 1
    return True


def create(session: Session, cases: list[str] | None, model: str, version: str) -> Job:
    """A waiting batch over cases, or over all that this version of a model has not predicted.

    Raises
    ------
    Problem
        404 for a case that is not there.
    """
    if cases is None:
        predicted = select(Prediction.id).where(
            Prediction.case_id == Case.id, Prediction.model == model, Prediction.model_version == version
        )
        unseen = select(Case.id).where(~predicted.exists()).order_by(Case.added, Case.id)
        chosen = list(session.execute(unseen).scalars())
    else:
        chosen = list(dict.fromkeys(cases))
        for one in chosen:
            if session.get(Case, one) is None:
                raise missing("case", one)
    job = Job(
        id=new_id(), kind=KINDS[0], model=model, state="waiting", total=len(chosen), done=0, failed=0, created=now()
    )
    session.add(job)
    session.flush()
    session.add_all(JobItem(job_id=job.id, position=n, case_id=one, state="waiting") for n, one in enumerate(chosen))
    return job


def facts(session: Session, job: Job) -> dict[str, Any]:
    """A batch as the API gives it, with its first `MOST_ERRORS` errors."""
    failed = session.execute(
        select(JobItem.case_id, JobItem.error)
        .where(JobItem.job_id == job.id, JobItem.state == "failed")
        .order_by(JobItem.position)
        .limit(MOST_ERRORS)
    )
    keys = ("id", "kind", "model", "state", "total", "done", "failed", "created", "started", "finished")
    errors = [{"case": case, "error": error} for case, error in failed]
    return {**{key: getattr(job, key) for key in keys}, "errors": errors}
