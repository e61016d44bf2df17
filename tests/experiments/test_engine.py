import json
import shutil
from dataclasses import replace
from itertools import count

import numpy as np
import pandas as pd
import pytest
import torch

from lesionforge.data import patches_file
from lesionforge.data.exposure import patient_digest
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.splits import repeated_kfold
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.evaluation.tables import read_table, regimes_from_table
from lesionforge.experiments import engine
from lesionforge.experiments.described import from_json, to_json
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Regime
from lesionforge.experiments.provenance import Source, warnings_about
from lesionforge.generators import checkpoint
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.methods.progressive_wgan import ProgressiveWGAN
from lesionforge.report.page import write_report
from lesionforge.storage import read_json
from lesionforge.synthesis.sample import sample
from lesionforge.tasks.journal import RunLog
from lesionforge.tasks.running import Running

pytestmark = pytest.mark.usefixtures("one_thread")

SOURCE = Source("cohort", command="lesionforge experiment tiny")


def with_classifier(experiment, **settings):
    """The same experiment, its classifier with other settings."""
    (contender,) = experiment.classifiers
    return replace(experiment, classifiers=(replace(contender, method=replace(contender.method, **settings)),))


def with_generator(experiment, method):
    """The same experiment with another method in the generator's place."""
    (generation,) = experiment.generators
    return replace(experiment, generators=(replace(generation, method=method),))


def run(experiment, patches, out, **options):
    return engine.run(experiment, patches, out, source=SOURCE, **options)


@pytest.fixture(scope="module")
def finished(tiny, cohort, tmp_path_factory, stop_after):
    """An uninterrupted run, and in how many steps it was made."""
    watch = stop_after()
    out = run(tiny, cohort, tmp_path_factory.mktemp("run") / "out", progress=watch)
    return out, watch.seen


def tables(out):
    return {file.name: file.read_bytes() for file in sorted((out / "tables").iterdir())}


def test_a_run_leaves_what_the_report_reads(finished):
    out, _ = finished
    assert sorted(tables(out)) == [
        "classifier_training.csv",
        "comparisons.csv",
        "confusion.csv",
        "effects.csv",
        "fold_scores.csv",
        "gan_training.csv",
        "predictions.csv",
        "scores.csv",
        "strangeness.csv",
        "subgroups.csv",
    ]
    assert sorted(plate.name for plate in (out / "plates").iterdir()) == ["dcgan-benign", "dcgan-malignant"]
    assert write_report(shutil.copytree(out, out.parent / "reported")).is_file()


def test_every_patient_is_predicted_once_by_every_regime(finished, cohort, tiny):
    predictions = read_table(finished[0] / "tables" / "predictions.csv")
    regimes = regimes_from_table(predictions)
    assert list(regimes) == [regime.name for regime in tiny.regimes]
    for found in regimes.values():
        assert sorted(found.row) == list(range(len(cohort)))
        assert set(found.patient) == set(map(patient_digest, cohort.patients))
        np.testing.assert_array_equal(np.array(found.classes)[found.truth], cohort.labels[found.row])


def test_the_same_seed_gives_the_same_tables(tiny, cohort, finished, tmp_path):
    assert tables(run(tiny, cohort, tmp_path / "again")) == tables(finished[0])


def test_two_processes_give_the_same_tables(tiny, cohort, tmp_path):
    """Each task has its own thread, however many are done at a time."""
    raw = replace(tiny, regimes=tiny.regimes[:1], generators=())
    one, two = (run(raw, cohort, tmp_path / str(workers), how=Running(workers)) for workers in (1, 2))
    assert tables(one) == tables(two)


def test_another_seed_gives_other_predictions(tiny, cohort, finished, tmp_path):
    raw = replace(tiny, regimes=tiny.regimes[:1], seed=4)
    found = read_table(run(raw, cohort, tmp_path / "other") / "tables" / "predictions.csv")
    before = read_table(finished[0] / "tables" / "predictions.csv").query("regime == 'raw'")
    assert not np.allclose(found.sort_values("row")["p_malignant"], before.sort_values("row")["p_malignant"])


@pytest.mark.parametrize("share", [0.02, 0.45, 0.99])
def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_numbers(
    tiny, cohort, finished, tmp_path, stop_after, killed, share
):
    out, (whole, steps) = tmp_path / "out", finished
    with pytest.raises(killed):
        run(tiny, cohort, out, progress=stop_after(max(1, int(share * steps))))
    assert not (out / "provenance.json").exists()
    run(tiny, cohort, out)
    assert tables(out) == tables(whole)
    assert read_json(out / "config.json", of="a run") == read_json(whole / "config.json", of="a run")


def test_killed_again_and_again_between_tasks_it_ends_with_the_same_numbers(
    tiny, cohort, finished, tmp_path, monkeypatch, killed
):
    """A kill after each finished task: every task is done once."""
    out, done = tmp_path / "out", []
    write = RunLog.write

    def kill(self, event, **facts):
        write(self, event, **facts)
        if event == "done":
            done.append(facts["task"])
            raise killed

    monkeypatch.setattr(RunLog, "write", kill)
    for _ in count():
        try:
            run(tiny, cohort, out)
        except killed:
            continue
        break
    assert len(done) == len(set(done)) == 2 * (2 + 2 + 2)  # in each fold 2 generators, 2 sets of samples, 2 classifiers
    assert tables(out) == tables(finished[0])


def test_what_a_hard_kill_leaves_half_written_is_not_taken_for_a_result(tiny, cohort, finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "out")
    (out / "provenance.json").unlink()
    lost = next((out / "store" / "results").iterdir())
    for folder in (lost.parent, out / "checkpoints", out / "plates"):
        (folder / f".{lost.name}.partial-x1").mkdir()
    lost.rename(lost.parent / f".{lost.name}.partial-x2")
    run(tiny, cohort, out)
    assert tables(out) == tables(finished[0])
    assert write_report(out).is_file()


def test_a_finished_run_is_not_run_again(tiny, cohort, finished, stop_after):
    watch = stop_after()
    before = tables(finished[0])
    assert run(tiny, cohort, finished[0], progress=watch) == finished[0]
    assert watch.seen == 0
    assert tables(finished[0]) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "seed"),
        ({"folds": 3}, "folds"),
        ({"regimes": (Regime("raw"),)}, "regimes"),
    ],
)
def test_other_settings_do_not_continue_a_run(tiny, cohort, finished, change, named):
    before = tables(finished[0])
    with pytest.raises(StorageError, match=f"other {named}"):
        run(replace(tiny, **change), cohort, finished[0])
    assert tables(finished[0]) == before


def test_other_methods_settings_and_other_data_do_not_continue_a_run(tiny, cohort, finished):
    other = with_classifier(tiny, dropout=0.1)
    with pytest.raises(StorageError, match="other classifier"):
        run(other, cohort, finished[0])
    with pytest.raises(StorageError, match="other data_digest"):
        run(tiny, cohort.rows(range(18)), finished[0])


def test_a_folder_of_something_else_is_left_alone(tiny, cohort, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for taken in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(StorageError, match="something else"):
            run(tiny, cohort, taken)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def relabelled(patches, labels):
    return patches.with_columns(label=labels)


def one_patient_of_a_class(patches):
    keep = (patches.labels == "benign") | (patches.patients == patches.patients[2])
    return patches.rows(keep.to_numpy())


BAD_DATA = {
    "one patient": (lambda p: p.rows(p.patients.to_numpy() == p.patients[0]), "at least 2 patients of every class"),
    "too few patients": (lambda p: p.rows(range(8)), "training and validation parts"),
    "a class of one patient": (one_patient_of_a_class, "'malignant' has 1"),
    "one class": (lambda p: p.with_label("benign"), "2 classes or more"),
    "no labels": (lambda p: relabelled(p, ""), "20 of 20 have none"),
    "a missing label": (lambda p: relabelled(p, ["", *p.labels[1:]]), "1 of 20 have none"),
    "too small": (lambda p: p.centre_crop(12), "fit inside"),
    "another unit": (
        lambda p: Patches.of(p.images, patient=list(p.patients), label=p.labels, unit="u8", diameter_mm=5.0),
        "window must be one of u8",
    ),
    "no diameters": (
        lambda p: Patches.of(p.images, patient=list(p.patients), label=p.labels, spacing_mm=0.7),
        "20 of 20 lesions",
    ),
}


@pytest.mark.parametrize("bad", BAD_DATA)
def test_data_that_does_not_allow_the_experiment_is_refused_before_anything_is_written(tiny, cohort, tmp_path, bad):
    spoil, why = BAD_DATA[bad]
    with pytest.raises(LesionForgeError, match=why):
        run(tiny, spoil(cohort), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"size": 18}, "18×18"),
        ({"size": 99}, "fit inside"),
        ({"metric": "f1"}, "metric must be one of auc, .*'f1'"),
        ({"window": "bone"}, "window must be one of"),
        ({"folds": 1}, "at least 2 folds"),
        ({"validation": 1.0}, "validation must be"),
        ({"regimes": (Regime("raw"), Regime("given", given=True))}, "none were given"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_before_anything_is_written(tiny, cohort, tmp_path, change, why):
    with pytest.raises(LesionForgeError, match=why):
        run(replace(tiny, **change), cohort, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_classifier_that_takes_no_such_patches_is_found_at_once(tiny, cohort, tmp_path):
    deep = with_classifier(tiny, channels=(4,) * 5)
    with pytest.raises(LesionForgeError, match="32 pixels or more"):
        run(deep, cohort, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_generator_lacks_is_found_at_once(tiny, cohort, tmp_path):
    pictured = with_generator(tiny, Pix2Pix())
    with pytest.raises(LesionForgeError, match="no masks"):
        run(pictured, cohort.with_images(cohort.images), tmp_path / "out")
    growing = with_generator(tiny, ProgressiveWGAN())
    with pytest.raises(LesionForgeError, match="but 48 are planned"):
        run(growing, cohort, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [ACGAN, Pix2Pix])
def test_a_run_with_a_generator_that_is_asked_or_shown_something_ends_in_a_report(tiny, cohort, tmp_path, kind):
    generator = kind(batch_size=8, generator_width=8, discriminator_width=4)
    out = run(with_generator(tiny, generator), cohort, tmp_path / "out")
    trained = read_table(out / "tables" / "gan_training.csv")
    assert set(trained["label"]) == ({"benign, malignant"} if kind is ACGAN else {"benign", "malignant"})
    assert len(list((out / "checkpoints").glob("*-generator-*"))) == (2 if kind is ACGAN else 4)
    for plate in ("benign", "malignant"):
        assert set(patches_file.load(out / "plates" / f"dcgan-{plate}").labels) == {plate}
    assert write_report(out).is_file()


def test_regimes_need_names_of_their_own_and_a_generator(tiny):
    for regimes in ((), (Regime("raw"), Regime("raw"))):
        with pytest.raises(LesionForgeError, match="different names"):
            replace(tiny, regimes=regimes)
    with pytest.raises(LesionForgeError, match="needs a generator"):
        replace(tiny, generators=())


def test_no_file_of_a_run_names_a_patient_or_a_scan(finished):
    files = [file for file in finished[0].rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".csv", ".json", ".jsonl", ".safetensors", ".npy", ".png"}
    for file in files:
        assert b"secret" not in file.read_bytes(), file


def test_no_generator_has_seen_its_folds_test_or_validation_patients(finished, cohort, tiny):
    out, _ = finished
    splits = repeated_kfold(cohort, folds=tiny.folds, repeats=tiny.repeats, seed=tiny.seed, validation=tiny.validation)
    predictions = read_table(out / "tables" / "predictions.csv")
    for split in splits:
        tested = predictions.query("fold == @split.fold")
        assert set(tested["row"]) == set(split.test)
        manifests = list(out.glob(f"checkpoints/repeat0-fold{split.fold}-generator-*/checkpoint.json"))
        assert len(manifests) == 2
        for manifest in manifests:
            subject = checkpoint.read_manifest(manifest.parent)["subject"]
            seen = set(subject["exposure"]["patients"])
            assert seen.isdisjoint(tested["patient"])
            assert seen.isdisjoint(map(patient_digest, cohort.patients.iloc[split.validation]))
            training = cohort.rows(split.train).with_label(subject["labels"][0])
            assert seen == set(map(patient_digest, training.patients))


def test_no_classifier_has_seen_its_folds_test_patients(finished):
    predictions = read_table(finished[0] / "tables" / "predictions.csv")
    manifests = list(finished[0].glob("checkpoints/*-classifier-*/classifier.json"))
    assert len(manifests) == 4
    for manifest in manifests:
        fold = int(manifest.parent.name.split("fold")[1][0])
        seen = set(json.loads(manifest.read_text())["facts"]["exposure"]["patients"])
        assert seen
        assert seen.isdisjoint(predictions["patient"][predictions["fold"] == fold])


@pytest.fixture(scope="module")
def given(finished):
    """Samples of the two generators of the first fold."""
    out, _ = finished
    folders = sorted(file.parent for file in out.glob("checkpoints/repeat0-fold0-generator-*/checkpoint.json"))
    return concatenate([sample(checkpoint.load(folder), 6) for folder in folders])


@pytest.fixture(scope="module")
def with_given(tiny):
    return replace(tiny, regimes=(Regime("raw"), Regime("given", given=True)), generators=())


def test_given_patches_that_have_seen_the_patients_are_a_leak_found_at_once(with_given, cohort, given, tmp_path):
    with pytest.raises(LeakError, match="cross-validation with given synthetic patches"):
        run(with_given, cohort, tmp_path / "out", given=given)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def strangers(small_patches):
    return small_patches(patients=10, shape=(20, 20), prefix="stranger", seed=9)


def test_given_patches_are_added_to_their_regime(with_given, strangers, given, tmp_path):
    out = run(with_given, strangers, tmp_path / "out", given=given)
    predictions = regimes_from_table(read_table(out / "tables" / "predictions.csv"))
    assert not np.array_equal(predictions["raw"].probability, predictions["given"].probability)
    assert not (out / "plates").exists()
    assert not (out / "tables" / "gan_training.csv").exists()
    other = given.rows(range(10))
    with pytest.raises(StorageError, match="other given_digest"):
        run(with_given, strangers, out, given=other)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda given: given.centre_crop(8), r"must be \(16, 16\) in HU"),
        (lambda given: given.with_columns(label="cyst"), "'cyst'"),
        (lambda given: given.with_columns(label=""), "labelled benign or malignant"),
    ],
)
def test_given_patches_that_do_not_fit_are_refused_at_once(with_given, strangers, given, tmp_path, spoil, why):
    with pytest.raises(LesionForgeError, match=why):
        run(with_given, strangers, tmp_path / "out", given=spoil(given))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [("0", "1"), ("01", "1"), ("NA", "nan"), ("a-classifier-b", "généralisé, 5–10 mm")])
def test_labels_are_names_whatever_they_look_like(tiny, cohort, tmp_path, names):
    labels = np.where(cohort.labels == "benign", *names)
    raw = replace(tiny, generators=(), regimes=(Regime("raw"), Regime("1", classic=2)))
    out = run(raw, relabelled(cohort, labels), tmp_path / "out")
    regimes = regimes_from_table(read_table(out / "tables" / "predictions.csv"))
    assert list(regimes) == ["raw", "1"]
    assert regimes["1"].classes == tuple(sorted(names))


def test_repeats_are_told_apart(tiny, cohort, tmp_path):
    twice = replace(tiny, repeats=2, regimes=(Regime("raw"),), generators=())
    predictions = read_table(run(twice, cohort, tmp_path / "out") / "tables" / "predictions.csv")
    assert predictions.groupby(["repeat", "fold"]).ngroups == 4
    assert predictions.groupby("row")["repeat"].nunique().eq(2).all()
    assert not (tmp_path / "out" / "tables" / "comparisons.csv").exists()


def test_provenance_tells_data_folds_software_and_times(finished, cohort):
    provenance = read_json(finished[0] / "provenance.json", of="a run")
    assert provenance["command"] == "lesionforge experiment tiny"
    assert provenance["data"]["digest"] == cohort.digest
    assert [(c["label"], c["lesions"], c["patients"]) for c in provenance["data"]["classes"]] == [
        ("benign", 10, 5),
        ("malignant", 10, 5),
    ]
    assert provenance["software"]["torch"] == torch.__version__
    for fold in provenance["folds"]:
        assert sum(fold[f"{part}_lesions"] for part in ("train", "validation", "test")) == 20
        assert sum(fold[f"{part}_patients"] for part in ("train", "validation", "test")) == 10
    assert set(provenance["seconds_by_stage"]) == {"generators", "samples", "classifiers"}
    assert provenance["seconds"] == pytest.approx(sum(provenance["seconds_by_stage"].values()), abs=0.05)
    assert pd.Timestamp(provenance["started"]).tz is not None


def test_config_tells_every_setting(finished, tiny):
    config = read_json(finished[0] / "config.json", of="a run")
    assert config["generators"][0]["method"]["method"] == "dcgan"
    assert config["generators"][0]["method"]["generator_width"] == 16
    assert config["classifiers"][0]["method"]["method"] == "small_cnn"
    assert [regime["name"] for regime in config["regimes"]] == ["raw", "classic+dcgan"]
    assert set(vars(tiny)) <= set(config)


def warned(sizes, labels, per_patient=1):
    count = len(labels)
    images = np.arange(count * 4).reshape(count, 2, 2)
    patients = [f"p{k // per_patient}" for k in range(count)]
    return warnings_about(Patches.of(images, patient=patients, label=labels, diameter_mm=sizes))


def test_few_patients_are_a_warning():
    labels = ["a"] * 40 + ["b"] * 29
    assert any("'b' has 29 patients" in warning for warning in warned(np.full(69, 9.0), labels))
    assert not warned(np.full(70, 9.0), [*labels, "b"])
    assert any("has 20 patients" in warning for warning in warned(np.full(80, 9.0), ["a", "a", "b", "b"] * 20, 4))


@pytest.mark.parametrize(("shift", "expected"), [(20.0, 1), (-20.0, 1), (0.0, 0)])
def test_size_that_gives_the_class_away_is_a_warning(shift, expected):
    sizes = np.random.default_rng(0).uniform(30, 50, 200)
    labels = ["a", "b"] * 100
    sizes[1::2] += shift
    found = [warning for warning in warned(sizes, labels) if "diameter alone" in warning]
    assert len(found) == expected
    sizes[:5] = np.nan
    assert len([warning for warning in warned(sizes, labels) if "diameter alone" in warning]) == expected


def test_an_experiment_is_plain_data(tiny):
    assert isinstance(tiny, Experiment)
    assert hash(tiny) == hash(replace(tiny))
    assert from_json(json.loads(json.dumps(to_json(tiny)))) == tiny
