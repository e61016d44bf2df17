"""How often someone may ask: buckets of tokens that refill, for as many askers as fit."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

MOST_ASKERS = 10_000  # whoever was quiet longest is forgotten


class RateLimit:
    """``rate`` requests a second for each asker, and up to ``burst`` at once."""

    def __init__(self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, max(burst, 1.0)
        self._clock = clock
        self._lock = Lock()
        self._askers: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def allows(self, asker: str) -> bool:
        """Count a request; whether it is within the limit."""
        with self._lock:
            now = self._clock()
            tokens, counted = self._askers.pop(asker, (self.burst, now))
            tokens = min(self.burst, tokens + (now - counted) * self.rate)
            allowed = tokens >= 1
            self._askers[asker] = (tokens - 1 if allowed else tokens, now)
            if len(self._askers) > MOST_ASKERS:
                self._askers.popitem(last=False)
            return allowed
