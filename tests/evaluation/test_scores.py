from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from lesionforge.evaluation import scores
from lesionforge.evaluation.predictions import ARRAYS, Predictions

THREE = ("cyst", "metastasis", "hemangioma")


@st.composite
def predictions_of_any_kind(draw):
    """Few values of the probabilities, so that ties are common; possibly one class, one patient, one fold."""
    count, k = draw(st.integers(1, 25)), draw(st.integers(2, 4))
    classes = [f"class {c}" for c in range(k)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raw = rng.integers(1, 5, size=(count, k)).astype(float)
    patient = rng.integers(0, draw(st.integers(1, 8)), size=count)
    return Predictions.of(
        classes,
        labels=np.array(classes)[rng.integers(0, draw(st.integers(1, k)), size=count)],
        probability=raw / raw.sum(axis=1, keepdims=True),
        patients=patient.astype(str),
        fold=patient % draw(st.integers(1, 3)),
    )


def auc_by_scikit_learn(predictions, weights, positive):
    """Mean of the folds' AUCs, weighted with their pairs."""
    total = pairs = 0.0
    for fold in np.unique(predictions.fold):
        rows = (predictions.fold == fold) & (weights > 0)
        truth, heavy = predictions.truth[rows] == positive, weights[rows]
        if truth.any() and not truth.all():
            here = heavy[truth].sum() * heavy[~truth].sum()
            total += here * metrics.roc_auc_score(truth, predictions.probability[rows, positive], sample_weight=heavy)
            pairs += here
    return total / pairs if pairs else np.nan


@pytest.mark.parametrize("classes", [("benign", "malignant"), THREE])
def test_weighted_scores_equal_scikit_learn(simulate, classes):
    predictions = simulate(classes=classes)
    weights = np.random.default_rng(1).integers(0, 4, size=len(predictions)).astype(float)
    truth, called = predictions.truth, predictions.predicted
    np.testing.assert_allclose(
        scores.confusion_matrix(predictions, weights),
        metrics.confusion_matrix(truth, called, sample_weight=weights),
    )
    assert scores.accuracy_score(predictions, weights) == pytest.approx(
        metrics.accuracy_score(truth, called, sample_weight=weights)
    )
    assert scores.balanced_accuracy_score(predictions, weights) == pytest.approx(
        metrics.balanced_accuracy_score(truth, called, sample_weight=weights)
    )
    np.testing.assert_allclose(
        scores.sensitivity_score(predictions, weights),
        metrics.recall_score(truth, called, sample_weight=weights, average=None),
    )
    peers = {"labels": range(len(classes)), "average": None, "sample_weight": weights}
    np.testing.assert_allclose(
        scores.precision_score(predictions, weights), metrics.precision_score(truth, called, **peers)
    )
    np.testing.assert_allclose(scores.f1_score(predictions, weights), metrics.f1_score(truth, called, **peers))
    assert scores.brier_error(predictions, weights) == pytest.approx(
        metrics.brier_score_loss(truth, predictions.probability, sample_weight=weights, scale_by_half=True)
    )
    for c in range(len(classes)):
        assert scores.specificity_score(predictions, weights)[c] == pytest.approx(
            metrics.recall_score(truth != c, called != c, sample_weight=weights)
        )
    np.testing.assert_allclose(
        scores.roc_auc_score(predictions, weights),
        [auc_by_scikit_learn(predictions, weights, c) for c in scores.positive_classes(predictions)],
    )


def test_average_precision_is_scikit_learns_in_each_fold(simulate):
    predictions = simulate(classes=THREE)
    ties = np.round(predictions.probability, 1) + 0.01
    predictions = replace(predictions, probability=ties / ties.sum(axis=1, keepdims=True))
    weights = np.random.default_rng(1).integers(0, 4, size=len(predictions)).astype(float)
    for c in range(3):
        areas, positives = [], []
        for fold in range(3):
            rows = (predictions.fold == fold) & (weights > 0)
            is_positive = predictions.truth[rows] == c
            areas.append(
                metrics.average_precision_score(
                    is_positive, predictions.probability[rows, c], sample_weight=weights[rows]
                )
            )
            positives.append(weights[rows][is_positive].sum())
        expected = np.average(areas, weights=positives)
        assert scores.average_precision_score(predictions, weights)[c] == pytest.approx(expected)


def test_calibration_error_is_the_mean_gap_of_bins():
    """Guo et al. 2017, eq. 3, bin by bin."""
    rng = np.random.default_rng(0)
    positive = rng.random(300)
    predictions = Predictions.of(
        "ab",
        labels=np.where(rng.random(300) < positive**2, "b", "a"),
        probability=np.stack([1 - positive, positive], axis=1),
        patients=np.arange(300).astype(str),
    )
    confidence, right = predictions.probability.max(axis=1), predictions.predicted == predictions.truth
    error = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert scores.calibration_error(predictions) == pytest.approx(error)
    assert error > 0.02


@settings(deadline=None, max_examples=40)
@given(predictions_of_any_kind(), st.integers(0, 2**32 - 1))
def test_all_resamples_at_once_equal_one_after_another(predictions, seed):
    weights = np.random.default_rng(seed).integers(0, 3, size=(5, len(predictions)))
    at_once = scores.measure(predictions, weights)
    for b, one in enumerate(weights):
        for name, value in scores.measure(predictions, one).items():
            np.testing.assert_allclose(at_once[name][b], value, err_msg=name)


@settings(deadline=None, max_examples=40)
@given(predictions_of_any_kind(), st.integers(0, 2**32 - 1))
def test_scores_are_shares_and_ignore_the_order_of_rows(predictions, seed):
    order = np.random.default_rng(seed).permutation(len(predictions))
    shuffled = Predictions(predictions.classes, **{name: getattr(predictions, name)[order] for name in ARRAYS})
    measured = scores.measure(predictions)
    assert all(np.isnan(value) or 0 <= value <= 1 for value in measured.values())
    again = scores.measure(shuffled)
    assert list(again) == list(measured)
    for name in measured:
        np.testing.assert_allclose(again[name], measured[name], err_msg=name)


@settings(deadline=None, max_examples=40)
@given(predictions_of_any_kind(), st.integers(0, 2**32 - 1))
def test_integer_weights_are_repetitions_of_rows(predictions, seed):
    counts = np.random.default_rng(seed).integers(0, 3, size=len(predictions))
    counts[0] += 1
    drawn = np.repeat(np.arange(len(predictions)), counts)
    arrays = {name: getattr(predictions, name)[drawn] for name in ARRAYS} | {"row": np.arange(len(drawn))}
    repeated = scores.measure(Predictions(predictions.classes, **arrays))
    for name, value in scores.measure(predictions, counts).items():
        np.testing.assert_allclose(repeated[name], value, err_msg=name)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0.3, 3.0), min_size=3, max_size=3))
def test_auc_ignores_each_folds_own_calibration(simulate, seed, exponents):
    predictions = simulate(seed)
    odds = predictions.probability[:, 1] / predictions.probability[:, 0]
    bent = odds ** np.array(exponents)[predictions.fold]
    recalibrated = replace(predictions, probability=np.stack([1 / (1 + bent), bent / (1 + bent)], axis=1))
    np.testing.assert_allclose(scores.roc_auc_score(recalibrated), scores.roc_auc_score(predictions))


def test_pooling_folds_of_different_calibration_would_mislead(simulate):
    predictions = simulate(patients=600, separation=2.0)
    odds = np.exp(3.0 * (predictions.fold - 1)) * predictions.probability[:, 1] / predictions.probability[:, 0]
    shifted = replace(predictions, probability=np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1))
    pooled = metrics.roc_auc_score(shifted.truth, shifted.probability[:, 1])
    assert scores.roc_auc_score(shifted)[0] == pytest.approx(scores.roc_auc_score(predictions)[0])
    assert pooled < scores.roc_auc_score(shifted)[0] - 0.05


def test_undefined_scores_are_nan_and_ties_are_chance():
    one_class = Predictions.of("ab", labels=["a", "a"], probability=[[0.8, 0.2], [0.3, 0.7]], patients=["1", "2"])
    measured = scores.measure(one_class)
    assert np.isnan([measured["auc"], measured["sensitivity [b]"]]).all()
    assert measured["accuracy"] == measured["balanced_accuracy"] == measured["specificity [b]"] == 0.5
    tied = Predictions.of("ab", labels=["a", "b"], probability=[[0.5, 0.5]] * 2, patients=["1", "2"])
    assert scores.measure(tied)["auc"] == 0.5


def test_mean_auc_of_several_classes_leaves_out_an_absent_one(simulate):
    predictions = simulate(classes=THREE)
    present = scores.measure(predictions, (predictions.truth != 2).astype(float))
    assert np.isnan(present["auc [hemangioma]"])
    assert present["auc"] == pytest.approx((present["auc [cyst]"] + present["auc [metastasis]"]) / 2)


@pytest.mark.parametrize(
    ("confusion", "sensitivity", "specificity"),
    [
        ([[52, 1, 0], [2, 44, 18], [0, 18, 47]], 0.786, 0.884),
        ([[53, 0, 0], [2, 52, 10], [1, 13, 51]], 0.857, 0.924),
    ],
)
def test_weighted_means_are_those_that_frid_adar_2018_prints_beside_its_confusion_matrices(
    confusion, sensitivity, specificity
):
    truth, called = np.repeat(np.argwhere(np.ones((3, 3))), np.ravel(confusion), axis=0).T
    predictions = Predictions.of(
        ("0", "1", "2"),
        labels=truth.astype(str),
        probability=np.eye(3)[called],
        patients=[f"patient {row}" for row in range(len(truth))],
    )
    found = scores.measure(predictions)
    assert round(float(found["accuracy"]), 3) == sensitivity
    assert round(float(found["weighted_specificity"]), 3) == specificity
