"""Scores with intervals, and comparisons of two classifiers in words that the numbers support.

An interval covers the choice of patients, given these trained networks (`lesionforge.evaluation.bootstrap`).
Another seed gives other networks; that spread is not in an interval, and more repeats of the cross-validation
are what averages it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.bootstrap import LEVEL, RESAMPLES, PatientDraws, Statistics
from lesionforge.evaluation.predictions import FloatArray, Predictions
from lesionforge.evaluation.scores import measure


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same test rows; ``low`` to ``high`` is the interval of other − baseline."""

    metric: str
    baseline: float
    other: float
    difference: float
    low: float
    high: float
    level: float
    patients: int

    @property
    def verdict(self) -> str:
        """Say "helps" where the interval lies above 0, "hurts" where it lies below, else "cannot tell"."""
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "cannot tell"

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        title = metric_title(self.metric)
        if not np.isfinite(self.difference):
            return f"{self.verdict}: {title} is not defined for these {self.patients} patients"
        return (
            f"{self.verdict}: {title} {signed(self.difference)} ({100 * self.level:.4g} % interval "
            f"{signed(self.low)} to {signed(self.high)}) over {self.patients} patients"
        )


def score_table(
    predictions: Predictions, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> pd.DataFrame:
    """Every score of `scores.measure` with its interval: columns metric, estimate, low, high.

    An interval covers the sampling of patients, not the randomness of training. A score that is not defined
    has NaN throughout. Where every resample gives the same 0 or 1, the bootstrap knows no spread; the
    interval then reaches to the value that would show this in (1 − level)/2 of samples as large as the rarest
    class (Clopper & Pearson 1934), so that a perfect score on few patients does not pass for certainty.

    Raises
    ------
    LesionForgeError
        A class has a single patient, or ``resamples`` or ``level`` make no interval.
    """
    draws = PatientDraws.of(predictions, resamples=resamples, seed=seed)
    rows = []
    for metric, statistic in draws.apply(lambda weights: measure(predictions, weights)).items():
        low, high = draws.interval(statistic, level=level)
        reach = ((1 - level) / 2) ** (1 / draws.rarest)
        if low == high == 1:
            low = reach
        elif low == high == 0:
            high = 1 - reach
        rows.append({"metric": metric, "estimate": statistic.estimate, "low": low, "high": high})
    return pd.DataFrame(rows)


def compare(
    baseline: Predictions,
    other: Predictions,
    *,
    metric: str = "auc",
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Comparison:
    """Difference of two classifiers on the same rows, from the same resamples of the same patients (paired).

    The interval covers the sampling of patients, not the randomness of training.

    Raises
    ------
    LesionForgeError
        The two were not tested on the same rows in the same folds, or as for `score_table`.
    """
    baseline, other = _paired(baseline, other)
    draws = PatientDraws.of(baseline, resamples=resamples, seed=seed)

    def both(weights: FloatArray) -> Statistics:
        first, second = measure(baseline, weights), measure(other, weights)
        if metric not in first:
            raise LesionForgeError(f"metric must be one of {', '.join(first)}, but {metric!r} came.")
        return {
            "baseline": first[metric],
            "other": second[metric],
            "difference": second[metric] - first[metric],
        }

    statistics = draws.apply(both)
    low, high = draws.interval(statistics["difference"], level=level)
    estimates = {name: statistic.estimate for name, statistic in statistics.items()}
    return Comparison(metric, **estimates, low=low, high=high, level=level, patients=baseline.n_patients)


def comparison_table(
    regimes: Mapping[str, Predictions],
    *,
    pairs: Sequence[tuple[str, str]],
    metric: str = "auc",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare regimes pair by pair, (regime, against), at a level that allows for the number of comparisons.

    With m comparisons each interval has the level 1 − 0.05/m (Bonferroni; column ``level``), so the chance
    that any of them wrongly says "helps" or "hurts" is at most 5 %. Columns: regime, against, the fields of
    `Comparison`, verdict, sentence.
    """
    if unknown := sorted({name for pair in pairs for name in pair} - set(regimes)):
        raise LesionForgeError(f"pairs must be of the regimes {', '.join(regimes)}, but {', '.join(unknown)} came.")
    level = 1 - (1 - LEVEL) / max(len(pairs), 1)
    rows = []
    for name, against in pairs:
        found = compare(regimes[against], regimes[name], metric=metric, resamples=resamples, seed=seed, level=level)
        words = {"verdict": found.verdict, "sentence": found.sentence}
        rows.append({"regime": name, "against": against, **asdict(found), **words})
    return pd.DataFrame(rows)


def metric_title(metric: str) -> str:
    """Return a metric's name as a sentence has it: AUC, balanced accuracy, sensitivity [solid]."""
    name, bracket, of_class = metric.partition(" [")
    return name.replace("auc", "AUC").replace("_", " ") + bracket + of_class


def signed(value: float) -> str:
    """Write a difference with its sign: +0.013, −0.021."""
    return f"{value:+.3f}".replace("-", "−")


def _paired(baseline: Predictions, other: Predictions) -> tuple[Predictions, Predictions]:
    """Both in one order of rows, or a refusal."""
    if baseline.classes != other.classes:
        raise LesionForgeError("classifiers to compare must know the same classes in the same order: fit them alike.")
    first, second = baseline.in_order(), other.in_order()
    for name in ("repeat", "row", "fold", "patient", "truth"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise LesionForgeError(
                "classifiers can be compared only on the same test rows, but these "
                f"({len(first)} and {len(second)} predictions) differ in {name}: test both on equal splits."
            )
    return first, second
