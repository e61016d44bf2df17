"""Portions, choices, lines and training on samples alone, in one small run whose every fact can be checked."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.data.exposure import patient_digest
from lesionforge.data.splits import repeated_kfold
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.saturation import saturation
from lesionforge.evaluation.tables import read_table, regimes_from_table
from lesionforge.experiments import engine
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.ingredients import Choice, Line, Regime
from lesionforge.experiments.parts import (
    CHOSEN_CLASSIC,
    CHOSEN_SYNTHETIC,
    ONLY_SYNTHETIC,
    RAW,
    only_synthetic,
    over_classic,
    over_patients,
    over_portions,
    over_synthetic,
)
from lesionforge.experiments.provenance import Source
from lesionforge.experiments.results import Results
from lesionforge.experiments.unfold import unfold
from lesionforge.generators import checkpoint
from lesionforge.report.page import write_report
from lesionforge.tasks.graph import Resources
from lesionforge.tasks.store import FolderStore

pytestmark = pytest.mark.usefixtures("one_thread")
PARTS = over_classic((4, 8)) + only_synthetic(6) + over_patients((0.5,)) + over_synthetic((3,))
PORTIONS = over_portions((0.5, 1.0), "dcgan", classic=4, synthetic_per_class=3)


@pytest.fixture(scope="module")
def cohort(small_patches):
    """Twenty-four patients: enough for two of each class among the validation patients."""
    patches = small_patches(patients=24, shape=(20, 20))
    dense = np.where(patches.labels == "malignant", 300, 0)[:, None, None] * patches.masks
    return patches.with_images((patches.images + dense).astype(np.int16), patches.masks).with_columns(
        kernel=["soft" if number % 4 < 2 else "sharp" for number in range(len(patches))]
    )


@pytest.fixture(scope="module")
def described(tiny) -> Experiment:
    return replace(tiny, validation=0.4, embedded=12, **(PARTS + PORTIONS).settings)


@pytest.fixture(scope="module")
def finished(described, cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("curves") / "out"
    return engine.run(described, cohort, out, source=Source("cohort"))


@pytest.fixture(scope="module")
def folds(described, cohort, finished):
    splits = repeated_kfold(cohort, folds=2, repeats=1, seed=described.seed, validation=described.validation)
    made = [Fold(described, cohort, split) for split in splits]
    results = Results(unfold(made, Resources()), FolderStore(finished / "store"))
    return [replace(fold, results=results) for fold in made]


def table(out, name):
    return read_table(out / "tables" / f"{name}.csv")


def test_everything_that_was_described_is_scored_and_reported(finished, described):
    regimes = regimes_from_table(table(finished, "predictions"))
    assert tuple(regimes) == described.names
    assert set(table(finished, "comparisons")["regime"]) == {pair[0] for pair in described.pairs}
    curves = table(finished, "curves")
    assert set(curves["line"]) == {line.name for line in described.lines}
    scores = table(finished, "scores").set_index(["regime", "metric"])
    for row in curves.itertuples():
        assert row.estimate == scores.loc[(row.regime, row.metric), "estimate"]
    effects = table(finished, "effects")
    assert set(effects["regime"]) == {described.pairs[-1][0]}
    assert "sensitivity [malignant]" in set(effects["metric"])
    assert set(table(finished, "subgroups")["subgroup"]) == {"diameter_mm", "kernel"}
    page = write_report(finished).read_text()
    for words in ("How much is enough", "What changes for whom", "Features", CHOSEN_SYNTHETIC):
        assert words in page
    assert {"curves.svg", "precision_recall.svg", "effects.svg", "subgroups.svg", "embedding.svg"} <= {
        file.name for file in (finished / "figures").iterdir()
    }


def test_a_choice_is_what_validation_patients_of_the_fold_choose_and_nobody_else(finished, folds, described):
    chosen = table(finished, "choices")
    for fold in folds:
        for choice in described.choices:
            said = [fold.predictions(name, "validation.csv") for name in choice.among]
            for each in said:
                assert set(each.row) == set(fold.split.validation)
            found = saturation(said, seed=fold.seed("choice"))
            rows = chosen[(chosen["choice"] == choice.name) & (chosen["fold"] == fold.split.fold)]
            assert rows["chosen"].tolist() == found["chosen"].tolist()
            name = rows.loc[rows["chosen"], "regime"].item()
            assert fold.regime_named(choice.name).name == name
            assert fold.predictions(choice.name).to_table().equals(fold.predictions(name).to_table())


def test_what_builds_on_a_choice_takes_its_amount_of_classic_patches(folds):
    for fold in folds:
        amount = fold.regime_named(CHOSEN_CLASSIC).classic
        joined = fold.training_set(Regime("x", synthetic_per_class=3, classic_of=CHOSEN_CLASSIC))
        assert len(joined) == len(fold.train) + amount + 2 * 3


def test_a_portion_knows_its_patients_alone(folds, cohort, tiny):
    (dcgan,) = tiny.generators
    for fold in folds:
        half = fold.of_portion(0.5)
        assert set(half.split.train) < set(fold.split.train)
        assert half.train.patients.nunique() == round(fold.train.patients.nunique() / 2)
        assert fold.of_portion(1.0) is fold
        assert half.train.classes == fold.train.classes
        for label in cohort.classes:
            seen = checkpoint.load(half.checkpoint_of(dcgan, label)).subject.exposure
            assert seen.learnt.patients <= set(map(patient_digest, half.train.patients))
            assert half.checkpoint_of(dcgan, label) != fold.checkpoint_of(dcgan, label)
        joined = fold.training_set(Regime("x", classic=4, synthetic_per_class=3, portion=0.5))
        assert joined.exposure.learnt.patients == set(map(patient_digest, half.train.patients))


def test_trained_on_samples_alone_it_has_met_no_real_patch(folds):
    joined = folds[0].training_set(Regime("x", synthetic_per_class=6, real=False))
    assert joined.is_synthetic.all()
    assert joined.labels.tolist() == ["benign"] * 6 + ["malignant"] * 6


def test_no_classifier_has_seen_a_test_patient(finished, folds):
    for fold in folds:
        tested = set(map(patient_digest, fold.test.patients))
        manifests = list((finished / "checkpoints").glob(f"{fold.name}-classifier-*/classifier.json"))
        assert len(manifests) == len(fold.experiment.regimes)
        for manifest in manifests:
            seen = set(json.loads(manifest.read_text())["facts"]["exposure"]["patients"])
            assert seen
            assert seen.isdisjoint(tested)


def test_features_are_of_test_patches_and_fresh_samples(finished, folds, described, tiny):
    embedded = table(finished, "embedding")
    assert set(embedded["regime"]) == set(described.shown)
    looked_at = folds[0].looked_at()
    real = looked_at.rows(~looked_at.is_synthetic)
    assert set(real.patients) <= set(folds[0].test.patients)
    assert (len(real), len(looked_at)) == (12, 24)
    trained_on = folds[0].samples(tiny.generators[0], "benign", 6).images
    assert not any((image == made).all() for image in looked_at.images[12:] for made in trained_on)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"choices": (Choice("c", ("raw", "none")),)}, "choose among"),
        ({"choices": (Choice("raw", ("raw",)),)}, "different names"),
        ({"pairs": (("raw", "none"),)}, "regimes to compare .*'none'"),
        ({"lines": (Line("l", "x", ("none",), (1.0,)),)}, "of a line"),
        ({"shown": ("none",)}, "to show"),
        ({"regimes": (Regime("raw", classic_of="none"),)}, "build on"),
        ({"choices": (Choice("c", ("raw",)),), "validation": 0.0}, "share is 0"),
        ({"regimes": (Regime("raw", classifier="none"),)}, "needs a classifier, and 'none' is not there"),
        ({"recipe": "wang2020"}, "did you mean 'wang_2020'"),
    ],
)
def test_descriptions_that_name_what_is_not_there_are_refused(tiny, change, why):
    plain = {"choices": (), "pairs": (), "lines": (), "shown": ()}
    with pytest.raises(LesionForgeError, match=why):
        replace(tiny, **plain | {"regimes": (Regime("raw"),), "generators": ()} | change)


def test_regimes_and_lines_that_contradict_themselves_are_refused():
    for bad in ({"classic": 3, "synthetic_per_class": 3}, {}, {"classic_of": "c", "synthetic_per_class": 3}):
        with pytest.raises(LesionForgeError, match="leaves real patches out"):
            Regime("x", real=False, **bad)
    with pytest.raises(LesionForgeError, match="must have regimes"):
        Choice("c", ())
    with pytest.raises(LesionForgeError, match="an amount for each of 2"):
        Line("l", "x", ("a", "b"), (1.0,))


def test_too_few_validation_patients_to_choose_are_found_at_once(tiny, cohort, tmp_path):
    few = replace(tiny, validation=0.1, generators=(), **over_classic((4,)).settings)
    with pytest.raises(LesionForgeError, match="2 validation patients of every class"):
        engine.run(few, cohort, tmp_path / "out", source=Source("cohort"))
    assert not (tmp_path / "out").exists()


def test_the_parts_pair_and_draw_what_belongs_together():
    assert PARTS.pairs == ((CHOSEN_CLASSIC, RAW), (ONLY_SYNTHETIC, RAW), (CHOSEN_SYNTHETIC, CHOSEN_CLASSIC))
    assert [regime.classic for regime in PORTIONS.regimes] == [2, 2, 4, 4]
    assert [regime.portion for regime in PORTIONS.regimes] == [0.5, 0.5, 1.0, 1.0]
    assert [regime.synthetic_per_class for regime in PORTIONS.regimes] == [0, 3, 0, 3]
    assert all(len(line.regimes) == len(line.amounts) for line in (PARTS + PORTIONS).lines)
