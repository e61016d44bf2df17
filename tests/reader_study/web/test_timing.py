"""How long an item or the reply to an answer takes says nothing of its origin."""

import time

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

BY_CHANCE = 1e-6  # so often a null is rejected: not in the life of a test


@pytest.fixture
def ledger(make_ledger):
    return make_ledger(per_class=10)


def waited(ledger, open_client, *, readers):
    """Seconds for items and for replies to answers, of real and of synthetic ones; readers come one after the other."""
    times = []
    for number in range(readers):
        client = open_client(ledger, ledger.invite(str(number)))
        now = client.get("/api/now").json()
        while now["state"] == "item":
            began = time.perf_counter()
            client.get(f"/api/items/{now['slot']}")
            shown = time.perf_counter()
            now = client.post("/api/answers", json={"slot": now["slot"], "rating": 1}).json()["now"]
            times.append((shown - began, time.perf_counter() - shown))
    real = np.array([ledger.study.items[row["item"]].real for row in ledger.answers()])
    item, reply = np.transpose(times)
    return {"item": (item[real], item[~real]), "reply": (reply[real], reply[~real])}


def test_both_origins_take_as_long(ledger, open_client):
    for of_real, of_synthetic in waited(ledger, open_client, readers=3).values():
        assert len(of_real) == len(of_synthetic) == 60
        assert mannwhitneyu(of_real, of_synthetic).pvalue > BY_CHANCE


def test_a_delay_of_one_origin_would_be_seen(ledger, open_client, monkeypatch):
    looked_up = ledger.item

    def slow(reader, slot):
        found = looked_up(reader, slot)
        time.sleep(0 if ledger.study.items[found].real else 0.02)
        return found

    monkeypatch.setattr(ledger, "item", slow)
    assert mannwhitneyu(*waited(ledger, open_client, readers=1)["item"]).pvalue < 1000 * BY_CHANCE
