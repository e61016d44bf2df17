from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.delong import auc_difference
from lesionforge.evaluation.paired_tests import corrected_resampled_t, fold_differences, mcnemar, permutation_p_value
from lesionforge.evaluation.scores import roc_auc_score


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 20))
def test_one_row_a_patient_is_mcnemars_exact_test(only_first, only_second, both):
    first = np.repeat([1, 0, 1], [only_first, only_second, both + 1])
    second = np.repeat([0, 1, 1], [only_first, only_second, both + 1])
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    discordant = only_first + only_second
    peer = binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert found.p_value == pytest.approx(peer, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_clustered_mcnemar_is_every_exchange_of_patients(seed):
    rng = np.random.default_rng(seed)
    right, patients = rng.integers(0, 2, size=(2, 24)), rng.integers(0, 8, size=24)
    by_patient = np.bincount(patients, weights=right[0] - right[1])
    sums = np.array([np.dot(signs, by_patient) for signs in product([-1, 1], repeat=len(by_patient))])
    expected = np.mean(np.abs(sums) >= abs(by_patient.sum()))
    assert mcnemar(*right, patients=patients).p_value == pytest.approx(expected, abs=1e-12)


def test_permutation_is_every_exchange_of_patients(simulate):
    first, second = (simulate(patients=8, lesions=2, folds=1, noise_seed=n) for n in (1, 5))
    observed = roc_auc_score(second)[0] - roc_auc_score(first)[0]
    _, patient = np.unique(first.patient, return_inverse=True)
    found = []
    for choice in product([False, True], repeat=8):
        swap = np.array(choice)[patient][:, None]
        one, two = (
            replace(first, probability=np.where(swap, other.probability, kept.probability))
            for kept, other in ((first, second), (second, first))
        )
        found.append(abs(roc_auc_score(two)[0] - roc_auc_score(one)[0]))
    exact = np.mean(np.array(found) >= abs(observed) - 1e-12)
    assert 0.02 < exact < 0.9
    drawn = permutation_p_value(first, second, permutations=20_000)
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_permutation_agrees_with_delong_and_is_seeded(simulate):
    first, second = simulate(noise_seed=1), simulate(noise_seed=2, separation=1.4)
    p_value = permutation_p_value(first, second, seed=3)
    assert p_value == permutation_p_value(first, second, seed=3)
    assert p_value == pytest.approx(auc_difference(first, second).p_value, abs=0.03)
    assert permutation_p_value(first, first, permutations=100) == 1


def test_resampled_t_without_overlap_is_students_and_with_it_larger():
    differences = np.random.default_rng(0).normal(0.3, 1, size=15)
    plain = corrected_resampled_t(differences, test_to_train=0)
    peer = ttest_1samp(differences, 0)
    assert plain.p_value == pytest.approx(peer.pvalue, rel=1e-9)
    assert (plain.low, plain.high) == pytest.approx(tuple(peer.confidence_interval()))
    corrected = corrected_resampled_t(differences, test_to_train=0.25)
    assert corrected.standard_error == pytest.approx(plain.standard_error * np.sqrt((1 / 15 + 0.25) * 15))


def test_differences_are_those_of_each_fold(simulate):
    first, second = (simulate(noise_seed=n) for n in (1, 2))
    found = fold_differences(first, second)
    whole = [roc_auc_score(each)[0] for each in (first, second)]
    assert found.shape == (3,)
    assert found.mean() == pytest.approx(whole[1] - whole[0])  # folds of equal numbers of pairs


def test_bad_input_is_refused(simulate):
    with pytest.raises(LesionForgeError, match="same rows, one or more"):
        mcnemar([1, 0], [1])
    with pytest.raises(LesionForgeError, match="same rows, one or more"):
        mcnemar([], [])
    with pytest.raises(LesionForgeError, match="1 not finite"):
        corrected_resampled_t([0.1, np.nan], test_to_train=0.5)
    with pytest.raises(LesionForgeError, match="ratio of sizes"):
        corrected_resampled_t([0.1, 0.2], test_to_train=-1)
    with pytest.raises(LesionForgeError, match="metric must be one of auc"):
        permutation_p_value(simulate(), simulate(), metric="loss")
