"""Scores with intervals, and comparisons of two classifiers in words that the numbers support.

An interval covers the choice of patients (`lesionforge.evaluation.bootstrap`). Another seed gives other networks, and
a lucky seed looks like a gain: where the cross-validation is repeated, its repeats are readers of the same patients
and show that spread, and intervals are stretched to cover it too (`lesionforge.evaluation.multireader`). With a
single repeat nothing shows it, and a verdict is about the networks that were trained, not about the way of training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import t

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.bootstrap import RESAMPLES, PatientDraws, Resampled, Statistics
from lesionforge.evaluation.estimate import LEVEL, perfect_reach, student
from lesionforge.evaluation.multireader import reader_spread
from lesionforge.evaluation.predictions import FloatArray, Predictions, paired
from lesionforge.evaluation.score_intervals import average_precision_interval, calibration_interval
from lesionforge.evaluation.scores import measure, scores_of

SIDES = ("baseline", "other")
MeasurePredictions = Callable[..., Statistics]  # predictions (one set or two) and weights [b, N] to values [b] by name


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same test rows; ``low`` to ``high`` is the interval of other − baseline.

    ``patient_error`` and ``training_error`` are the standard errors of the difference from the choice of patients
    and from the randomness of training; the second is NaN, and not in the interval, if ``repeats`` is 1.
    """

    metric: str
    baseline: float
    other: float
    difference: float
    low: float
    high: float
    level: float
    patients: int
    repeats: int
    patient_error: float
    training_error: float

    @property
    def verdict(self) -> str:
        """Say "helps" or "hurts" where the interval lies on one side of 0, else "cannot tell".

        Less of an error is better, more of every other score. If nothing differs, either word comes up in at most
        (1 − level) / 2 of experiments.
        """
        low, high = (-self.high, -self.low) if less_is_better(self.metric) else (self.low, self.high)
        if low > 0:
            return "helps"
        return "hurts" if high < 0 else "cannot tell"

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        title = metric_title(self.metric)
        if not np.isfinite(self.difference):
            return f"{self.verdict}: {title} is not defined for these {self.patients} patients"
        return (
            f"{self.verdict}: {title} {signed(self.difference)} ({100 * self.level:.4g} % interval "
            f"{signed(self.low)} to {signed(self.high)}) over {self.patients} patients"
            f"{f' and {self.repeats} repeats' if self.repeats > 1 else ''}"
        )


def score_table(
    predictions: Predictions, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> pd.DataFrame:
    """Every score of `scores.measure` with its interval: columns metric, estimate, low, high.

    A score that is not defined has NaN throughout. Where every resample gives the same 0 or 1, the bootstrap knows
    no spread; the interval then reaches to the value that would show this in (1 − level)/2 of samples as large as
    the rarest class (Clopper & Pearson 1934), so that a perfect score on few patients does not pass for certainty.
    The calibration error, which resampling inflates, and the average precision, whose spread it hides, have intervals
    of their own (`score_intervals`).

    Raises
    ------
    LesionForgeError
        A class has a single patient, or ``resamples`` or ``level`` make no interval.
    """
    draws = PatientDraws.of(predictions, resamples=resamples, seed=seed)
    reach = perfect_reach(draws.rarest, level=level)
    rows = []
    for metric, (statistic, repeats) in _by_name(draws, measure, predictions).items():
        low, high = _interval(draws, statistic, repeats, level)
        if metric == "calibration_error":
            low, high = calibration_interval(draws, predictions, statistic, level=level)
        elif metric.startswith("average_precision"):
            training = _training_error(repeats)[0]
            low, high = average_precision_interval(draws, statistic, training_error=training, level=level)
        if low == high == 1:
            low = reach
        elif low == high == 0:
            high = 1 - reach
        rows.append([metric, statistic.estimate, *np.clip([low, high], 0, 1).tolist()])
    return pd.DataFrame(rows, columns=["metric", "estimate", "low", "high"])


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

    Raises
    ------
    LesionForgeError
        The two were not tested on the same rows in the same folds, or as for `score_table`.
    """
    return compare_all(baseline, other, metrics=[metric], resamples=resamples, seed=seed, level=level)[0]


def compare_all(
    baseline: Predictions,
    other: Predictions,
    *,
    metrics: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Comparison]:
    """`compare` in several metrics (None: every score that there is), from the same resamples."""
    baseline, other = paired(baseline, other)
    draws = PatientDraws.of(baseline, resamples=resamples, seed=seed)
    known = scores_of(baseline)
    metrics = list(known) if metrics is None else metrics
    if unknown := [metric for metric in metrics if metric not in known]:
        raise LesionForgeError(f"metric must be one of {', '.join(known)}, but {unknown[0]!r} came.")

    def both(first: Predictions, second: Predictions, weights: FloatArray) -> Statistics:
        found = [{metric: scores_of(each)[metric](weights) for metric in metrics} for each in (first, second)]
        sides = {f"{side} {metric}": of[metric] for side, of in zip(SIDES, found, strict=True) for metric in metrics}
        return sides | {metric: found[1][metric] - found[0][metric] for metric in metrics}

    found = _by_name(draws, both, baseline, other)
    return [_comparison(metric, found, draws, baseline, level) for metric in metrics]


def _comparison(
    metric: str,
    found: Mapping[str, tuple[Resampled, list[Resampled]]],
    draws: PatientDraws,
    tested: Predictions,
    level: float,
) -> Comparison:
    difference, repeats = found[metric]
    interval = student(difference.estimate, *_error(draws, difference, repeats), level=level)
    return Comparison(
        metric,
        **{side: found[f"{side} {metric}"][0].estimate for side in SIDES},
        difference=difference.estimate,
        low=interval.low,
        high=interval.high,
        level=level,
        patients=tested.n_patients,
        repeats=tested.n_repeats,
        patient_error=draws.error(difference)[0],
        training_error=_training_error(repeats)[0],
    )


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


def less_is_better(metric: str) -> bool:
    """Whether a metric is an error."""
    return metric.endswith("_error")


def metric_title(metric: str) -> str:
    """Return a metric's name as a sentence has it: AUC, balanced accuracy, sensitivity [solid]."""
    name, bracket, of_class = metric.partition(" [")
    for plain, written in (("auc", "AUC"), ("brier", "Brier"), ("f1", "F1"), ("_", " ")):
        name = name.replace(plain, written)
    return name + bracket + of_class


def signed(value: float) -> str:
    """Write a difference with its sign: +0.013, −0.021."""
    return f"{value:+.3f}".replace("-", "−")


def _by_name(
    draws: PatientDraws, measure_rows: MeasurePredictions, *sets: Predictions
) -> dict[str, tuple[Resampled, list[Resampled]]]:
    """Each statistic of all rows, and of each repeat of the cross-validation alone, from the same draws."""
    whole = draws.apply(partial(measure_rows, *sets))
    parts = []
    if sets[0].n_repeats > 1:
        for repeat in zip(*(each.by_repeat() for each in sets), strict=True):
            chosen = [predictions for _, predictions in repeat]
            parts.append(draws.on(repeat[0][0]).apply(partial(measure_rows, *chosen)))
    return {name: (statistic, [part[name] for part in parts]) for name, statistic in whole.items()}


def _interval(draws: PatientDraws, score: Resampled, repeats: Sequence[Resampled], level: float) -> tuple[float, float]:
    """BCa interval of a score over patients, stretched about the estimate to cover training as well."""
    low, high = draws.interval(score, level=level)
    alone, df = draws.error(score)
    both, df_of_both = _error(draws, score, repeats)
    if not 0 < alone < both:
        return low, high
    stretch = both / alone * t.ppf((1 + level) / 2, df_of_both) / t.ppf((1 + level) / 2, df)
    return score.estimate + stretch * (low - score.estimate), score.estimate + stretch * (high - score.estimate)


def _error(draws: PatientDraws, statistic: Resampled, repeats: Sequence[Resampled]) -> tuple[float, float]:
    """Standard error over patients and, where repeats show it, training; degrees of freedom of the weaker witness."""
    by_patients, df = draws.error(statistic)
    by_training, df_of_training = _training_error(repeats)
    return (by_patients, df) if np.isnan(by_training) else (np.hypot(by_patients, by_training), min(df, df_of_training))


def _training_error(repeats: Sequence[Resampled]) -> tuple[float, float]:
    """Standard error of the average over repeats that training causes, and degrees of freedom of the whole.

    Repeats differ for two reasons: other networks, and how those happen to do on each of these patients. The second is
    in the patients' error already and is taken off.
    """
    values = np.array([repeat.values for repeat in repeats])
    defined = np.isfinite(values).all(axis=0) if len(values) > 1 else np.zeros(0, dtype=bool)
    if defined.sum() < 2:
        return np.nan, np.inf
    covariance = np.cov(values[:, defined])
    spread = reader_spread(np.array([repeat.estimate for repeat in repeats]), covariance)
    by_patients = np.trace(covariance) / len(repeats) - spread.covariance
    return float(np.sqrt(max(spread.variance - by_patients, 0.0) / len(repeats))), spread.df
