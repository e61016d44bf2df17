import importlib
import time

import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT
from lesionforge.workers import side_by_side


def test_one_worker_works_here_in_order():
    seen = []
    tasks = [lambda progress, k=k: seen.append((k, progress)) for k in range(3)]
    done = []
    with side_by_side(1) as workers:
        workers.do(tasks, progress=SILENT, after_each=lambda: done.append(len(seen)))
    with side_by_side(8) as workers:
        workers.do(tasks[:1], progress=SILENT)
        workers.do([], progress=SILENT)
    assert done == [1, 2, 3]
    assert seen == [(0, SILENT), (1, SILENT), (2, SILENT), (0, SILENT)]


def test_an_error_in_another_process_is_raised_here():
    with pytest.raises(TypeError, match="progress"), side_by_side(2) as workers:
        workers.do([dict, int], progress=SILENT)  # of these two, int takes no such argument


# In a module of its own: a worker must be able to import what it is given, and it cannot import a test.
TASKS = """
import time

from lesionforge.errors import LesionForgeError


def fail(*, progress):
    raise LesionForgeError("no")


def sleep(*, progress):
    time.sleep(120)
"""


def test_an_error_ends_the_workers_that_are_still_busy(tmp_path, monkeypatch):
    (tmp_path / "slow_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    tasks = importlib.import_module("slow_tasks")
    started = time.monotonic()
    with pytest.raises(LesionForgeError, match="no"), side_by_side(2) as workers:
        workers.do([tasks.fail, tasks.sleep, tasks.sleep], progress=SILENT)
    assert time.monotonic() - started < 60
