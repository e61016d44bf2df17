r"""Several readers, the same cases: what holds for other readers and other patients than these (MRMC).

Two readers who read the same cases share the luck of the cases; their average is less certain than readers as
independent samples would make it, and more certain than one reader is. Obuchowski & Rockette 1995 (Communications in
Statistics 24:285) treat readers' AUCs as an analysis of variance with correlated errors; Hillis 2007 (Statistics in
Medicine 26:596) gives the degrees of freedom that hold the error rate. For one number y_r a reader – an AUC, or the
difference of two – with estimated covariances over the cases,

.. math:: \bar y \pm t_{df} \sqrt{(S^2 + R\,\max(c, 0)) / R}, \quad df = (R - 1) (S^2 + R\,\max(c, 0))^2 / S^4

where S² is the variance of the y_r and c the mean covariance of two different readers. With differences of two
modalities this is the F test of Obuchowski and Rockette (F = t², c = 2 (Cov₂ − Cov₃), S² = 2 MS(TR)); with differences
between readers and one classifier it is its form for a stand-alone algorithm.

Networks trained anew on the same patients are readers too: `lesionforge.evaluation.statistics` averages repeats of a
cross-validation by the same rule.

R readers, N cases.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.delong import aucs
from lesionforge.evaluation.estimate import LEVEL, Estimate, student
from lesionforge.evaluation.predictions import FloatArray


class ReaderSpread(NamedTuple):
    """Between readers: the variance of their values, and the mean covariance of two over the cases."""

    variance: float
    covariance: float
    error: float  # standard error of the average
    df: float


def average_over_readers(
    values: ArrayLike, covariance: ArrayLike, *, level: float = LEVEL, null: float = 0.0
) -> Estimate:
    """Mean of a number a reader, for readers and cases like these.

    Parameters
    ----------
    values
        [R], two readers or more.
    covariance
        [R, R], over the cases, of those readers' numbers.
    """
    y, shared = np.asarray(values, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    spread = reader_spread(y, shared)
    return student(y.mean(), spread.error, df=spread.df, level=level, null=null)


def reader_spread(values: FloatArray, covariance: FloatArray) -> ReaderSpread:
    """What `average_over_readers` weighs; readers who agree to the last digit leave only the cases' luck."""
    count = len(values)
    if count < 2 or covariance.shape != (count, count):
        raise LesionForgeError(
            f"what holds for other readers needs two readers or more and their covariances, but {count} readers and "
            f"covariances {covariance.shape} came: of one reader, use the interval over patients."
        )
    variance = float(values.var(ddof=1))
    shared = float((covariance.sum() - np.trace(covariance)) / (count * (count - 1)))
    total = variance + count * max(shared, 0.0)
    df = (count - 1) * (total / variance) ** 2 if variance > 0 else np.inf
    return ReaderSpread(variance, shared, float(np.sqrt(total / count)), df)


def compare_readers(
    first: ArrayLike, second: ArrayLike, positive: ArrayLike, *, patients: ArrayLike | None = None, level: float = LEVEL
) -> Estimate:
    """Mean AUC of readers with ``second`` minus that with ``first``, for other readers and other patients.

    Parameters
    ----------
    first, second
        [R, N] scores of the same readers in two modalities; or [N], the scores of one classifier, which all
        readers are held against.
    positive
        [N], truth.
    patients
        [N]; every case its own patient if not given.

    Raises
    ------
    LesionForgeError
        Fewer than two readers, different readers, or as for `lesionforge.evaluation.delong.aucs`.
    """
    one, other = (np.atleast_2d(np.asarray(scores, dtype=np.float64)) for scores in (first, second))
    readers = max(len(one), len(other))
    if {len(one), len(other)} - {1, readers} or one.shape[1] != other.shape[1]:
        raise LesionForgeError(
            f"both modalities must be of the same readers and cases, but {one.shape} and {other.shape} came: give "
            "[readers, cases] twice, or [cases] of one classifier."
        )
    found = aucs(np.concatenate([one, other]), positive, patients=patients)
    contrast = np.concatenate([-_each_reader(len(one), readers), _each_reader(len(other), readers)], axis=1)
    return average_over_readers(contrast @ found.value, contrast @ found.covariance @ contrast.T, level=level)


def average_reader(
    scores: ArrayLike, positive: ArrayLike, *, patients: ArrayLike | None = None, level: float = LEVEL
) -> Estimate:
    """Mean AUC of readers [R, N], for other readers and other patients; the p-value is that of ½."""
    found = aucs(scores, positive, patients=patients)
    return average_over_readers(found.value, found.covariance, level=level, null=0.5)


def _each_reader(rows: int, readers: int) -> FloatArray:
    return np.eye(readers) if rows == readers else np.ones((readers, 1))
