"""What users get wrong and disks do: every method ends with a clear error, and nothing that was there is lost."""

import resource
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.generators import checkpoint
from lesionforge.generators.state import TrainingPlan, WatchPlan
from lesionforge.generators.training import train

pytestmark = pytest.mark.usefixtures("one_thread")

PLAN = TrainingPlan(
    images=80,
    checkpoint_every_images=40,
    grid_every_images=40,
    log_every_images=40,
    watch=WatchPlan(every_images=40, samples=8),
)


@pytest.fixture(scope="module")
def patches(lesions):
    return lesions()


@pytest.fixture(scope="module")
def validation(lesions):
    return lesions(prefix="other", seed=1)


def attempt(method, patches, out, **changed):
    return train(method, patches, out, **{"plan": PLAN, "device": "cpu"} | changed)


def refused(method, patches, out, complaint, **changed):
    with pytest.raises(LesionForgeError, match=complaint) as raised:
        attempt(method, patches, out, **changed)
    assert "patient-0" not in str(raised.value)
    assert not out.exists()


def test_images_of_one_value(any_method, patches, tmp_path):
    for value in (-700, 500, -1500):  # within the window, above and below
        flat = patches.with_images(np.full_like(patches.images, value), patches.masks)
        refused(any_method, flat, tmp_path / "out", "must have contrast within the window lung")


def test_images_of_one_value_each(any_method, patches, tmp_path):
    values = np.arange(-900, -900 + 10 * len(patches), 10, dtype=np.int16)
    flat = patches.with_images(np.broadcast_to(values[:, None, None], patches.images.shape).copy(), patches.masks)
    refused(any_method, flat, tmp_path / "out", "each is of one value there")


def test_all_contrast_outside_the_window(any_method, patches, tmp_path):
    refused(any_method, patches.with_images(patches.images + 2000, patches.masks), tmp_path / "out", "another window")


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_or_none(any_method, patches, tmp_path, count):
    refused(any_method, patches.rows(range(count)), tmp_path / "out", f"at least 2 patches.*but {count} came")


def test_a_class_that_is_absent(any_method, patches, validation, tmp_path):
    out = tmp_path / "out"
    missing = "two labels or more" if any_method.conditional else "'non-solid' came"
    refused(any_method, patches.with_label("solid"), out, missing, validation=validation)
    if any_method.conditional:
        few = validation.rows(np.flatnonzero(validation.labels == "solid"))
        refused(any_method, patches, out, "but 0 of non-solid came", validation=few)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_come_into_no_set(patches, value):
    images = patches.images.astype(np.float32)
    images[3, 4, 5] = value
    with pytest.raises(LesionForgeError, match=r"finite|NaN"):
        Patches.of(images, patient=patches.patients.tolist())


def test_a_batch_larger_than_the_training_set(any_method, patches, tmp_path):
    few = patches.rows(range(4))
    out = attempt(any_method, few, tmp_path / "out", plan=replace(PLAN, images=40))
    assert checkpoint.load(out).images_seen == 40


def test_a_saved_state_that_was_cut_short(any_method, patches, tmp_path, stop_after, killed):
    out = tmp_path / "out"
    with pytest.raises(killed):
        attempt(any_method, patches, out, progress=stop_after(8))
    (state,) = out.glob("training-*.safetensors")
    whole = state.read_bytes()
    for left in (0, 100, len(whole) // 2, len(whole) - 1):
        state.write_bytes(whole[:left])
        before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
        with pytest.raises(StorageError, match="cut short"):
            attempt(any_method, patches, out, resume=True)
        assert before == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    state.write_bytes(whole)  # as a copy of it would be
    assert checkpoint.load(attempt(any_method, patches, out, resume=True)).images_seen == 80


@contextmanager
def largest_file(size):
    """No file may grow beyond so many bytes: the system refuses to write on, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_when_the_second_state_is_saved(any_method, patches, validation, tmp_path):
    whole = attempt(any_method, patches, tmp_path / "whole", validation=validation)
    out = tmp_path / "out"
    attempt(any_method, patches, out, plan=replace(PLAN, images=40), validation=validation)
    weights = (out / checkpoint.WEIGHTS).read_bytes()
    with (
        largest_file(len(weights) // 2),
        pytest.raises(StorageError, match=r"cannot write .*: the file would be larger"),
    ):
        attempt(any_method, patches, out, resume=True, validation=validation)
    assert [file.name for file in out.glob("*training-*")] == ["training-000000040.safetensors"]
    assert not list(out.glob(".*"))
    assert (out / checkpoint.WEIGHTS).read_bytes() == weights
    assert checkpoint.load(out)
    attempt(any_method, patches, out, resume=True, validation=validation)
    for file in (checkpoint.WEIGHTS, checkpoint.MANIFEST, "log.jsonl", "quality.csv"):
        assert (out / file).read_bytes() == (whole / file).read_bytes()


def test_losses_that_collapse_are_no_error(any_method, patches, tmp_path, monkeypatch):
    """A discriminator that has won, or one that sees nothing: poor, but it may recover, and the log shows it."""
    original = type(any_method).discriminator_losses

    def collapsed(self, *arguments):
        return {name: loss * 0 for name, loss in original(self, *arguments).items()}

    monkeypatch.setattr(type(any_method), "discriminator_losses", collapsed)
    assert checkpoint.load(attempt(any_method, patches, tmp_path / "out")).images_seen == 80


def test_what_diverged_can_be_made_a_checkpoint_of(any_method, patches, validation, tmp_path, monkeypatch):
    original, out = type(any_method).generator_losses, tmp_path / "out"

    def lost(self, networks, fake, moment):
        found = original(self, networks, fake, moment)
        factor = float("nan") if moment.images_seen >= 48 else 1
        return {name: loss * torch.tensor(factor) for name, loss in found.items()}

    with monkeypatch.context() as patched:
        patched.setattr(type(any_method), "generator_losses", lost)
        with pytest.raises(LesionForgeError, match="the state at 40 images is kept") as raised:
            attempt(any_method, patches, out, validation=validation)
    assert "--resume" in str(raised.value)
    attempt(any_method, patches, out, plan=replace(PLAN, images=40), validation=validation, resume=True)
    assert checkpoint.load(out).images_seen == 40
