"""A run that is killed outright, mid-training, goes on to the numbers of one that was left alone."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lesionforge.data import patches_file
from lesionforge.data.phantom import phantom_patches

SETTINGS = {
    "assessed": 0,
    "embedded": 0,
    "size": 16,
    "generators.dcgan.method.generator_width": 16,
    "generators.dcgan.method.discriminator_width": 4,
    "generators.dcgan.patches": 32,
    "generators.dcgan.training.images": 960,
    "generators.dcgan.training.checkpoint_every_images": 64,
    "generators.dcgan.training.grid_every_images": 960,
    "classifiers.small_cnn.method.max_images": 128,
}
TABLES = ("predictions", "scores", "comparisons", "confusion", "gan_training", "classifier_training")


def start(folder: Path, out: str, *options: str) -> "subprocess.Popen[bytes]":
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-c", "from lesionforge.cli import main; main()", "--quiet", "experiment", "usefulness"]
    arguments = ["--data", "phantom.patches", "--scale", "smoke", "--out", out, *settings, *options]
    return subprocess.Popen([*command, *arguments], cwd=folder, stdout=subprocess.DEVNULL)


def finish(folder: Path, out: str, *options: str) -> None:
    assert start(folder, out, *options).wait(timeout=300) == 0


def wait_for_a_state(run: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not list(run.glob("store/unfinished/*/training-*.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_killed_run_ends_with_the_same_numbers(tmp_path):
    patches_file.save(phantom_patches("lung", patients=40, seed=3, size=16), tmp_path / "phantom.patches")
    killed = start(tmp_path, "killed", "--workers", "2")
    wait_for_a_state(tmp_path / "killed", killed)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "killed" / "provenance.json").exists()
    finish(tmp_path, "killed", "--workers", "2")
    finish(tmp_path, "left_alone", "--workers", "1")
    for table in TABLES:
        written = [(tmp_path / run / "tables" / f"{table}.csv").read_bytes() for run in ("killed", "left_alone")]
        assert written[0] == written[1], table
    # Nothing that the kill left half-written is left.
    results = tmp_path / "killed" / "store" / "results"
    assert not [path for path in results.iterdir() if not (path / "task.json").exists()]
