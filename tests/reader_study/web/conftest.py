"""Browsers without a browser: what asks a study's application as its pages do."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

httpx = pytest.importorskip("httpx", reason="the application is asked through httpx")

from lesionforge.reader_study.ledger import Ledger  # noqa: E402
from lesionforge.reader_study.web.app import make_app  # noqa: E402
from lesionforge.reader_study.web.site import Site  # noqa: E402

ROOMY = {"requests_per_s": 1e6, "joins_per_minute": 1e6}


class Client:
    """Asks an application over its real protocol, one request after the other; cookies are kept."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        self.inner = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8090", follow_redirects=True)
        self._runner = runner

    @property
    def headers(self) -> Any:
        return self.inner.headers

    @property
    def cookies(self) -> Any:
        return self.inner.cookies

    def request(self, method: str, path: str, **keywords: Any) -> Any:
        return self._runner.run(self.inner.request(method, path, **keywords))

    def get(self, path: str, **keywords: Any) -> Any:
        return self.request("GET", path, **keywords)

    def post(self, path: str, **keywords: Any) -> Any:
        return self.request("POST", path, **keywords)


@pytest.fixture
def open_client() -> Iterator[Callable[..., Client]]:
    """Makes a client of a study, signed in where ``invitation`` is given; ``site`` are its limits."""
    with asyncio.Runner() as runner:

        def make(ledger: Ledger, invitation: str = "", **site: object) -> Client:
            client = Client(make_app(ledger, site=Site(**(ROOMY | site))), runner)
            if invitation:
                assert client.post("/api/join", json={"invitation": invitation}).status_code == 200
                person = ledger.person(client.cookies["lesionforge"])
                if person is not None and person.reader is not None:
                    client.headers["X-CSRF-Token"] = client.get("/api/study").json()["csrf"]
            return client

        yield make
