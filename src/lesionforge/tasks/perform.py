"""A task done, in whatever process or on whatever machine it is: its needs fetched, its threads fixed, its errors told.

What goes wrong in one task ends that task alone. But where nothing can be written any more, no other task could keep
what it makes either: such a failure is *fatal*, and ends the run.
"""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import Progress
from lesionforge.tasks.graph import Bench, Task
from lesionforge.tasks.store import Store

TOLD_IN_WORDS = (LesionForgeError, MemoryError, OSError, RuntimeError)  # the words of others may quote a table's cell


@dataclass(frozen=True)
class Failure:
    """Why a task failed; holds nothing of patients."""

    message: str
    details: str = ""  # where in the code, for a report to its authors
    fatal: bool = False

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Put an error into words."""
        told = isinstance(error, TOLD_IN_WORDS) and str(error)
        name = type(error).__name__
        message = str(error) if isinstance(error, LesionForgeError) else f"{name}: {error}" if told else name
        fatal = isinstance(error, StorageError) and isinstance(error.__cause__, OSError)
        return cls(message, "".join(traceback.format_tb(error.__traceback__)), fatal)


@dataclass(frozen=True)
class Job:
    """A task with all that another process must know to do it."""

    task: Task
    store: Store
    needs: Mapping[str, str] = field(default_factory=dict)  # the key of each task that it needs, by name
    gpu: int | None = None  # the one it is to use, of several that the process sees

    def attempt(self, shared: Any, progress: Progress) -> Failure | None:
        """Do it; return why it failed, if it did. An interrupt goes on its way."""
        try:
            self._do(shared, progress)
        except Exception as error:  # noqa: BLE001 (told to the user; other tasks go on)
            return Failure.of(error)
        return None

    def _do(self, shared: Any, progress: Progress) -> None:
        results = {name: self.store.fetch(key) for name, key in self.needs.items()}
        with ExitStack() as stack:
            stack.enter_context(using_threads(self.task.resources.cpus))
            if self.gpu is not None:
                stack.enter_context(torch.cuda.device(self.gpu))
            self.store.do(
                self.task.key,
                stage=self.task.stage,
                make=lambda folder, unfinished: self.task.call(Bench(folder, unfinished, results, shared, progress)),
                progress=progress,
            )


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute with so many threads inside the block: the last digits of sums hang on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)
