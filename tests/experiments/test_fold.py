from dataclasses import replace

import numpy as np
import pytest

from lesionforge.data.exposure import patient_digest
from lesionforge.data.splits import stratified_kfold
from lesionforge.errors import LeakError
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.fold_patches import PLATE_PATCHES
from lesionforge.experiments.ingredients import Regime
from lesionforge.experiments.provenance import summary
from lesionforge.generators import checkpoint
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.progress import SILENT

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dcgan(tiny):
    (generation,) = tiny.generators
    return generation


@pytest.fixture(scope="module")
def fold(tiny, cohort, tmp_path_factory, with_samples):
    split = stratified_kfold(cohort, folds=2, seed=3, validation=0.25)[1]
    return with_samples(Fold(tiny, cohort, split), tmp_path_factory.mktemp("fold") / "store", [3, 4])


def with_generator(fold, method, folder, with_samples):
    """The same fold with another method in its generator's place, trained; and that generator."""
    generation = replace(fold.experiment.generators[0], method=method)
    experiment = replace(fold.experiment, generators=(generation,))
    return with_samples(replace(fold, experiment=experiment), folder / "store", [7]), generation


def test_its_parts_are_the_splits_cropped_to_the_experiments_size(fold, cohort):
    for part, rows in (
        (fold.train, fold.split.train),
        (fold.validation, fold.split.validation),
        (fold.test, fold.split.test),
    ):
        np.testing.assert_array_equal(part.images, cohort.images[rows][:, 2:18, 2:18])
        assert part.patients.tolist() == cohort.patients.iloc[rows].tolist()
    assert fold.source.shape == (20, 20)


def test_the_first_regime_trains_on_the_real_lesions_alone(fold):
    assert fold.training_set(Regime("raw")).digest == fold.train.digest


def test_classic_patches_come_from_training_patients_and_are_counted(fold):
    joined = fold.training_set(Regime("classic", classic=10))
    assert len(joined) == len(fold.train) + 10
    assert not joined.is_synthetic.any()
    assert joined.exposure == fold.train.exposure
    assert joined.shape == (16, 16)


def test_no_more_are_augmented_than_the_recipe_has(fold):
    one = fold.source.rows([0])
    assert len(fold.augmented(one, 10_000, "test")) == 480


def test_synthetic_patches_are_as_many_of_each_class_and_carry_their_exposure(fold):
    joined = fold.training_set(Regime("synthetic", synthetic_per_class=3))
    made = joined.rows(joined.is_synthetic)
    assert made.labels.tolist() == ["benign"] * 3 + ["malignant"] * 3
    assert made.exposure.patients >= set(map(patient_digest, fold.train.patients))
    assert joined.exposure.patients.isdisjoint(map(patient_digest, fold.test.patients))


def test_a_generator_learns_the_fold_lesions_of_its_class_cropped_and_augmented(fold, dcgan):
    opened = checkpoint.load(fold.checkpoint_of(dcgan, "benign"))
    assert opened.subject.label == "benign"
    assert opened.subject.shape == (16, 16)
    assert opened.subject.exposure == fold.source.with_label("benign").exposure
    assert opened.images_seen == dcgan.training.images


def test_a_conditional_generator_learns_all_classes_alike_and_is_asked_for_each(fold, tmp_path, with_samples):
    acgan = ACGAN(batch_size=8, generator_width=16, discriminator_width=4, latent_size=5)
    conditional, generation = with_generator(fold, acgan, tmp_path, with_samples)
    assert conditional.generated(generation) == [("benign", "malignant")]
    assert conditional.checkpoint_of(generation, "benign") == conditional.checkpoint_of(generation, "malignant")
    assert sum(task.stage == "generators" for task in conditional.results.tasks) == 1
    opened = checkpoint.load(conditional.checkpoint_of(generation, "benign"))
    assert opened.subject.exposure.patients >= set(map(patient_digest, fold.train.patients))
    drawn = {label: conditional.samples(generation, label, 3) for label in fold.train.classes}
    assert all(set(made.labels) == {label} for label, made in drawn.items())
    assert not np.array_equal(drawn["benign"].images, drawn["malignant"].images)


def test_a_pictured_generator_is_shown_the_folds_lesions_each_augmented_anew(fold, tmp_path, with_samples):
    narrow = Pix2Pix(batch_size=8, generator_width=4, discriminator_width=4)
    pictured, generation = with_generator(fold, narrow, tmp_path, with_samples)
    assert pictured.generated(generation) == [("benign",), ("malignant",)]
    of_class = fold.source.with_label("malignant")
    drawn = pictured.samples(generation, "malignant", 7)
    assert set(drawn.labels) == {"malignant"}
    assert set(drawn.table["condition_pixels"]) <= set(of_class.table["source_pixels"])
    assert len(np.unique(drawn.masks, axis=0)) == 7
    assert drawn.exposure.patients.isdisjoint(map(patient_digest, fold.test.patients))
    np.testing.assert_array_equal(pictured.samples(generation, "malignant", 3).images, drawn.images[:3])
    joined = pictured.training_set(Regime("synthetic", synthetic_per_class=7))
    np.testing.assert_array_equal(joined.images[-7:], drawn.images)


def test_generators_are_chosen_on_the_validation_patients_and_the_classifier_may_be_as_well(
    tiny, dcgan, small_patches, tmp_path, with_samples
):
    cohort = small_patches(patients=16, shape=(20, 20))
    split = stratified_kfold(cohort, folds=2, seed=3, validation=0.5)[0]
    fold = with_samples(Fold(tiny, cohort, split), tmp_path / "store", [4])
    seen = checkpoint.load(fold.checkpoint_of(dcgan, "benign")).subject.exposure
    assert seen.learnt == fold.source.with_label("benign").exposure
    assert seen == seen.learnt | fold.validation.with_label("benign").exposure.judged
    predicted = fold.predict(fold.fit(Regime("synthetic", synthetic_per_class=4), SILENT))
    np.testing.assert_array_equal(predicted.row, fold.split.test)


def test_two_generators_of_a_fold_do_not_share_their_seeds(fold, dcgan):
    first, second = (fold.checkpoint_of(dcgan, label) / checkpoint.WEIGHTS for label in ("benign", "malignant"))
    assert first.read_bytes() != second.read_bytes()


def test_a_seed_is_for_one_purpose_in_one_fold(fold, cohort, tiny):
    other = Fold(replace(tiny, seed=4), cohort, fold.split)
    seeds = [fold.seed("a"), fold.seed("b"), fold.seed("a", "b"), other.seed("a")]
    assert len(set(seeds)) == 4
    assert fold.seed("a") == seeds[0]
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_all_regimes_of_a_fold_start_from_the_same_weights(fold, tiny):
    """With no image shown to learn from, what is added to the training changes nothing."""
    (contender,) = tiny.classifiers
    still = replace(contender, method=replace(contender.method, max_images=1, learning_rate=0.0))
    idle = replace(tiny, classifiers=(still,))
    unfit = Fold(idle, fold.patches, fold.split)
    raw, more = (unfit.predict(unfit.fit(regime, SILENT)) for regime in (Regime("raw"), Regime("more", classic=5)))
    np.testing.assert_array_equal(raw.probability, more.probability)


def test_it_predicts_its_test_rows_under_digests(fold):
    predictions = fold.predict(fold.fit(Regime("raw"), SILENT))
    np.testing.assert_array_equal(predictions.row, fold.split.test)
    assert set(predictions.patient) == set(map(patient_digest, fold.test.patients))
    assert set(predictions.fold) == {1}


def test_a_split_that_leaks_is_refused(fold, tiny, cohort):
    leaking = replace(fold.split, test=np.append(fold.split.test, fold.split.train[0]))
    with pytest.raises(LeakError):
        Fold(tiny, cohort, leaking).fit(Regime("raw"), SILENT)


def test_a_plate_shows_real_and_synthetic_lesions_without_names(fold, dcgan):
    plate = fold.plate(dcgan, "benign")
    real = plate.rows(~plate.is_synthetic)
    assert plate.is_synthetic.sum() == PLATE_PATCHES
    assert 0 < len(real) <= PLATE_PATCHES
    assert plate.classes == ("benign",)
    trained_on = set(map(patient_digest, fold.train.with_label("benign").patients))
    assert set(real.patients) == set(real.table["scan"]) == trained_on
    assert "secret" not in plate.table.to_csv()


def test_the_summary_counts_patients_and_lesions(fold):
    (counted,) = summary([fold])
    assert (counted["repeat"], counted["fold"]) == (0, 1)
    assert counted["train_lesions"] == len(fold.split.train)
    assert counted["test_patients"] == fold.test.patients.nunique()
    assert counted["validation_lesions"] == len(fold.split.validation)
