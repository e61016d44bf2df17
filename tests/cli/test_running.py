"""Verbs that run experiments: what they do with a run that fails, is repeated, or is only planned."""

import re

import pytest

from lesionforge.cli import main
from lesionforge.errors import LesionForgeError
from lesionforge.experiments.fold import Fold
from lesionforge.storage import read_json

SETTINGS = (
    "assessed=0",
    "embedded=0",
    "generators.dcgan.training.images=64",
    "classifiers.small_cnn.method.max_images=64",
)
SMALL = ("--scale", "smoke", "--workers", "1", *(part for setting in SETTINGS for part in ("--set", setting)))


def lesionforge(*words):
    with pytest.raises(SystemExit) as stop:
        main(["--quiet", *map(str, words)])
    return stop.value.code


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A run in which one regime's classifier fails in one fold: its folder, its exit code, and what it printed."""
    out, plain = tmp_path_factory.mktemp("cli") / "run", Fold.fit

    def fail(self, regime, progress):
        if regime.name == "classic" and self.split.fold == 1:
            raise LesionForgeError("this cannot be fitted")
        return plain(self, regime, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fold, "fit", fail)
        code = lesionforge("experiment", "usefulness", *SMALL, "--out", out)
    return out, code


def test_a_run_with_a_failed_task_has_a_page_and_an_exit_code(failed):
    out, code = failed
    assert code == 2
    assert "this cannot be fitted" in (out / "report.html").read_text()


def test_the_same_command_mends_it_and_its_configuration_is_of_the_same_tasks(failed, tmp_path, capsys):
    out, _ = failed
    assert lesionforge("experiment", "usefulness", *SMALL, "--out", out) == 0
    assert "this cannot be fitted" not in (out / "report.html").read_text()
    again = "--store", out / "store", "--workers", 1
    assert lesionforge("experiment", out / "config.json", *again, "--out", tmp_path / "again", "--dry-run") == 0
    tasks = len(read_json(out / "tasks.json", of="a run")["tasks"])
    assert f"{tasks} tasks, {tasks} of them done." in capsys.readouterr().out
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--ray", "127.0.0.1:1", "--store", "STORE"), "no Ray cluster answers|optional extra 'cluster'"),
        (("--store", "nowhere://bucket"), "cannot be used"),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path, capsys, options, why):
    words = [str(tmp_path / "store") if word == "STORE" else word for word in options]
    assert lesionforge("experiment", "usefulness", *SMALL, *words, "--out", tmp_path / "out") == 2
    assert re.search(why, capsys.readouterr().err)
