"""Health, numbers and the log: what operators see, and that it names nobody."""

import json
import logging

import pytest

from lesionforge.reader_study.web.operations import LOG, JsonLines, Metrics


def test_health_and_metrics(make_ledger, open_client):
    ledger = make_ledger()
    client = open_client(ledger, ledger.invite("one"))
    slot = client.get("/api/now").json()["slot"]
    client.post("/api/answers", json={"slot": slot, "rating": 1})
    assert client.get("/health").json() == {"status": "open"}
    text = client.get("/metrics").text
    assert "lesionforge_answers 1" in text
    assert 'lesionforge_requests_total{method="POST",route="/api/answers",status="200"} 1' in text
    assert slot not in text
    assert client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 404


def test_buckets_add_up():
    metrics = Metrics()
    for seconds in (0.001, 0.005, 0.02, 0.3, 60.0):
        metrics.count("GET", "/x", 200, seconds)
    lines = list(metrics.lines())
    rows = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line.startswith("lesionforge")}
    counts = [
        rows[f'lesionforge_request_seconds_bucket{{route="/x",le="{edge}"}}'] for edge in (0.005, 0.025, 5.0, "+Inf")
    ]
    assert counts == [2, 3, 4, 5]
    assert rows['lesionforge_request_seconds_sum{route="/x"}'] == pytest.approx(60.326)


def test_the_log_has_a_line_for_each_request_and_no_identifier(make_ledger, open_client, caplog):
    ledger = make_ledger(ask_comment=True)
    invitation = ledger.invite("Dr. Secret")
    with caplog.at_level(logging.INFO, logger=LOG.name):
        LOG.propagate = True
        client = open_client(ledger, invitation)
        slot = client.get("/api/now").json()["slot"]
        client.get(f"/api/items/{slot}")
        client.post("/api/answers", json={"slot": slot, "rating": 1, "comment": "private words"})
        client.get("/no/such/page?patient=P001")
    lines = [JsonLines().format(record) for record in caplog.records if record.name == LOG.name]
    rows = [json.loads(line) for line in lines]
    assert [row["route"] for row in rows][-4:] == ["/api/now", "/api/items/{slot}", "/api/answers", "none"]
    assert rows[-1]["status"] == 404
    for secret in (slot, invitation, "Secret", "private", "P001", "testclient", client.cookies["lesionforge"]):
        assert not any(secret in line for line in lines)
