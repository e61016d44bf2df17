import numpy as np
import pytest
from scipy.stats import bootstrap, norm, t, ttest_ind

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation import bootstrap as ours
from lesionforge.evaluation.bootstrap import PatientDraws
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.scores import measure


def rows_of(patients, labels):
    return Predictions.of("ab", labels=labels, probability=[[0.5, 0.5]] * len(labels), patients=patients)


def test_patients_are_drawn_whole_and_strata_keep_their_size(simulate):
    predictions = simulate(patients=20, lesions=4)
    draws = PatientDraws.of(predictions, resamples=200, seed=3)
    for code in (0, 1):
        assert (draws.counts[:, draws.stratum == code].sum(axis=1) == 10).all()
    rows = draws.counts[:, draws.patient_of_row]
    for patient in np.unique(predictions.patient):
        assert np.ptp(rows[:, predictions.patient == patient], axis=1).max() == 0


def test_a_patient_with_both_classes_counts_as_the_rarer_one():
    draws = PatientDraws.of(rows_of(["1", "1", "2", "2", "3", "4"], list("ababaa")))
    assert draws.rarest == 2
    assert sorted(draws.stratum.tolist()) == [0, 0, 1, 1]


def test_same_seed_same_draws(simulate):
    first, again, other = (PatientDraws.of(simulate(), seed=seed).counts for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_blocks_change_no_number(simulate, monkeypatch):
    predictions = simulate()
    draws = PatientDraws.of(predictions, resamples=150)
    whole = draws.apply(lambda weights: measure(predictions, weights))["auc"]
    monkeypatch.setattr(ours, "_WEIGHTS_AT_ONCE", 1000)
    blocks = draws.apply(lambda weights: measure(predictions, weights))["auc"]
    np.testing.assert_array_equal(whole.values, blocks.values)


def test_interval_agrees_with_scipy_bca():
    """One stratum, one row a patient, a skewed statistic: scipy's own BCa of the same data."""
    values = np.random.default_rng(0).lognormal(size=40)
    predictions = rows_of([str(n) for n in range(40)], ["a"] * 40)
    by_row = values[np.argsort(predictions.patient)]  # draws number patients in the order of their digests
    draws = PatientDraws.of(predictions, resamples=20_000, seed=1)
    statistic = draws.apply(lambda w: {"mean": (w[:, np.argsort(predictions.patient)] @ by_row) / w.sum(axis=1)})
    expanded = np.sqrt(40 / 39) * t.ppf(0.975, 39)  # Hesterberg's expansion for 40 patients
    level = 2 * norm.cdf(expanded) - 1
    peer = bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", confidence_level=level, rng=2)
    assert draws.interval(statistic["mean"]) == pytest.approx(tuple(peer.confidence_interval), rel=0.02)


def test_error_of_a_mean_is_the_textbooks():
    """Two strata: the variance of a sum of means, and Welch's degrees of freedom."""
    labels = ["a"] * 30 + ["b"] * 8
    values = np.random.default_rng(0).normal(size=38) * np.repeat([1, 3], [30, 8])
    predictions = rows_of([str(n) for n in range(38)], labels)
    draws = PatientDraws.of(predictions, resamples=100)

    def difference(w):
        first, second = (w[:, rows] @ values[rows] / w[:, rows].sum(axis=1) for rows in (slice(0, 30), slice(30, 38)))
        return {"difference": second - first}

    error, df = draws.error(draws.apply(difference)["difference"])
    peer = ttest_ind(values[:30], values[30:], equal_var=False)
    assert error == pytest.approx(abs((values[30:].mean() - values[:30].mean()) / peer.statistic), rel=1e-9)
    assert df == pytest.approx(peer.df, rel=1e-9)


def test_where_classes_meet_in_a_patient_the_error_holds_all_patients_against_each_other():
    """A share of b: certain where each class has its patients, else spread as patients are."""
    labels, is_b = list("ab" * 11), np.tile([0.0, 1.0], 11)

    def error(patients):
        draws = PatientDraws.of(rows_of([str(n) for n in patients], labels), resamples=100)
        return draws.error(draws.apply(lambda w: {"share": (w @ is_b) / w.sum(axis=1)})["share"])

    assert error(range(22))[0] == pytest.approx(0, abs=1e-9)
    patients = np.array([0, *range(21)])
    left_out = np.array([is_b[patients != patient].mean() for patient in range(21)])
    assert error(patients) == pytest.approx((np.sqrt(20 * left_out.var()), 20))


def test_degenerate_statistics_have_defined_intervals():
    draws = PatientDraws.of(rows_of(["1", "2"], ["a", "a"]), resamples=100)
    statistics = draws.apply(lambda w: {"flat": np.ones(len(w)), "undefined": np.full(len(w), np.nan)})
    assert draws.interval(statistics["flat"]) == (1.0, 1.0)
    assert np.isnan(draws.interval(statistics["undefined"])).all()
    assert draws.error(statistics["flat"])[0] == 0
    assert np.isnan(draws.error(statistics["undefined"])[0])


def test_one_patient_of_a_class_gives_no_interval():
    with pytest.raises(LesionForgeError, match="'b' has one"):
        PatientDraws.of(rows_of(["1", "2", "3"], ["a", "a", "b"]))


def test_too_few_resamples_and_an_impossible_level_are_refused(simulate):
    with pytest.raises(LesionForgeError, match="at least 100"):
        PatientDraws.of(simulate(), resamples=10)
    draws = PatientDraws.of(simulate(), resamples=100)
    statistic = draws.apply(lambda w: {"sum": w.sum(axis=1)})["sum"]
    with pytest.raises(LesionForgeError, match="between 0 and 1"):
        draws.interval(statistic, level=95)
