import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn.linear_model import LogisticRegression

from lesionforge.classifiers.calibration import Isotonic, Scaling, calibrate, log, restored_calibration
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.scores import brier_error, calibration_error

KINDS = ("temperature", "temperature_and_bias", "isotonic")


def drawn(count: int, *, sharpness: float = 1.0, shift: float = 0.0, classes: int = 2, seed: int = 0):
    """Truth drawn from probabilities, and those probabilities made too sure and shifted towards the last class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes))
    honest = special.softmax(logits, axis=1)
    truth = np.array([rng.choice(classes, p=row) for row in honest])
    towards = np.append(np.zeros(classes - 1), shift)
    return special.softmax(sharpness * logits + towards, axis=1), truth, honest


def errors(probability, truth):
    names = [str(k) for k in range(probability.shape[1])]
    labels = [names[k] for k in truth]
    predictions = Predictions.of(
        names, labels=labels, probability=probability, patients=[str(n) for n in range(len(truth))]
    )
    return float(brier_error(predictions)), float(calibration_error(predictions))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_too_sure_is_believed_less_and_rightly(kind, classes):
    said, truth, _ = drawn(3000, sharpness=3, classes=classes)
    calibration = calibrate(kind, said, truth)
    said, truth, honest = drawn(3000, sharpness=3, classes=classes, seed=1)
    calibrated = calibration.apply(said)
    before, after, best = errors(said, truth), errors(calibrated, truth), errors(honest, truth)
    assert after[0] < before[0] - 0.01
    assert after[1] < before[1] / 2
    assert after[0] == pytest.approx(best[0], abs=0.01)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)


def test_temperature_is_found_and_keeps_the_order():
    said, truth, _ = drawn(20_000, sharpness=2.5)
    calibration = calibrate("temperature", said, truth)
    assert isinstance(calibration, Scaling)
    assert float(calibration.slope[0]) == pytest.approx(1 / 2.5, abs=0.03)
    assert not calibration.bias.any()
    calibrated = calibration.apply(said)
    np.testing.assert_array_equal(calibrated[:, 1].argsort(), said[:, 1].argsort())
    np.testing.assert_array_equal(calibrated.argmax(axis=1), said.argmax(axis=1))


def test_bias_undoes_weights_of_classes_and_is_platts_curve():
    said, truth, honest = drawn(5000, sharpness=2, shift=1.5)
    calibration = calibrate("temperature_and_bias", said, truth)
    margin = (log(said)[:, 1] - log(said)[:, 0])[:, None]
    platt = LogisticRegression(C=np.inf).fit(margin, truth)
    assert float(calibration.slope[0]) == pytest.approx(platt.coef_[0, 0], abs=2e-3)
    assert float(calibration.bias[1]) == pytest.approx(platt.intercept_[0], abs=2e-3)
    np.testing.assert_allclose(calibration.apply(said), honest, atol=0.06)
    temperature_alone = calibrate("temperature", said, truth).apply(said)
    assert errors(calibration.apply(said), truth)[0] < errors(temperature_alone, truth)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_separation_on_few_patches_is_no_certainty(kind):
    said = np.array([[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 4)
    calibrated = calibrate(kind, said, np.repeat([0, 1], 4)).apply(said)
    assert 0.1 < calibrated.min() < 0.25  # Platt's: 1 in n + 2


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999), kind=st.sampled_from(KINDS), classes=st.integers(2, 4))
def test_whatever_is_said_becomes_probabilities_and_arrays_say_it_all(seed, kind, classes):
    said, truth, _ = drawn(12, sharpness=30, classes=classes, seed=seed)
    truth[:classes] = range(classes)
    calibration = calibrate(kind, said, truth)
    asked = np.vstack([np.eye(classes), np.full((1, classes), 1 / classes), said])
    given = calibration.apply(asked)
    assert np.isfinite(given).all()
    assert (given >= 0).all()
    np.testing.assert_allclose(given.sum(axis=1), 1)
    again = restored_calibration(calibration.arrays)
    assert type(again) is (Isotonic if kind == "isotonic" else Scaling)
    np.testing.assert_array_equal(again.apply(asked), given)
