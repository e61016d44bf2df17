"""What a run leaves of how it went: ``log.jsonl``, a line for each event, and ``logs/TASK.log``, what a task told."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lesionforge.progress import PLAIN_LINE_EVERY_S, Advanced, Began, Ended, Message, Rate, Said
from lesionforge.storage import storage_errors
from lesionforge.tasks.graph import Graph, Task
from lesionforge.tasks.perform import Failure
from lesionforge.tasks.schedule import Listener

LOG = "log.jsonl"
LOGS = "logs"


@dataclass
class RunLog(Listener):
    """The log of the run in the folder ``out``."""

    out: Path
    _begun: dict[str, float] = field(default_factory=dict)

    def write(self, event: str, **facts: Any) -> None:
        """Append a line."""
        row = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **facts}
        with storage_errors(self.out / LOG), (self.out / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def opened(self) -> str:
        """When the run was first opened, as an ISO time."""
        with (self.out / LOG).open(encoding="utf-8") as stream:
            return str(json.loads(stream.readline())["time"])

    def planned(self, graph: Graph, present: set[str]) -> None:
        """Write how many tasks there are, and how many of them are there already."""
        self.write("planned", tasks=len(graph), present=sum(task.key in present for task in graph))

    def started(self, task: Task) -> None:
        """Note when a task began."""
        self._begun[task.key] = time.monotonic()

    def done(self, task: Task, result: Path) -> None:  # noqa: ARG002
        """Write that a task is done."""
        self.write("done", task=task.name, seconds=round(time.monotonic() - self._begun[task.key], 3))

    def failed(self, task: Task, failure: Failure) -> None:
        """Write that a task failed, and why."""
        self.write("failed", task=task.name, why=failure.message)

    def skipped(self, task: Task, because_of: Task) -> None:
        """Write that a task was left out."""
        self.write("skipped", task=task.name, because_of=because_of.name)


@dataclass
class TaskLogs(Listener):
    """A log for each task that is done, in the folder ``out``."""

    out: Path
    _rates: dict[str, tuple[Began, Rate, float]] = field(default_factory=dict)

    def started(self, task: Task) -> None:
        """Say what began."""
        self._write(task, f"begins: {task.stage}, threads {task.resources.cpus}, key {task.key}")

    def told(self, task: Task, message: Message) -> None:
        """Write a line as it is, and how far work is now and then."""
        match message:
            case Said(text):
                self._write(task, text)
            case Began():
                self._rates[task.name] = (message, Rate(message.total, message.done), time.monotonic())
                self._write(task, f"{message.description}: {message.total:,} {message.unit}")
            case Advanced(amount, figures):
                began, rate, last = self._rates[task.name]
                rate.add(amount)
                if time.monotonic() - last >= PLAIN_LINE_EVERY_S:
                    self._rates[task.name] = (began, rate, time.monotonic())
                    self._write(task, f"{began.description}: {rate.text(began.unit, figures)}")
            case Ended():
                began, rate, _ = self._rates.pop(task.name)
                self._write(task, f"{began.description}: {rate.text(began.unit)}")

    def done(self, task: Task, result: Path) -> None:  # noqa: ARG002
        """Say that it is done."""
        self._write(task, "done")

    def failed(self, task: Task, failure: Failure) -> None:
        """Say why it failed, and where in the code."""
        self._write(task, f"failed: {failure.message}\n{failure.details}".rstrip())

    def _write(self, task: Task, text: str) -> None:
        file = self.out / f"{task.name}.log"
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")
