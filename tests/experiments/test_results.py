import pandas as pd
import pytest

from lesionforge.errors import StorageError
from lesionforge.experiments.results import Results, write_table
from lesionforge.tasks.graph import Graph, Task
from lesionforge.tasks.store import FolderStore


@pytest.fixture
def store(tmp_path):
    return FolderStore.opened(tmp_path / "store")


def left(store, key, stage, label):
    """Put a result in the store, as a task of that stage leaves it."""
    table = pd.DataFrame({"label": [label], "value": [0.1 + 0.2]})
    store.do(key, stage=stage, make=lambda folder, _: write_table(folder / "training.csv", table))


def task(name, stage="generators", key="", **about):
    return Task(name, stage, key or name, call=print, about=about)


def test_tables_are_joined_by_stage_with_what_each_is_about_and_their_names_stay_text(store):
    for key, stage, label in (("b", "generators", "01"), ("a", "generators", "NA"), ("c", "classifiers", "x")):
        left(store, key, stage, label)
    graph = Graph([task("b", fold=1), task("a", fold=0), task("c", "classifiers"), task("not done")])
    results = Results(graph, store)
    joined = results.tables("generators", "training.csv")
    assert joined["label"].tolist() == ["NA", "01"]
    assert joined["value"].tolist() == [0.1 + 0.2] * 2
    assert joined["fold"].tolist() == [0, 1]
    assert results.tables("other", "training.csv").empty
    assert set(results) == {"a", "b", "c"}
    assert "not done" not in results


def test_tasks_of_one_key_have_one_result_and_its_time_is_counted_once(store):
    left(store, "key", "generators", "x")
    one, two = (Results(Graph([task(name, key="key") for name in names]), store) for names in (["a"], ["a", "b"]))
    assert two["a"] == two["b"]
    assert len(two.tables("generators", "training.csv")) == 2
    assert one.seconds_by_stage == two.seconds_by_stage
    assert list(two.seconds_by_stage) == ["generators"]


def test_a_result_that_is_deleted_meanwhile_is_told(store):
    left(store, "a", "generators", "x")
    results = Results(Graph([task("a")]), store)
    (store.result("a") / "task.json").unlink()
    with pytest.raises(StorageError, match="is missing"):
        results["a"]
