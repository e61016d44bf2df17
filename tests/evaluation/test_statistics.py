from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.bootstrap import PatientDraws
from lesionforge.evaluation.predictions import ARRAYS, Predictions, concatenate
from lesionforge.evaluation.scores import calibration_error, measure, roc_auc_score, scores_of
from lesionforge.evaluation.statistics import (
    Comparison,
    compare,
    compare_all,
    comparison_table,
    metric_title,
    score_table,
)

SIMULATIONS = 150
ERRORS = {"patient_error": 0.017, "training_error": np.nan}


def auc_interval(predictions, seed):
    draws = PatientDraws.of(predictions, resamples=400, seed=seed)
    return draws.interval(draws.apply(lambda weights: {"auc": roc_auc_score(predictions, weights)[..., 0]})["auc"])


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
        wrong += compare(first, second, resamples=200, seed=seed).verdict != "cannot tell"
    assert 0 < wrong / SIMULATIONS <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / SIMULATIONS)


def test_verdict_finds_a_difference(simulate):
    weak, strong = simulate(separation=0.5, noise_seed=1), simulate(separation=3.0, noise_seed=2)
    assert compare(weak, strong).verdict == "helps"
    assert compare(strong, weak).verdict == "hurts"


def test_less_of_an_error_helps(simulate):
    weak, strong = simulate(separation=0.5, noise_seed=1), simulate(separation=3.0, noise_seed=2)
    found = compare(weak, strong, metric="brier_error")
    assert found.difference < found.high < 0
    assert found.verdict == "helps"
    assert compare(strong, weak, metric="brier_error").verdict == "hurts"


def repeated(simulate, *, luck, seed, repeats=4):
    """Repeats of a cross-validation whose networks, but for ``luck``, are equally good."""
    parts = []
    for repeat in range(repeats):
        separation = 1.0 + luck * np.random.default_rng([seed, repeat]).normal()
        part = simulate(0, patients=80, separation=separation, noise_seed=100 * seed + repeat)
        parts.append(replace(part, repeat=np.full(len(part), repeat)))
    return concatenate(parts)


def test_repeats_show_the_randomness_of_training(simulate):
    steady = compare(*(repeated(simulate, luck=0.0, seed=n) for n in (1, 2)))
    lucky = compare(*(repeated(simulate, luck=1.5, seed=n) for n in (1, 2)))
    assert steady.training_error < 0.25 * lucky.training_error
    by_repeat = [compare(*pair).difference for pair in each_repeat(simulate)]
    assert lucky.training_error == pytest.approx(np.std(by_repeat, ddof=1) / 2, rel=0.1)
    assert lucky.high - lucky.low > 2 * t.ppf(0.975, 1e9) * np.hypot(lucky.patient_error, lucky.training_error)
    assert lucky.repeats == 4
    assert np.isnan(compare(simulate(), simulate(noise_seed=1)).training_error)


def each_repeat(simulate):
    both = (repeated(simulate, luck=1.5, seed=n).by_repeat() for n in (1, 2))
    return [(first, second) for (_, first), (_, second) in zip(*both, strict=True)]


def test_intervals_of_scores_cover_training_too(simulate):
    lucky = repeated(simulate, luck=1.5, seed=1)
    table = score_table(lucky, resamples=200).set_index("metric")
    draws = PatientDraws.of(lucky, resamples=200)
    over_patients = draws.interval(draws.apply(lambda weights: measure(lucky, weights))["auc"])
    assert table.loc["auc", "low"] < over_patients[0] - 0.02
    assert table.loc["auc", "high"] > over_patients[1] + 0.02
    assert table["high"].max() <= 1


def test_calibration_error_has_an_interval_that_reaches_a_calibrated_classifier():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.05, 0.95, size=150)
    calibrated = Predictions.of(
        "ab",
        labels=np.where(rng.random(150) < chance, "b", "a"),
        probability=np.stack([1 - chance, chance], axis=1),
        patients=(np.arange(150) // 2).astype(str),
    )
    row = score_table(calibrated, resamples=300).set_index("metric").loc["calibration_error"]
    assert row["estimate"] == pytest.approx(float(calibration_error(calibrated)))
    assert row["estimate"] > 0.02
    assert row["low"] == 0


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
    defined = table.dropna()
    assert (defined["low"] <= defined["estimate"]).all()
    assert (defined["estimate"] <= defined["high"]).all()
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
    found = Comparison("auc", 0.8, 0.813, 0.013, -0.021, 0.048, 0.95, 83, repeats=1, **ERRORS)
    assert found.sentence == "cannot tell: AUC +0.013 (95 % interval −0.021 to +0.048) over 83 patients"
    assert replace(found, low=0.001).verdict == "helps"
    assert replace(found, high=-0.001, level=0.975).sentence.startswith("hurts: AUC +0.013 (97.5 % interval")
    assert replace(found, low=0.0).verdict == "cannot tell"
    assert replace(found, repeats=5).sentence.endswith("over 83 patients and 5 repeats")


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
        compare(first, first, metric="loss")
    with pytest.raises(LesionForgeError, match="pairs must be of the regimes classic, but raw came"):
        comparison_table({"classic": first}, pairs=[("classic", "raw")])


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("auc", "AUC"),
        ("balanced_accuracy", "balanced accuracy"),
        ("auc [part_solid]", "AUC [part_solid]"),
        ("brier_error", "Brier error"),
        ("f1 [f1_score]", "F1 [f1_score]"),
    ],
)
def test_metric_titles_leave_class_names_alone(name, title):
    assert metric_title(name) == title


def test_every_score_is_compared_from_the_same_resamples_as_alone(simulate):
    first, second = simulate(), simulate(separation=1.5, noise_seed=1)
    found = {each.metric: each for each in compare_all(first, second, resamples=200)}
    assert list(found) == list(scores_of(first))
    for metric in ("auc", "brier_error", "sensitivity [malignant]"):
        assert found[metric] == compare(first, second, metric=metric, resamples=200)
    with pytest.raises(LesionForgeError, match="'nothing' came"):
        compare_all(first, second, metrics=["auc", "nothing"])
