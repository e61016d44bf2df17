"""The application as its pages use it: what it answers, to whom, and what it never says."""

import json
import zlib
from itertools import pairwise

import numpy as np
import pytest

from lesionforge.reader_study import tokens

PAGES = ("/", "/join", "/read", "/owner", "/api/study", "/api/now", "/api/progress", "/health", "/openapi.json")


@pytest.fixture
def ledger(make_ledger):
    return make_ledger(per_class=6, ask_comment=True)


@pytest.fixture
def reader(ledger, open_client):
    return open_client(ledger, ledger.invite("Dr. Secret"))


def answer(client, slot, **given):
    return client.post("/api/answers", json={"slot": slot, "rating": 1} | given)


def test_a_reader_goes_from_invitation_to_the_end(ledger, reader):
    now = reader.get("/api/now").json()
    ratings = []
    while now["state"] == "item":
        content = reader.get(f"/api/items/{now['slot']}").content
        shown = np.frombuffer(content, "<i2").reshape(1, 16, 16)
        assert any((shown == pixels).all() for pixels in ledger.study.pixels)
        ratings.append(len(ratings) % 4)
        said = answer(reader, now["slot"], rating=ratings[-1], active_ms=1200).json()
        assert said["feedback"] is None
        now = said["now"]
    assert (now["state"], now["done"]) == ("done", 24)
    assert [row["rating"] for row in ledger.answers()] == ratings


def test_nothing_tells_real_from_synthetic(ledger, reader):
    """Same status, headers, keys, sizes and types for both, item by item; and no word of an origin."""
    now = reader.get("/api/now").json()
    forms = {True: set(), False: set()}
    while now["state"] == "item":
        item = reader.get(f"/api/items/{now['slot']}", headers={"Accept-Encoding": "gzip, br"})
        real = ledger.study.items[_number(ledger, item.content)].real
        said = answer(reader, now["slot"])
        shape = json.dumps(said.json() | {"now": {**said.json()["now"], "slot": "", "done": 0, "begins": 0}})
        state = said.json()["now"]["state"]
        forms[real].add((item.status_code, tuple(item.headers.items()), len(item.content), len(now["slot"])))
        if state == "item":
            forms[real].add((said.status_code, tuple(sorted(said.headers)), shape))
        text = said.text + repr(item.headers) + item.request.url.path
        assert not any(word in text for word in ("real", "synthetic", "dcgan", "P0", '"origin"'))
        now = said.json()["now"]
    assert forms[True] == forms[False]


def _number(ledger, content):
    shown = np.frombuffer(content, "<i2").reshape(1, 16, 16)
    (number,) = (at for at, pixels in enumerate(ledger.study.pixels) if (shown == pixels).all())
    return number


def test_items_are_kept_by_no_cache_and_compressed_by_no_proxy(reader):
    slot = reader.get("/api/now").json()["slot"]
    headers = reader.get(f"/api/items/{slot}", headers={"Accept-Encoding": "gzip"}).headers
    assert headers["cache-control"] == "no-store, no-transform"
    assert "content-encoding" not in headers
    assert not {"etag", "last-modified"} & set(headers)


def test_orders_are_mixed_and_readers_do_not_share_names(ledger, open_client):
    seen = []
    for name in ("one", "two"):
        client = open_client(ledger, ledger.invite(name))
        now, slots, sides = client.get("/api/now").json(), [], []
        while now["state"] == "item":
            content = client.get(f"/api/items/{now['slot']}").content
            slots.append(now["slot"])
            sides.append(ledger.study.items[_number(ledger, content)].real)
            now = answer(client, now["slot"]).json()["now"]
        seen.append((slots, sides))
        assert slots != sorted(slots)
        changes = sum(one != other for one, other in pairwise(sides))
        assert 6 <= changes <= 18  # of 23; in blocks it would be 1, in turns 23
    (one, first), (other, second) = seen
    assert not set(one) & set(other)
    assert first != second


def test_file_names_say_nothing(ledger, reader):
    slots = {reader.get("/api/now").json()["slot"]}
    packed = [len(zlib.compress(pixels.tobytes())) for pixels in ledger.study.pixels]
    assert len(set(packed)) > 1  # what a compressing proxy would give away
    assert all(slot.isalnum() and len(slot) == 24 for slot in slots)


def test_practice_has_feedback_of_one_form(make_ledger, open_client):
    ledger = make_ledger(training_per_class=2)
    client = open_client(ledger, ledger.invite("one"))
    now, lengths = client.get("/api/now").json(), set()
    for _ in range(8):
        assert now["kind"] == "training"
        said = answer(client, now["slot"]).json()
        lengths.add(tuple(sorted(said["feedback"])))
        now = said["now"]
    assert lengths == {("label", "real", "right")}
    assert (now["kind"], now["begins"], now["batch"]) == ("reading", True, 1)


def test_strangers_and_others_get_nothing(ledger, reader, open_client):
    slot = reader.get("/api/now").json()["slot"]
    stranger = open_client(ledger)
    other = open_client(ledger, ledger.invite("other"))
    owner = open_client(ledger, ledger.invite_owner())
    for client, status in ((stranger, 401), (other, 404), (owner, 403)):
        assert client.get(f"/api/items/{slot}").status_code == status
    assert answer(stranger, slot).status_code == 401
    assert answer(other, slot).status_code == 404
    assert answer(owner, slot).status_code == 403
    assert stranger.get("/api/now").status_code == 401
    assert reader.get("/api/progress").status_code == 403
    assert stranger.get("/api/progress").status_code == 401
    assert owner.get("/api/progress").json()["readers"][0]["total"] == 24
    for cookie in ("", "x", "a" * 5000, tokens.new_session(), "' OR 1=1 --"):
        assert stranger.get("/api/now", headers={"Cookie": f"lesionforge={cookie}"}).status_code == 401
    assert ledger.answers() == []


def test_invitations_forged_expired_or_used_open_nothing(ledger, open_client):
    client = open_client(ledger)
    used = ledger.invite("one")
    assert client.post("/api/join", json={"invitation": used}).status_code == 200
    for wrong in (used, "", "0000-0000-0000-0000-0000", "%00", "é" * 30, tokens.new_invitation()):
        said = client.post("/api/join", json={"invitation": wrong})
        assert said.status_code == 403
        assert "set-cookie" not in said.headers


def test_invitations_cannot_be_tried_quickly(ledger, open_client):
    client = open_client(ledger, joins_per_minute=5.0)
    statuses = [client.post("/api/join", json={"invitation": "x"}).status_code for _ in range(8)]
    assert statuses == [403] * 5 + [429] * 3


def test_a_session_cannot_ask_without_end(ledger, open_client):
    client = open_client(ledger, ledger.invite("one"), requests_per_s=2.0)
    statuses = [client.get("/api/now").status_code for _ in range(12)]
    assert statuses[0] == 200
    assert statuses[-1] == 429


def test_changes_need_the_pages_token(ledger, reader):
    slot = reader.get("/api/now").json()["slot"]
    for token in ("", "x", tokens.csrf_token("another session")):
        for path in ("/api/answers", "/api/device", "/api/leave"):
            said = reader.post(path, json={"slot": slot, "rating": 1}, headers={"X-CSRF-Token": token})
            assert said.status_code == 403
    assert ledger.answers() == []


def test_cookies_are_for_http_alone_and_by_tls_secure(ledger, open_client):
    plain = open_client(ledger).post("/api/join", json={"invitation": ledger.invite("one")}).headers["set-cookie"]
    client = open_client(ledger, public_url="https://readers.example.org")
    client.inner.base_url = "https://readers.example.org"
    secure = client.post("/api/join", json={"invitation": ledger.invite("two")}).headers["set-cookie"]
    for cookie in (plain, secure):
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" in secure
    assert secure.startswith("__Host-lesionforge=")
    assert client.get("/join").headers["strict-transport-security"].startswith("max-age=")


def test_another_device_and_signing_out(ledger, reader, open_client):
    made = reader.post("/api/device").json()
    assert made["link"] == f"http://127.0.0.1:8090/join#{made['invitation']}"
    other = open_client(ledger, made["invitation"])
    assert other.get("/api/now").json() == reader.get("/api/now").json()
    assert reader.post("/api/leave").json() == {"page": "/join"}
    assert reader.get("/api/now").status_code == 401
    assert other.get("/api/now").status_code == 200


def test_pages_lead_where_one_belongs(ledger, reader, open_client):
    owner, stranger = open_client(ledger, ledger.invite_owner()), open_client(ledger)
    for client, page in ((reader, "/read"), (owner, "/owner"), (stranger, "/join")):
        assert client.get("/").url.path == page
        assert client.get("/read").url.path == (page if client is not owner else "/owner")
    assert reader.get("/owner").url.path == "/read"


def test_what_is_typed_is_shown_as_text(make_ledger, open_client):
    nasty = "<script>alert(1)</script>{{ 7*7 }}"
    ledger = make_ledger(title=nasty)
    page = open_client(ledger, ledger.invite("one")).get("/read").text
    assert nasty not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7*7 }}" in page


def test_totals_are_told_only_if_the_design_says_so(make_ledger, open_client):
    told = make_ledger("told")
    untold = make_ledger("untold", totals_told=False)
    assert "8 real and 8 synthetic" in open_client(told, told.invite("a")).get("/read").text
    page = open_client(untold, untold.invite("a")).get("/read").text
    assert "How many of each is not told" in page
    assert "8 real" not in page


def test_every_answer_is_headed_against_misuse(ledger, reader):
    for path in (*PAGES, "/static/reading.js", "/nothing", "/api/items/x"):
        headers = reader.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "no-store" in headers["cache-control"]
        assert "server" not in headers


def test_errors_repeat_nothing_that_was_sent(ledger, reader):
    marker = "SENTINEL"
    for said in (
        reader.get(f"/{marker}"),
        reader.get(f"/api/items/{marker}"),
        answer(reader, marker),
        reader.post("/api/answers", content=marker, headers={"Content-Type": "application/json"}),
        reader.post("/api/join", json={"invitation": marker}),
        reader.post("/api/join", json={marker: marker}),
    ):
        assert 400 <= said.status_code < 500
        assert marker not in said.text
        assert set(said.json()) == {"error"}


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/",
     "/api/items/..%2f..%2fstudy.json", "/study.json", "/static/..%5c..%5capp.py", "/static/%00"],
)  # fmt: skip
def test_no_path_leads_out(reader, path):
    assert reader.get(path).status_code in {404, 405, 422}


def test_a_database_that_is_gone_is_said_so_without_a_traceback(ledger, reader, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def gone(_reader):
        raise OperationalError("SELECT secret", {}, Exception("secret"))

    monkeypatch.setattr(ledger, "now", gone)
    said = reader.get("/api/now")
    assert said.status_code == 503
    assert "secret" not in said.text


def test_a_closed_study_says_so(ledger, reader):
    slot = reader.get("/api/now").json()["slot"]
    ledger.close()
    assert reader.get("/api/now").json()["state"] == "closed"
    assert answer(reader, slot).status_code == 409
    assert reader.get("/health").json() == {"status": "closed"}


def test_no_page_names_another_origin(ledger, reader):
    from lesionforge.reader_study.web import app

    texts = [reader.get(page).text for page in ("/join", "/read")]
    texts += [file.read_text() for file in (app.HERE / "static").iterdir()]
    assert len(texts) > 8
    for text in texts:
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_unicode_and_markup_survive_in_comments(ledger, reader):
    text = "\u202e <img src=x onerror=alert(1)> 🫁 \\ \" ' ; --"
    slot = reader.get("/api/now").json()["slot"]
    assert answer(reader, slot, comment=text).status_code == 200
    assert ledger.answers()[0]["comment"] == text
