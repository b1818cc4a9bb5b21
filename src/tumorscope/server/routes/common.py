"""What the routes share: the workspace, the row of a name, and answers that a browser may keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import Depends, Path, Request
from sqlalchemy import Select
from sqlalchemy.orm import Session
from starlette.responses import Response

from tumorscope.server.problems import Problem, missing
from tumorscope.server.store import Store
from tumorscope.server.tables import Annotation, Case, Job, Prediction, Table
from tumorscope.server.workspace import Workspace

T = TypeVar("T", bound=Table)

PREFIX = "/api/v1"
MOST = 2**31 - 1  # of a number that goes into the store
KEEP = "private, max-age=31536000, immutable"  # of what never changes under its address
ASK = "private, no-cache"  # of what may change: the browser asks with the ETag


def _workspace(request: Request) -> Workspace:
    return request.app.state.workspace  # type: ignore[no-any-return]


Here = Annotated[Workspace, Depends(_workspace)]
Id = Annotated[str, Path(max_length=64, description="an id as the API gave it")]

NOUNS: dict[type[Table], str] = {Case: "case", Prediction: "prediction", Annotation: "annotation", Job: "job"}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for status, text in {
        401: "no token", 403: "from another site", 404: "there is none", 409: "cannot be done now",
        413: "too large", 422: "means nothing", 429: "busy, see Retry-After", 507: "the disk is full",
    }.items()
}  # fmt: skip


def row(session: Session, table: type[T], identifier: str) -> T:
    """The row of an id.

    Raises
    ------
    Problem
        404.
    """
    found = session.get(table, identifier)
    if found is None:
        raise missing(NOUNS[table], identifier)
    return found


def fetched(store: Store, table: type[T], identifier: str) -> T:
    """The row of an id, in a session of its own."""
    with store.reading() as session:
        return row(session, table, identifier)


def kept(request: Request, make: Callable[[], bytes], tag: str, kind: str, keep: str = ASK) -> Response:
    """Bytes with an ETag made of ``tag``; 304 and no bytes where the browser has them already."""
    etag = f'"{hashlib.sha256(tag.encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": keep}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type=kind, headers=headers)


def download(content: bytes, name: str, kind: str) -> Response:
    """Bytes that a browser saves under a name."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name)
    both = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return Response(content, media_type=kind, headers={"Content-Disposition": both, "Cache-Control": "no-store"})


def sayable(value: Any) -> Any:
    """A JSON value that can be written again: no NaN, no infinity, no half of a character.

    Raises
    ------
    Problem
        422.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(
            422, "invalid", "the body holds NaN, infinity, or text that is no Unicode; send plain JSON"
        ) from error
    return value


def split(text: str | None) -> list[str]:
    """Words separated by commas.

    Examples
    --------
    >>> split("accepted, corrected"), split(None)
    (['accepted', 'corrected'], [])
    """
    return [] if text is None else [word.strip() for word in text.split(",") if word.strip()]


def paged(statement: Select[Any], limit: int, offset: int) -> Select[Any]:
    """Part of a list."""
    return statement.limit(limit).offset(offset)
