"""A graph is done the same way wherever its tasks are done: here, and in other processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recorded_tasks import be_killed, end_itself, fail, fail_with_a_name, find_the_disk_full, joining, task, wait

from lesionforge.errors import StorageError
from lesionforge.progress import Advanced, Began, Ended, Said
from lesionforge.tasks.graph import Graph, Resources, Task
from lesionforge.tasks.local import Here, Processes
from lesionforge.tasks.schedule import Listener, Schedule
from lesionforge.tasks.store import FolderStore

SHARED = "the data"


class Heard(Listener):
    """Keeps what it is told."""

    def __init__(self):
        self.events, self.messages = [], []

    def started(self, task):
        self.events.append(("started", task.name))

    def told(self, task, message):
        self.messages.append((task.name, message))

    def done(self, task, result):
        self.events.append(("done", task.name))

    def failed(self, task, failure):
        self.events.append(("failed", task.name))

    def skipped(self, task, because_of):
        self.events.append(("skipped", task.name))


@pytest.fixture(params=["here", "processes"])
def executor(request):
    return {"here": lambda: Here(SHARED), "processes": lambda: Processes(2, SHARED)}[request.param]


@pytest.fixture
def store(tmp_path):
    return FolderStore.opened(tmp_path / "store")


def do(tasks, store, executor=lambda: Here(SHARED), heard=None):
    with executor() as at_work:
        return Schedule(Graph(tasks), store, at_work, [heard or Heard()]).run()


def made(store, name):
    return (store.fetch(f"key-of-{name}") / "made").read_text()


DIAMOND = [joining("d", "b", "c"), joining("b", "a"), joining("c", "a"), joining("a")]


def test_what_is_needed_comes_first_and_is_handed_on(store, executor):
    heard = Heard()
    outcome = do(DIAMOND, store, executor, heard)
    assert outcome.done == {"a", "b", "c", "d"}
    assert made(store, "d") == "abacd"
    done = [name for event, name in heard.events if event == "done"]
    assert (done[0], done[-1]) == ("a", "d")
    of_a = [message for name, message in heard.messages if name == "a"]
    assert of_a[0] == Began("joining", 3, "steps")
    assert sum(each.amount for each in of_a if isinstance(each, Advanced)) == 3
    assert of_a[-2:] == [Ended(), Said(f"a of {SHARED}")]
    again = do(DIAMOND, store, executor)
    assert again.present == {"a", "b", "c", "d"}
    assert not again.done


def test_a_failure_takes_what_needs_it_and_nothing_else_and_is_tried_again(store, executor):
    broken = [joining("a"), task("b", "a", call=fail), joining("c", "b"), joining("d", "c"), joining("e", "a")]
    heard = Heard()
    outcome = do(broken, store, executor, heard)
    assert outcome.failed["b"].message == "this cannot be done"
    assert "recorded_tasks" in outcome.failed["b"].details
    assert outcome.skipped == {"c": "b", "d": "b"}
    assert outcome.done == {"a", "e"}
    assert {name for event, name in heard.events if event == "skipped"} == {"c", "d"}
    mended = [joining("a"), joining("b", "a"), joining("c", "b"), joining("d", "c"), joining("e", "a")]
    again = do(mended, store, executor)
    assert again.present == {"a", "e"}
    assert again.done == {"b", "c", "d"}
    assert made(store, "d") == "abcd"


def test_tasks_of_one_key_are_done_once(store):
    heard = Heard()
    one, two = joining("one", key="key-of-both"), joining("two", key="key-of-both")
    after = [joining("after one", "one"), joining("after two", "two")]
    outcome = do([one, two, *after], store, heard=heard)
    assert outcome.done == {"one", "two", "after one", "after two"}
    assert [name for event, name in heard.events if event == "started"] == ["one", "after one", "after two"]
    assert made(store, "both") in {"one", "two"}


def test_tasks_of_one_key_fail_together(store):
    outcome = do([task("one", call=fail, key="k"), task("two", call=fail, key="k"), joining("c", "two")], store)
    assert set(outcome.failed) == {"one", "two"}
    assert outcome.skipped == {"c": "two"}


def test_a_full_disk_ends_the_run(store, executor):
    heard = Heard()
    with pytest.raises(StorageError, match="disk is full"):
        do([task("a", call=find_the_disk_full), *(joining(f"{k}", "a") for k in range(5))], store, executor, heard)
    assert [event for event, _ in heard.events] == ["started", "failed"]
    assert not list((store.path / "results").iterdir())


def test_unforeseen_errors_do_not_quote_what_they_met(store):
    outcome = do([task("a", call=fail_with_a_name)], store)
    assert outcome.failed["a"].message == "KeyError"
    assert "fail_with_a_name" in outcome.failed["a"].details
    assert "secretname" not in repr(outcome)


def test_a_task_has_its_threads_whatever_else_runs(store, executor):
    two = Resources(cpus=2)
    tasks = [joining("a"), Task("b", "stage", "key-of-b", joining("b").call, resources=two)]
    before = torch.get_num_threads()
    do(tasks, store, executor)
    threads = [(store.fetch(f"key-of-{name}") / "threads").read_text().split()[0] for name in ("a", "b")]
    assert threads == ["1", "2"]
    assert torch.get_num_threads() == before


def test_long_chains_come_before_short_ones(store):
    heard = Heard()
    do(
        [joining("short"), joining("end", "middle"), joining("middle", "start"), joining("start")],
        store,
        heard=heard,
    )
    assert [name for event, name in heard.events if event == "started"] == ["start", "middle", "short", "end"]


def test_a_process_that_the_system_ends_costs_its_task_alone(store):
    killed = [task("a", call=be_killed), joining("b", "a"), *(joining(f"{k}") for k in range(3))]
    outcome = do(killed, store, lambda: Processes(2, SHARED))
    assert "memory runs out" in outcome.failed["a"].message
    assert outcome.skipped == {"b": "a"}
    assert outcome.done == {"0", "1", "2"}


def test_a_process_that_ends_itself_says_so(store):
    outcome = do([task("a", call=end_itself), joining("b")], store, lambda: Processes(1, SHARED))
    assert "ended itself with status 3" in outcome.failed["a"].message
    assert outcome.done == {"b"}


def test_what_other_processes_cannot_import_is_told(store, monkeypatch):
    """As of a class that was written in a notebook."""

    def here_alone(bench):
        pass

    here_alone.__qualname__ = "here_alone"
    monkeypatch.setattr(sys.modules[__name__], "here_alone", here_alone, raising=False)
    outcome = do([task("a", call=here_alone), joining("b")], store, lambda: Processes(1, SHARED))
    assert "a file that can be imported" in outcome.failed["a"].message
    assert outcome.done == {"b"}


UNGUARDED = """
from pathlib import Path
from recorded_tasks import joining
from lesionforge.tasks.graph import Graph
from lesionforge.tasks.local import Processes
from lesionforge.tasks.schedule import Schedule
from lesionforge.tasks.store import FolderStore

with Processes(2, "the data") as processes:
    print(Schedule(Graph([joining("a")]), FolderStore.opened(Path("store")), processes).run().failed["a"].message)
"""


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ran = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=here, capture_output=True, text=True, check=True, timeout=120
    )
    assert 'must call it under `if __name__ == "__main__":`' in ran.stdout


def test_an_error_here_ends_the_processes(store):
    processes = []

    class Interrupted(Listener):
        def told(self, task, message):
            processes.append(int(message.text))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do([task("slow", call=wait)], store, lambda: Processes(2, SHARED), Interrupted())
    with pytest.raises(ProcessLookupError):
        os.kill(processes[0], 0)


def test_no_more_are_begun_than_there_is_room_for():
    processes = Processes(3, SHARED, gpus=1, memory_gb=10)
    processes._workers = []
    assert processes.has_room(Task("vast", "s", "k", fail, resources=Resources(memory_gb=99)))

    def with_running(*resources):
        from lesionforge.tasks.local import _Worker
        from lesionforge.tasks.perform import Job

        jobs = [
            Job(Task("x", "s", "k", fail, resources=each), store=None, gpu=0 if each.gpus else None)
            for each in resources
        ]
        processes._workers = [_Worker(None, None, job) for job in jobs]
        return lambda **asked: processes.has_room(Task("y", "s", "k2", fail, resources=Resources(**asked)))

    assert with_running(Resources(gpus=0.5))(gpus=0.5)
    assert not with_running(Resources(gpus=0.5))(gpus=0.6)
    assert with_running(Resources(gpus=1.0))()
    assert with_running(Resources(memory_gb=4))(memory_gb=6)
    assert not with_running(Resources(memory_gb=5))(memory_gb=6)
    assert not with_running(Resources(), Resources(), Resources())()
