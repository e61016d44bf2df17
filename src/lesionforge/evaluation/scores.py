r"""Scores of predictions, each for one weighting of the rows or for thousands at once.

``weights`` has shape [..., N] (a bootstrap gives [B, N]: how often each row was drawn) and a score has shape
[...]; without weights every row counts once. A score whose denominator is zero is NaN: there is no
sensitivity without a patient of the class, no AUC without two classes.

**The AUC is taken within folds.** Each fold has its own network, and two networks' probabilities are on two
scales: a pair of a positive from one fold and a negative from another compares the networks, not the
patients, and pooling such pairs biases the AUC, mostly downwards (Forman & Scholz 2010, "Apples-to-apples in
cross-validation studies", SIGKDD Explorations 12:49; Airola et al. 2011, Computational Statistics & Data
Analysis 55:1828). So

.. math:: AUC = \sum_f \text{pairs ranked rightly in } f \Big/ \sum_f \text{pairs in } f

over the folds of all repeats, a tie counting half: the folds' AUCs, averaged with their numbers of
positive–negative pairs as weights. A fold that a resample leaves without one class has no pairs and no say.

Of two classes the second is the positive one; the AUC does not depend on that choice. The average precision is
taken within folds for the same reason; the other scores look at each row alone and are taken over all rows.

A name ends with its direction: of an ``_error`` less is better, of everything else more.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lesionforge.evaluation.predictions import FloatArray, IntArray, Predictions

Score = Callable[[NDArray[np.generic] | None], FloatArray]  # weights [..., N] to values [...]
CONFIDENCE_BINS = 10


def confusion_matrix(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Weight of the rows by true class (first) and predicted class (second), [..., K, K]."""
    k = len(predictions.classes)
    cell = np.eye(k * k)[predictions.truth * k + predictions.predicted]  # [N, K²], one-hot
    counts = _row_weights(predictions, weights) @ cell
    return np.reshape(counts, (*counts.shape[:-1], k, k))


def accuracy_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Share of rows whose most probable class is the true one."""
    confusion = confusion_matrix(predictions, weights)
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def sensitivity_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Share of the rows of each class that are called so (recall), [..., K]."""
    confusion = confusion_matrix(predictions, weights)
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1))


def specificity_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Share of the rows of all other classes that are not called this class, [..., K]."""
    confusion = confusion_matrix(predictions, weights)
    others = confusion.sum(axis=(-2, -1))[..., None] - confusion.sum(axis=-1)
    false_alarms = confusion.sum(axis=-2) - np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(others - false_alarms, others)


def weighted_specificity_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Mean of the classes' specificities, each weighted with the class's share of the rows (Frid-Adar 2018, table 7).

    The same mean of their sensitivities is the accuracy.
    """
    confusion = confusion_matrix(predictions, weights)
    share = _ratio(confusion.sum(axis=-1), confusion.sum(axis=(-2, -1))[..., None] * np.ones(confusion.shape[-1]))
    return np.asarray((share * np.nan_to_num(specificity_score(predictions, weights))).sum(axis=-1))


def precision_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Share of the rows called each class that are of it, [..., K]; NaN of a class that is never called."""
    confusion = confusion_matrix(predictions, weights)
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-2))


def f1_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Harmonic mean of precision and sensitivity, [..., K]; NaN of a class that neither occurs nor is called."""
    confusion = confusion_matrix(predictions, weights)
    return _ratio(2 * np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1) + confusion.sum(axis=-2))


def balanced_accuracy_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Mean sensitivity of the classes that occur."""
    return _mean_of_defined(sensitivity_score(predictions, weights))


def roc_auc_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """AUC within folds, [..., C], of `positive_classes`: one of two, or each of several against the rest."""
    rows = _row_weights(predictions, weights)
    positives = positive_classes(predictions)
    concordant, pairs = np.zeros((2, *rows.shape[:-1], len(positives)))
    for fold in folds(predictions):
        drawn = rows[..., fold]
        for c, code in enumerate(positives):
            ranked, possible = _concordance(predictions.probability[fold, code], predictions.truth[fold] == code, drawn)
            concordant[..., c] += ranked
            pairs[..., c] += possible
    return _ratio(concordant, pairs)


def average_precision_score(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Area under the precision–recall steps within folds, [..., C], of `positive_classes`.

    The folds' areas (no interpolation, which flatters: Davis & Goadrich 2006, ICML) are averaged with their
    numbers of positives as weights. A guess has the share of positives, not ½. Few patients a fold flatter it, and no
    resampling undoes that: compare rather than quote it.
    """
    rows = _row_weights(predictions, weights)
    positives = positive_classes(predictions)
    area, found = np.zeros((2, *rows.shape[:-1], len(positives)))
    for fold in folds(predictions):
        for c, code in enumerate(positives):
            score, is_positive = predictions.probability[fold, code], predictions.truth[fold] == code
            hits = weight_above(score, rows[..., fold] * is_positive)
            called = weight_above(score, rows[..., fold])
            precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
            area[..., c] += (np.diff(hits, axis=-1) * precision[..., 1:]).sum(axis=-1)
            found[..., c] += hits[..., -1]
    return _ratio(area, found)


def brier_error(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Half of the mean squared distance between probabilities and truth: 0 to 1, of two classes (p − y)²."""
    rows = _row_weights(predictions, weights)
    truth = np.eye(len(predictions.classes))[predictions.truth]
    return _ratio(rows @ ((predictions.probability - truth) ** 2).sum(axis=1) / 2, rows.sum(axis=-1))


def calibration_error(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Expected calibration error of the most probable class, in `CONFIDENCE_BINS` equal bins (Guo et al. 2017, ICML).

    A sum of absolute values is above 0 even for a calibrated classifier on few rows: hold it against another
    classifier's on the same rows rather than against 0.
    """
    return np.asarray(np.abs(calibration_gaps(predictions, weights)).sum(axis=-1))


def calibration_gaps(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> FloatArray:
    """Accuracy minus confidence in each bin of confidence, times the bin's share of the rows, [..., bins]."""
    rows = _row_weights(predictions, weights)
    confidence = predictions.probability.max(axis=1)
    place = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    gap = ((predictions.predicted == predictions.truth) - confidence)[:, None] * np.eye(CONFIDENCE_BINS)[place]
    return _ratio(rows @ gap, rows.sum(axis=-1)[..., None] * np.ones(CONFIDENCE_BINS))


def scores_of(predictions: Predictions) -> dict[str, Score]:
    """Every score of ``predictions`` by its name, to be taken for some weights.

    ``auc`` (of several classes the mean of those that occur, each against the rest), ``balanced_accuracy``,
    ``accuracy``, ``brier_error``, ``calibration_error``, then ``sensitivity [c]``, ``specificity [c]``,
    ``precision [c]``, ``f1 [c]`` and ``average_precision [c]`` of the positive class c; of several classes for
    each, and ``auc [c]`` before them, and before those ``weighted_specificity``.
    """

    def of_column(score: Callable[..., FloatArray], column: int) -> Score:
        return lambda weights: score(predictions, weights)[..., column]

    named: dict[str, Score] = {
        "auc": lambda weights: _mean_of_defined(roc_auc_score(predictions, weights)),
        "balanced_accuracy": lambda weights: balanced_accuracy_score(predictions, weights),
        "accuracy": lambda weights: accuracy_score(predictions, weights),
        "brier_error": lambda weights: brier_error(predictions, weights),
        "calibration_error": lambda weights: calibration_error(predictions, weights),
    }
    positives = positive_classes(predictions)
    if len(positives) > 1:
        named["weighted_specificity"] = lambda weights: weighted_specificity_score(predictions, weights)
    for c, code in enumerate(positives):
        name = predictions.classes[code]
        if len(positives) > 1:
            named[f"auc [{name}]"] = of_column(roc_auc_score, c)
        named[f"sensitivity [{name}]"] = of_column(sensitivity_score, code)
        named[f"specificity [{name}]"] = of_column(specificity_score, code)
        named[f"precision [{name}]"] = of_column(precision_score, code)
        named[f"f1 [{name}]"] = of_column(f1_score, code)
        named[f"average_precision [{name}]"] = of_column(average_precision_score, c)
    return named


def measure(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> dict[str, FloatArray]:
    """Every score of `scores_of` for ``weights``."""
    return {name: score(weights) for name, score in scores_of(predictions).items()}


def positive_classes(predictions: Predictions) -> tuple[int, ...]:
    """Positions of the classes that are scored against the rest: the second of two, or each of several."""
    k = len(predictions.classes)
    return (1,) if k == 2 else tuple(range(k))


def folds(predictions: Predictions) -> Iterator[IntArray]:
    """Yield the positions of each fold of each repeat."""
    keys = np.stack([predictions.repeat, predictions.fold])
    _, number = np.unique(keys, axis=1, return_inverse=True)
    for fold in range(number.max() + 1):
        yield np.flatnonzero(number == fold)


def _concordance(score: FloatArray, positive: NDArray[np.bool_], weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weight of the positive–negative pairs that are ranked rightly, and of all pairs; ``weights`` [..., n].

    Sorting does not depend on the weights, so one sort serves every resample: a positive stands above the
    negatives left of its place, and beside those it ties with, which count half.
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(score[negatives])]
    below, not_above = (np.searchsorted(score[negatives], score[positive], side=side) for side in ("left", "right"))
    heavy = np.zeros((*weights.shape[:-1], len(negatives) + 1))
    np.cumsum(weights[..., negatives], axis=-1, out=heavy[..., 1:])
    drawn = weights[..., positive]
    concordant = (drawn * (heavy[..., below] + heavy[..., not_above])).sum(axis=-1) / 2
    return concordant, drawn.sum(axis=-1) * heavy[..., -1]


def weight_above(score: FloatArray, weights: FloatArray) -> FloatArray:
    """Weight [..., n] at or above each of the m different scores, from the highest; a zero first, [..., m + 1]."""
    order = np.argsort(-score)
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    above = np.zeros((*weights.shape[:-1], last_of_tie.sum() + 1))
    above[..., 1:] = np.cumsum(weights[..., order], axis=-1)[..., last_of_tie]
    return above


def _row_weights(predictions: Predictions, weights: NDArray[np.generic] | None) -> FloatArray:
    return np.ones(len(predictions)) if weights is None else weights.astype(np.float64, copy=False)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    ratio = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean_of_defined(by_class: FloatArray) -> FloatArray:
    defined = np.isfinite(by_class)
    return _ratio(np.where(defined, by_class, 0).sum(axis=-1), defined.sum(axis=-1))
