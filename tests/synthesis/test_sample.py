import errno
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data import patches_file
from lesionforge.data.growing_array import GrowingArray
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import concatenate
from lesionforge.data.plausibility import MEASURES, PlausibleRanges
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.generators import checkpoint
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.synthesis import sampler as sampler_file
from lesionforge.synthesis.sample import sample, write_samples
from lesionforge.synthesis.sampler import Sampler

pytestmark = pytest.mark.usefixtures("one_thread")

# Wide enough that convolutions of a few rows sum in another order than those of a whole batch.
METHOD = DCGAN(batch_size=32, generator_width=64, discriminator_width=4)


@pytest.fixture(scope="module")
def real(small_patches):
    return small_patches(shape=(16, 16)).with_label("malignant")


@pytest.fixture(scope="module")
def trained(real, tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "checkpoint"
    plan = TrainingPlan(images=64)
    return train(METHOD, real, out, plan=plan, window=WINDOWS["lung"], device="cpu")


@pytest.fixture(scope="module")
def opened(trained):
    return checkpoint.load(trained)


def test_the_checkpoint_knows_the_ranges_of_its_training_set(opened, real):
    assert opened.subject.ranges == (PlausibleRanges.of(real, WINDOWS["lung"]),)


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


@pytest.fixture
def in_parts(monkeypatch):
    """Whole batches of 32 are held at once, no more."""
    monkeypatch.setattr(sampler_file, "PIXELS_AT_ONCE", 1)


def test_progress_counts_patches(opened, stop_after, in_parts):
    watch = stop_after()
    sample(opened, 70, progress=watch)
    assert watch.seen == 3


@pytest.mark.parametrize("count", [1, 32, 33, 70])
def test_on_the_disk_rows_are_those_in_memory_to_the_byte(opened, tmp_path, in_parts, count):
    streamed = write_samples(Sampler(opened, seed=3), count, tmp_path / "streamed").out
    saved = patches_file.save(sample(opened, count, seed=3), tmp_path / "saved")
    assert {file.name: file.read_bytes() for file in streamed.iterdir()} == {
        file.name: file.read_bytes() for file in saved.iterdir()
    }
    again = patches_file.load(streamed)
    assert again.generators == {opened.id: opened.subject.exposure}
    assert again.digest == sample(opened, count, seed=3).digest


@pytest.mark.parametrize("redraw", [False, True])
def test_what_was_written_is_counted(opened, tmp_path, in_parts, redraw):
    ranges = replace(opened.subject.ranges[0], **dict.fromkeys(MEASURES, (-1e9, 0.0, 1e9)))
    means = sample(opened, 70).table["measured_mean"]
    limit = means.median() + 28  # what is allowed beyond a range
    wrong = int((means < limit - 28).sum())
    half = replace(opened, subject=replace(opened.subject, ranges=(replace(ranges, mean=(limit, limit, 1e9)),)))
    written = write_samples(Sampler(half, redraw=redraw), 70, tmp_path / "samples")
    table = patches_file.load(written.out).table
    assert written.patches == len(table) == 70
    assert 30 < wrong < 40
    assert (written.implausible, written.redrawn) == ((0, wrong) if redraw else (wrong, 0))
    assert (table["implausible"] != "").sum() == written.implausible
    end = f"0 implausible, {wrong} redrawn" if redraw else f"{wrong} implausible"
    assert str(written) == f"{tmp_path / 'samples'}: 70 synthetic patches, {end}"


@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_it_leaves_nothing_and_starts_anew(opened, tmp_path, in_parts, stop_after, killed, step):
    with pytest.raises(killed):
        write_samples(Sampler(opened), 70, tmp_path / "samples", progress=stop_after(step))
    assert list(tmp_path.iterdir()) == []
    assert len(patches_file.load(write_samples(Sampler(opened), 70, tmp_path / "samples").out)) == 70


def test_killed_by_the_system_nothing_is_under_the_name(opened, tmp_path, trained):
    """SIGKILL cannot be caught: a hidden folder stays, and is in nobody's way."""
    code = (
        "import os, signal, sys\n"
        "from lesionforge.generators import checkpoint\n"
        "from lesionforge.synthesis import sample, sampler\n"
        "sampler.PIXELS_AT_ONCE = 1\n"
        "class Kill(sample.Progress):\n"
        "    def work(self, *_, **__):\n"
        "        return self\n"
        "    def __enter__(self):\n"
        "        return lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    def __exit__(self, *_):\n"
        "        pass\n"
        "opened = checkpoint.load(sys.argv[1])\n"
        "sample.write_samples(sampler.Sampler(opened), 70, sys.argv[2], progress=Kill())\n"
    )
    out = tmp_path / "samples"
    call = [sys.executable, "-c", code, str(trained), str(out)]
    assert subprocess.run(call, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    assert all(left.name.startswith(".samples.partial-") for left in tmp_path.iterdir())
    write_samples(Sampler(opened), 70, out)
    assert patches_file.load(out).digest == sample(opened, 70).digest


def test_a_full_disk_is_explained_and_leaves_nothing(opened, tmp_path, in_parts, monkeypatch):
    def fills_up(array, rows):
        if array.count:
            raise OSError(errno.ENOSPC, "No space left on device")
        array.count += len(rows)

    monkeypatch.setattr(GrowingArray, "add", fills_up)
    with pytest.raises(StorageError, match="disk is full"):
        write_samples(Sampler(opened), 70, tmp_path / "samples")
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_overwritten_and_nothing_is_drawn(opened, tmp_path, stop_after):
    first = write_samples(Sampler(opened), 3, tmp_path / "samples").out
    before = patches_file.load(first).digest
    watch = stop_after()
    with pytest.raises(StorageError, match="must not exist yet"):
        write_samples(Sampler(opened), 3, first, progress=watch)
    assert watch.seen == 0
    assert patches_file.load(first).digest == before


@pytest.mark.parametrize("count", [0, -3])
def test_no_samples_are_written_by_no_name(opened, tmp_path, count):
    with pytest.raises(LesionForgeError, match="1 or more"):
        write_samples(Sampler(opened), count, tmp_path / "samples")
    assert list(tmp_path.iterdir()) == []


PEAK = """
import resource, sys
import torch
from lesionforge.generators import checkpoint
from lesionforge.synthesis.sample import write_samples
from lesionforge.synthesis.sampler import Sampler
torch.set_num_threads(1)
write_samples(Sampler(checkpoint.load(sys.argv[1])), int(sys.argv[2]), sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.full_length
def test_memory_does_not_grow_with_the_number_of_samples(trained, tmp_path):
    peaks = []
    for count in (5_000, 50_000):
        call = [sys.executable, "-c", PEAK, str(trained), str(count), str(tmp_path / f"{count}")]
        peaks.append(int(subprocess.run(call, capture_output=True, check=True).stdout))
    assert peaks[1] < 1.08 * peaks[0]
