"""The app: all routes over one workspace, behind the guard."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tumorscope import __version__
from tumorscope.server import problems
from tumorscope.server.routes import annotations as annotating
from tumorscope.server.routes import candidates, cases, exchange, health, jobs, models, pages, predictions
from tumorscope.server.routes.common import PREFIX
from tumorscope.server.security import Guard
from tumorscope.server.settings import Settings
from tumorscope.server.workspace import Workspace

log = logging.getLogger("tumorscope.server")

NOUNS = (health, models, cases, predictions, candidates, annotating, exchange, jobs)
ERROR = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "one line: what, the finding, the remedy"},
        "code": {"type": "string", "description": "a short word for programs"},
    },
}


def create_app(settings: Settings, workspace: Workspace | None = None) -> FastAPI:
    """The ASGI application of a workspace, which is opened now and closed when the application ends.

    Parameters
    ----------
    settings : Settings
    workspace : Workspace or None
        One that is open already.

    Raises
    ------
    OutputError, BundleError
        As `Workspace`.
    """
    opened = workspace or Workspace(settings)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        opened.start()
        try:
            yield
        finally:
            opened.close()

    app = FastAPI(title="tumorscope", version=__version__, docs_url=None, redoc_url=None, lifespan=life)
    app.state.workspace = opened
    problems.install(app)
    for noun in NOUNS:
        app.include_router(noun.router, prefix=PREFIX)
    app.include_router(pages.router)
    pages.add_viewer(app)
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]
    app.add_middleware(Guard, settings=settings)
    return app


def _schema(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with the form of errors."""
    if app.openapi_schema is None:
        schema = get_openapi(title="tumorscope", version=__version__, routes=app.routes)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas["Error"] = ERROR
        form = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        for methods in schema["paths"].values():
            for route in methods.values():
                for status, response in route["responses"].items():
                    if status.startswith("4"):
                        response["content"] = form
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
