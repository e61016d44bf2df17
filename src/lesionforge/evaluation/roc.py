"""ROC curves within folds, averaged vertically, with a band over patients.

Like the AUC (`lesionforge.evaluation.scores`) a curve is drawn within each fold; at each false-positive rate
the folds' sensitivities are averaged (Fawcett 2006, "An introduction to ROC analysis", Pattern Recognition
Letters 27:861) with their numbers of pairs as weights, so the area under the averaged curve is the AUC.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.evaluation.bootstrap import PatientDraws
from lesionforge.evaluation.estimate import LEVEL
from lesionforge.evaluation.predictions import FloatArray, Predictions
from lesionforge.evaluation.scores import folds, weight_above

FALSE_POSITIVE_RATE = np.linspace(0, 1, 201)


def roc_band(
    predictions: Predictions, *, positive: int, resamples: int = 400, seed: int = 0, level: float = LEVEL
) -> pd.DataFrame:
    """ROC curve of class number ``positive`` against the rest, with a pointwise band over patients.

    Columns false_positive_rate, sensitivity, low, high (percentiles); NaN if no fold has both classes.
    """
    draws = PatientDraws.of(predictions, resamples=resamples, seed=seed)
    curves = mean_roc_curves(predictions, draws.counts[:, draws.patient_of_row], positive=positive)
    defined = curves[np.isfinite(curves[:, 0])]
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(defined, tails, axis=0) if len(defined) else np.full((2, curves.shape[1]), np.nan)
    (sensitivity,) = mean_roc_curves(predictions, np.ones((1, len(predictions))), positive=positive)
    return pd.DataFrame(
        {"false_positive_rate": FALSE_POSITIVE_RATE, "sensitivity": sensitivity, "low": low, "high": high}
    )


def mean_roc_curves(predictions: Predictions, weights: NDArray[np.generic], *, positive: int) -> FloatArray:
    """Sensitivity at each `FALSE_POSITIVE_RATE`, averaged over folds: weights [B, N] to curves [B, 201]."""
    total, pairs = np.zeros((len(weights), len(FALSE_POSITIVE_RATE))), np.zeros(len(weights))
    for fold in folds(predictions):
        is_positive = predictions.truth[fold] == positive
        score = predictions.probability[fold, positive]
        negatives = weight_above(score, weights[:, fold] * ~is_positive)
        positives = weight_above(score, weights[:, fold] * is_positive)
        here = negatives[:, -1] * positives[:, -1]
        for b in np.flatnonzero(here):
            rates = negatives[b] / negatives[b, -1], positives[b] / positives[b, -1]
            total[b] += here[b] * np.interp(FALSE_POSITIVE_RATE, *rates)
        pairs += here
    return np.divide(total, pairs[:, None], out=np.full_like(total, np.nan), where=pairs[:, None] > 0)
