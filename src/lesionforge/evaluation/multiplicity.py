"""Adjusted p-values: what is left of a finding when many were looked for.

An adjusted p-value is held against the level itself. `holm` bounds the chance of any wrong finding: for the few
comparisons that an experiment is about. `benjamini_hochberg` bounds the share of wrong ones among the findings: for
many features looked through at once. A p-value that is not defined (NaN) stays so and counts for nothing.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import FloatArray


def holm(p_values: ArrayLike) -> FloatArray:
    """Adjust [m] p-values so that rejecting those ≤ α errs at all with chance ≤ α (Holm 1979, Scand. J. Stat. 6:65)."""
    given, defined = _checked(p_values)
    p = given[defined]
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    given[defined] = adjusted
    return given


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Adjust [m] p-values so that of those ≤ α an expected share ≤ α is wrong (1995, J. R. Stat. Soc. B 57:289)."""
    given, defined = _checked(p_values)
    if defined.any():
        given[defined] = false_discovery_control(given[defined])
    return given


def _checked(p_values: ArrayLike) -> tuple[FloatArray, "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]:
    p = np.array(p_values, dtype=np.float64)
    defined = ~np.isnan(p)
    if p.ndim != 1 or ((p[defined] < 0) | (p[defined] > 1)).any():
        raise LesionForgeError(f"p-values must be a list of numbers from 0 to 1, but {p.shape} came, some outside.")
    return p, defined
