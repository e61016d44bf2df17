r"""AUCs of several classifiers or readers on the same rows, with their covariance over patients.

An AUC is a mean over positive–negative pairs, so its variance follows from how each row fares against the rows of
the other class (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837). Lesions of a patient fare alike; summing
their shares by patient before squaring allows for that (Obuchowski 1997, "Nonparametric analysis of clustered ROC
curve data", Biometrics 53:567, eqs 2–5):

.. math:: \widehat{cov}(A, A') = \tfrac{P_+}{P_+ - 1} \sum_p a_p a'_p + \tfrac{P_-}{P_- - 1} \sum_p b_p b'_p
          + \tfrac{P}{P - 1} \sum_p (a_p b'_p + b_p a'_p)

over patients p, with a_p the sum of (V − A) / n₊ over the patient's positives, V the share of negatives a positive
beats, b_p the same of the negatives, and P₊, P₋, P the numbers of patients with positives, with negatives, with any.
With one row a patient it is DeLong's covariance. Ties count half.

Intervals and tests take Student's quantile where DeLong takes the normal one: the first two sums are variances of P₊
and of P₋ patients, with degrees of freedom by Satterthwaite (1946). With many patients of both classes nothing
changes; with 18 of one, "95 %" intervals by the normal quantile covered 92 % of simulated truths.

With folds, pairs are of one fold (`lesionforge.evaluation.scores`) and V − A is weighted with the fold's opposites.

M counts score columns, N rows, P patients.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.estimate import LEVEL, Estimate, perfect_reach, student, student_share
from lesionforge.evaluation.predictions import FloatArray, IntArray, Predictions, paired


@dataclass(frozen=True, eq=False)
class Aucs:
    """AUCs [M], their covariance over patients [M, M], and how much of it positives and negatives make.

    ``parts`` [2, M, M] are the first two sums of the covariance, ``patients`` the numbers P₊ and P₋ behind them.
    """

    value: FloatArray
    covariance: FloatArray
    parts: FloatArray
    patients: tuple[int, int]

    def estimate(self, column: int = 0, *, level: float = LEVEL) -> Estimate:
        """AUC of a column with its interval on the log-odds scale; the p-value is that of an AUC of ½.

        A perfect AUC shows no spread; its interval reaches to what so few patients could hide (`perfect_reach`).
        """
        value, reach = float(self.value[column]), perfect_reach(min(self.patients), level=level)
        error, df = self._error(np.eye(len(self.value))[column])
        found = student_share(value, error, df=df, level=level)
        if value in (0.0, 1.0):
            low, high = (reach, 1.0) if value else (0.0, 1 - reach)
            return Estimate(value, 0.0, low, high, level, found.df, found.p_value)
        return found

    def difference(self, first: int = 0, second: int = 1, *, level: float = LEVEL) -> Estimate:
        """AUC of column ``second`` minus that of ``first`` (paired DeLong); the p-value is that of no difference."""
        contrast = np.zeros(len(self.value))
        contrast[first] -= 1
        contrast[second] += 1
        return student(float(contrast @ self.value), *self._error(contrast), level=level)

    def _error(self, contrast: FloatArray) -> tuple[float, float]:
        """Standard error of a sum of the AUCs with weights ``contrast`` [M], and its degrees of freedom."""
        variance = float(contrast @ self.covariance @ contrast)
        if variance <= np.finfo(float).eps * float(np.trace(self.covariance)):
            return 0.0, np.inf  # the same scores, but for rounding
        parts = contrast @ self.parts @ contrast
        df = parts.sum() ** 2 / (parts**2 / (np.array(self.patients) - 1)).sum()
        return float(np.sqrt(variance)), float(df)


def aucs(
    scores: ArrayLike, positive: ArrayLike, *, patients: ArrayLike | None = None, folds: ArrayLike | None = None
) -> Aucs:
    """AUCs of score columns with their covariance.

    Parameters
    ----------
    scores
        [M, N] or [N], higher for the positive class.
    positive
        [N], truth.
    patients
        [N], any names; every row is its own patient if not given, which is wrong where patients have several.
    folds
        [N]; only rows of one fold are compared.

    Raises
    ------
    LesionForgeError
        Lengths differ, a score is not finite, or a class has fewer than two patients.
    """
    columns = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    truth = np.asarray(positive, dtype=bool)
    count = len(truth)
    patient = np.arange(count) if patients is None else np.asarray(patients)
    fold = np.zeros(count) if folds is None else np.asarray(folds)
    if columns.shape[1:] != (count,) or patient.shape != (count,) or fold.shape != (count,):
        raise LesionForgeError(
            f"scores, truth, patients and folds must be of the same rows, but have {columns.shape[-1]}, {count}, "
            f"{len(patient)} and {len(fold)}."
        )
    if not np.isfinite(columns).all():
        raise LesionForgeError("scores must be finite, but NaN or infinity came: leave those rows out, for all alike.")
    return _covariance(columns, truth, _codes(patient), _codes(fold))


def auc_interval(predictions: Predictions, *, positive: int = 1, level: float = LEVEL) -> Estimate:
    """AUC within folds of class number ``positive`` against the rest, with the interval over patients."""
    return _of_predictions((predictions,), positive).estimate(level=level)


def auc_difference(baseline: Predictions, other: Predictions, *, positive: int = 1, level: float = LEVEL) -> Estimate:
    """AUC of ``other`` minus that of ``baseline`` on the same rows (paired DeLong over patients).

    It covers the choice of patients, not the randomness of training; `lesionforge.evaluation.statistics.compare`
    covers both where the cross-validation is repeated.
    """
    return _of_predictions(paired(baseline, other), positive).difference(level=level)


def _of_predictions(predictions: tuple[Predictions, ...], positive: int) -> Aucs:
    first = predictions[0]
    return aucs(
        np.stack([each.probability[:, positive] for each in predictions]),
        first.truth == positive,
        patients=first.patient,
        folds=first.repeat * (first.fold.max() + 1) + first.fold,
    )


def _covariance(scores: FloatArray, positive: NDArray[np.bool_], patient: IntArray, fold: IntArray) -> Aucs:
    with_positives, with_negatives = np.unique(patient[positive]), np.unique(patient[~positive])
    if min(len(with_positives), len(with_negatives)) < 2:
        raise LesionForgeError(
            "an AUC with its variance needs two patients or more with lesions of each class, but there are "
            f"{len(with_positives)} with positives and {len(with_negatives)} with negatives."
        )
    wins, pairs = np.zeros(scores.shape), np.zeros(len(positive))
    for number in range(int(fold.max()) + 1):
        here = np.flatnonzero(fold == number)
        for one, opposites in (
            (here[positive[here]], here[~positive[here]]),
            (here[~positive[here]], here[positive[here]]),
        ):
            pairs[one] = len(opposites)
            for column, row in zip(scores, wins, strict=True):
                row[one] = _below(column[opposites], column[one])
    wins[:, ~positive] = pairs[~positive] - wins[:, ~positive]  # a negative wins where a positive stands above it
    total = pairs[positive].sum()
    if total == 0:
        raise LesionForgeError("an AUC needs a fold with both classes, but no fold has them: use fewer folds.")
    value = wins[:, positive].sum(axis=1) / total
    share = (wins - value[:, None] * pairs) / total  # [M, N]
    n_patients = int(patient.max()) + 1
    by_positives, by_negatives = (
        np.stack([np.bincount(patient, weights=each * rows, minlength=n_patients) for each in share])
        for rows in (positive, ~positive)
    )
    crossed = by_positives @ by_negatives.T
    patients = len(with_positives), len(with_negatives)
    parts = np.stack(
        [_unbiased(patients[0]) * by_positives @ by_positives.T, _unbiased(patients[1]) * by_negatives @ by_negatives.T]
    )
    return Aucs(value, parts.sum(axis=0) + _unbiased(n_patients) * (crossed + crossed.T), parts, patients)


def _below(opposites: FloatArray, scores: FloatArray) -> FloatArray:
    """How many opposites stand below each score, ties counting half."""
    ordered = np.sort(opposites)
    left, right = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return np.asarray((left + right) / 2, dtype=np.float64)


def _unbiased(count: int) -> float:
    return count / (count - 1)


def _codes(names: NDArray[np.generic]) -> IntArray:
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)
