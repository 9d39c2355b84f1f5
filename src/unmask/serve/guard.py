"""Who may talk to the server: checks before any route, and headers after it.

A page of another site can send requests to 127.0.0.1 from the user's browser. So the Host header
must be a name of this machine (no DNS rebinding), the Origin header must be that host, and no
response allows another site to read it (no CORS). Beyond this machine a token is needed too.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "unmask_token"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Access:
    """Who may talk to the server.

    Attributes:
        host: the address that it listens on.
        token: secret that every request must carry; None on this machine, and on a public page.
        public: anybody may come, under any name.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    public: bool = False

    def names(self) -> frozenset[str]:
        """Names under which a browser may call this machine."""
        if self.host in LOOPBACK:
            return LOOPBACK
        own = {socket.gethostname().lower(), socket.getfqdn().lower(), self.host.lower()}
        return LOOPBACK | own


class Guard:
    """ASGI middleware: refuses what does not come from the page itself.

    Args:
        application: gets what is left.
        access: who may talk to the server.
    """

    def __init__(self, application: Application, access: Access) -> None:
        self._application = application
        self._access = access
        self._names = access.names()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        token = self._token_in_query(scope)
        if token is not None and self._is_token(token) and self._known_host(headers):
            await _enter(send, token)
            return
        reason = self._refusal(scope, headers)
        if reason is not None:
            await _refuse(send, *reason)
            return
        await self._application(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._known_host(headers):
            return 421, "This host name is not one of this server. Open the printed address."
        origin = headers.get("origin")
        if origin is not None and not _same(origin, headers["host"]):
            return 403, "The request comes from another site. Open the page itself."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and (
            scope["path"].startswith("/api/") or scope["method"] not in _READS
        ):
            return 403, "The request comes from another site. Open the page itself."
        if self._access.token is not None and not self._is_token(_token_of(headers)):
            return 401, "A token is needed. Open the address that was printed at the start."
        return None

    def _known_host(self, headers: dict[str, str]) -> bool:
        name = _host_name(headers.get("host", ""))
        if name in self._names or (self._access.public and name):
            return True
        # With a token, any address of this machine may be used; a name could be anybody's.
        return self._access.token is not None and _is_address(name)

    def _token_in_query(self, scope: Scope) -> str | None:
        if self._access.token is None or scope["path"] != "/" or scope["method"] != "GET":
            return None
        found = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
        return found[0] if found else None

    def _is_token(self, token: str) -> bool:
        known = self._access.token or ""
        return bool(known) and hmac.compare_digest(token.encode(), known.encode())


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _token_of(headers: dict[str, str]) -> str:
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _with_headers(send: Send) -> Send:
    async def answer(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            more = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
            event = {**event, "headers": [*event.get("headers", ()), *more]}
        await send(event)

    return answer


async def _enter(send: Send, token: str) -> None:
    """Keep the token in a cookie and take it out of the address."""
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    answer = _with_headers(send)
    await answer({"type": "http.response.start", "status": status, "headers": headers})
    await answer({"type": "http.response.body", "body": body})
