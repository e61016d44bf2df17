"""The one view of a run: which tasks are done, how far and how fast each is, what is left.

On a terminal it is a table that is drawn anew in its place; elsewhere a line now and then.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lesionforge.progress import Advance, Advanced, Began, Ended, Message, Progress, Rate, Said, TerminalProgress, clock
from lesionforge.tasks.forecast import Forecast
from lesionforge.tasks.graph import Graph, Task
from lesionforge.tasks.perform import Failure
from lesionforge.tasks.schedule import Listener

DRAWN_A_SECOND = 4


@dataclass
class PlainBoard(Listener):
    """Hands on to ``progress`` what tasks tell, each line with its task's name."""

    progress: Progress
    forecast: Forecast
    _works: dict[str, tuple[AbstractContextManager[Advance], Advance]] = field(default_factory=dict)

    def planned(self, graph: Graph, present: set[str]) -> None:
        """Say how much there is to do."""
        cached = sum(task.key in present for task in graph)
        self.progress.say(f"{len(graph)} tasks, {cached} of them done before")

    def told(self, task: Task, message: Message) -> None:
        """Hand a message on."""
        within = self.progress.within(task.name)
        match message:
            case Said(text):
                within.say(text)
            case Began():
                work = within.work(message.description, message.total, unit=message.unit, done=message.done)
                self._works[task.name] = work, work.__enter__()
            case Advanced(amount, figures):
                self._works[task.name][1](amount, **figures)
            case Ended():
                self._works.pop(task.name)[0].__exit__(None, None, None)

    def done(self, task: Task, result: Path) -> None:  # noqa: ARG002
        """Say how far the run is."""
        self.progress.say(f"{task.name}: done; {self.forecast.text}")

    def failed(self, task: Task, failure: Failure) -> None:
        """Say why a task failed."""
        self._works.pop(task.name, None)
        self.progress.say(f"{task.name}: failed: {failure.message}")

    def skipped(self, task: Task, because_of: Task) -> None:
        """Say that a task is left out."""
        self.progress.say(f"{task.name}: left out, for {because_of.name} failed")


@dataclass
class LiveBoard(Listener):
    """A table of the tasks that are being done, with the run's counts beneath it."""

    console: Console
    forecast: Forecast
    _running: dict[str, tuple[str, str, Rate]] = field(default_factory=dict)  # what, unit, how far

    def started(self, task: Task) -> None:
        """Show a task."""
        self._running[task.name] = task.stage, "", Rate(0, 0)

    def told(self, task: Task, message: Message) -> None:
        """Show how far it is."""
        match message:
            case Said(text):
                self._print(f"{task.name}: {text}")
            case Began():
                self._running[task.name] = message.description, message.unit, Rate(message.total, message.done)
            case Advanced(amount, _):
                self._running[task.name][-1].add(amount)

    def done(self, task: Task, result: Path) -> None:  # noqa: ARG002
        """Show it no more."""
        self._running.pop(task.name, None)

    def failed(self, task: Task, failure: Failure) -> None:
        """Show it no more, but say why."""
        self._running.pop(task.name, None)
        self._print(f"{task.name}: failed: {failure.message}")

    def skipped(self, task: Task, because_of: Task) -> None:
        """Say that a task is left out."""
        self._print(f"{task.name}: left out, for {because_of.name} failed")

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for name, (what, unit, rate) in self._running.items():
            table.add_row(name, what, rate.text(unit) if rate.total else clock(rate.elapsed))
        return Group(table, Text(self.forecast.text))

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


@contextmanager
def board_on(progress: Progress, forecast: Forecast) -> Iterator[Listener]:
    """Yield the view of a run that suits ``progress``; a live one is drawn until the block ends."""
    console = progress.live if isinstance(progress, TerminalProgress) else None
    if console is None:
        yield PlainBoard(progress, forecast)
        return
    board = LiveBoard(console, forecast)
    with Live(board, console=console, refresh_per_second=DRAWN_A_SECOND, transient=True):
        yield board
