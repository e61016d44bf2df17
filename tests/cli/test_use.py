"""From `classify` with a search to a model, its card, its answers and its ONNX file."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionforge import cli
from lesionforge.classifiers import model as models
from lesionforge.data import patches_file
from lesionforge.data.phantom import phantom_patches
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments.release import model_of
from lesionforge.storage import read_json

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = ["--set", "channels=[4,4]", "--set", "max_images=100", "--set", "batch_size=16", "--folds", "2"]


def lesionforge(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--quiet", *map(str, arguments)])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    made = phantom_patches("lung", patients=24, size=16, seed=1)
    return patches_file.save(made, tmp_path_factory.mktemp("use") / "lung.patches")


@pytest.fixture(scope="module")
def run(patches):
    pytest.importorskip("optuna", reason="tuning needs the extra 'tune'")
    out = patches.with_name("run")
    assert lesionforge("classify", "small_cnn", patches, "--tune", 2, *QUICK, "--out", out) == 0
    return out


def test_settings_are_searched_in_each_fold_and_used_there(run):
    trials = read_table(run / "tables" / "tuning.csv")
    assert trials.groupby("fold")["trial"].apply(list).tolist() == [[0, 1], [0, 1]]
    for fold, rows in trials.groupby("fold"):
        best = rows.loc[rows["score"].idxmax()]
        fitted = models.load(run / "model" / f"member-{fold}").members[0]
        assert fitted.method.learning_rate == best["learning_rate"]
        assert fitted.method.dropout == best["dropout"]


def test_calibration_is_told_before_and_after(run):
    table = read_table(run / "tables" / "calibration.csv")
    assert table["metric"].tolist() == ["brier_error", "calibration_error"]
    scores = read_table(run / "tables" / "scores.csv").set_index("metric")["estimate"]
    assert table["other"].tolist() == pytest.approx([scores[name] for name in table["metric"]])


def test_the_model_is_the_folds_classifiers_and_its_card_says_what_must_be_known(run, patches):
    model = models.load(run / "model")
    assert len(model.members) == 2
    assert model.summary == model_of(run, "raw").summary
    assert model.summary["calibrated"]
    assert model.summary["refuses"]
    card = (run / "model" / "MODEL_CARD.md").read_text()
    auc = read_table(run / "tables" / "scores.csv").set_index("metric").loc["auc"]
    assert f"| AUC | {auc['estimate']:.3f} | {auc['low']:.3f} to {auc['high']:.3f} |" in card
    for words in ("no medical device", "no synthetic data", "Intended use and limits", "calibrated on validation"):
        assert words in card
    assert "2 trials a fold" in card
    assert not any(patient in card for patient in patches_file.load(patches).patients)


def test_it_predicts_patches_as_a_table_as_json_and_as_a_picture(run, patches, tmp_path, capsys):
    assert lesionforge("predict", run / "model", patches, "--saliency", tmp_path / "looks.png") == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out), index_col="row")
    answers = models.load(run / "model").answer(patches_file.load(patches))
    assert table["refused"].tolist() == answers.refused.tolist()
    np.testing.assert_allclose(table["p_solid"], answers.to_table()["p_solid"])
    assert table["seen"].all()
    assert np.asarray(Image.open(tmp_path / "looks.png")).shape == (16 * 16 * 3, 2 * 16 * 3, 3)
    assert lesionforge("predict", run / "model", patches, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["answers"]) == len(table)


def test_what_does_not_go_together_is_said(run, patches, tmp_path, capsys):
    for arguments, words in (
        ([patches, "--at", "1,2,3"], "leave it out"),
        ([tmp_path / "none.nii.gz"], "--at"),
        ([tmp_path / "none.nii.gz", "--at", "1,2"], "three numbers"),
        ([tmp_path / "none.nii.gz", "--at", "1,2,3"], "there is none"),
    ):
        assert lesionforge("predict", run / "model", *arguments) == 2
        assert words in capsys.readouterr().err


def test_it_is_exported(run, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="ONNX files need the extra 'onnx'")
    assert lesionforge("export", run / "model", "--out", tmp_path / "model.onnx") == 0
    assert (tmp_path / "model.onnx").stat().st_size > 1000
    assert lesionforge("export", run / "model", "--out", tmp_path / "model.onnx") == 2


def test_it_is_served_with_the_limits_that_are_set(run, monkeypatch):
    uvicorn = pytest.importorskip("uvicorn", reason="the service needs the extra 'web'")
    served = {}
    monkeypatch.setattr(uvicorn, "run", lambda service, **given: served.update(given, service=service))
    assert lesionforge("serve-model", run / "model", "--port", 8123, "--set", "at_once=1") == 0
    assert (served["host"], served["port"]) == ("127.0.0.1", 8123)
    assert served["service"].openapi()["info"]["title"] == "LesionForge model"
    assert lesionforge("serve-model", run / "model", "--set", "at_most=1") == 2


def test_the_same_command_leaves_a_finished_run_as_it_is(run, patches):
    before = read_json(run / "model" / "model.json", of="a model")
    assert lesionforge("classify", "small_cnn", patches, "--tune", 2, *QUICK, "--out", run) == 0
    assert read_json(run / "model" / "model.json", of="a model") == before
