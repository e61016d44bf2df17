import pandas as pd
import pytest

from lesionforge.experiments.tasks import Tasks, write_table


@pytest.fixture
def tasks(tmp_path):
    (tmp_path / "tasks").mkdir()
    return Tasks(tmp_path)


def test_a_task_is_done_once(tasks):
    made = []
    for _ in range(2):
        tasks.do("a", stage="classifiers", make=lambda folder: made.append(folder))
    assert len(made) == 1
    assert list(tasks.seconds_by_stage()) == ["classifiers"]


def test_a_task_that_fails_leaves_no_result_and_is_done_again(tasks):
    def half(folder):
        (folder / "half.csv").write_text("a")
        raise KeyError

    with pytest.raises(KeyError):
        tasks.do("a", stage="classifiers", make=half)
    assert not list((tasks.out / "tasks").iterdir())
    tasks.do("a", stage="classifiers", make=lambda folder: (folder / "whole.csv").write_text("a"))
    assert (tasks.result("a") / "whole.csv").exists()


def test_tables_are_joined_by_stage_and_their_names_stay_text(tasks):
    for name, stage, label in (
        ("b", "generators", "01"),
        ("a", "generators", "NA"),
        ("c-generator-d", "classifiers", "x"),
    ):
        table = pd.DataFrame({"label": [label], "value": [0.1 + 0.2]})
        tasks.do(name, stage=stage, make=lambda folder, table=table: write_table(folder / "training.csv", table))
    joined = tasks.tables("generators", "training.csv")
    assert joined["label"].tolist() == ["NA", "01"]
    assert joined["value"].tolist() == [0.1 + 0.2] * 2
    assert tasks.tables("other", "training.csv").empty


def test_the_log_tells_when_a_run_was_begun(tasks):
    tasks.log("opened")
    first = tasks.started()
    tasks.log("opened")
    assert tasks.started() == first
