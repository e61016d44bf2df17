"""Progress of long work: what runs, how fast, how long it will take.

On a terminal a live bar; elsewhere (a log file, a cluster) a plain line now and then. Work takes a `Progress`
as an argument and is silent with the default one. Work in another process is given a `SentProgress`, whose messages
reach this process and are shown here.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

PLAIN_LINE_EVERY_S = 10.0
OF_LATE_S = 60.0

Advance = Callable[..., None]


class Progress:
    """Silent; `TerminalProgress` shows what this one is told."""

    def say(self, text: str) -> None:
        """Show one line."""

    def within(self, name: str) -> "Progress":
        """Return progress that begins what it shows with ``name``."""
        del name
        return self

    @contextmanager
    def work(self, description: str, total: int, *, unit: str, done: int = 0) -> Iterator[Advance]:
        """Yield ``advance(amount, name=figure, …)``, to be called as the work goes on."""
        del description, total, unit, done
        yield lambda _amount, **_figures: None


SILENT = Progress()


class TerminalProgress(Progress):
    """Shows progress on standard error: results alone go to standard output."""

    def __init__(self, *, name: str = "", live: bool = True) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._name = name
        self._live = live and self._console.is_terminal

    @property
    def live(self) -> Console | None:
        """The terminal that a live view can be drawn on, if it is one."""
        return self._console if self._live else None

    def __reduce__(self) -> tuple[Callable[[str], "TerminalProgress"], tuple[str]]:
        # In another process: live bars of several processes would overwrite each other.
        return _in_another_process, (self._name,)

    def say(self, text: str) -> None:
        """Show one line."""
        self._console.print(f"{self._name}{text}", markup=False, soft_wrap=True)

    def within(self, name: str) -> "TerminalProgress":
        """Return progress that begins what it shows with ``name``."""
        return TerminalProgress(name=f"{self._name}{name}: ", live=self._live)

    @contextmanager
    def work(self, description: str, total: int, *, unit: str, done: int = 0) -> Iterator[Advance]:
        """Show ``description`` with the share done, the rate in ``unit`` a second, and the time left."""
        rate = Rate(total, done)
        if not self._live:
            yield self._plain(description, rate, unit)
            self.say(f"{description}: {rate.done:,.0f} {unit} in {clock(rate.elapsed)}")
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(f"{self._name}{description}", total=total, completed=done, figures="")

            def advance(amount: int, **figures: float) -> None:
                rate.add(amount)
                bar.update(task, completed=rate.done, figures=rate.text(unit, figures))

            yield advance
        self.say(f"{description}: {rate.done:,.0f} {unit} in {clock(rate.elapsed)}")

    def _plain(self, description: str, rate: "Rate", unit: str) -> Advance:
        last = time.monotonic()

        def advance(amount: int, **figures: float) -> None:
            nonlocal last
            rate.add(amount)
            if time.monotonic() - last >= PLAIN_LINE_EVERY_S:
                last = time.monotonic()
                self.say(f"{description}: {rate.text(unit, figures)}")

        return advance


@dataclass(frozen=True)
class Said:
    """A line, told by work elsewhere."""

    text: str


@dataclass(frozen=True)
class Began:
    """Work of so many units began elsewhere."""

    description: str
    total: int
    unit: str
    done: int = 0


@dataclass(frozen=True)
class Advanced:
    """The work that began went on."""

    amount: int
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """The work that began came to its end."""


Message = Said | Began | Advanced | Ended


class SentProgress(Progress):
    """Sends what it is told; how far work is no more often than ``every_s``."""

    def __init__(self, send: Callable[[Message], object], *, every_s: float = 0.0) -> None:
        self._send, self._every_s = send, every_s

    def say(self, text: str) -> None:
        """Send one line."""
        self._send(Said(text))

    @contextmanager
    def work(self, description: str, total: int, *, unit: str, done: int = 0) -> Iterator[Advance]:
        """Send that it begins, how far it is, and that it is done."""
        self._send(Began(description, total, unit, done))
        last, unsent = time.monotonic(), 0

        def advance(amount: int, **figures: float) -> None:
            nonlocal last, unsent
            unsent += amount
            if time.monotonic() - last >= self._every_s:
                self._send(Advanced(unsent, figures))
                last, unsent = time.monotonic(), 0

        yield advance
        if unsent:
            self._send(Advanced(unsent))
        self._send(Ended())


def _in_another_process(name: str) -> TerminalProgress:
    return TerminalProgress(name=name, live=False)


class Rate:
    """How fast work goes of late: a network that grows takes longer for each image the larger it is."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self._start_done = total, done, done
        self._start = time.monotonic()
        self._past = deque([(self._start, done)])  # when so much had been done; the first is `OF_LATE_S` old

    @property
    def elapsed(self) -> float:
        """Seconds since."""
        return time.monotonic() - self._start

    @property
    def started_at(self) -> int:
        """How much had been done before."""
        return self._start_done

    @property
    def per_s(self) -> float:
        """Units a second."""
        then, done = self._past[0]
        return (self.done - done) / max(time.monotonic() - then, 1e-9)

    @property
    def left_s(self) -> float:
        """Seconds left; infinite before anything was done."""
        return max(0, self.total - self.done) / self.per_s if self.per_s > 0 else float("inf")

    def add(self, amount: int) -> None:
        """Count what was done."""
        self.done += amount
        now = time.monotonic()
        if now > self._past[-1][0] + OF_LATE_S / 100:
            self._past.append((now, self.done))
        while len(self._past) > 1 and self._past[1][0] <= now - OF_LATE_S:
            self._past.popleft()

    def text(self, unit: str, figures: Mapping[str, float] = MappingProxyType({})) -> str:
        """Say how far it is, how fast it goes and how long it will take, then the figures."""
        parts = [
            f"{self.done:,.0f}/{self.total:,.0f} {unit}",
            f"{self.per_s:,.0f} {unit}/s" if self.per_s >= 10 else f"{self.per_s:.2g} {unit}/s",
            f"{clock(self.left_s)} left",
        ]
        return ", ".join(parts + [f"{name} {value:.3g}" for name, value in figures.items()])


def clock(seconds: float) -> str:
    """Write a length of time as minutes and seconds, or with hours; ``?`` if it is not known."""
    if seconds == float("inf"):
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
