"""What the card of a model says, of a run whose numbers are known."""

import json

import pandas as pd
import pytest

from lesionforge.errors import StorageError
from lesionforge.report.model_card import model_card

PLAIN = {"name": "raw", "classifier": "", "classic": 0, "synthetic_per_class": 0, "given": False}
SUMMARY = {
    "classes": ["benign", "malignant"],
    "shape": [32, 32],
    "unit": "HU",
    "spacing_mm": [[0.5, 0.9], [0.5, 0.9]],
    "members": 3,
    "calibrated": True,
    "refuses": True,
}


@pytest.fixture
def fitted_run(write_run, tmp_path):
    """A run that `classify` might have left: regimes, calibration, and what was strange."""
    regimes = [PLAIN, {**PLAIN, "name": "classic", "classic": 40}, {**PLAIN, "name": "classic+dcgan", "given": True}]
    method = {"method": "small_cnn", "calibration": "temperature_and_bias", "dropout": 0.25}
    classifiers = [{"name": "small_cnn", "method": method}]
    run = write_run(tmp_path / "run", regimes=regimes, classifiers=classifiers, tuning={"trials": 0, "folds": 3})
    strangeness = {"regime": ["raw"] * 8 + ["classic"] * 4, "strangeness": [0.5] * 7 + [1.5] + [2.0] * 4}
    pd.DataFrame(strangeness).to_csv(run / "tables" / "strangeness.csv", index=False)
    row = {"metric": "brier_error", "baseline": 0.25, "other": 0.125, "difference": -0.125, "low": -0.2, "high": -0.05}
    pd.DataFrame([{"regime": "raw", **row}]).to_csv(run / "tables" / "calibration.csv", index=False)
    return run


def changed(run, **changes):
    config = json.loads((run / "config.json").read_text()) | changes
    (run / "config.json").write_text(json.dumps(config))
    return run


def test_it_says_what_the_model_does_and_what_it_is_not_for(fitted_run):
    card = model_card(fitted_run, regime="raw", summary=SUMMARY)
    assert card.startswith("# small_cnn: benign / malignant")
    for words in ("no medical device", "32×32 pixels in HU", "0.5–0.9, 0.5–0.9 mm", "3 classifiers answer together"):
        assert words in card
    assert "## Intended use and limits" in card
    assert '"dropout": 0.25' in card
    assert "lesionforge experiment usefulness --out run" in card


def test_patients_are_counted_and_not_named(fitted_run):
    card = model_card(fitted_run, regime="raw", summary=SUMMARY)
    assert "| benign | 48 | 24 | 9.5 |" in card
    assert "patient 1" not in card
    assert "Computed CT, no patients: the phantom-lung (3c9d1f0a7b52e681)" in card
    assert "a generator collapsed and was trained again" in card


def test_scores_are_those_of_its_regime_with_their_intervals(fitted_run):
    scores = pd.read_csv(fitted_run / "tables" / "scores.csv").set_index(["regime", "metric"])
    for regime in ("raw", "classic"):
        row = scores.loc[regime, "auc"]
        line = f"| AUC | {row['estimate']:.3f} | {row['low']:.3f} to {row['high']:.3f} |"
        assert line in model_card(fitted_run, regime=regime, summary=SUMMARY)


def test_calibration_is_told_before_and_after_with_its_interval(fitted_run):
    card = model_card(fitted_run, regime="raw", summary=SUMMARY)
    assert "calibrated on validation patients (temperature and bias)" in card
    assert "before 0.2500, after 0.1250: difference\n-0.1250 (-0.2000 to -0.0500)" in card
    assert "before 0.2500" not in model_card(fitted_run, regime="classic", summary=SUMMARY)  # it has no such row


def test_without_calibration_it_warns(fitted_run):
    (fitted_run / "tables" / "calibration.csv").unlink()
    card = model_card(fitted_run, regime="raw", summary={**SUMMARY, "calibrated": False})
    assert "**not calibrated**" in card
    assert "before" not in card.split("## What it refuses")[0].split("## Scores")[1]


def test_the_share_refused_is_that_of_its_regimes_test_patches(fitted_run):
    assert "that was 12.5 %" in model_card(fitted_run, regime="raw", summary=SUMMARY)
    assert "that was 100.0 %" in model_card(fitted_run, regime="classic", summary=SUMMARY)
    assert "Nothing: no validation" in model_card(fitted_run, regime="raw", summary={**SUMMARY, "refuses": False})


@pytest.mark.parametrize(
    ("regime", "words"),
    [
        ({}, '"raw": real lesions; no synthetic data.'),
        ({"classic": 40}, "real lesions, 40 classically augmented copies; no synthetic data."),
        ({"given": True}, "real lesions, the synthetic lesions that were given."),
        ({"portion": 0.25, "real": True}, "real lesions of 25 % of the patients; no synthetic data."),
        ({"real": False, "synthetic_per_class": 7}, '"raw": 7 synthetic lesions of each class'),
        ({"classic_of": "enough"}, "as each fold's validation patients chose (enough); no synthetic data."),
    ],
)
def test_whether_synthetic_data_took_part_is_said(fitted_run, regime, words):
    run = changed(fitted_run, regimes=[PLAIN | regime])
    assert words in model_card(run, regime="raw", summary=SUMMARY)


def test_a_search_for_settings_is_told(fitted_run):
    assert "trials a fold" not in model_card(fitted_run, regime="raw", summary=SUMMARY)
    run = changed(fitted_run, tuning={"trials": 12, "folds": 3})
    assert "12 trials a fold" in model_card(run, regime="raw", summary=SUMMARY)


@pytest.mark.parametrize("file", ["config.json", "provenance.json", "tables/scores.csv", "tables/strangeness.csv"])
def test_an_unfinished_run_has_no_card(fitted_run, file):
    (fitted_run / file).unlink()
    with pytest.raises(StorageError, match="missing"):
        model_card(fitted_run, regime="raw", summary=SUMMARY)
