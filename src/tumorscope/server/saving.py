"""Annotations as rows: how a record enters the store."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from tumorscope.annotation import records
from tumorscope.server.predicting import summarise
from tumorscope.server.tables import Annotation, Case


def add(session: Session, case: Case, record: records.Annotation) -> None:
    """Store a record as an annotation of a case."""
    session.add(
        Annotation(
            id=record.id,
            case_id=case.id,
            annotator=record.annotator,
            decision=record.decision,
            revision=record.revision,
            created=record.created,
            modified=record.modified,
            record=record.to_dict(),
        )
    )
    summarise(session, case)


def scan_facts(case: Case) -> dict[str, Any]:
    """What a record says of the scan."""
    return {
        "sha256": case.sha256,
        "name": case.name,
        "shape": case.shape,
        "axes": case.axes,
        "spacing": case.spacing,
        "affine": case.affine,
    }
