from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import ARRAYS, Predictions
from lesionforge.evaluation.statistics import Comparison, compare, comparison_table, metric_title, score_table

SIMULATIONS = 200


def auc_interval(predictions, seed):
    table = score_table(predictions, resamples=400, seed=seed).set_index("metric")
    return table.loc["auc", ["low", "high"]].tolist()


def every_image_its_own_patient(predictions):
    digests = np.array([f"{row:020x}" for row in range(len(predictions))])
    return replace(predictions, patient=digests)


def test_interval_over_patients_covers_and_over_images_does_not(simulate):
    """The AUC of the model is known: scores differ by 1 ± √2·√(spread² + 1) between two patients."""
    truth = norm.cdf(1 / np.sqrt(2 * (1.5**2 + 1)))
    covered = naive = 0
    for seed in range(SIMULATIONS):
        predictions = simulate(seed, patients=60, lesions=4, patient_spread=1.5)
        low, high = auc_interval(predictions, seed)
        covered += low <= truth <= high
        low, high = auc_interval(every_image_its_own_patient(predictions), seed)
        naive += low <= truth <= high
    monte_carlo_error = np.sqrt(0.95 * 0.05 / SIMULATIONS)
    assert 0.95 - 3 * monte_carlo_error <= covered / SIMULATIONS <= 1 - 0.05 + 3 * monte_carlo_error
    assert naive / SIMULATIONS < 0.85


def test_verdict_without_a_difference_is_rarely_wrong(simulate):
    wrong = 0
    for seed in range(SIMULATIONS):
        first, second = (simulate(seed, noise_seed=noise) for noise in (1, 2))
        wrong += compare(first, second, resamples=400, seed=seed).verdict != "cannot tell"
    assert 0 < wrong / SIMULATIONS <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / SIMULATIONS)


def test_verdict_finds_a_difference(simulate):
    weak, strong = simulate(separation=0.5, noise_seed=1), simulate(separation=3.0, noise_seed=2)
    assert compare(weak, strong).verdict == "helps"
    assert compare(strong, weak).verdict == "hurts"


def test_pairing_narrows_the_interval(simulate):
    first, second = (simulate(patient_spread=2.0, noise_seed=noise) for noise in (1, 2))
    paired = compare(first, second)
    alone = [np.diff(auc_interval(each, 0))[0] for each in (first, second)]
    assert paired.high - paired.low < 0.7 * np.hypot(*alone)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_intervals_hold_the_estimate_and_ignore_the_order_of_rows(simulate, seed):
    predictions = simulate(seed % 1000, patients=24)
    order = np.random.default_rng(seed).permutation(len(predictions))
    shuffled = Predictions(predictions.classes, **{name: getattr(predictions, name)[order] for name in ARRAYS})
    table, again = (score_table(each, resamples=200) for each in (predictions, shuffled))
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()
    for column in ("estimate", "low", "high"):
        np.testing.assert_allclose(table[column], again[column], atol=1e-9)


def test_order_of_rows_does_not_unpair(simulate):
    first, second = (simulate(noise_seed=noise) for noise in (1, 2))
    back = Predictions(second.classes, **{name: getattr(second, name)[::-1] for name in ARRAYS})
    assert compare(first, back) == compare(first, second)


def test_perfect_score_is_not_certainty():
    labels = ["a"] * 5 + ["b"] * 20
    probability = [[0.9, 0.1]] * 5 + [[0.2, 0.8]] * 20
    perfect = Predictions.of("ab", labels=labels, probability=probability, patients=[str(n) for n in range(25)])
    table = score_table(perfect).set_index("metric")
    assert table.loc["auc"].tolist() == pytest.approx([1, 0.025 ** (1 / 5), 1])
    wrong = replace(perfect, probability=perfect.probability[:, ::-1])
    assert score_table(wrong).set_index("metric").loc["accuracy"].tolist() == pytest.approx([0, 0, 1 - 0.025**0.2])


def test_one_class_leaves_auc_undefined_and_cannot_tell():
    one = Predictions.of("ab", labels=["a"] * 4, probability=[[0.8, 0.2]] * 4, patients=list("1234"))
    table = score_table(one).set_index("metric")
    assert np.isnan(table.loc["auc"].to_numpy(dtype=float)).all()
    assert table.loc["accuracy", "estimate"] == 1
    found = compare(one, one)
    assert found.sentence == "cannot tell: AUC is not defined for these 4 patients"


def test_identical_classifiers_cannot_be_told_apart(simulate):
    found = compare(simulate(), simulate(), metric="balanced_accuracy")
    assert (found.difference, found.low, found.high, found.verdict) == (0, 0, 0, "cannot tell")


def test_sentence_has_the_numbers():
    found = Comparison("auc", 0.8, 0.813, 0.013, -0.021, 0.048, level=0.95, patients=83)
    assert found.sentence == "cannot tell: AUC +0.013 (95 % interval −0.021 to +0.048) over 83 patients"
    assert replace(found, low=0.001).verdict == "helps"
    assert replace(found, high=-0.001, level=0.975).sentence.startswith("hurts: AUC +0.013 (97.5 % interval")
    assert replace(found, low=0.0).verdict == "cannot tell"


def test_level_allows_for_the_number_of_comparisons(simulate):
    regimes = {name: simulate(noise_seed=n) for n, name in enumerate(["raw", "classic", "classic+gan"])}
    pairs = [("raw", "classic"), ("classic+gan", "classic")]
    table = comparison_table(regimes, pairs=pairs, metric="accuracy", resamples=300)
    assert table["regime"].tolist() == ["raw", "classic+gan"]
    assert (table["level"] == 0.975).all()
    alone = compare(regimes["classic"], regimes["raw"], metric="accuracy", resamples=300)
    assert table.loc[0, "high"] - table.loc[0, "low"] > alone.high - alone.low
    assert table.loc[0, "difference"] == alone.difference
    assert table.loc[0, "sentence"].startswith(table.loc[0, "verdict"])


def test_what_cannot_be_compared_is_refused(simulate):
    first = simulate()
    with pytest.raises(LesionForgeError, match=r"\(180 and 90 predictions\) differ in repeat"):
        compare(first, simulate(patients=30))
    with pytest.raises(LesionForgeError, match="differ in fold"):
        compare(first, simulate(folds=2))
    with pytest.raises(LesionForgeError, match="same classes"):
        compare(first, simulate(classes=("malignant", "benign")))
    with pytest.raises(LesionForgeError, match="metric must be one of auc, balanced_accuracy"):
        compare(first, first, metric="f1")
    with pytest.raises(LesionForgeError, match="pairs must be of the regimes classic, but raw came"):
        comparison_table({"classic": first}, pairs=[("classic", "raw")])


@pytest.mark.parametrize(
    ("name", "title"),
    [("auc", "AUC"), ("balanced_accuracy", "balanced accuracy"), ("auc [part_solid]", "AUC [part_solid]")],
)
def test_metric_titles_leave_class_names_alone(name, title):
    assert metric_title(name) == title
