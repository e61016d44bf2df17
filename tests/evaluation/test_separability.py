import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.delong import auc_interval
from lesionforge.evaluation.separability import separated


def two_sets(apart=0.0, patients=40, seed=0):
    """Three lesions a patient, alike within the patient; and as many samples."""
    rng = np.random.default_rng(seed)
    real = np.repeat(rng.normal(size=(patients, 5)), 3, axis=0) + rng.normal(0, 0.2, (patients * 3, 5))
    return real, np.repeat(np.arange(patients), 3), rng.normal(apart, 1, (patients * 3, 5))


@pytest.mark.parametrize("judge", ["logistic", "forest"])
def test_what_lies_apart_is_told_apart(judge):
    found = auc_interval(separated(*two_sets(1.2), judge=judge))
    assert found.low > 0.8


def test_sets_of_one_kind_are_not_told_apart():
    values = [auc_interval(separated(*two_sets(seed=seed))) for seed in range(8)]
    assert np.mean([each.value for each in values]) == pytest.approx(0.5, abs=0.06)
    assert np.mean([each.low > 0.5 for each in values]) <= 0.25


def test_only_the_forest_sees_what_is_in_no_feature_alone():
    rng = np.random.default_rng(0)
    real = rng.choice([-1, 1], (120, 2)) * rng.uniform(0.5, 1.5, (120, 2))
    made = np.abs(real) * rng.choice([-1, 1], 120)[:, None]  # both of one sign
    linear, forest = (
        auc_interval(separated(real, np.arange(120), made, judge=j)).value for j in ("logistic", "forest")
    )
    assert forest > linear + 0.1


def test_patients_stay_in_one_fold_and_every_row_is_judged_once():
    real, patients, made = two_sets()
    found = separated(real, patients, made)
    assert len(found) == len(real) + len(made)
    # `Predictions` refuses patients in several folds; here each fold holds both sets.
    for fold in range(4):
        assert set(found.truth[found.fold == fold]) == {0, 1}
    one = found.fold == 0
    expected = roc_auc_score(found.truth[one], found.probability[one, 1])
    assert 0 < expected < 1


def test_a_patient_of_both_sets_counts_as_one_of_each():
    real, patients, _ = two_sets()
    found = separated(real, patients, real, sources=patients)
    assert found.n_patients == 80


def test_the_same_seed_judges_alike():
    first, again = (separated(*two_sets(patients=6), judge="forest", folds=2, seed=3).probability for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_what_cannot_be_judged_is_refused():
    real, patients, made = two_sets()
    with pytest.raises(LesionForgeError, match="4 folds"):
        separated(real, np.zeros(len(real)), made)
    with pytest.raises(LesionForgeError, match="same finite features"):
        separated(real, patients, made[:, :3])
    with pytest.raises(LesionForgeError, match="one of logistic"):
        separated(real, patients, made, judge="oracle")
    with pytest.raises(LesionForgeError, match="needs a patient"):
        separated(real, patients[:-1], made)
