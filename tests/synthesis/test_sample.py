from dataclasses import replace

import numpy as np
import pytest

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data import patches_file
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import concatenate
from lesionforge.errors import LeakError, LesionForgeError
from lesionforge.generators import checkpoint
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.synthesis.sample import sample

pytestmark = pytest.mark.usefixtures("one_thread")

# Wide enough that convolutions of a few rows sum in another order than those of a whole batch.
METHOD = DCGAN(batch_size=32, generator_width=64, discriminator_width=4)


@pytest.fixture(scope="module")
def real(small_patches):
    return small_patches(shape=(16, 16)).with_label("malignant")


@pytest.fixture(scope="module")
def opened(real, tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "checkpoint"
    plan = TrainingPlan(images=64)
    return checkpoint.load(train(METHOD, real, out, plan=plan, window=WINDOWS["lung"], device="cpu"))


def test_every_row_says_what_made_it_and_from_whom(opened, real):
    drawn = sample(opened, 5, seed=7)
    assert drawn.is_synthetic.all()
    assert set(drawn.table["origin"]) == {opened.id}
    assert dict(drawn.generators) == {opened.id: real.exposure}
    assert real.exposure.patients <= drawn.exposure.patients
    assert set(drawn.patients) == {f"synthetic:{opened.id}"}
    assert drawn.table["sample_seed"].tolist() == [7] * 5
    assert drawn.table["sample_number"].tolist() == [0, 1, 2, 3, 4]


def test_it_looks_like_its_training_set(opened, real):
    drawn = sample(opened, 5)
    assert (drawn.shape, drawn.unit, drawn.images.dtype) == (real.shape, "HU", np.int16)
    assert drawn.classes == ("malignant",)
    np.testing.assert_array_equal(drawn.spacing_mm, np.full((5, 2), 0.7))
    assert WINDOWS["lung"].low <= drawn.images.min() < drawn.images.max() <= WINDOWS["lung"].high
    assert drawn.masks is None


def test_in_another_unit_intensities_are_not_rounded(small_patches, tmp_path):
    eight_bit = small_patches(shape=(16, 16))
    table = eight_bit.table.drop(columns=["source_pixels"])
    images = np.clip(eight_bit.images + 900, 0, 255).astype(np.uint8)
    patches = type(eight_bit)(images, table, unit="u8")
    out = train(METHOD, patches, tmp_path / "out", plan=TrainingPlan(images=32), device="cpu")
    opened = checkpoint.load(out)
    many = sample(opened, 40)
    assert many.images.dtype == np.float32
    assert many.unit == "u8"
    for count in (1, 2, 3, 31, 33):
        np.testing.assert_array_equal(sample(opened, count).images, many.images[:count])


def test_seeds_draw_different_lesions_and_a_seed_the_same(opened):
    first, again, other = (sample(opened, 4, seed=seed) for seed in (1, 1, 2))
    assert first.digest == again.digest
    assert not (first.images == other.images).all(axis=(1, 2)).any()


def test_joined_sets_of_two_generators_keep_both_exposures(opened, real, tmp_path):
    other = real.with_label("malignant").rows([0, 1])
    trained = train(METHOD, other, tmp_path / "other", plan=TrainingPlan(images=32), device="cpu")
    both = concatenate([sample(opened, 2), sample(checkpoint.load(trained), 2)])
    assert set(both.generators) == {opened.id, checkpoint.load(trained).id}


def test_a_classifier_that_learns_from_samples_is_not_scored_on_their_patients(opened, small_patches, real):
    outside = small_patches(shape=(16, 16), prefix="outside", seed=1)
    train_set = concatenate([outside.with_images(outside.images), sample(opened, 4)])
    with pytest.raises(LeakError, match="directly or through a generator"):
        SmallCNN(max_images=1).fit(train_set, scored_on=real)


def test_saved_samples_are_marked_in_their_file_names(opened, tmp_path):
    folder = patches_file.save(sample(opened, 2), tmp_path / "sampled")
    assert sorted(file.name for file in folder.iterdir()) == [
        "patches.json",
        "synthetic_images.npy",
        "synthetic_table.csv",
    ]


def test_the_label_may_be_said_but_not_changed(opened):
    assert sample(opened, 1, label="malignant").digest == sample(opened, 1).digest
    with pytest.raises(LesionForgeError, match="makes malignant lesions, but 'benign'"):
        sample(opened, 1, label="benign")
    unlabelled = replace(opened, subject=replace(opened.subject, labels=()))
    with pytest.raises(LesionForgeError, match="makes unlabelled lesions"):
        sample(unlabelled, 1, label="benign")


@pytest.mark.parametrize("count", [0, -3])
def test_no_samples_are_refused(opened, count):
    with pytest.raises(LesionForgeError, match="1 or more"):
        sample(opened, count)


def test_progress_counts_patches(opened, stop_after):
    watch = stop_after()
    sample(opened, 70, progress=watch)
    assert watch.seen == 3
