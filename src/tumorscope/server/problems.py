"""What goes wrong, as an answer: a status, one line, and a short word that a program can go by."""

from __future__ import annotations

import errno
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from tumorscope.errors import BundleError, MissingExtra, OutputError, TumorscopeError, WeightsError

log = logging.getLogger("tumorscope.server")

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_SPACE = "the server's disk is full, or takes no more: nothing was saved; free some space and send it again"
STORE_FULL = ("is full", "disk I/O error")  # how SQLite words a write that failed; the second where a file may not grow
WORDS = {400: "request", 401: "token", 404: "missing", 405: "method", 413: "too-large", 422: "invalid"}
UNAVAILABLE = (BundleError, MissingExtra, WeightsError)  # something must be installed or fetched first


class Problem(HTTPException):
    """An answer that is an error.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        A short word.
    error : str
        One line: what it is about, the finding, the remedy.
    headers : str
        Further headers, with underscores for hyphens.
    """

    def __init__(self, status: int, code: str, error: str, **headers: str) -> None:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        super().__init__(status, " ".join(error.split()), named or None)
        self.code = code


def missing(what: str, name: str) -> Problem:
    """The 404 for something that is not there.

    Examples
    --------
    >>> missing("case", "x1").detail
    'case x1: there is none; it may have been deleted'
    """
    shown = "".join(char if char.isprintable() else "?" for char in name[:80])
    return Problem(404, "missing", f"{what} {shown}: there is none; it may have been deleted")


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that the disk is full, itself or by its cause."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            return True
        if isinstance(error, OperationalError) and any(words in str(error.orig) for words in STORE_FULL):
            return True
        error = error.__cause__
    return False


def answer(status: int, code: str, error: str, headers: Any = None) -> JSONResponse:
    """An error as JSON."""
    return JSONResponse({"error": error, "code": code}, status, headers)


def install(app: FastAPI) -> None:
    """Let every error of ``app`` be answered in one form."""

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> Response:
        code = error.code if isinstance(error, Problem) else WORDS.get(error.status_code, "request")
        return answer(error.status_code, code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0] if error.errors() else {"loc": ("request",), "msg": "is invalid"}
        place = ".".join(str(part) for part in first["loc"])
        return answer(422, "invalid", f"{place}: {first['msg']}; see /docs")

    @app.exception_handler(ClientDisconnect)
    async def _gone(_request: Request, _error: ClientDisconnect) -> Response:
        return answer(400, "incomplete", "the request ended before all of it was sent; send it again")

    @app.exception_handler(TumorscopeError)
    async def _ours(_request: Request, error: TumorscopeError) -> Response:
        if is_full(error):
            return answer(507, "full", NO_SPACE)
        if isinstance(error, UNAVAILABLE):
            return answer(409, "unavailable", str(error))
        if isinstance(error, OutputError):
            log.error("a result cannot be written")
            return answer(500, "write", "a result cannot be written; look at the server's folder and its permissions")
        return answer(422, "invalid", str(error))

    @app.exception_handler(Exception)
    async def _else(request: Request, error: Exception) -> Response:
        from tumorscope.server.security import HEADERS  # this handler answers outside the guard

        headers = {**HEADERS, "cache-control": "no-store"}
        if is_full(error):
            return answer(507, "full", NO_SPACE, headers)
        return answer(500, "internal", f"internal error, {type(error).__name__}; the server's log shows where", headers)
