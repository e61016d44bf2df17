"""Intervals of two scores that a bootstrap gets wrong (docs/statistics.md)."""

from dataclasses import replace

import numpy as np
from scipy.special import logit

from lesionforge.evaluation.bootstrap import PatientDraws, Resampled, Statistics
from lesionforge.evaluation.estimate import student_share
from lesionforge.evaluation.predictions import FloatArray, Predictions
from lesionforge.evaluation.scores import calibration_gaps

NEAREST = 0.001  # to 0 and to 1: there log-odds are infinite


def average_precision_interval(
    draws: PatientDraws, score: Resampled, *, training_error: float, level: float
) -> tuple[float, float]:
    """Student's interval of an average precision on its log-odds, with the error of leaving out each patient.

    A bootstrap draws some positives twice, which ranks them together and hides a part of the spread. On log-odds, as
    Boyd, Eng & Page 2013 have it ("Area under the precision-recall curve", ECML), it is less skewed, and the jackknife
    is made for such a scale (Miller 1974). ``training_error``, NaN where nothing showed it, is added.
    """
    odds = replace(score, left_out=logit(np.clip(score.left_out, NEAREST, 1 - NEAREST)))
    by_patients, df = draws.error(odds)
    slope = score.estimate * (1 - score.estimate)
    error = float(np.hypot(by_patients * slope, np.nan_to_num(training_error)))
    found = student_share(score.estimate, error, df=df, level=level)
    return found.low, found.high


def calibration_interval(
    draws: PatientDraws, predictions: Predictions, score: Resampled, *, level: float
) -> tuple[float, float]:
    """Reach as far from the estimate as the bins' gaps lie from those of all patients in ``level`` of resamples.

    The error is the sum of the gaps' absolute values, so it is no farther from the true one than the gaps are. A
    resample's own error would not do: it has the noise of these patients and its own on top. The gaps' signs are given
    away, so the interval covers more than it promises; a narrower one, Student's, calls too many a calibrated
    classifier miscalibrated (docs/statistics.md).
    """

    def gaps(weights: FloatArray) -> Statistics:
        by_bin = calibration_gaps(predictions, weights)
        return {str(place): by_bin[..., place] for place in range(by_bin.shape[-1])}

    distance = sum(np.abs(bins.values - bins.estimate) for bins in draws.apply(gaps).values())
    radius = float(np.quantile(distance, level))
    return score.estimate - radius, score.estimate + radius
