"""The guard at the door: who is answered at all, what a body may cost, and what browsers are told.

Bodies are read whole, and bounded, before anything else looks at them. A change must come from a page of this site:
browsers say where a request begins (`Sec-Fetch-Site`, `Origin`), and every signed-in change carries a token besides
(`lesionforge.reader_study.tokens.csrf_token`).
"""

import asyncio
import json
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lesionforge.reader_study.web.rates import RateLimit
from lesionforge.reader_study.web.site import Site

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), usb=()",
}
NOT_KEPT = "no-store, no-transform"  # a proxy that compressed items would make their sizes tell them apart
YEAR_S = 31_536_000


class BodyError(Exception):
    """The body is too large, comes too slowly, or breaks off."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Refuses what need not be looked at, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, *, site: Site) -> None:
        self.app, self.site = app, site
        self._all = RateLimit(10 * site.requests_per_s, 20 * site.requests_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] != "http":  # the server's start and end; there are no web sockets here
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message))
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            try:
                body = await asyncio.wait_for(_read(receive, headers, self.site.body_bytes), self.site.body_s)
            except TimeoutError:
                refusal = 408, f"the body must arrive within {self.site.body_s:g} s."
            except BodyError as error:
                refusal = error.status, str(error)
        if refusal is not None:
            await _refuse(headed, *refusal)
            return
        await self.app(scope, _replayed(body, receive), headed)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if host not in self.site.hosts and host.rpartition(":")[0] not in self.site.hosts[1:]:
            return 421, "this host is not served here."
        if not self._all.allows((scope.get("client") or ("unknown", 0))[0]):
            return 429, "too many requests: wait some seconds."
        if scope["method"] not in {"GET", "HEAD"} and not self._from_our_page(headers, host):
            return 403, "changes are taken from this site's own pages only."
        return None

    def _from_our_page(self, headers: Headers, host: str) -> bool:
        """Whether no browser says that the request begins elsewhere."""
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        said = headers.get("origin")
        at_home = set() if self.site.secure else {f"http://{host}"}
        return said is None or said.lower() in {self.site.origin, *at_home}

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers[name] = value
        headers.setdefault("Cache-Control", NOT_KEPT)
        if self.site.secure:
            headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"


async def _read(receive: Receive, headers: Mapping[str, str], most: int) -> bytes:
    said = headers.get("content-length", "0")
    if not said.isdecimal() or len(said) > len(str(most)) or int(said) > most:
        raise BodyError(413, f"the body must have at most {most} bytes.")
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyError(400, "the body breaks off.")
        body += bytes(message.get("body", b""))
        if len(body) > most:
            raise BodyError(413, f"the body must have at most {most} bytes.")
        if not message.get("more_body", False):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give the body once; afterwards whatever the client still says."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in {408, 429}:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
