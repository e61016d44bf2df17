import numpy as np
import pytest

from lesionforge import cli
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.cli.evaluate import evaluate
from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.evaluation.tables import read_table
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
    assert VERBS == ["embedding", "fidelity", "memorisation", "radiomics", "separability"]


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


def test_embedding_ends_in_a_page_and_shows_networks_that_have_not_seen_the_held_out_patients(folders, capsys):
    real, made = patches_file.load(folders / "real"), patches_file.load(folders / "made")
    labels = {"real": real.patients.str[-1].isin(list("02468")), "made": np.arange(len(made)) % 2 == 0}
    for name, patches in (("real", real), ("made", made)):
        patches_file.save(patches.with_columns(label=np.where(labels[name], "a", "b")), folders / f"{name} two")
    two = patches_file.load(folders / "real two")
    trained_on = np.arange(44)  # as the generator
    network = SmallCNN(channels=(4,), max_images=32, batch_size=16)
    for name, rows in (("fold", trained_on), ("all", np.arange(88))):
        network.fit(two.rows(rows)).save(folders / name)
    asked = ["embedding", folders / "real two", folders / "made two", "--out", folders / "places", "--network"]
    assert lesionforge("--quiet", "evaluate", *asked, folders / "all") == 2
    assert "training has not seen" in capsys.readouterr().err
    assert lesionforge("--quiet", "evaluate", *asked, folders / "fold") == 0
    table = read_table(folders / "places" / "tables" / "embedding.csv")
    assert table.groupby(["taken_of", "origin"]).size().to_dict() == {
        ("fold", "real"): 44, ("fold", "synthetic"): 44, ("texture", "real"): 44, ("texture", "synthetic"): 44,
    }  # fmt: skip
    assert (folders / "places" / "report.html").exists()
    asked[4] = folders / "other"
    assert lesionforge("evaluate", *asked, folders / "fold", "--layout", "pca") == 2
    assert "no layout" in capsys.readouterr().err


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
