import numpy as np
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.saturation import saturation
from lesionforge.evaluation.scores import measure
from lesionforge.evaluation.statistics import compare

RESAMPLES = 200


def rising(simulate, separations):
    """Classifiers of the same patients, better and better."""
    return [simulate(separation=separation, noise_seed=number) for number, separation in enumerate(separations)]


def test_the_least_that_is_within_an_error_of_the_best_is_chosen(simulate):
    candidates = rising(simulate, [0.2, 1.0, 3.0, 3.05, 2.9])
    found = saturation(candidates, resamples=RESAMPLES)
    scores = [float(measure(each)["auc"]) for each in candidates]
    best = int(np.argmax(scores))
    np.testing.assert_allclose(found["score"], scores)
    np.testing.assert_allclose(found["behind"], max(scores) - np.array(scores))
    errors = [compare(each, candidates[best], resamples=RESAMPLES).patient_error for each in candidates]
    np.testing.assert_allclose(found["error"], errors)
    assert found["chosen"].sum() == 1
    within = np.flatnonzero(found["behind"] <= found["error"])
    assert found["chosen"].argmax() == within[0] >= 2


def test_of_equals_the_least_is_chosen_whatever_the_score(simulate):
    same = simulate()
    for metric in ("auc", "brier_error", "accuracy"):
        found = saturation([same, same, same], metric=metric, resamples=RESAMPLES)
        assert found["chosen"].tolist() == [True, False, False]
        assert found["behind"].tolist() == [0, 0, 0]


def test_of_an_error_less_is_better(simulate):
    found = saturation(rising(simulate, [0.0, 4.0]), metric="brier_error", resamples=RESAMPLES)
    assert found["chosen"].tolist() == [False, True]
    assert found["behind"].iloc[0] > 0


def test_a_single_candidate_is_chosen(simulate):
    assert saturation([simulate()], resamples=RESAMPLES)["chosen"].tolist() == [True]


def test_what_cannot_be_chosen_among_is_refused(simulate):
    with pytest.raises(LesionForgeError, match="none came"):
        saturation([])
    with pytest.raises(LesionForgeError, match="metric must be one of auc"):
        saturation([simulate()], metric="f1")
    one_class = simulate().at(simulate().truth == 0)
    with pytest.raises(LesionForgeError, match="must be defined"):
        saturation([one_class])
    with pytest.raises(LesionForgeError, match="same test rows"):
        saturation([simulate(), simulate(patients=30, separation=3)])
