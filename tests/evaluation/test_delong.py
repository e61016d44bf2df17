from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, t, ttest_ind

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.delong import auc_difference, auc_interval, aucs
from lesionforge.evaluation.predictions import concatenate
from lesionforge.evaluation.scores import roc_auc_score
from lesionforge.evaluation.statistics import compare


def placements(score, positive):
    """V10 and V01 of DeLong et al. by their definition, pair by pair."""
    above = score[positive][:, None] - score[~positive][None]
    psi = (above > 0) + 0.5 * (above == 0)
    return psi.mean(axis=1), psi.mean(axis=0)


def obuchowski(scores, positive, patients):
    """Covariance of clustered AUCs, eqs 2–5 of Obuchowski 1997, summed patient by patient."""
    names, m, n = np.unique(patients), positive.sum(), (~positive).sum()
    x, y = np.zeros((2, len(scores), len(names)))
    for k, score in enumerate(scores):
        v10, v01 = placements(score, positive)
        for i, name in enumerate(names):
            x[k, i] = (v10[patients[positive] == name] - v10.mean()).sum()
            y[k, i] = (v01[patients[~positive] == name] - v01.mean()).sum()
    i10, i01 = (len(np.unique(patients[rows])) for rows in (positive, ~positive))
    s10 = i10 / ((i10 - 1) * m) * x @ x.T
    s01 = i01 / ((i01 - 1) * n) * y @ y.T
    s11 = len(names) / (len(names) - 1) * x @ y.T
    return s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def test_clustered_covariance_is_obuchowskis():
    rng = np.random.default_rng(0)
    patients, positive = rng.integers(0, 25, size=90), rng.random(90) < 0.4
    scores = rng.integers(0, 12, size=(3, 90)) + 3.0 * positive
    found = aucs(scores, positive, patients=patients)
    np.testing.assert_allclose(found.covariance, obuchowski(scores, positive, patients), rtol=1e-12)
    peer = [
        mannwhitneyu(score[positive], score[~positive]).statistic / (positive.sum() * (~positive).sum())
        for score in scores
    ]
    np.testing.assert_allclose(found.value, peer)


def test_one_row_a_patient_is_delongs_covariance():
    rng = np.random.default_rng(1)
    positive = np.arange(50) < 20
    scores = rng.normal(size=(2, 50)) + positive
    v10, v01 = zip(*(placements(score, positive) for score in scores), strict=True)
    expected = np.cov(v10) / 20 + np.cov(v01) / 30
    found = aucs(scores, positive)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-12)
    difference = found.difference()
    z = np.diff(found.value)[0] / np.sqrt(expected[0, 0] + expected[1, 1] - 2 * expected[0, 1])
    assert difference.value / difference.standard_error == pytest.approx(z, rel=1e-9)
    peer = ttest_ind(np.subtract(*v10), np.subtract(*v01), equal_var=False)  # Welch: two samples, two variances
    assert difference.df == pytest.approx(peer.df, rel=1e-9)
    assert difference.p_value == pytest.approx(2 * t.sf(abs(z), peer.df), rel=1e-9)


def test_folds_and_repeats_are_those_of_the_score(simulate):
    predictions = concatenate([replace(simulate(noise_seed=n), repeat=np.full(180, n)) for n in range(2)])
    found = auc_interval(predictions)
    assert found.value == pytest.approx(roc_auc_score(predictions)[0], rel=1e-12)
    assert found.low < found.value < found.high


def test_difference_agrees_with_the_bootstrap(simulate):
    first, second = (simulate(patients=300, noise_seed=n) for n in (1, 2))
    delong, boot = auc_difference(first, second), compare(first, second)
    assert delong.value == pytest.approx(boot.difference, abs=1e-12)
    assert delong.standard_error == pytest.approx(boot.patient_error, rel=0.06)  # 2000 resamples: 1.6 % and less


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_order_names_and_monotone_scales_do_not_matter(seed, ties):
    rng = np.random.default_rng(seed)
    patients, positive = np.arange(30) // 2, np.arange(30) % 4 < 2
    score = rng.integers(0, 5, size=30).astype(float) if ties else rng.normal(size=30)
    order = rng.permutation(30)
    one = aucs(score, positive, patients=patients)
    again = aucs(np.exp(score[order]), positive[order], patients=np.array(list("zyxwvutsrqponml"))[patients[order]])
    np.testing.assert_allclose(
        [one.value[0], one.covariance[0, 0]], [again.value[0], again.covariance[0, 0]], atol=1e-12
    )
    interval = one.estimate()
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_identical_and_perfect_scores_have_defined_results():
    positive = np.arange(20) < 8
    same = aucs(np.tile(np.random.default_rng(0).normal(size=20), (2, 1)), positive).difference()
    assert (same.value, same.standard_error, same.p_value) == (0, 0, 1)
    perfect = aucs(positive.astype(float), positive).estimate()
    assert (perfect.value, perfect.high) == (1, 1)
    assert perfect.low == pytest.approx(0.025 ** (1 / 8))
    constant = aucs(np.ones(20), positive).estimate()
    assert (constant.value, constant.p_value) == (0.5, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": [1, 0, 1]}, "same rows, but have 4, 3"),
        ({"patients": ["a"]}, "4, 4, 1 and 4"),
        ({"scores": [1, np.nan, 2, 3]}, "must be finite"),
        ({"positive": [1, 1, 1, 1]}, "4 with positives and 0 with negatives"),
        ({"patients": ["a"] * 4}, "1 with positives and 1 with negatives"),
        ({"folds": [0, 1, 0, 1]}, "no fold has them"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"scores": [1.0, 2.0, 3.0, 4.0], "positive": [1, 0, 1, 0]}
    arguments = good | change
    with pytest.raises(LesionForgeError, match=message):
        aucs(arguments.pop("scores"), arguments.pop("positive"), **arguments)
