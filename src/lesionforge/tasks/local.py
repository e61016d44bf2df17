"""Tasks on this machine: in this process one after the other, or side by side in processes of their own.

Small networks do not fill several cores: two processes of one thread each get more done than one of two threads. A
process that the system ends (it took too much memory) costs the task that it was at, and no other; one whose parent is
gone ends itself, so a run that was killed does not go on writing beside its successor.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from lesionforge.progress import SentProgress
from lesionforge.tasks.graph import Resources, Task
from lesionforge.tasks.perform import Failure, Job
from lesionforge.tasks.schedule import Heed, Over
from lesionforge.workers import leave_with

TOLD_EVERY_S = 0.25
LOOK_EVERY_S = 0.5


class Here:
    """Does one task at a time, in this process."""

    def __init__(self, shared: Any, *, gpus: int = 0) -> None:
        self._shared, self._gpus = shared, gpus
        self._job: Job | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has_room(self, task: Task) -> bool:  # noqa: ARG002 (any task fits, if alone)
        """Whether no task is being done."""
        return self._job is None

    def start(self, job: Job) -> None:
        """Take a task on."""
        self._job = replace(job, gpu=0 if self._gpus else None)

    def wait(self, heed: Heed) -> None:
        """Do the task."""
        assert self._job is not None  # called only after a start
        job, self._job = self._job, None
        name = job.task.name
        heed(name, Over(job.attempt(self._shared, SentProgress(lambda message: heed(name, message)))))


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    is_ready: bool = False  # it has told that it listens: what is sent sooner would be waited for here

    def why_gone(self) -> str:
        """Why the process ended before its task did, and what helps."""
        self.process.join()
        if not self.is_ready:
            return (
                "its process could not begin: a script that starts a run with several workers is read by each of them "
                'again, and must call it under `if __name__ == "__main__":`, or do with one worker'
            )
        if (self.process.exitcode or 0) >= 0:
            return f"its process ended itself with status {self.process.exitcode}: what it told is on the screen"
        return (
            "its process was ended from outside, as systems do when memory runs out: choose fewer workers or smaller "
            "patches"
        )


class Processes:
    """Does tasks in up to ``count`` processes; they begin when they are needed, and end with the block.

    Parameters
    ----------
    shared
        What every task is given; sent once to each process.
    gpus
        How many GPUs are shared out. A task is given the one that is least taken.
    memory_gb
        Tasks that say what memory they take do not together take more; 0: whatever they take.
    """

    def __init__(self, count: int, shared: Any, *, gpus: int = 0, memory_gb: float = 0.0) -> None:
        self._count, self._shared, self._gpus, self._memory_gb = count, shared, gpus, memory_gb
        self._context = multiprocessing.get_context("spawn")  # a forked copy of a threaded library may hang
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes, whatever they do: a task that was begun is taken up again by the next run."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()

    def has_room(self, task: Task) -> bool:
        """Whether a process, a GPU's share and memory are left for the task; alone it may take what it wants."""
        taken, asked = self._taken, task.resources
        if not self._jobs:
            return True
        fits = not self._memory_gb or sum(each.memory_gb for each in taken) + asked.memory_gb <= self._memory_gb
        if self._gpus and asked.gpus:
            fits = fits and self._load(self._least_taken_gpu) + asked.gpus <= 1
        return fits and len(taken) < self._count

    def start(self, job: Job) -> None:
        """Hand a task to an idle process, or to a new one."""
        if self._gpus and job.task.resources.gpus:
            job = replace(job, gpu=self._least_taken_gpu)
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._hire()
        worker.job = job
        if worker.is_ready:
            self._send(worker, job)

    def wait(self, heed: Heed) -> None:
        """Pass on what the processes tell, and which of them are gone."""
        told_by = {worker.pipe: (worker, worker.job) for worker in self._workers if worker.job is not None}
        for pipe in wait(list(told_by), timeout=LOOK_EVERY_S):
            worker, job = told_by[pipe]  # type: ignore[index]
            try:
                event = worker.pipe.recv()
            except (EOFError, OSError):
                self._workers.remove(worker)
                event = Over(Failure(worker.why_gone()))
            if event is None:
                worker.is_ready = True
                self._send(worker, self._shared, job)
                continue
            if isinstance(event, Over):
                worker.job = None
            heed(job.task.name, event)

    def _send(self, worker: _Worker, *things: object) -> None:
        with suppress(OSError):  # it is gone: `wait` will find that
            for thing in things:
                worker.pipe.send(thing)

    @property
    def _jobs(self) -> list[Job]:
        return [worker.job for worker in self._workers if worker.job is not None]

    @property
    def _taken(self) -> list[Resources]:
        return [job.task.resources for job in self._jobs]

    @property
    def _least_taken_gpu(self) -> int:
        return min(range(self._gpus), key=self._load)

    def _load(self, gpu: int) -> float:
        return sum(job.task.resources.gpus for job in self._jobs if job.gpu == gpu)

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, os.getpid()))
        with _deaf_to_interrupts():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that begin inside the block ignore Ctrl-C, which reaches all of a terminal: this one decides."""
    if threading.current_thread() is not threading.main_thread():  # none other may say what signals do
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Connection, parent: int) -> None:
    """Do the tasks that come through ``pipe`` after what all share, until this process is ended."""
    leave_with(parent)
    progress = SentProgress(pipe.send, every_s=TOLD_EVERY_S)
    with suppress(EOFError, OSError):
        pipe.send(None)
        shared = _received(pipe)
        while True:
            job = _received(pipe)
            unknown = next((each for each in (shared, job) if isinstance(each, Failure)), None)
            pipe.send(Over(unknown or job.attempt(shared, progress)))


def _received(pipe: Connection) -> Any:
    """What comes through ``pipe``; a Failure if it is of a class that is not to be found from here."""
    try:
        return pipe.recv()
    except (AttributeError, ImportError) as error:
        return Failure(
            f"its process does not find what the task is made of ({error}): put a method of your own into a file that "
            "can be imported, or do with one worker"
        )
