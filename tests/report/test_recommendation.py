"""Sentences from tables whose every number is known."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from lesionforge.evaluation.power import patients_needed, smallest_gain
from lesionforge.evaluation.statistics import Comparison
from lesionforge.report.recommendation import recommendation, synthetic_names

SEEN = Comparison("auc", 0.80, 0.81, 0.01, -0.02, 0.04, 0.95, 100, 1, 0.015, np.nan)
REGIMES = [
    {"name": "raw", "classic": 0, "synthetic_per_class": 0, "given": False},
    {"name": "classic", "classic": 500, "synthetic_per_class": 0, "given": False},
    {"name": "classic+dcgan", "classic": 500, "synthetic_per_class": 200, "given": False},
]
CONFIG = {
    "metric": "auc",
    "regimes": REGIMES,
    "choices": [{"name": "recommended", "among": ["raw", "classic", "classic+dcgan"]}],
}


def row(regime, against, comparison):
    words = {"verdict": comparison.verdict, "sentence": comparison.sentence}
    return {"regime": regime, "against": against, **asdict(comparison), **words}


def tables(chosen=("classic+dcgan", "classic+dcgan", "raw"), comparison=SEEN):
    choices = pd.DataFrame(
        [
            {"choice": "recommended", "regime": name, "repeat": 0, "fold": fold, "chosen": name == picked}
            for fold, picked in enumerate(chosen)
            for name in ("raw", "classic", "classic+dcgan")
        ]
    )
    scores = pd.DataFrame([{"regime": "recommended", "metric": "auc", "estimate": 0.812, "low": 0.75, "high": 0.86}])
    compared = pd.DataFrame([row("classic", "raw", SEEN), row("classic+dcgan", "classic", comparison)])
    return {"comparisons": compared, "choices": choices, "scores": scores}


def test_what_most_folds_chose_is_recommended_with_its_amounts_and_what_to_expect():
    use, expect, disagree, pair = recommendation(CONFIG, tables())
    assert use.startswith("Use 'classic+dcgan' (500 classic patches and 200 samples of each class a fold): of 3 ways")
    assert "in 2 of 3 folds" in use
    assert expect.startswith("Expect an AUC of 0.812 (0.750 to 0.860)")
    assert "'raw' in 1" in disagree
    assert pair.startswith("'classic+dcgan' against 'classic': nothing shows that they help")


def test_of_equally_often_chosen_ways_the_simplest_is_taken_and_unanimous_folds_are_not_said_to_differ():
    assert recommendation(CONFIG, tables(("classic+dcgan", "raw")))[0].startswith("Use 'raw': ")
    assert len(recommendation(CONFIG, tables(("raw", "raw", "raw")))) == 3


def test_only_planned_comparisons_of_synthetic_against_none_are_told():
    assert synthetic_names(CONFIG) == {"classic+dcgan"}
    told = recommendation(CONFIG, {"comparisons": tables()["comparisons"]})
    assert len(told) == 1
    assert recommendation(CONFIG | {"regimes": REGIMES[:2]}, tables()) == []


@pytest.mark.parametrize(("low", "high", "words"), [(0.004, 0.06, "add them"), (-0.06, -0.004, "leave them out; AUC")])
def test_a_verdict_is_followed(low, high, words):
    found = replace(SEEN, difference=(low + high) / 2, low=low, high=high)
    assert words in recommendation(CONFIG, tables(comparison=found))[-1]


def test_power_is_that_of_the_comparison():
    told = recommendation(CONFIG, tables())[-1]
    assert f"With 100 patients a gain of {smallest_gain(SEEN):.3f} would have been seen in 80 %" in told
    assert f"0.02: {patients_needed(0.02, SEEN):.0f}; 0.05: {patients_needed(0.05, SEEN):.0f}." in told
    noisy = replace(SEEN, repeats=3, training_error=0.05)
    assert "no number" in recommendation(CONFIG, tables(comparison=noisy))[-1]
    same = replace(SEEN, difference=0.0, patient_error=0.0)
    assert "cannot be said" in recommendation(CONFIG, tables(comparison=same))[-1]


def test_a_choice_among_synthetic_regimes_alone_is_synthetic():
    choice = {"name": "synthetic, chosen", "among": ["classic+dcgan"]}
    assert synthetic_names(CONFIG | {"choices": [choice]}) == {"classic+dcgan", "synthetic, chosen"}
