"""Buckets that refill."""

from lesionforge.reader_study.web import rates
from lesionforge.reader_study.web.rates import RateLimit


def test_a_burst_is_allowed_and_then_the_rate():
    now = [0.0]
    limit = RateLimit(2.0, 4, clock=lambda: now[0])
    assert [limit.allows("a") for _ in range(6)] == [True] * 4 + [False] * 2
    assert limit.allows("b")
    now[0] = 1.0
    assert [limit.allows("a") for _ in range(3)] == [True, True, False]
    now[0] = 100.0
    assert sum(limit.allows("a") for _ in range(9)) == 4


def test_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(rates, "MOST_ASKERS", 10)
    limit = RateLimit(1.0, 1)
    for number in range(100):
        limit.allows(str(number))
    assert len(limit._askers) == 10
