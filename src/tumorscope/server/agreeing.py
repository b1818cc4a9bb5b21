"""Two annotators compared over the cases that both decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from tumorscope.annotation.records import Annotation
from tumorscope.server import tables

if TYPE_CHECKING:
    from tumorscope.server.workspace import Workspace


def compared(workspace: Workspace, first: str, second: str) -> dict[str, Any]:
    """Agreement of two annotators, as the API gives it; slices of one patient are one group.

    Raises
    ------
    DataError
        If there is no case that both decided on.
    """
    from tumorscope.annotation.agreement import agreement

    wanted = (
        select(tables.Annotation.record, tables.Case.id, tables.Case.patient)
        .join(tables.Case, tables.Case.id == tables.Annotation.case_id)
        .where(tables.Annotation.annotator.in_({first, second}))
    )
    with workspace.store.reading() as session:
        rows = session.execute(wanted).all()
    groups = {case: patient for _, case, patient in rows if patient is not None}
    found = agreement((Annotation.from_dict(record) for record, _, _ in rows), first, second, groups=groups)
    return found.to_dict()
