"""How long the rest of a run will take, from what its tasks have taken so far."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from lesionforge.progress import Advanced, Began, Message, Rate, clock
from lesionforge.tasks.graph import Cost, Graph, Task
from lesionforge.tasks.perform import Failure
from lesionforge.tasks.schedule import Listener

Seconds = dict[str, float]  # seconds that an image of a kind takes


def seconds_of(cost: Cost, rates: Seconds) -> float:
    """Return how long a task takes where its kind's images take so long; NaN where that is not known."""
    return cost.images * rates.get(cost.kind, float("nan")) if cost.kind else 0.0


@dataclass
class Forecast(Listener):
    """Counts the tasks of a run, and foretells the time left when ``at_once`` are done side by side."""

    at_once: int = 1
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("done", "cached", "failed", "skipped"), 0))
    _left: dict[str, Task] = field(default_factory=dict)  # by key
    _begun: dict[str, float] = field(default_factory=dict)
    _shares: dict[str, Rate] = field(default_factory=dict)
    _rates: Seconds = field(default_factory=dict)

    def planned(self, graph: Graph, present: set[str]) -> None:
        """Count what is there already."""
        self.counts["cached"] = sum(task.key in present for task in graph)
        self._left = {task.key: task for task in graph if task.key not in present}

    def started(self, task: Task) -> None:
        """Take the time."""
        self._begun[task.key] = time.monotonic()

    def told(self, task: Task, message: Message) -> None:
        """Learn how fast an image of this kind is worked on."""
        if isinstance(message, Began):
            self._shares[task.key] = Rate(message.total, message.done)
        elif isinstance(message, Advanced) and task.key in self._shares:
            rate = self._shares[task.key]
            rate.add(message.amount)
            if task.cost.images and rate.per_s > 0:
                self._rates[task.cost.kind] = rate.total / rate.per_s / task.cost.images

    def done(self, task: Task, result: Path) -> None:  # noqa: ARG002
        """Learn what a task took in all."""
        self.counts["done"] += 1
        if self._left.pop(task.key, None) and task.cost.images and not self._resumed(task):
            self._rates[task.cost.kind] = (time.monotonic() - self._begun[task.key]) / task.cost.images

    def failed(self, task: Task, failure: Failure) -> None:  # noqa: ARG002
        """Count a failure."""
        self.counts["failed"] += 1
        self._left.pop(task.key, None)

    def skipped(self, task: Task, because_of: Task) -> None:  # noqa: ARG002
        """Count a task that is left out."""
        self.counts["skipped"] += 1
        self._left.pop(task.key, None)

    @property
    def waiting(self) -> int:
        """How many tasks have not begun."""
        return len(self._left.keys() - self._begun.keys())

    @property
    def text(self) -> str:
        """Say in one line how far the run is; of kinds of which none has begun the time is not known."""
        counts = [f"{count} {name}" for name, count in self.counts.items() if count]
        seconds = [self._left_of(task) for task in self._left.values()]
        known = [each for each in seconds if math.isfinite(each)]
        left, is_all = clock(sum(known) / self.at_once), len(known) == len(seconds)
        said = left if is_all else f"more than {left}" if sum(known) else "?"
        return ", ".join([*counts, f"{self.waiting} waiting", f"{said} left"])

    def _left_of(self, task: Task) -> float:
        rate = self._shares.get(task.key)
        return seconds_of(task.cost, self._rates) if rate is None else rate.left_s

    def _resumed(self, task: Task) -> bool:
        rate = self._shares.get(task.key)
        return rate is not None and rate.started_at > 0
