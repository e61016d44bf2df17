import numpy as np
import pytest

from lesionforge import cli
from lesionforge.cli.evaluate import evaluate
from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.storage import read_json

VERBS = sorted(command.callback.__name__ for command in evaluate.registered_commands)


def lesionforge(*arguments):
    """Call the command line here; its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def folders(tmp_path_factory, small_patches):
    """Real patches of 44 patients, half of them trained on; and as many samples, of which two are copies."""
    place = tmp_path_factory.mktemp("evaluate")
    real = small_patches(patients=44, classes=("solid",), shape=(16, 16))
    other = small_patches(patients=22, classes=("solid",), shape=(16, 16), seed=1)
    images = other.images.copy()
    images[:2] = real.images[:2]
    table = other.table.assign(origin="fake-1", patient="fake-1").drop(columns="source_pixels")
    made = Patches(images, table, generators={"fake-1": real.rows(np.arange(44)).exposure})
    patches_file.save(real, place / "real")
    patches_file.save(made, place / "made")
    return place


def test_the_verbs_are_those_of_the_design():
    assert VERBS == ["fidelity", "memorisation", "radiomics", "separability"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb, capsys):
    assert lesionforge("evaluate", verb, "--help") == 0
    assert f"Example: lesionforge evaluate {verb}" in " ".join(capsys.readouterr().out.split())


def test_memorisation_ends_in_a_page_and_a_statement(folders, capsys):
    out = folders / "memorisation"
    scores = folders / "scores.csv"
    scores.write_text("score\n" + "\n".join(map(str, range(88))))
    asked = ["memorisation", folders / "real", folders / "made", "--discriminator", scores, "--out", out]
    assert lesionforge("--quiet", "evaluate", *asked) == 0
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    assert (out / "statement.md").exists()
    assert read_json(out / "results.json", of="an assessment")["numbers"]["copies"] >= 2
    assert read_json(out / "provenance.json", of="an assessment")["command"].startswith("lesionforge --quiet evaluate")
    page = (out / "report.html").read_bytes()
    assert lesionforge("report", out) == 0
    assert (out / "report.html").read_bytes() == page
    assert lesionforge("evaluate", *asked) == 2  # nothing is overwritten


def test_fidelity_ends_in_a_page(folders):
    out = folders / "fidelity"
    asked = ["fidelity", folders / "real", folders / "made", "--halvings", 3, "--masks", "measured", "--out", out]
    assert lesionforge("--quiet", "evaluate", *asked, "--workers", 1) == 0
    assert (out / "report.html").exists()


def test_a_mistake_is_said_in_a_line(folders, capsys):
    made, real, out = folders / "made", folders / "real", folders / "no"
    assert lesionforge("evaluate", "separability", made, real, "--out", out) == 2
    assert "first set must be real" in capsys.readouterr().err
    bad = folders / "bad.csv"
    bad.write_text("other\n1\n")
    assert lesionforge("evaluate", "memorisation", real, made, "--discriminator", bad, "--out", out) == 2
    assert "column score" in capsys.readouterr().err
    assert lesionforge("evaluate", "fidelity", real, made, "--masks", "guessed", "--out", out) == 2
    assert not out.exists()
