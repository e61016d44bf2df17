import numpy as np
import pytest
from sklearn.metrics import roc_curve

from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.roc import FALSE_POSITIVE_RATE, mean_roc_curves, roc_band
from lesionforge.evaluation.scores import roc_auc_score


def test_curve_of_one_fold_is_scikit_learns(simulate):
    predictions = simulate(folds=1)
    weights = np.random.default_rng(0).integers(0, 3, size=len(predictions))
    peer = roc_curve(predictions.truth, predictions.probability[:, 1], sample_weight=weights, drop_intermediate=False)
    (curve,) = mean_roc_curves(predictions, weights[None], positive=1)
    expected = np.interp(FALSE_POSITIVE_RATE, peer[0], peer[1])
    # At a vertical step either end of it is right.
    assert np.quantile(np.abs(curve - expected), 0.8) < 1e-12


def test_area_under_the_mean_curve_is_the_auc(simulate):
    predictions = simulate(patients=100, classes=("a", "b", "c"))
    for c in range(3):
        (curve,) = mean_roc_curves(predictions, np.ones((1, len(predictions))), positive=c)
        area = np.trapezoid(curve, FALSE_POSITIVE_RATE)
        assert area == pytest.approx(roc_auc_score(predictions)[c], abs=0.005)


def test_band_holds_the_curve_and_is_undefined_with_one_class(simulate):
    band = roc_band(simulate(), positive=1, resamples=100)
    inner = band.iloc[1:-1]
    assert (inner["low"] <= inner["sensitivity"]).mean() > 0.95
    assert (inner["sensitivity"] <= inner["high"]).mean() > 0.95
    assert (np.diff(band["sensitivity"]) >= 0).all()
    one = Predictions.of("ab", labels=["a"] * 3, probability=[[0.8, 0.2]] * 3, patients=list("123"))
    assert roc_band(one, positive=1, resamples=100)[["sensitivity", "low"]].isna().all(axis=None)
