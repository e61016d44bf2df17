"""Patients drawn with replacement or left out one by one, and what that says of a statistic.

Lesions of one patient look alike and succeed or fail together, so a bootstrap over images believes in more
evidence than there is. Here patients are drawn, each with all lesions in all repeats of the cross-validation.

**Strata.** A patient belongs to the rarest class among their lesions, and each stratum is drawn to its own
size, so no resample loses a class. Folds are no strata: a stratum of n patients shows only (n − 1)/n of its
variance, and folds would cut the strata small. Scores within folds do not need them
(`lesionforge.evaluation.scores`).

**Intervals of scores** are bias-corrected and accelerated (BCa): Efron 1987, "Better bootstrap confidence intervals",
JASA 82:171, with the acceleration of stratified data from a jackknife over patients (Davison & Hinkley 1997,
*Bootstrap Methods and their Application*, chapter 5). An AUC near 1 is skewed; percentile intervals are off. They are
expanded for few patients (Hesterberg 2015, "What teachers should know about the bootstrap", The American Statistician
69:371): a stratum of n shows (n − 1)/n of its variance, and Student's quantile takes the normal one's place. What the
draws show is brought to the jackknife's standard error, of which next.

**Intervals of differences** are Student's about the estimate, with the jackknife's standard error: what leaving out
each patient changes (Miller 1974, "The jackknife – a review", Biometrika 61:1). A difference of paired scores is hardly
skewed, and BCa's corrections, estimated from few patients, then cost more than they give: "95 %" intervals of
differences covered as little as 87 % of simulated truths (docs/statistics.md). The bootstrap's own error is too small
for the average precision, since whoever is drawn twice ties with themselves.

A patient with lesions of several classes belongs to none of them: where there are such patients, nothing fixes how many
lesions of a class there are. The jackknife then holds each patient against all others, not against those of a stratum.

B counts resamples, P patients, N predictions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.estimate import LEVEL, check_level
from lesionforge.evaluation.predictions import FloatArray, IntArray, Predictions

RESAMPLES = 2000
FEWEST_RESAMPLES = 100
_WEIGHTS_AT_ONCE = 4_000_000  # 32 MB: bounds memory, whatever the number of resamples and rows

Statistics = dict[str, FloatArray]
Measure = Callable[[FloatArray], Statistics]  # weights [b, N] to values [b] by name


@dataclass(frozen=True, eq=False)
class Resampled:
    """A statistic of all patients, of each resample [B], and with each patient left out [P]."""

    estimate: float
    values: FloatArray
    left_out: FloatArray


@dataclass(frozen=True, eq=False)
class PatientDraws:
    """How often each patient was drawn in each resample; one set of draws serves all that is compared."""

    counts: NDArray[np.int32]  # [B, P]
    stratum: IntArray  # [P], the code of a class
    alike: IntArray  # [P], a code: patients whom the jackknife holds against each other
    patient_of_row: IntArray  # [N]
    rarest: int  # patients of the rarest class

    @classmethod
    def of(cls, predictions: Predictions, *, resamples: int = RESAMPLES, seed: int = 0) -> "PatientDraws":
        """Draw the patients of ``predictions`` within strata; same patients and seed, same draws.

        Raises
        ------
        LesionForgeError
            A class has a single patient, who would be in every resample and seem certain.
        """
        if resamples < FEWEST_RESAMPLES:
            raise LesionForgeError(f"resamples must be at least {FEWEST_RESAMPLES}, but {resamples} came.")
        _, patient_of_row = np.unique(predictions.patient, return_inverse=True)
        has_class = np.zeros((predictions.n_patients, len(predictions.classes)), dtype=bool)
        has_class[patient_of_row, predictions.truth] = True
        patients = has_class.sum(axis=0)
        if 1 in patients:
            alone = predictions.classes[int(np.argmax(patients == 1))]
            raise LesionForgeError(
                f"an interval over patients needs at least two patients of each class, but {alone!r} has "
                "one: add patients of that class, or leave the class out."
            )
        stratum = np.where(has_class, patients, len(has_class) + 1).argmin(axis=1)
        rng = np.random.default_rng(seed)
        counts = np.zeros((resamples, len(has_class)), dtype=np.int32)
        for code in np.unique(stratum):
            (members,) = np.nonzero(stratum == code)
            chances = np.full(len(members), 1 / len(members))
            counts[:, members] = rng.multinomial(len(members), chances, size=resamples)
        several = bool((has_class.sum(axis=1) > 1).any())
        alike = np.zeros_like(stratum) if several else stratum
        return cls(counts, stratum, alike, patient_of_row, rarest=int(patients[patients > 0].min()))

    def on(self, rows: IntArray) -> "PatientDraws":
        """Return the same draws of patients for some of the rows only, as one repeat of the cross-validation."""
        return replace(self, patient_of_row=self.patient_of_row[rows])

    def apply(self, measure: Measure) -> dict[str, Resampled]:
        """Evaluate ``measure`` on all patients, on each resample, and with each patient left out."""
        n_patients = self.counts.shape[1]
        everyone = self._in_blocks(measure, np.ones((1, n_patients), dtype=np.int32))
        values = self._in_blocks(measure, self.counts)
        left_out = self._in_blocks(measure, 1 - np.eye(n_patients, dtype=np.int32))
        return {name: Resampled(float(everyone[name][0]), values[name], left_out[name]) for name in everyone}

    def interval(self, statistic: Resampled, *, level: float = LEVEL) -> tuple[float, float]:
        """Expanded BCa interval (Efron 1987, eqs 2.3 and 4.4) of a score that `apply` gave.

        Resamples in which the statistic is not defined are left out. NaN if it is not defined for all
        patients; of no width if all resamples agree.
        """
        check_level(level)
        values = statistic.values[np.isfinite(statistic.values)]
        if not np.isfinite(statistic.estimate) or len(values) == 0:
            return np.nan, np.nan
        bias, acceleration = _bias(statistic.estimate, values), self._acceleration(statistic.left_out)
        error, df = self.error(statistic)
        shown = np.sqrt(sum((influence**2).sum() for influence in self._influences(statistic.left_out, self.stratum)))
        inflation = error / shown if shown > 0 else 1.0
        shifted = bias + inflation * t.ppf([(1 - level) / 2, (1 + level) / 2], df)
        stretch = np.maximum(1 - acceleration * shifted, np.finfo(float).tiny)
        low, high = np.quantile(values, norm.cdf(bias + shifted / stretch))
        return float(low), float(high)

    def error(self, statistic: Resampled) -> tuple[float, float]:
        """Jackknife's standard error over patients, and Satterthwaite's (1946) degrees of freedom; 0 if nothing varies.

        NaN if the statistic is not defined for all patients.
        """
        if not np.isfinite(statistic.estimate):
            return np.nan, np.inf
        influences = self._influences(statistic.left_out, self.alike)
        less_one = np.array([len(influence) - 1.0 for influence in influences])
        # n patients show (n − 1)/n of their variance
        variance = np.array([(influence**2).sum() for influence in influences]) * (less_one + 1) / less_one
        if not variance.sum() > 0:
            return 0.0, np.inf
        return float(np.sqrt(variance.sum())), float(variance.sum() ** 2 / (variance**2 / less_one).sum())

    def _acceleration(self, left_out: FloatArray) -> float:
        influences = self._influences(left_out, self.stratum)
        squares = sum((influence**2).sum() for influence in influences)
        return float(sum((influence**3).sum() for influence in influences) / (6 * squares**1.5)) if squares > 0 else 0.0

    def _influences(self, left_out: FloatArray, groups: IntArray) -> list[FloatArray]:
        """How far each patient moves the statistic, from leaving them out, against the mean of their group."""
        thetas = [left_out[(groups == code) & np.isfinite(left_out)] for code in np.unique(groups)]
        return [(theta.mean() - theta) * (len(theta) - 1) / len(theta) for theta in thetas if len(theta) > 1]

    def _in_blocks(self, measure: Measure, counts: NDArray[np.int32]) -> Statistics:
        step = max(1, _WEIGHTS_AT_ONCE // len(self.patient_of_row))
        blocks = [
            measure(counts[start : start + step].astype(np.float64)[:, self.patient_of_row])
            for start in range(0, len(counts), step)
        ]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _bias(estimate: float, values: FloatArray) -> float:
    # Scores of few rows take few values; equal ones count half, or the bias would hang on "<" against "<=".
    equal = np.isclose(values, estimate, rtol=0, atol=1e-12)
    below = np.mean((values < estimate) & ~equal) + equal.mean() / 2
    edge = 0.5 / len(values)
    return float(norm.ppf(np.clip(below, edge, 1 - edge)))
