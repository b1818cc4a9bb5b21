"""The tables of the store. Nothing here is particular to SQLite: PostgreSQL takes the same."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = String(32)  # a random 128-bit number in hexadecimal digits
TIME = String(32)  # ISO 8601 in UTC: sorts as text
DIGEST = String(64)  # SHA-256 in hexadecimal digits
NAME = String(255)


class Table(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 - as SQLAlchemy wants it


class Case(Table):
    """One scan, and what the work list shows of it: of its newest prediction, and of its newest annotation."""

    __tablename__ = "cases"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, index=True)
    added: Mapped[str] = mapped_column(TIME, index=True)
    sha256: Mapped[str] = mapped_column(DIGEST, index=True)  # of the files as they came
    scan: Mapped[str] = mapped_column(DIGEST, index=True)  # blobs
    thumbnail: Mapped[str] = mapped_column(DIGEST, index=True)
    shape: Mapped[list[Any]]
    axes: Mapped[str] = mapped_column(String(4))
    spacing: Mapped[list[Any] | None]
    affine: Mapped[list[Any] | None]
    modality: Mapped[str | None] = mapped_column(String(16))
    format: Mapped[str] = mapped_column(String(16))
    patient: Mapped[str | None] = mapped_column(NAME)  # a pseudonym
    notes: Mapped[list[Any]]
    prediction_id: Mapped[str | None] = mapped_column(ID)
    decision: Mapped[str | None] = mapped_column(String(16), index=True)
    probability: Mapped[float | None] = mapped_column(Float, index=True)
    lesions: Mapped[int | None] = mapped_column(Integer)
    review: Mapped[str] = mapped_column(String(16), index=True)
    annotation_id: Mapped[str | None] = mapped_column(ID)


class Prediction(Table):
    """What a bundle said about a case."""

    __tablename__ = "predictions"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    created: Mapped[str] = mapped_column(TIME)
    model: Mapped[str] = mapped_column(NAME)
    model_version: Mapped[str] = mapped_column(NAME)
    map: Mapped[str] = mapped_column(DIGEST, index=True)  # blob: pixel probabilities
    facts: Mapped[dict[str, Any]]  # the answer of the API

    __table_args__ = (Index("predictions_of_model", "case_id", "model", "model_version"),)


class Annotation(Table):
    """A reviewed case, whole as a record of `tumorscope.annotation.records`."""

    __tablename__ = "annotations"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    annotator: Mapped[str] = mapped_column(NAME, index=True)
    decision: Mapped[str] = mapped_column(String(16))
    revision: Mapped[int] = mapped_column(Integer)
    created: Mapped[str] = mapped_column(TIME)
    modified: Mapped[str] = mapped_column(TIME)
    record: Mapped[dict[str, Any]]


class Job(Table):
    """A batch."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(NAME)
    state: Mapped[str] = mapped_column(String(16), index=True)
    total: Mapped[int] = mapped_column(Integer)
    done: Mapped[int] = mapped_column(Integer)
    failed: Mapped[int] = mapped_column(Integer)
    created: Mapped[str] = mapped_column(TIME, index=True)
    started: Mapped[str | None] = mapped_column(TIME)
    finished: Mapped[str | None] = mapped_column(TIME)


class JobItem(Table):
    """One case of a batch. It is marked in the transaction that stores its result, so that it runs once."""

    __tablename__ = "job_items"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    case_id: Mapped[str] = mapped_column(ID)  # no foreign key: the case may be deleted while the batch runs
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    prediction_id: Mapped[str | None] = mapped_column(ID)

    __table_args__ = (Index("items_by_state", "job_id", "state"),)
