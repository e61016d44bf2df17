from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.power import patients_needed, power_to_see, smallest_gain
from lesionforge.evaluation.statistics import Comparison, compare

FOUND = Comparison("auc", 0.8, 0.81, 0.01, -0.03, 0.05, 0.95, 100, 1, patient_error=0.02, training_error=np.nan)


def test_patients_needed_give_the_power_asked_for():
    needed = patients_needed(0.03, FOUND, power=0.9)
    assert power_to_see(0.03, FOUND, patients=int(needed)) >= 0.9
    assert power_to_see(0.03, FOUND, patients=int(needed) - 1) < 0.9
    assert needed == np.ceil(100 * ((norm.ppf(0.975) + norm.ppf(0.9)) * 0.02 / 0.03) ** 2)


def test_the_smallest_gain_needs_the_patients_there_were():
    assert patients_needed(smallest_gain(FOUND), FOUND) == pytest.approx(100, abs=1)


def test_patients_do_not_cure_the_randomness_of_training():
    noisy = replace(FOUND, repeats=3, training_error=0.02)
    assert patients_needed(0.03, noisy) == np.inf
    assert patients_needed(0.08, noisy) > patients_needed(0.08, FOUND)
    assert power_to_see(0.03, noisy, patients=10**9) == pytest.approx(norm.cdf(1.5 - norm.ppf(0.975)))


def test_four_times_the_patients_halve_the_error(simulate):
    first, second = (compare(*(simulate(patients=p, noise_seed=n) for n in (1, 2))) for p in (100, 400))
    assert second.patient_error == pytest.approx(first.patient_error / 2, rel=0.2)


def test_no_gain_and_undefined_comparisons_are_refused():
    with pytest.raises(LesionForgeError, match=r"above 0, but -0\.01"):
        patients_needed(-0.01, FOUND)
    with pytest.raises(LesionForgeError, match="power must be"):
        patients_needed(0.01, FOUND, power=0.02)
    with pytest.raises(LesionForgeError, match="defined"):
        power_to_see(0.01, replace(FOUND, patient_error=np.nan), patients=50)
    assert power_to_see(0.01, replace(FOUND, patient_error=0.0), patients=50) == 1
