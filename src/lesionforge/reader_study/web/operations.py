"""What operators see: a line of JSON for each request, and numbers for Prometheus. Neither names anyone."""

import json
import logging
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from threading import Lock

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("lesionforge.reader_study")
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class JsonLines(logging.Formatter):
    """A record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts = {"at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower()}
        return json.dumps(facts | {"event": record.getMessage()} | getattr(record, "facts", {}))


def log_to_stderr() -> None:
    """Write the study's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    LOG.handlers = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


class Metrics:
    """Requests by route and status, and how long they took."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, list[float]] = {}  # of a route: counts by bucket, one more for longer, and the sum

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note a request."""
        with self._lock:
            self._requests[method, route, status] += 1
            row = self._seconds.setdefault(route, [0.0] * (len(BUCKETS_S) + 2))
            row[bisect_left(BUCKETS_S, seconds)] += 1
            row[-1] += seconds

    def lines(self) -> Iterator[str]:
        """In Prometheus' text format."""
        with self._lock:
            requests = sorted(self._requests.items())
            seconds = {route: list(row) for route, row in sorted(self._seconds.items())}
        yield "# TYPE lesionforge_requests_total counter"
        for (method, route, status), count in requests:
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"lesionforge_requests_total{{{labels}}} {count}"
        yield "# TYPE lesionforge_request_seconds histogram"
        for route, (*counts, total) in seconds.items():
            below = 0.0
            for edge, of_bucket in zip((*BUCKETS_S, "+Inf"), counts, strict=True):
                below += of_bucket
                yield f'lesionforge_request_seconds_bucket{{route="{route}",le="{edge}"}} {below:.0f}'
            yield f'lesionforge_request_seconds_sum{{route="{route}"}} {total:.6f}'
            yield f'lesionforge_request_seconds_count{{route="{route}"}} {below:.0f}'


class Watch:
    """Counts and logs every request by its route's pattern: addresses, paths and cookies stay out."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - start
            method = scope["method"] if scope["method"] in {"GET", "HEAD", "POST"} else "other"
            route = getattr(scope.get("route"), "path", "none")
            self.metrics.count(method, route, status, seconds)
            facts = {"method": method, "route": route, "status": status, "ms": round(1000 * seconds, 1)}
            LOG.info("request", extra={"facts": facts})
