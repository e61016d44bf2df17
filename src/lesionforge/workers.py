"""Tasks side by side: one process each, as many as there are workers.

Small networks and single scans do not fill several cores: two processes of one thread each get more done than one of
two threads.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from lesionforge.progress import Progress

WATCH_EVERY_S = 0.5

Step = Callable[[], None]


def nothing() -> None:
    """Do nothing."""


def do_all(
    tasks: Sequence[Callable[..., None]],
    *,
    workers: int,
    progress: Progress,
    begin: Step = nothing,
    after_each: Step = nothing,
) -> None:
    """Call every task with ``progress``, in ``workers`` processes that share the cores; in this one if it is one.

    The first error, or an interrupt, is raised again here, and the workers are ended whatever they do: their
    tasks may take hours yet, and a killed task is taken up again by the next run.

    Parameters
    ----------
    begin
        Called once in each new process, before its first task.
    after_each
        Called here when a task is done.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            task(progress=progress)
            after_each()
        return
    context = multiprocessing.get_context("spawn")  # a forked copy of a threaded library may hang
    not_ours = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _begin, (begin, os.getpid())) as pool:
        futures = [pool.submit(task, progress=progress) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
                after_each()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - not_ours:
                worker.terminate()
            raise


def _begin(begin: Step, parent: int) -> None:
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    begin()


def _leave_with(parent: int) -> None:
    """End this process when its parent is gone: a run that was killed must not go on writing beside its successor."""
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY_S)
    os._exit(1)
