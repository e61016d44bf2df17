"""Ray does the same tasks to the same results; a machine that is lost costs time, and nothing else."""

import importlib.util
import os
from pathlib import Path

import pytest
from recorded_tasks import fail, go_on, joining, task

from lesionforge.errors import LesionForgeError
from lesionforge.progress import Ended, Said
from lesionforge.tasks.graph import Graph
from lesionforge.tasks.on_ray import OnRay
from lesionforge.tasks.running import Running
from lesionforge.tasks.schedule import Listener, Schedule
from lesionforge.tasks.shared_store import open_store
from lesionforge.tasks.store import FolderStore

installed = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not installed, reason="the extra cluster (Ray) is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.usefixtures("seen_by_workers"),
]


@pytest.fixture
def seen_by_workers(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # `recorded_tasks`


class Heard(Listener):
    def __init__(self):
        self.messages = []

    def told(self, task, message):
        self.messages.append((task.name, message))


@needs_ray
def test_tasks_are_done_told_and_failed_as_anywhere(tmp_path):
    """With a store at an address, of which each machine has a part near it."""
    heard = Heard()
    tasks = [joining("a"), joining("b", "a"), task("c", "a", call=fail), joining("d", "c")]
    store = open_store(f"file://{tmp_path / 'store'}", near=tmp_path / "near")
    with OnRay("local", "the data", cpus=1) as cluster:
        outcome = Schedule(Graph(tasks), store, cluster, [heard]).run()
    assert outcome.done == {"a", "b"}
    assert outcome.failed["c"].message == "this cannot be done"
    assert outcome.skipped == {"d": "c"}
    assert (store.fetch("key-of-b") / "made").read_text() == "ab"
    assert (store.fetch("key-of-b") / "threads").read_text().startswith("1 in ")
    assert ("a", Said("a of the data")) in heard.messages
    assert ("a", Ended()) in heard.messages


@needs_ray
@pytest.mark.full_length
def test_a_machine_that_is_lost_costs_time_and_nothing_else(tmp_path):
    from ray.cluster_utils import Cluster

    store = FolderStore.opened(tmp_path / "store")
    soon_missed = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 3,
    }
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": soon_missed})
    first = machines.add_node(num_cpus=1)

    class LoseIt(Listener):
        def told(self, task, message):
            if message == Said("begun"):
                machines.add_node(num_cpus=1)
                machines.remove_node(first, allow_graceful=False)

    try:
        with OnRay(machines.address, "the data", cpus=1) as cluster:
            tasks = [task("slow", call=go_on), joining("after", "slow")]
            outcome = Schedule(Graph(tasks), store, cluster, [LoseIt()]).run()
    finally:
        machines.shutdown()
    assert not outcome.failed
    assert outcome.done == {"slow", "after"}
    assert (store.fetch("key-of-after") / "made").read_text() == "keptafter"


def test_without_ray_the_way_out_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LesionForgeError, match=r"pip install 'lesionforge\[cluster\]'"):
        OnRay("local", None, cpus=1)


def test_a_cluster_needs_a_store_that_all_its_machines_reach():
    with pytest.raises(LesionForgeError, match="--store"):
        Running(ray="head:6379")
