"""Several processes. Run as a script by torchrun, this file is what each of them does."""

import os
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data import patches_file
from lesionforge.errors import LesionForgeError
from lesionforge.generators import checkpoint
from lesionforge.generators.distributed import ALONE, Part, Team, drawn_for_the_whole
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.methods.progressive_wgan import ProgressiveWGAN
from lesionforge.generators.methods.wgan_gp import WGANGP
from lesionforge.generators.small_data import SmallData
from lesionforge.generators.state import TrainingPlan, WatchPlan
from lesionforge.generators.training import train
from lesionforge.generators.training_folder import read_log, read_quality
from lesionforge.networks import load_tensors

SMALL = {"batch_size": 7, "generator_width": 16, "discriminator_width": 4, "small_data": SmallData(translation=0.2)}
METHODS = {
    # Batch normalisation, differentiated twice; augmentation draws whole numbers.
    "dcgan": DCGAN(**SMALL | {"small_data": SmallData(translation=0.2, cutout=0.3, brightness=0.1, r1=1)}),
    "wgan_gp": WGANGP(**SMALL, critic_steps=2),
    "acgan": ACGAN(**SMALL, dropout=0),
    "pix2pix": Pix2Pix(**SMALL),
    # Each process tells its critic of the spread of its own images: of groups of one, nothing.
    "progressive_wgan": ProgressiveWGAN(
        batch_size=7, width=8, latent_size=8, stable_images=8, fade_images=8, deviation_group=1
    ),
}
PLAN = TrainingPlan(images=28, log_every_images=14, checkpoint_every_images=14, grid_every_images=14)
# It learns nothing, so that the second measurement is no better than the first.
STALLED = replace(METHODS["progressive_wgan"], learning_rate=1e-20)
WATCHED = replace(PLAN, images=700, watch=WatchPlan(every_images=7, samples=8, patience_images=1))


def train_all(folder: Path) -> None:
    """What both processes do, and one process to compare with."""
    patches, validation = (patches_file.load(folder.parent / name) for name in ("patches", "validation"))
    for name, method in METHODS.items():
        plan = replace(PLAN, images=42) if name == "progressive_wgan" else PLAN  # it grows until then
        train(method, patches, folder / name, plan=plan, device="cpu")
    train(METHODS["dcgan"], patches, folder / "resumed", plan=replace(PLAN, images=14), device="cpu")
    train(METHODS["dcgan"], patches, folder / "resumed", plan=PLAN, resume=True, device="cpu")
    train(STALLED, patches, folder / "watched", plan=WATCHED, validation=validation, device="cpu")
    try:
        train(METHODS["dcgan"], patches, folder / "resumed", plan=PLAN, device="cpu")
    except LesionForgeError as error:
        (folder / f"error_{os.environ.get('RANK', 'alone')}").write_text(str(error))


def torchrun(*command):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*launcher, *map(str, command)], capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture(scope="module")
def sets(tmp_path_factory, lesions):
    folder = tmp_path_factory.mktemp("together")
    patches_file.save(lesions(), folder / "patches")
    patches_file.save(lesions(8, prefix="other", seed=1), folder / "validation")
    return folder


@pytest.fixture(scope="module")
def together(sets):
    """Folder of what two processes trained."""
    done = torchrun(__file__, sets / "two")
    assert done.returncode == 0, done.stderr
    return sets / "two"


@pytest.fixture(scope="module")
def alone(sets, one_thread):
    train_all(sets / "one")
    return sets / "one"


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_train_as_one_does(together, alone, name):
    log, expected = read_log(together / name), read_log(alone / name)
    assert len(log) >= 2
    for row, other in zip(log, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
    weights, wanted = (load_tensors(folder / name / checkpoint.WEIGHTS) for folder in (together, alone))
    assert weights.keys() == wanted.keys()
    for key, tensor in wanted.items():
        # Adam's first steps are as long for the least of gradients, whose sign may be one of rounding.
        allowed = 2 * METHODS[name].learning_rate if name == "pix2pix" else 1e-5
        torch.testing.assert_close(weights[key], tensor, rtol=1e-4, atol=allowed)


def test_resumed_by_two_processes_equals_uninterrupted(together):
    for file in (checkpoint.WEIGHTS, "log.jsonl"):
        assert (together / "resumed" / file).read_bytes() == (together / "dcgan" / file).read_bytes()


def test_the_watch_of_the_first_process_ends_both(together, alone):
    quality = read_quality(together / "watched")
    assert len(quality) == 2
    pd.testing.assert_frame_equal(quality, read_quality(alone / "watched"), rtol=1e-3)
    assert (
        "distance to validation patients" in checkpoint.read_manifest(together / "watched")["choice"]["stopped_early"]
    )


def test_a_failure_of_the_first_process_ends_both(together, alone):
    failure = (alone / "error_alone").read_text()
    assert "must be empty" in failure
    assert (together / "error_0").read_text() == failure.replace(str(alone), str(together))
    assert "the first process of this training failed" in (together / "error_1").read_text()


def test_of_two_command_lines_one_speaks(sets, tmp_path):
    sizes = ("batch_size=8", "generator_width=16", "discriminator_width=4")
    setting = [word for size in sizes for word in ("--set", size)]
    command = [Path(sysconfig.get_path("scripts")) / "lesionforge", "train", "dcgan", sets / "patches"]
    done = torchrun(
        "--no-python", *command, "--images", 16, "--plan", "accumulate=2", *setting, "--out", tmp_path / "gan"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'gan'}\n"
    assert done.stderr.count("16 images in") == 1
    assert checkpoint.load(tmp_path / "gan").images_seen == 16


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 40))
def test_parts_are_the_batch(size, turns, more):
    whole = size * turns + more
    parts = [part for rank in range(size) for part in Team(rank, size).parts(whole, turns=turns)]
    assert [row for part in parts for row in range(whole)[part.rows]] == list(range(whole))
    assert sum(part.weight for part in parts) == pytest.approx(1)
    lengths = {part.stop - part.start for part in parts}
    assert max(lengths) - min(lengths) <= 1
    with pytest.raises(LesionForgeError, match="lower accumulate"):
        Team(0, size).parts(size * turns - 1, turns=turns)


def test_random_numbers_are_those_of_the_whole_batch():
    def draw(rows, rng):
        return (
            torch.randn(rows, 3, generator=rng),
            torch.rand((rows, 1, 1), generator=rng),
            torch.randint(-2, 5, (rows, 2), generator=rng),
            torch.randint(9, (rows,), generator=rng),
            torch.randn(17, generator=rng),  # not one for each image
        )

    expected = draw(8, torch.Generator().manual_seed(3))
    with drawn_for_the_whole(Part(2, 5, 8)):
        drawn = draw(3, torch.Generator().manual_seed(3))
        assert torch.rand(3).shape == (3,)  # from the global generator: a process's own
    for found, whole in zip(drawn[:-1], expected[:-1], strict=True):
        assert torch.equal(found, whole[2:5])
    assert torch.equal(drawn[-1], expected[-1])


def test_a_team_of_one_does_as_it_likes():
    assert ALONE.led(lambda: "yes")
    assert not ALONE.led(lambda: None)
    with pytest.raises(ZeroDivisionError):
        ALONE.led(lambda: 1 / 0)


if __name__ == "__main__":
    train_all(Path(sys.argv[1]))
