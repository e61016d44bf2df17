import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from lesionforge.classifiers.decision import Examples
from lesionforge.classifiers.decisions.svm import SVM, _by_patient
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT


def patches(codes, patients, *, prefix="patient") -> Patches:
    images = np.random.default_rng(len(prefix)).integers(-1000, 0, (len(codes), 4, 4))
    return Patches.of(images, patient=[f"{prefix}-{p}" for p in patients], label=[f"class {c}" for c in codes])


def examples(classes: int, *, count: int = 90, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % classes
    features = rng.normal(size=(count, 5)) + 1.5 * np.eye(5)[codes]
    weights = rng.uniform(0.5, 1.5, count)
    return Examples(features, codes, weights, patches(codes, range(count)))


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("classes", [2, 3])
def test_margins_equal_scikit_learns(kernel, classes):
    known, fresh = examples(classes), examples(classes, seed=1).features
    decision = SVM(kernel=kernel, cost=0.7)
    learnt, _ = decision.fit(known, seed=0, progress=SILENT)
    gamma = 1 / (5 * known.features.var())
    for number in range(classes if classes > 2 else 1):
        reference = SVC(C=0.7, kernel=kernel, gamma=gamma)
        positive = known.codes == (number if classes > 2 else 1)
        reference.fit(known.features, positive, sample_weight=known.weights)
        expected = reference.decision_function(fresh)
        np.testing.assert_allclose(decision.margins(learnt, fresh)[:, number], expected, atol=1e-10)


def test_of_several_classes_the_greatest_margin_mostly_wins_as_in_scikit_learn():
    known, fresh = examples(3), examples(3, seed=1)
    learnt, _ = SVM().fit(known, seed=0, progress=SILENT)
    called = SVM().probability(learnt, fresh.features).argmax(axis=1)
    reference = OneVsRestClassifier(SVC()).fit(known.features, known.codes).predict(fresh.features)
    assert (called == reference).mean() > 0.9
    assert (called == fresh.codes).mean() > 0.7


def test_the_curve_is_a_regression_on_margins_of_patients_held_out():
    known = examples(2)
    decision = SVM(calibration_folds=3)
    learnt, _ = decision.fit(known, seed=4, progress=SILENT)
    margins = np.empty((90, 1))
    folds = list(_by_patient(known.patches, 3, 4))
    for kept, held_out in folds:
        gamma = 1 / (5 * known.features[kept].var())
        machine = SVC(gamma=gamma).fit(known.features[kept], known.codes[kept], sample_weight=known.weights[kept])
        margins[held_out, 0] = machine.decision_function(known.features[held_out])
    order = np.concatenate([held_out for _, held_out in folds])
    curve = LogisticRegression().fit(margins[order], known.codes[order], sample_weight=known.weights[order])
    fresh = examples(2, seed=1).features
    expected = curve.predict_proba(decision.margins(learnt, fresh))
    np.testing.assert_allclose(decision.probability(learnt, fresh), expected, atol=1e-8)


def test_what_is_known_by_heart_gives_no_certainty():
    """Each patient has the same lesion six times, and its class is drawn: rows held out singly would be told."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(30), 6)
    codes = rng.permutation(np.arange(30) % 2)[patient]
    features = rng.normal(size=(30, 8))[patient]
    known = Examples(features, codes, np.ones(180), patches(codes, patient))
    learnt, _ = SVM().fit(known, seed=0, progress=SILENT)
    assert ((SVM().margins(learnt, features)[:, 0] > 0) == codes).mean() > 0.9
    assert np.abs(SVM().probability(learnt, features) - 0.5).max() < 0.35


def test_synthetic_rows_are_learnt_from_and_never_held_out():
    real = patches(np.arange(20) % 2, np.arange(20) // 4)
    made = patches(np.arange(6) % 2, [0] * 6, prefix="generator")
    table = made.table.assign(origin="generator")
    joined = concatenate([real, Patches(made.images, table, generators={"generator": real.exposure})])
    held = []
    for kept, held_out in _by_patient(joined, 5, 0):
        assert set(range(20, 26)) <= set(kept.tolist())
        assert not set(joined.patients[kept]) & set(joined.patients[held_out])
        held += held_out.tolist()
    assert sorted(held) == list(range(20))


def test_a_class_of_one_patient_has_a_way_out():
    codes = np.arange(20) % 2
    known = Examples(np.eye(20), codes, np.ones(20), patches(codes, np.where(codes == 1, 0, 1 + np.arange(20))))
    with pytest.raises(LesionForgeError, match=r"'class 1' has 1: .* decision=logistic"):
        SVM().fit(known, seed=0, progress=SILENT)


def test_features_that_say_nothing_are_survived():
    codes = np.arange(20) % 2
    known = Examples(np.zeros((20, 3)), codes, np.ones(20), patches(codes, range(20)))
    learnt, _ = SVM().fit(known, seed=0, progress=SILENT)
    np.testing.assert_allclose(SVM().probability(learnt, known.features), 0.5, atol=0.05)
