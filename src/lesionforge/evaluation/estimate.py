"""A number with its standard error, its interval and the p-value of a null hypothesis about it."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t

from lesionforge.errors import LesionForgeError

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """``low`` to ``high`` is the interval at ``level``; ``p_value`` is two-sided, NaN where nothing is tested."""

    value: float
    standard_error: float
    low: float
    high: float
    level: float
    df: float
    p_value: float


def student(value: float, error: float, df: float = np.inf, *, level: float = LEVEL, null: float = 0.0) -> Estimate:
    """Interval value ± t·error and the test of ``null``; with infinite ``df`` the normal law.

    With an error of zero the interval has no width, and p is 1 at the null and 0 elsewhere; with an undefined
    error interval and p are NaN.
    """
    check_level(level)
    reach = t.ppf((1 + level) / 2, df) * error
    if error > 0:
        p_value = 2 * t.sf(abs(value - null) / error, df)
    else:
        p_value = float(np.isclose(value, null, rtol=0, atol=1e-12)) if error == 0 else np.nan
    return Estimate(*map(float, (value, error, value - reach, value + reach, level, df, p_value)))


def student_share(value: float, error: float, *, df: float = np.inf, level: float = LEVEL) -> Estimate:
    """Interval of a number between 0 and 1, symmetric in its log-odds and so inside 0 to 1; p-value of ½.

    At 0 and at 1 the log-odds are infinite and the interval is the number itself: whoever knows how many patients
    there were widens it (`perfect_reach`).
    """
    check_level(level)
    if not 0 < value < 1:
        return student(value, error, df=df, level=level, null=0.5)
    odds = student(logit(value), error / (value * (1 - value)), df=df, level=level)
    return Estimate(
        float(value), float(error), float(expit(odds.low)), float(expit(odds.high)), level, df, odds.p_value
    )


def perfect_reach(patients: int, *, level: float = LEVEL) -> float:
    """Share of successes below which ``patients`` out of ``patients`` would be a surprise (Clopper & Pearson 1934)."""
    return float(((1 - level) / 2) ** (1 / patients))


def check_level(level: float) -> None:
    """Refuse a level that is no share."""
    if not 0 < level < 1:
        raise LesionForgeError(f"level must lie between 0 and 1, but {level} came: 0.95 is usual.")
