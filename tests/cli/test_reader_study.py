"""A study from the command line: made, invited to, watched, kept safe, closed, told."""

import json

import numpy as np
import pandas as pd
import pytest

from lesionforge import cli
from lesionforge.data import patches_file
from lesionforge.data.exposure import Exposure
from lesionforge.data.patches import Patches

pytest.importorskip("sqlalchemy", reason="the reader study needs the extra 'web'")

from lesionforge.reader_study.database import Database
from lesionforge.reader_study.given import Given
from lesionforge.reader_study.ledger import Ledger
from lesionforge.reader_study.study import Study


def lesionforge(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--quiet", "reader-study", *map(str, arguments)])
    return stop.value.code or 0


@pytest.fixture
def folders(small_patches, tmp_path):
    known, other = small_patches(patients=20), small_patches(patients=20, seed=1)
    table = other.table.assign(origin="g-1", patient="synthetic:g-1")
    made = Patches(np.asarray(other.images), table, generators={"g-1": Exposure()})
    return [patches_file.save(each, tmp_path / name) for each, name in ((known, "known"), (made, "made"))]


def test_a_study_goes_from_patches_to_its_report(folders, tmp_path, capsys):
    study, link = tmp_path / "study", "https://readers.example.org/join#"
    asked = ("--set", "repeats=2", "--set", "ask_class=true", "--title", "Nodules", "--per-class", 6)
    assert lesionforge("create", *folders, "--out", study, *asked) == 0
    assert "12 real, 12 synthetic" in capsys.readouterr().out
    assert lesionforge("export", study, "--out", tmp_path / "design.json") == 0
    assert json.loads((tmp_path / "design.json").read_text())["design"]["title"] == "Nodules"
    capsys.readouterr()
    assert lesionforge("invite", study, "one", "two", "--owner", "--url", "https://readers.example.org") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in rows] == ["one", "two", "(owner)"]
    assert all(url.startswith(link) for _, url in rows)
    ledger = Ledger(Study.open(study), Database.open(study))
    rng = np.random.default_rng(0)
    for _, url in rows[:2]:
        _, person = ledger.redeem(url.removeprefix(link))
        now = ledger.now(person.reader)
        while now.state == "item":
            _, now = ledger.answer(person.reader, now.slot, Given(int(rng.integers(4)), "benign"))
    ledger.database.close()
    assert lesionforge("status", study) == 0
    assert capsys.readouterr().out.splitlines() == ["open", "26/26\tone", "26/26\ttwo"]
    assert lesionforge("back-up", study, "--out", tmp_path / "copy") == 0
    assert lesionforge("close", study) == 0
    assert lesionforge("status", study, "--json") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"{tmp_path / 'copy'}: 52 answers", "closed"]
    assert json.loads(said[-1])["closed"] is True
    assert lesionforge("restore", tmp_path / "copy", "--out", tmp_path / "again") == 0
    assert lesionforge("results", study, "--out", tmp_path / "run") == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "run" / "report.html")
    assert lesionforge("export", study, "--what", "answers", "--out", tmp_path / "answers.csv") == 0
    assert len(pd.read_csv(tmp_path / "answers.csv")) == 52


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["create", "known", "--out", "study"], "must have real and synthetic"),
        (["create", "known", "made", "--out", "study", "--per-class", 999], "ask for fewer"),
        (["create", "known", "made", "--out", "study", "--set", "repeets=3"], "did you mean 'repeats'"),
        (["invite", "known", "one"], "is not a reader study"),
        (["serve", "nowhere"], "is not a reader study"),
        (["restore", "known", "--out", "study"], "is not a back-up"),
    ],
)
def test_mistakes_are_answered_in_words(folders, tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert lesionforge(*arguments) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_nobody_is_invited_and_nothing_is_overwritten(folders, tmp_path, capsys):
    study = tmp_path / "study"
    assert lesionforge("create", *folders, "--out", study, "--per-class", 3) == 0
    assert lesionforge("invite", study) == 2
    assert "somebody must be invited" in capsys.readouterr().err
    assert lesionforge("create", *folders, "--out", study, "--per-class", 3) == 2
    assert lesionforge("serve", study, "--url", "http://readers.example.org") == 2
    assert "by https" in capsys.readouterr().err


def test_a_spacing_of_stacks_must_be_three_numbers(folders, tmp_path, capsys):
    assert lesionforge("create", *folders, "--spacing-mm", "2,1", "--out", tmp_path / "study") == 2
    assert "--spacing-mm must be three numbers" in capsys.readouterr().err
