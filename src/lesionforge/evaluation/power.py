"""How many patients an answer would need.

The error of a difference that the choice of patients causes falls with the square root of their number; the part that
training causes does not, and only more repeats reduce it. A comparison that was made shows both parts
(`lesionforge.evaluation.statistics.Comparison`), so it says what a larger one of the same kind could see: same mix of
classes, lesions a patient and pairing of the two classifiers, repeats as many as it had. It is a forecast from one
experiment, as uncertain as its interval's width; "more patients" also means more to train on, which it leaves out.
"""

import numpy as np
from scipy.stats import norm

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.statistics import Comparison

POWER = 0.8


def power_to_see(gain: float, comparison: Comparison, *, patients: int) -> float:
    """Chance that ``patients`` like those of ``comparison`` would make a true ``gain`` a verdict of "helps".

    ``gain`` is above 0: the distance by which the metric is better.
    """
    _check(gain, comparison)
    error = np.hypot(comparison.patient_error * np.sqrt(comparison.patients / patients), _training(comparison))
    edge = norm.ppf((1 + comparison.level) / 2)
    return float(norm.sf(edge - gain / error)) if error > 0 else 1.0


def patients_needed(gain: float, comparison: Comparison, *, power: float = POWER) -> float:
    """Patients with whom a true ``gain`` would be seen with chance ``power``; infinite if training alone hides it.

    Raises
    ------
    LesionForgeError
        ``gain`` is not above 0, ``power`` is no chance above (1 − level)/2, or the comparison is not defined.
    """
    _check(gain, comparison)
    if not (1 - comparison.level) / 2 < power < 1:
        raise LesionForgeError(f"power must be a chance, 0.8 is usual, but {power} came.")
    tolerated = (gain / (norm.ppf((1 + comparison.level) / 2) + norm.ppf(power))) ** 2 - _training(comparison) ** 2
    if tolerated <= 0:
        return np.inf
    return float(max(np.ceil(comparison.patients * comparison.patient_error**2 / tolerated), 2))


def smallest_gain(comparison: Comparison, *, power: float = POWER) -> float:
    """The true gain that an experiment such as ``comparison`` would see with chance ``power``."""
    error = np.hypot(comparison.patient_error, _training(comparison))
    return float((norm.ppf((1 + comparison.level) / 2) + norm.ppf(power)) * error)


def _training(comparison: Comparison) -> float:
    return 0.0 if np.isnan(comparison.training_error) else comparison.training_error


def _check(gain: float, comparison: Comparison) -> None:
    if not gain > 0:
        raise LesionForgeError(f"the gain to be seen must be above 0, but {gain} came.")
    if not np.isfinite(comparison.patient_error):
        raise LesionForgeError("power needs a comparison whose difference is defined, but this one's is not.")
