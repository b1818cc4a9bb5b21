"""Pages: the viewer where it was built, the sign-in, and the description of the API."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from tumorscope import __version__
from tumorscope.server.security import LOGIN, cookie_name, cookie_value, same

VIEWER = Path(__file__).parent.parent / "viewer"
INDEX = "index.html"
YEAR = "private, max-age=31536000, immutable"  # files whose name changes with their content
MOST_FORM = 4096  # bytes of the sign-in form

router = APIRouter(include_in_schema=False)
_pages = Environment(loader=PackageLoader("tumorscope.server"), autoescape=select_autoescape())


def add_viewer(app: FastAPI, folder: Path = VIEWER) -> None:
    """Serve the built viewer: the files that are there now, each under its own address, and no other path.

    Without a built viewer, ``/`` says how to build it.
    """
    files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}

    def serve(address: str, file: Path) -> None:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        keep = YEAR if address.startswith("/assets/") else "no-cache"

        def get() -> FileResponse:
            return FileResponse(file, media_type=kind, headers={"Cache-Control": keep})

        app.add_api_route(address, get, methods=["GET", "HEAD"], include_in_schema=False)

    for name, file in files.items():
        serve(f"/{name}", file)
    if INDEX in files:
        serve("/", files[INDEX])
    else:
        app.add_api_route("/", _unbuilt, methods=["GET", "HEAD"], include_in_schema=False)


def _unbuilt() -> HTMLResponse:
    return _page("unbuilt.html", version=__version__)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """The API as a page; it holds no script."""
    schema = request.app.openapi()
    return _page("docs.html", schema=schema, routes=_routes(schema), version=__version__)


@router.get(LOGIN)
def login(request: Request, token: Annotated[str | None, Query(max_length=1024)] = None) -> Response:
    """The sign-in page; with the token in the address, signed in at once."""
    if request.app.state.workspace.settings.secret is None:
        return RedirectResponse("/", 303)
    return _page("login.html", wrong=False) if token is None else _signed_in(request, token)


@router.post(LOGIN)
async def sign_in(request: Request) -> Response:
    """Sign in with the form."""
    from urllib.parse import parse_qs

    body = await request.body()
    text = body[:MOST_FORM].decode("utf-8", "replace")
    return _signed_in(request, parse_qs(text).get("token", [""])[0])


def _signed_in(request: Request, given: str) -> Response:
    settings = request.app.state.workspace.settings
    token = settings.secret
    if token is None or not same(given.strip(), token):
        return _page("login.html", status=401, wrong=True)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        cookie_name(settings.port),
        cookie_value(token),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def _page(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(_pages.get_template(name).render(**values), status)


def _routes(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The routes of an OpenAPI schema in order, each with what the page shows of it."""
    found = []
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            body = route.get("requestBody", {}).get("content", {})
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "tag": (route.get("tags") or [""])[0],
                    "summary": route.get("description") or route.get("summary", ""),
                    "parameters": route.get("parameters", []),
                    "bodies": [(kind, _fields(schema, content.get("schema", {}))) for kind, content in body.items()],
                    "answers": {status: answer["description"] for status, answer in route["responses"].items()},
                }
            )
    return found


def _fields(schema: dict[str, Any], part: dict[str, Any]) -> list[tuple[str, str, bool, str]]:
    """Name, type, whether it must be there, and description of a body's fields."""
    for option in part.get("anyOf", []):
        if "$ref" in option:
            part = option
    if "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    required = part.get("required", [])
    return [
        (name, kind_of(one), name in required, one.get("description", ""))
        for name, one in part.get("properties", {}).items()
    ]


def kind_of(part: dict[str, Any]) -> str:
    """The type of a field in words.

    Examples
    --------
    >>> kind_of({"anyOf": [{"type": "string"}, {"type": "null"}]}), kind_of({"enum": ["a", "b"]})
    ('string or null', '"a" | "b"')
    """
    if "anyOf" in part:
        return " or ".join(kind_of(one) for one in part["anyOf"])
    if "enum" in part:
        return " | ".join(f'"{one}"' for one in part["enum"])
    if part.get("type") == "array":
        return f"list of {kind_of(part.get('items', {}))}"
    return str(part.get("const") or part.get("type", "object"))
