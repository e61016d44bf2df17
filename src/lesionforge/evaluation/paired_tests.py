"""p-values of "no difference" between two classifiers on the same test rows.

The verdict (`lesionforge.evaluation.statistics.compare`) is an interval and says how large a difference may be; these
tests are what reviewers ask for beside it. All but the t test are about the networks that were trained; only repeats
of the cross-validation can say something about the way of training.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.estimate import LEVEL, Estimate, student
from lesionforge.evaluation.predictions import ARRAYS, FloatArray, Predictions, paired
from lesionforge.evaluation.scores import Score, scores_of

PERMUTATIONS = 2000
_WEIGHTS_AT_ONCE = 4_000_000


class McNemar(NamedTuple):
    """Rows that only the first and only the second classifier gets right, and the exact two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


def permutation_p_value(
    baseline: Predictions, other: Predictions, *, metric: str = "auc", permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Two-sided p-value from exchanging the two classifiers' predictions of random patients, with all their rows.

    If the classifiers are exchangeable every exchange is as likely as what was seen, so the p-value is exact
    whatever the number of patients (Pitman 1937; of AUCs Venkatraman & Begg 1996, Biometrika 83:835). For an AUC,
    two equally good classifiers of different calibration are not exchangeable: prefer DeLong's test there.
    """
    baseline, other = paired(baseline, other)
    if metric not in scores_of(baseline):
        raise LesionForgeError(f"metric must be one of {', '.join(scores_of(baseline))}, but {metric!r} came.")
    both = {name: np.concatenate([getattr(baseline, name), getattr(other, name)]) for name in ARRAYS}
    both["row"] = both["row"] + np.repeat([0, baseline.row.max() + 1], len(baseline))
    score = scores_of(Predictions(baseline.classes, **both))[metric]
    _, patient = np.unique(baseline.patient, return_inverse=True)
    rng = np.random.default_rng(seed)
    exchanged = rng.integers(0, 2, size=(permutations + 1, patient.max() + 1)).astype(bool)
    exchanged[0] = False
    step = max(1, _WEIGHTS_AT_ONCE // len(baseline))
    differences = np.concatenate(
        [_difference(score, exchanged[start : start + step, patient]) for start in range(0, permutations + 1, step)]
    )
    if np.isnan(differences[0]):
        return np.nan
    return float(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12))


def mcnemar(first_right: ArrayLike, second_right: ArrayLike, *, patients: ArrayLike | None = None) -> McNemar:
    """Exact test of equal accuracy (McNemar 1947), with patients of several rows exchanged whole.

    Under equal accuracy a patient's difference – rows that only the first gets right minus rows that only the second
    does – is as likely to be its negative. The distribution of the sum over all such signs is computed, not drawn.
    With one row a patient it is the binomial of McNemar's exact test.

    Parameters
    ----------
    first_right, second_right
        [N], whether each classifier is right in each row.
    patients
        [N]; every row its own patient if not given, which is wrong where patients have several.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    patient = np.arange(len(first)) if patients is None else np.asarray(patients)
    if not first.shape == second.shape == patient.shape or len(first) == 0:
        raise LesionForgeError(
            f"both classifiers and the patients must be of the same rows, one or more, but {first.shape}, "
            f"{second.shape} and {patient.shape} came."
        )
    difference = first.astype(int) - second.astype(int)
    _, code = np.unique(patient, return_inverse=True)
    steps = np.abs(np.bincount(code, weights=difference)).astype(int)
    total = int(steps.sum())
    chance = np.ones(1)  # of each sum of signed steps, from −(steps so far) to +(steps so far)
    for step in steps[steps > 0]:
        nothing = np.zeros(2 * step)
        chance = (np.concatenate([chance, nothing]) + np.concatenate([nothing, chance])) / 2
    sums = np.arange(-total, total + 1)
    p_value = float(chance[np.abs(sums) >= abs(int(difference.sum()))].sum())
    return McNemar(int((difference > 0).sum()), int((difference < 0).sum()), min(p_value, 1.0))


def corrected_resampled_t(differences: ArrayLike, *, test_to_train: float, level: float = LEVEL) -> Estimate:
    """Mean difference over folds and repeats, allowing for their common training patients.

    The folds' differences are not independent: they share most of their training sets. Nadeau & Bengio 2003 ("Inference
    for the generalization error", Machine Learning 52:239, eq. 12) add the ratio of test to training set size to 1/J:
    error² = (1/J + test/train)·s², with J − 1 degrees of freedom.

    Parameters
    ----------
    differences
        [J], one of each fold of each repeat (`fold_differences`).
    test_to_train
        Size of a test set over that of a training set: 1/(K − 1) in K-fold cross-validation.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise LesionForgeError(
            f"the corrected t test needs two finite differences or more, but {values.shape} came, "
            f"{int((~np.isfinite(values)).sum())} not finite: a fold without one of the classes has no score."
        )
    if not test_to_train >= 0:
        raise LesionForgeError(f"test_to_train must be a ratio of sizes, 0 or more, but {test_to_train} came.")
    error = float(np.sqrt((1 / len(values) + test_to_train) * values.var(ddof=1)))
    return student(float(values.mean()), error, df=len(values) - 1, level=level)


def fold_differences(baseline: Predictions, other: Predictions, *, metric: str = "auc") -> FloatArray:
    """Difference of the two in each fold of each repeat, [J]; NaN where a fold does not define the metric."""
    baseline, other = paired(baseline, other)
    keys = np.unique(np.stack([baseline.repeat, baseline.fold]), axis=1).T
    inside = np.array([(baseline.repeat == repeat) & (baseline.fold == fold) for repeat, fold in keys], dtype=float)
    return np.asarray(scores_of(other)[metric](inside) - scores_of(baseline)[metric](inside))


def _difference(score: Score, exchanged: NDArray[np.bool_]) -> FloatArray:
    kept = ~exchanged
    as_baseline = np.concatenate([kept, exchanged], axis=1).astype(np.float64)
    return np.asarray(score(1 - as_baseline) - score(as_baseline))
