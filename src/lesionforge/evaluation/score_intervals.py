"""Intervals of two scores that a bootstrap gets wrong; both cover more than they promise (docs/statistics.md)."""

from dataclasses import replace

import numpy as np

from lesionforge.evaluation.bootstrap import PatientDraws, Resampled, Statistics
from lesionforge.evaluation.estimate import student_share
from lesionforge.evaluation.predictions import FloatArray, Predictions
from lesionforge.evaluation.scores import calibration_gaps, scores_of


def average_precision_interval(
    draws: PatientDraws, predictions: Predictions, metric: str, score: Resampled, *, training_error: float, level: float
) -> tuple[float, float]:
    """Interval of an average precision A, symmetric in its log-odds, from the standard error √(A(1 − A)/n).

    Boyd, Eng & Page 2013, "Area under the precision-recall curve: point estimates and confidence intervals" (ECML), n
    being the number of positives: a bootstrap draws some of them twice, which ranks them together and hides a part of
    the spread. Positives of one patient are not independent: n is their number over the design effect, which two
    bootstraps, of patients and of lesions, show, for both hide the same part. ``training_error``, NaN where nothing
    showed it, is added.
    """
    code = predictions.classes.index(metric.partition(" [")[2].removesuffix("]"))
    positives = max(1, len(np.unique(predictions.row[predictions.truth == code])))
    error = _design(draws, predictions, metric, score) * np.sqrt(score.estimate * (1 - score.estimate) / positives)
    found = student_share(score.estimate, float(np.hypot(error, np.nan_to_num(training_error))), level=level)
    return found.low, found.high


def _design(draws: PatientDraws, predictions: Predictions, metric: str, score: Resampled) -> float:
    """Square root of the design effect: by how much the error over patients exceeds that over lesions; 1 at least."""
    if predictions.n_patients == len(np.unique(predictions.row)):
        return 1.0
    by_lesion = replace(predictions, patient=np.array([f"{row:020x}" for row in predictions.row]))
    of_lesions = PatientDraws.of(by_lesion, resamples=len(draws.counts))
    alone = of_lesions.apply(lambda weights: {metric: scores_of(by_lesion)[metric](weights)})[metric]
    (clustered, _), (independent, _) = draws.error(score), of_lesions.error(alone)
    return max(1.0, clustered / independent) if independent > 0 else 1.0


def calibration_interval(
    draws: PatientDraws, predictions: Predictions, score: Resampled, *, level: float
) -> tuple[float, float]:
    """Reach as far from the estimate as the bins' gaps lie from those of all patients in ``level`` of resamples.

    The error is the sum of the gaps' absolute values, so it is no farther from the true one than the gaps are. A
    resample's own error would not do: it has the noise of these patients and its own on top.
    """

    def gaps(weights: FloatArray) -> Statistics:
        by_bin = calibration_gaps(predictions, weights)
        return {str(place): by_bin[..., place] for place in range(by_bin.shape[-1])}

    distance = sum(np.abs(bins.values - bins.estimate) for bins in draws.apply(gaps).values())
    radius = float(np.quantile(distance, level))
    return score.estimate - radius, score.estimate + radius
