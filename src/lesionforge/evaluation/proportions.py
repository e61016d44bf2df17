"""Shares of yes among rows, where a patient's rows say yes or no together.

Wilson's interval (1927, JASA 22:209) for as many rows as the clustered ones are worth: their number divided by the
design effect (Rao & Scott 1992, Biometrics 48:577), with Student's instead of the normal quantile where there are few
patients (Korn & Graubard 1998, Survey Methodology 24:193). Unlike ±2 standard errors it stays between 0 and 1 and
does not vanish at a share of 0 or 1. With one row a patient it is Wilson's interval itself.

M counts shares (readers), N rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.estimate import LEVEL, Estimate, check_level
from lesionforge.evaluation.predictions import FloatArray


class Shares(NamedTuple):
    """Shares [M] of yes, their covariance over patients [M, M], and the number of patients."""

    value: FloatArray
    covariance: FloatArray
    patients: int


def shares(yes: ArrayLike, *, patients: ArrayLike | None = None) -> Shares:
    """Shares of yes in rows [M, N] or [N], with their covariance over ``patients`` [N] (each row its own if not given).

    Raises
    ------
    LesionForgeError
        Lengths differ, or there are fewer than two patients.
    """
    rows = np.atleast_2d(np.asarray(yes, dtype=bool)).astype(np.float64)
    patient = np.arange(rows.shape[1]) if patients is None else np.asarray(patients)
    if patient.shape != rows.shape[1:]:
        raise LesionForgeError(f"each row needs a patient, but {rows.shape[1]} rows and {patient.shape} patients came.")
    names, code = np.unique(patient, return_inverse=True)
    if len(names) < 2:
        raise LesionForgeError(f"an interval over patients needs two patients or more, but {len(names)} came.")
    value = rows.mean(axis=1)
    apart = (rows - value[:, None]) / rows.shape[1]
    by_patient = np.stack([np.bincount(code, weights=each) for each in apart])
    return Shares(value, len(names) / (len(names) - 1) * by_patient @ by_patient.T, len(names))


def share(yes: ArrayLike, *, patients: ArrayLike | None = None, level: float = LEVEL) -> Estimate:
    """Share of yes in rows [N], with its interval over ``patients`` [N]."""
    check_level(level)
    found = shares(yes, patients=patients)
    p, variance, rows = float(found.value[0]), float(found.covariance[0, 0]), np.size(np.asarray(yes))
    tail = (1 + level) / 2
    # Where all are alike nothing shows how much patients differ: their number is what is known.
    worth = min(p * (1 - p) / (rows - 1) / variance, 1.0) * rows if variance > 0 else float(found.patients)
    worth *= (t.ppf(tail, rows - 1) / t.ppf(tail, found.patients - 1)) ** 2
    z = norm.ppf(tail)
    middle = (p + z**2 / (2 * worth)) / (1 + z**2 / worth)
    reach = z * np.sqrt(p * (1 - p) / worth + z**2 / (4 * worth**2)) / (1 + z**2 / worth)
    low, high = (float(np.clip(edge, 0, 1)) for edge in (middle - reach, middle + reach))
    return Estimate(p, float(np.sqrt(variance)), low, high, level, found.patients - 1, np.nan)
