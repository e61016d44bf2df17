"""What the engine makes of the graph: what is shared, what fails, what is killed, what is planned."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments import classifier_tasks, engine, generator_tasks
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.ingredients import Choice, Contender, Regime
from lesionforge.experiments.provenance import Source
from lesionforge.progress import Progress
from lesionforge.report.page import write_report
from lesionforge.storage import read_json
from lesionforge.tasks import code_version, graph, store
from lesionforge.tasks.journal import RunLog
from lesionforge.tasks.running import Running
from lesionforge.tasks.schedule import TasksFailedError

pytestmark = pytest.mark.usefixtures("one_thread")

KILLS = 3


def run(experiment, patches, out, **options):
    return engine.run(experiment, patches, out, source=Source("cohort"), **options)


def tables(out):
    return {file.name: file.read_bytes() for file in sorted((out / "tables").glob("*.csv"))}


@pytest.fixture
def counted(monkeypatch):
    """Counts the trainings and fits that are begun."""
    calls = []
    for name in ("train_generator", "fit"):
        plain = getattr(Fold, name)

        def counting(self, *args, name=name, plain=plain, **named):
            calls.append(name)
            return plain(self, *args, **named)

        monkeypatch.setattr(Fold, name, counting)
    return calls


def test_another_classifier_retrains_no_generator(tiny, cohort, finished_run, shared, tmp_path, counted):
    other = replace(tiny, classifiers=(Contender("small_cnn", replace(tiny.classifiers[0].method, dropout=0.1)),))
    out = run(other, cohort, tmp_path / "out", how=shared)
    assert sorted(set(counted)) == ["fit"]
    assert len(counted) == 2 * 2
    assert tables(out)["gan_training.csv"] == tables(finished_run[0])["gan_training.csv"]
    assert tables(out)["predictions.csv"] != tables(finished_run[0])["predictions.csv"]


def test_another_generator_refits_only_what_learns_from_it(tiny, cohort, finished_run, shared, tmp_path, counted):
    (dcgan,) = tiny.generators
    other = replace(tiny, generators=(replace(dcgan, training=replace(dcgan.training, images=32)),))
    run(other, cohort, tmp_path / "out", how=shared)
    assert sorted(counted) == ["fit"] * 2 + ["train_generator"] * 4


def test_what_only_names_and_compares_is_no_other_task(tiny, cohort, finished_run, shared, tmp_path, counted):
    raw, both = tiny.regimes
    renamed = replace(
        tiny,
        title="Another title",
        metric="accuracy",
        generators=(replace(tiny.generators[0], name="gan"),),
        regimes=(replace(raw, name="plain"), replace(both, name="all")),
    )
    out = run(renamed, cohort, tmp_path / "out", how=shared)
    assert not counted
    assert set(read_table(out / "tables" / "gan_training.csv")["generator"]) == {"gan"}
    assert set(read_table(out / "tables" / "classifier_training.csv")["regime"]) == {"plain", "all"}
    for table in ("scores.csv", "predictions.csv"):
        found, before = (read_table(each / "tables" / table).drop(columns="regime") for each in (out, finished_run[0]))
        pd.testing.assert_frame_equal(found, before)


def test_a_store_at_an_address_serves_other_runs_elsewhere(tiny, cohort, finished_run, tmp_path, counted):
    fsspec.filesystem("memory").store.clear()
    how = Running(store="memory://bucket/store")
    outs = [run(tiny, cohort, tmp_path / name, how=how) for name in ("one", "two")]
    assert len(counted) == 2 * (2 + 2)  # in each fold 2 generators and 2 classifiers
    assert tables(outs[0]) == tables(outs[1]) == tables(finished_run[0])
    assert len(list((outs[1] / "store" / "results").iterdir())) == 12


def test_equal_regimes_are_one_task(tiny, cohort, tmp_path, counted):
    """A second contender of the same settings is fitted as little as a regime of the same sets."""
    (cnn,) = tiny.classifiers
    twice = replace(
        tiny,
        generators=(),
        classifiers=(cnn, replace(cnn, name="again")),
        regimes=(Regime("raw"), Regime("raw again", classifier="again"), Regime("raw as well", real=True)),
    )
    out = run(twice, cohort, tmp_path / "out")
    assert counted == ["fit"] * 2
    scores = read_table(out / "tables" / "scores.csv").pivot_table(index="metric", columns="regime", values="estimate")
    for name in scores:
        np.testing.assert_array_equal(scores[name], scores["raw"])


def test_other_rows_seeds_and_sizes_are_other_tasks(tiny, cohort, shared, finished_run, tmp_path, small_patches):
    def keys(experiment, patches):
        made, _, present = engine.planned(experiment, patches, tmp_path / "none", how=shared)
        return {task.key for task in made}, present

    plain, present = keys(tiny, cohort)
    assert plain == present
    assert not (tmp_path / "none").exists()
    dimmer = cohort.with_images((cohort.images - 1).astype(np.int16), cohort.masks)
    for experiment, patches in (
        (replace(tiny, seed=4), cohort),
        (replace(tiny, size=20), cohort),
        (tiny, dimmer),
        (tiny, small_patches(patients=10, shape=(20, 20), prefix="other")),
    ):
        assert plain.isdisjoint(keys(experiment, patches)[0])


def test_other_code_makes_everything_anew_and_says_so(
    tiny, cohort, finished_run, shared, tmp_path, monkeypatch, counted
):
    said = []

    class Heard(Progress):
        def say(self, text):
            said.append(text)

    raw = replace(tiny, generators=(), regimes=tiny.regimes[:1])
    out = run(raw, cohort, tmp_path / "out", how=shared)
    assert not counted
    (out / "provenance.json").unlink()
    for module in (graph, engine):
        monkeypatch.setattr(module, "code_version", lambda: "other")
    run(raw, cohort, out, how=shared, progress=Heard())
    assert counted == ["fit"] * 2
    assert any("done anew" in text for text in said)
    assert code_version.code_version() != "other"


def test_a_store_of_another_version_is_refused(tiny, cohort, finished_run, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").write_text('{"format": "lesionforge-store", "version": 0}')
    with pytest.raises(StorageError, match="version 0 of its format"):
        run(tiny, cohort, tmp_path / "out", how=Running(store=str(tmp_path / "store")))


@pytest.fixture
def broken(monkeypatch):
    """The generator of one class fails in the first fold."""
    plain = Fold.train_generator

    def fail(self, generation, labels, *args):
        if labels == ("benign",) and self.split.fold == 0:
            raise LesionForgeError("this class cannot be learnt")
        return plain(self, generation, labels, *args)

    monkeypatch.setattr(Fold, "train_generator", fail)


def test_what_fails_is_told_the_rest_is_scored_and_the_same_call_mends_it(
    tiny, cohort, finished_run, tmp_path, broken, monkeypatch
):
    out = tmp_path / "out"
    with pytest.raises(
        TasksFailedError, match=r"1 of 12 tasks failed and 2 .* left out. .*cannot be learnt.*tries them again"
    ):
        run(tiny, cohort, out)
    told = read_json(out / "failed.json", of="a run")
    assert told["failed"] == {"repeat0-fold0-generator-dcgan-benign": "this class cannot be learnt"}
    assert set(told["left_out"].values()) == set(told["failed"])
    assert "cannot be learnt" in (out / "logs" / "repeat0-fold0-generator-dcgan-benign.log").read_text()
    assert set(read_table(out / "tables" / "scores.csv")["regime"]) == {"raw"}
    assert "classic+dcgan" in read_json(out / "provenance.json", of="a run")["warnings"][-1]
    assert "cannot be learnt" in write_report(out).read_text()
    monkeypatch.undo()
    run(tiny, cohort, out)
    assert tables(out) == tables(finished_run[0])
    assert not (out / "failed.json").exists()
    events = [json.loads(line)["event"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert events.count("failed") == 1
    assert events.count("done") == 12


def test_where_every_regime_fails_nothing_is_scored(tiny, cohort, tmp_path, monkeypatch):
    def fail(self, regime, progress):
        raise LesionForgeError("nothing can be fitted")

    monkeypatch.setattr(Fold, "fit", fail)
    with pytest.raises(TasksFailedError, match="4 of 12 tasks failed"):
        run(tiny, cohort, tmp_path / "out")
    assert not (tmp_path / "out" / "provenance.json").exists()
    assert not (tmp_path / "out" / "tables").exists()


def test_a_failed_regime_takes_its_choice_with_it(tiny, cohort, tmp_path, monkeypatch, small_patches):
    patches = small_patches(patients=24, shape=(20, 20))
    regimes = (Regime("raw"), Regime("classic", classic=4))
    chosen = replace(
        tiny, generators=(), validation=0.4, regimes=regimes, choices=(Choice("best", ("raw", "classic")),)
    )
    plain = Fold.fit

    def fail(self, regime, progress):
        if regime.name == "classic":
            raise LesionForgeError("no")
        return plain(self, regime, progress)

    monkeypatch.setattr(Fold, "fit", fail)
    with pytest.raises(TasksFailedError, match="2 of 6 tasks failed and 2 that need them"):
        run(chosen, patches, tmp_path / "out")
    assert set(read_table(tmp_path / "out" / "tables" / "scores.csv")["regime"]) == {"raw"}
    assert write_report(tmp_path / "out").is_file()


def test_a_disk_that_fills_ends_the_run_and_leaves_nothing_half_written(
    tiny, cohort, finished_run, tmp_path, monkeypatch
):
    out, plain = tmp_path / "out", generator_tasks.write_table

    def full(path, table):
        if path.name == "training.csv" and len(list((out / "store" / "results").glob("[!.]*"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(path, table)

    for module in (generator_tasks, classifier_tasks):
        monkeypatch.setattr(module, "write_table", full)
    with pytest.raises(StorageError, match="the disk is full"):
        run(tiny, cohort, out)
    assert not (out / "provenance.json").exists()
    assert not list((out / "store" / "results").glob(".*"))
    assert all((result / store.TASK).exists() for result in (out / "store" / "results").iterdir())
    monkeypatch.undo()
    run(tiny, cohort, out)
    assert tables(out) == tables(finished_run[0])


@pytest.mark.parametrize(
    "number", [*range(KILLS), *(pytest.param(k, marks=pytest.mark.full_length) for k in range(KILLS, 20))]
)
def test_killed_at_random_moments_it_ends_with_the_same_numbers(
    tiny, cohort, finished_run, tmp_path, stop_after, killed, number
):
    """Killed three times, each time somewhere in what is left."""
    out, (whole, steps) = tmp_path / "out", finished_run
    rng = np.random.default_rng(number)
    for left in (1.0, 0.6, 0.3):
        try:
            run(tiny, cohort, out, progress=stop_after(int(rng.integers(1, max(2, int(steps * left))))))
        except killed:
            continue
    run(tiny, cohort, out)
    assert tables(out) == tables(whole)


def test_two_runs_do_not_work_in_one_folder(tiny, cohort, tmp_path, monkeypatch):
    out, plain = tmp_path / "out", RunLog.write
    raw = replace(tiny, generators=(), regimes=tiny.regimes[:1])
    refused = []

    def meanwhile(self, event, **facts):
        plain(self, event, **facts)
        if event == "planned" and not refused:
            refused.append(1)
            with pytest.raises(StorageError, match="another process is working"):
                run(raw, cohort, out)

    monkeypatch.setattr(RunLog, "write", meanwhile)
    run(raw, cohort, out)
    assert refused


def test_the_map_of_tasks_leads_to_their_results(finished_run, shared):
    told = read_json(finished_run[0] / "tasks.json", of="a run")
    assert len(told["tasks"]) == 12
    for facts in told["tasks"].values():
        result = Path(shared.store) / "results" / facts["key"]
        assert read_json(result / store.TASK, of="a result")["stage"] == facts["stage"]
        assert all(need in told["tasks"] for need in facts["needs"])
    assert not (finished_run[0] / "store").exists()
    assert b"secret" not in b"".join(file.read_bytes() for file in Path(shared.store).rglob("*") if file.is_file())
