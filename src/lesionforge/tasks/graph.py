"""Tasks, and the graph of what each of them needs: what a run is made of, before any of it is done.

A task's *name* is for people, and is its alone in a run. Its *key* is a digest of all that decides its result: the
code, the settings, the very rows of data that it reads, its seed, and the keys of the tasks whose results it needs.
Equal keys are equal results, whichever regime, repeat, experiment or machine asks for them; so a result must not hold
its task's name, nor the number of its fold. Names and keys hold nothing of patients.

Nothing here knows what an experiment is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import digest
from lesionforge.tasks.code_version import code_version

KEY_CHARACTERS = 32


@dataclass(frozen=True)
class Resources:
    """What a task takes while it is done; its threads are fixed, whatever else runs, and so are its numbers."""

    cpus: int = 1
    gpus: float = 0.0
    memory_gb: float = 0.0  # 0: unknown


@dataclass(frozen=True)
class Cost:
    """How long a task may take: its images, times the seconds that an image of its kind takes on a machine."""

    kind: str = ""  # tasks of a kind take equally long for an image; empty: a moment
    images: int = 0


@dataclass(frozen=True)
class Bench:
    """Where a task works: what it is given, and where it puts what it makes."""

    folder: Path  # empty; becomes the task's result, whole, once the task returns
    unfinished: Path  # may hold what a killed run left of this very task; is gone once the task is done
    results: Mapping[str, Path] = field(default_factory=dict)  # of the tasks that it needs, by name
    shared: Any = None  # what all tasks of the run are given: its data
    progress: Progress = SILENT


@dataclass(frozen=True)
class Task:
    """One thing to be done, once."""

    name: str
    stage: str
    key: str
    call: Callable[[Bench], None]  # may go to another process or machine
    needs: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)  # columns that its tables get where those of many are joined
    resources: Resources = Resources()
    cost: Cost = Cost()


def key_of(**decisive: Any) -> str:
    """Return the key of a result from all that decides it, as JSON can hold it; the code is added here."""
    return digest(_canonical({"code": code_version(), **decisive}), characters=KEY_CHARACTERS)


def _canonical(value: Any) -> Any:
    """Write equal settings alike: a whole number that was typed as 2 here is 2.0 where it was read from JSON."""
    if isinstance(value, Mapping):
        return {key: _canonical(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Graph:
    """Tasks of a run, checked.

    Raises
    ------
    LesionForgeError
        Two tasks have one name, one needs a task that is not there, or they need each other in a circle.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = {task.name: task for task in tasks}
        if len(self._tasks) < len(tasks):
            names = [task.name for task in tasks]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise LesionForgeError(f"each task of a run needs a name of its own, but {', '.join(twice)} came twice.")
        for task in tasks:
            if missing := sorted(set(task.needs) - self._tasks.keys()):
                raise LesionForgeError(f"the task {task.name} needs {', '.join(missing)}, which the run does not have.")
        try:
            self.order = tuple(TopologicalSorter({task.name: task.needs for task in tasks}).static_order())
        except CycleError as error:
            raise LesionForgeError(f"tasks need each other in a circle: {' → '.join(error.args[1])}.") from None

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        """Tasks, as they were given."""
        return iter(self._tasks.values())

    def __getitem__(self, name: str) -> Task:
        return self._tasks[name]

    @cached_property
    def dependants(self) -> dict[str, tuple[str, ...]]:
        """Names of the tasks that need each task, directly."""
        found: dict[str, list[str]] = {name: [] for name in self._tasks}
        for task in self:
            for need in task.needs:
                found[need].append(task.name)
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def depth(self) -> dict[str, int]:
        """How long a chain of tasks waits for each task, itself counted: those of long chains should come first."""
        found: dict[str, int] = {}
        for name in reversed(self.order):
            found[name] = 1 + max((found[each] for each in self.dependants[name]), default=0)
        return found

    def after(self, name: str) -> list[str]:
        """Names of all tasks that cannot be done without this one, in order."""
        found = {name}
        for each in self.order:
            if found & set(self[each].needs):
                found.add(each)
        return [each for each in self.order if each in found - {name}]
