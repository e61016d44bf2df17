"""The door itself: hosts, bodies, origins, and clients that ask without end."""

import asyncio
import json

import pytest

from lesionforge.reader_study.web.guard import Guard
from lesionforge.reader_study.web.site import Site


def ask(*parts, method="POST", site=None, hang=False, **headers):
    """Send a body in parts through the guard; the status, and what the application behind it got."""
    got, sent = [], []

    async def behind(scope, receive, send):
        got.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not hang:
        messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        if messages:
            return messages.pop(0)
        await asyncio.sleep(60)
        raise AssertionError

    known = {"host": "127.0.0.1:8090"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http", "method": method, "path": "/", "client": ("192.0.2.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in known.items() if value is not None],
    }  # fmt: skip
    asyncio.run(Guard(behind, site=site or Site())(scope, receive, send))
    return sent[0]["status"], got, sent


def test_a_body_in_parts_arrives_whole():
    assert ask(b"one ", b"two")[:2] == (200, [b"one two"])


@pytest.mark.parametrize("length", ["99999999999999999999", "-1", "1e3", "x", "²"])
def test_what_says_that_it_is_too_large_is_not_read(length):
    status, got, _ = ask(content_length=length.encode().decode("latin-1"))
    assert (status, got) == (413, [])


def test_what_grows_too_large_is_cut_off():
    assert ask(*[b"x" * 1000] * 20, site=Site(body_bytes=5000))[:2] == (413, [])


def test_what_comes_too_slowly_is_let_go():
    status, got, sent = ask(b"x", hang=True, site=Site(body_s=0.05))
    assert (status, got) == (408, [])
    assert "error" in json.loads(sent[1]["body"])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", None, "evil.example:8090"])
def test_other_hosts_are_not_served(host):
    assert ask(host=host)[0] == 421


def test_the_public_host_and_this_machine_are_served():
    site = Site("https://readers.example.org")
    for host in ("readers.example.org", "READERS.example.org", "127.0.0.1:9000", "localhost"):
        assert ask(host=host, site=site)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:8090"}, 200),
        ({"sec_fetch_site": "same-origin", "origin": "http://127.0.0.1:8090"}, 200),
        ({}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "none"}, 403),
    ],
)
def test_changes_come_from_our_pages(headers, status):
    assert ask(**headers)[0] == status
    assert ask(method="GET", **headers)[0] == 200


def test_behind_tls_a_page_without_it_is_not_ours():
    site = Site("https://readers.example.org")
    assert ask(host="readers.example.org", origin="http://readers.example.org", site=site)[0] == 403


def test_an_address_that_asks_without_end_is_slowed():
    guarded = Guard(None, site=Site(requests_per_s=1.0))
    scope = {"type": "http", "method": "GET", "path": "/", "client": ("192.0.2.1", 1), "headers": []}
    from starlette.datastructures import Headers

    refusals = [guarded._refusal(scope, Headers({"host": "localhost"})) for _ in range(30)]
    assert refusals[0] is None
    assert refusals[-1][0] == 429


def test_web_sockets_are_not_answered():
    asyncio.run(Guard(None, site=Site())({"type": "websocket"}, None, None))
