"""Where adding more stops helping: chosen on validation patients, read off test patients.

A score against the amount of added patches rises, flattens and wobbles. Taking the amount with the best score chases
the wobble; the one-standard-error rule (Breiman et al. 1984, *Classification and Regression Trees*, section 3.4.3)
takes the least amount whose score is not more than one standard error below the best. The error here is that of the
difference of two classifiers on the same patients, bootstrapped by patient. Frid-Adar et al. 2018 chose the point of
saturation by eye (section 4.2).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.bootstrap import RESAMPLES
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.scores import scores_of
from lesionforge.evaluation.statistics import compare, less_is_better

ERRORS = 1.0  # standard errors that the least amount may stay behind the best


def saturation(
    candidates: Sequence[Predictions], *, metric: str = "auc", resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Hold each of several classifiers, the least added first, against the best of them.

    Parameters
    ----------
    candidates
        What each said of the same *validation* patients.

    Returns
    -------
    A row for each candidate: ``score``, ``behind`` (how far it stays behind the best, at least 0), ``error`` (standard
    error of that), ``chosen`` (true of one: the first that stays behind by no more than `ERRORS` of these).

    Raises
    ------
    LesionForgeError
        There is nothing to choose from, the score is not defined for any, or a class has a single patient.
    """
    if not candidates:
        raise LesionForgeError("a point of saturation is chosen among classifiers, but none came.")
    if metric not in scores_of(candidates[0]):
        raise LesionForgeError(f"metric must be one of {', '.join(scores_of(candidates[0]))}, but {metric!r} came.")
    scores = np.array([float(scores_of(each)[metric](None)) for each in candidates])
    sign = -1 if less_is_better(metric) else 1
    if not np.isfinite(scores).any():
        raise LesionForgeError(f"{metric} must be defined for one of the classifiers at least: bring all classes.")
    best = int(np.nanargmax(sign * scores))
    held = [
        compare(each, candidates[best], metric=metric, resamples=resamples, seed=seed).patient_error
        for each in candidates
    ]
    behind = sign * (scores[best] - scores)
    chosen = int(np.argmax(behind <= ERRORS * np.array(held)))
    return pd.DataFrame({"score": scores, "behind": behind, "error": held, "chosen": np.arange(len(scores)) == chosen})
