import pytest

from lesionforge.experiments.workers import do_all
from lesionforge.progress import SILENT


def test_one_worker_works_here_in_order():
    seen = []
    tasks = [lambda progress, k=k: seen.append((k, progress)) for k in range(3)]
    do_all(tasks, workers=1, progress=SILENT)
    do_all(tasks[:1], workers=8, progress=SILENT)
    do_all([], workers=8, progress=SILENT)
    assert seen == [(0, SILENT), (1, SILENT), (2, SILENT), (0, SILENT)]


def test_an_error_in_another_process_is_raised_here():
    with pytest.raises(TypeError, match="progress"):
        do_all([dict, int], workers=2, progress=SILENT)  # of these two, int takes no such argument
