"""Tasks side by side: one process each, as many as there are workers.

Small networks and single scans do not fill several cores: two processes of one thread each get more done than one of
two threads.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from lesionforge.progress import Progress

WATCH_EVERY_S = 0.5

Step = Callable[[], None]


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Workers:
    """Processes that wait for tasks: `side_by_side` starts and ends them."""

    pool: ProcessPoolExecutor | None  # None: this process works alone

    def do(self, tasks: Sequence[Callable[..., None]], *, progress: Progress, after_each: Step = nothing) -> None:
        """Call every task with ``progress``, and ``after_each`` here when one is done.

        The first error, or an interrupt, is raised again here.
        """
        if self.pool is None or len(tasks) == 1:
            for task in tasks:
                task(progress=progress)
                after_each()
            return
        futures = [self.pool.submit(task, progress=progress) for task in tasks]
        for future in as_completed(futures):
            future.result()
            after_each()


@contextmanager
def side_by_side(workers: int, *, begin: Step = nothing) -> Iterator[Workers]:
    """Yield ``workers`` processes that share the cores; this one alone if it is one.

    After an error or an interrupt they are ended whatever they do: their tasks may take hours yet, and a killed task is
    taken up again by the next run. ``begin`` is called once in each new process, before its first task.
    """
    if workers <= 1:
        yield Workers(None)
        return
    context = multiprocessing.get_context("spawn")  # a forked copy of a threaded library may hang
    not_ours = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _begin, (begin, os.getpid())) as pool:
        try:
            yield Workers(pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - not_ours:
                worker.terminate()
            raise


def _begin(begin: Step, parent: int) -> None:
    leave_with(parent)
    begin()


def leave_with(parent: int) -> None:
    """End this process when its parent is gone: a run that was killed must not go on writing beside its successor."""
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY_S)
    os._exit(1)
