"""What stands before every route: host, origin, token, size; and what goes with every answer."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tumorscope.server.problems import Problem, answer
from tumorscope.server.settings import MEBIBYTE, Settings

log = logging.getLogger("tumorscope.server.access")

API = "/api/"
UPLOADS = ("/api/v1/cases", "/api/v1/import")
LOGIN = "/login"
SAFE = ("GET", "HEAD", "OPTIONS")
CSP = (
    "default-src 'self'; img-src 'self' blob: data:; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
UPGRADE = "websocket"


class Guard:
    """Lets a request through to the app, or answers it.

    In this order: the Host header must be a name of this server (a foreign page cannot point its own name at it); a
    request from another site's page is refused, one that changes something also by its Origin; the token must be
    shown, where one is set; the body must not be larger than allowed, by its own word and as it comes.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._cookie = cookie_name(settings.port)
        self._token = settings.secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == UPGRADE:
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is not None:
                await refused(scope, receive, answered)
            else:
                await self._app(scope, self._limited(scope, receive), answered)
        finally:
            # the path as the route names it: an id at most, never a query, which may hold a token or a name
            route = getattr(scope.get("route"), "path", "-")
            log.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * (time.perf_counter() - begun))

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if host_of(headers.get("host", "")) not in self._settings.hosts:
            return answer(421, "host", "this server does not go by that name; see the setting allowed_hosts")
        if not self._same_origin(headers, scope):
            return answer(403, "origin", "the request comes from a page of another site; open the viewer itself")
        if self._token is not None and path != LOGIN and not self._shown(headers):
            if method == "GET" and not path.startswith(API) and "text/html" in headers.get("accept", ""):
                return RedirectResponse(LOGIN, 303)
            bearer = {"WWW-Authenticate": "Bearer"}
            return answer(401, "token", "show the server's token as 'Authorization: Bearer TOKEN'", bearer)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most(scope):
            return answer(413, "too-large", self._too_large(scope), {"Connection": "close"})
        return None

    def _same_origin(self, headers: Headers, scope: Scope) -> bool:
        site, path = headers.get("sec-fetch-site"), scope["path"]
        changes = scope["method"] not in SAFE
        if site in ("cross-site", "same-site") and (changes or path.startswith(API)):
            return False
        origin = headers.get("origin")
        if origin is None or not (changes or path.startswith(API)):
            return True
        parts = urlsplit(origin) if "://" in origin else None
        return parts is not None and parts.netloc.lower() == headers.get("host", "").lower()

    def _shown(self, headers: Headers) -> bool:
        """Whether the token, or the cookie that stands for it, comes with a request."""
        token = self._token or ""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and same(given.strip(), token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and same(cookie.value, cookie_value(token))

    def _most(self, scope: Scope) -> int:
        upload = scope["method"] == "POST" and scope["path"].rstrip("/") in UPLOADS
        return self._settings.max_upload if upload else self._settings.max_body

    def _too_large(self, scope: Scope) -> str:
        return f"the request is larger than {self._most(scope) / MEBIBYTE:.0f} MiB; send less at once"

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """The body, counted as it comes."""
        most, seen = self._most(scope), 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > most:
                    raise Problem(413, "too-large", self._too_large(scope), Connection="close")
            return message

        return counted


def host_of(header: str) -> str:
    """The name in a Host header, in lower case and without its port.

    Examples
    --------
    >>> host_of("LocalHost:8765"), host_of("[::1]:8765"), host_of("a.b")
    ('localhost', '::1', 'a.b')
    """
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, told in a time that gives nothing away."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def cookie_name(port: int) -> str:
    """Name of the cookie: a browser keeps one jar for all ports of a machine.

    Examples
    --------
    >>> cookie_name(8765)
    'tumorscope_8765'
    """
    return f"tumorscope_{port}"


def cookie_value(token: str) -> str:
    """What the cookie holds: made of the token, and not the token itself."""
    return hmac.new(token.encode(), b"tumorscope cookie", hashlib.sha256).hexdigest()
