r"""How far readers agree beyond chance: the kappas, within and between readers.

All are (a − e) / (1 − e) of the observed agreement a of two readers on a case, averaged over pairs and cases, and the
agreement e expected of guesses; they differ in what a guess is:

- ``cohen``: each reader guesses with their own habits (Cohen 1960; of more than two readers Conger 1980).
- ``fleiss``: all guess with the average habit (Scott 1955, Fleiss 1971).
- ``gwet``: AC1 (weighted: AC2). Only doubtful cases are guessed (Gwet 2008, Br. J. Math. Stat. Psychol. 61:29). Where
  nearly all cases are of one class, the other two can be near 0 though readers hardly ever differ; this one is not.

With ordered ratings, ``linear`` and ``quadratic`` weights count a near miss as part of an agreement.

Intervals come from leaving out one patient after another (jackknife), with Student's quantile.

R readers (or sessions of one reader), N cases, K classes, P patients.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.estimate import LEVEL, Estimate, perfect_reach, student
from lesionforge.evaluation.predictions import FloatArray, IntArray

Chance = Literal["cohen", "fleiss", "gwet"]
Weights = Literal["identity", "linear", "quadratic"]
NOT_RATED = -1


def agreement(
    ratings: ArrayLike,
    *,
    classes: int,
    chance: Chance = "cohen",
    weights: Weights = "identity",
    patients: ArrayLike | None = None,
    level: float = LEVEL,
) -> Estimate:
    """Agreement beyond chance, 1 at most, 0 for guesses; NaN where guesses cannot differ.

    Parameters
    ----------
    ratings
        [R, N] numbers of classes from 0; `NOT_RATED` where a reader has not read a case. Intra-reader agreement is that
        of one reader's sessions.
    classes
        K, also those that nobody chose.
    patients
        [N]; every case its own patient if not given.

    Raises
    ------
    LesionForgeError
        Ratings are no such numbers, or there are fewer than two readers or patients, or no case with two ratings.
    """
    given = _checked(ratings, classes)
    patient = np.arange(given.shape[1]) if patients is None else np.asarray(patients)
    if patient.shape != given.shape[1:]:
        raise LesionForgeError(f"each case needs a patient, but {given.shape[1]} cases and {patient.shape} came.")
    names, code = np.unique(patient, return_inverse=True)
    if len(names) < 2:
        raise LesionForgeError(f"an interval over patients needs two patients or more, but {len(names)} came.")
    closeness = _closeness(classes, weights)
    sums = np.zeros((len(names), 3 + classes + len(given) * classes))
    np.add.at(sums, code, _sums_of_cases(given, closeness))
    totals = sums.sum(axis=0)
    if totals[1] == 0:
        raise LesionForgeError("agreement needs a case that two readers have rated, but there is none.")
    left_out = _coefficient(totals - sums, closeness, chance)[0]
    value, expected = (float(number) for number in _coefficient(totals, closeness, chance))
    count = len(names)
    error = float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))
    found = student(value, error, df=count - 1, level=level)
    low = found.low
    if value == 1 and error == 0:
        low = (perfect_reach(count, level=level) - expected) / (1 - expected)
    return Estimate(value, error, low, min(found.high, 1.0), level, found.df, found.p_value)


def _checked(ratings: ArrayLike, classes: int) -> IntArray:
    given = np.asarray(ratings)
    if given.ndim != 2 or len(given) < 2 or given.shape[1] == 0:
        raise LesionForgeError(f"ratings must be [readers, cases] of two readers or more, but {given.shape} came.")
    whole = np.isfinite(given) & (given == np.floor(given)) & (given >= NOT_RATED) & (given < classes)
    if classes < 2 or not whole.all():
        raise LesionForgeError(
            f"ratings must be numbers of 2 classes or more, from 0, {NOT_RATED} where a case was not rated, but of "
            f"{classes} classes {int((~whole).sum())} others came."
        )
    return given.astype(np.int64)


def _closeness(classes: int, weights: Weights) -> FloatArray:
    """How far two classes count as the same, [K, K]."""
    apart = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes))) / (classes - 1)
    near = {"identity": apart == 0, "linear": 1 - apart, "quadratic": 1 - apart**2}
    return np.asarray(near[weights], dtype=np.float64)


def _sums_of_cases(ratings: IntArray, closeness: FloatArray) -> FloatArray:
    """What the coefficients are ratios of, each a sum over cases: agreement, pairs, rated, classes, classes by reader.

    Of one case: its share of agreeing pairs; 1 if it has a pair; 1 if it has a rating; the shares of its ratings by
    class [K]; the ratings by reader and class [R K].
    """
    classes = len(closeness)
    chosen = (ratings[..., None] == np.arange(classes)).transpose(1, 0, 2).astype(np.float64)  # [N, R, K]
    votes = chosen.sum(axis=1)
    count = votes.sum(axis=1)
    same = (votes * (votes @ closeness - 1)).sum(axis=1)
    agreeing = np.divide(same, count * (count - 1), out=np.zeros(len(votes)), where=count > 1)
    shares = votes / np.maximum(count, 1)[:, None]
    return np.column_stack([agreeing, count > 1, count > 0, shares, chosen.reshape(len(votes), -1)])


def _coefficient(sums: FloatArray, closeness: FloatArray, chance: Chance) -> tuple[FloatArray, FloatArray]:
    """Coefficient and expected agreement of sums [..., 3 + K + R K]."""
    classes = len(closeness)
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = sums[..., 0] / sums[..., 1]
        habit = sums[..., 3 : 3 + classes] / sums[..., 2, None]
        by_reader = sums[..., 3 + classes :].reshape(*sums.shape[:-1], -1, classes)
        own = by_reader / by_reader.sum(axis=-1, keepdims=True)
        if chance == "cohen":
            readers = own.shape[-2]
            pairs = np.einsum("...gk,kl,...hl->...gh", own, closeness, own)
            both = pairs.sum(axis=(-2, -1)) - np.trace(pairs, axis1=-2, axis2=-1)
            expected = both / (readers * (readers - 1))
        elif chance == "fleiss":
            expected = np.einsum("...k,kl,...l->...", habit, closeness, habit)
        else:
            expected = closeness.sum() / (classes * (classes - 1)) * (habit * (1 - habit)).sum(axis=-1)
        certain = np.isclose(expected, 1, rtol=0, atol=1e-12)
        return np.where(certain, np.nan, (observed - expected) / (1 - expected)), expected
