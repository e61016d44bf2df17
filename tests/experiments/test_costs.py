from dataclasses import replace

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.experiments.costs import plan_table
from lesionforge.experiments.ingredients import Contender


def test_a_plan_tells_every_task_what_is_done_and_what_it_would_take(tiny, cohort, finished_run, shared, tmp_path):
    long = replace(
        tiny, classifiers=(Contender("small_cnn", SmallCNN(channels=(4, 4), max_images=10**7, epochs=10**6)),)
    )
    table, sentences = plan_table(long, cohort, tmp_path / "out", how=shared)
    assert not (tmp_path / "out").exists()
    by_stage = table.groupby("stage")["state"].agg(["first", "nunique", "size"])
    assert by_stage.loc["generators"].tolist() == ["done", 1, 4]
    assert by_stage.loc["classifiers"].tolist() == ["to do", 1, 4]
    assert table.loc[table["stage"] == "classifiers", "estimate"].str.contains(":").all()
    assert sentences[0] == "12 tasks, 8 of them done."
    assert "Estimated as images ×" in sentences[-1]
