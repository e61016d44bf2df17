"""From a graph to results: which task is begun when, and what follows when one is done or has failed.

Where tasks are done (here, in other processes, on a cluster) is a matter of the `Executor`, which starts a task and
tells what happens to it. Whoever wants to know how a run goes is a `Listener`.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import Message
from lesionforge.tasks.graph import Graph, Task
from lesionforge.tasks.perform import Failure, Job
from lesionforge.tasks.store import Store


@dataclass(frozen=True)
class Over:
    """A task came to its end."""

    failure: Failure | None = None


Heed = Callable[[str, Message | Over], None]  # takes a task's name, and what happened to it


class Executor(Protocol):
    """Where tasks are done."""

    def has_room(self, task: Task) -> bool:
        """Whether the task can be begun now, beside those that are being done."""

    def start(self, job: Job) -> None:
        """Begin a task."""

    def wait(self, heed: Heed) -> None:
        """Wait until something has happened to tasks that were begun, or a moment; pass it on."""


class Listener:
    """Is told how a run goes; this one makes nothing of it."""

    def planned(self, graph: Graph, present: set[str]) -> None:
        """Tasks are to be done, but for those whose keys are ``present``."""

    def started(self, task: Task) -> None:
        """A task was begun."""

    def told(self, task: Task, message: Message) -> None:
        """A task that is being done told something."""

    def done(self, task: Task, result: Path) -> None:
        """A task was done, now or for another of the same key."""

    def failed(self, task: Task, failure: Failure) -> None:
        """A task failed."""

    def skipped(self, task: Task, because_of: Task) -> None:
        """A task was left out, because one that it needs had failed."""

    def written(self, tables: Path) -> None:
        """The run's tables were written into a folder."""


@dataclass
class Outcome:
    """What became of the tasks of a graph, by name."""

    present: set[str] = field(default_factory=set)  # there already
    done: set[str] = field(default_factory=set)
    failed: dict[str, Failure] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # and the failed task because of which


class TasksFailedError(LesionForgeError):
    """Some tasks failed; the results of the others are kept, and the same command tries these again."""


@dataclass
class Schedule:
    """Does the tasks of ``graph``; `run` returns what became of them."""

    graph: Graph
    store: Store
    executor: Executor
    listeners: Sequence[Listener] = ()
    outcome: Outcome = field(default_factory=Outcome)

    def run(self) -> Outcome:
        """Do every task whose result is not there; one that fails takes with it those that need it, and no other.

        Raises
        ------
        StorageError
            Nothing can be written any more.
        """
        present = self.store.present({task.key for task in self.graph})
        self.outcome.present = {task.name for task in self.graph if task.key in present}
        self._places = {task.name: place for place, task in enumerate(self.graph)}
        self._waits_for = {
            task.name: {need for need in task.needs if need not in self.outcome.present}
            for task in self.graph
            if task.name not in self.outcome.present
        }
        self._ready: list[tuple[int, int, str]] = []
        self._running: dict[str, list[str]] = {}  # names by key: tasks of one key are one
        self._tell("planned", self.graph, present)
        for name, waits_for in self._waits_for.items():
            if not waits_for:
                self._make_ready(name)
        while self._ready or self._running:
            self._start_what_can_be()
            self.executor.wait(self._heed)
        return self.outcome

    def _make_ready(self, name: str) -> None:
        heapq.heappush(self._ready, (-self.graph.depth[name], self._places[name], name))

    def _start_what_can_be(self) -> None:
        while self._ready:
            task = self.graph[self._ready[0][-1]]
            if task.key in self._running:
                self._running[task.key].append(task.name)
            elif self.executor.has_room(task):
                self._running[task.key] = [task.name]
                self._tell("started", task)
                self.executor.start(Job(task, self.store, {name: self.graph[name].key for name in task.needs}))
            else:
                return
            heapq.heappop(self._ready)

    def _heed(self, name: str, event: Message | Over) -> None:
        task = self.graph[name]
        if not isinstance(event, Over):
            self._tell("told", task, event)
            return
        for name in self._running.pop(task.key):
            if event.failure is None:
                self._is_done(self.graph[name])
            else:
                self._has_failed(self.graph[name], event.failure)

    def _is_done(self, task: Task) -> None:
        self.outcome.done.add(task.name)
        self._tell("done", task, self.store.fetch(task.key))
        for name in self.graph.dependants[task.name]:
            waits_for = self._waits_for.get(name)
            if waits_for is not None and name not in self.outcome.skipped:
                waits_for.discard(task.name)
                if not waits_for:
                    self._make_ready(name)

    def _has_failed(self, task: Task, failure: Failure) -> None:
        self._tell("failed", task, failure)
        if failure.fatal:
            raise StorageError(failure.message)
        self.outcome.failed[task.name] = failure
        for name in self.graph.after(task.name):
            if name in self._waits_for and name not in self.outcome.skipped:
                self.outcome.skipped[name] = task.name
                self._tell("skipped", self.graph[name], task)

    def _tell(self, what: str, *facts: object) -> None:
        for listener in self.listeners:
            getattr(listener, what)(*facts)
