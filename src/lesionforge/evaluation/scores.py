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

Of two classes the second is the positive one; the AUC does not depend on that choice.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lesionforge.evaluation.predictions import FloatArray, IntArray, Predictions


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


def measure(predictions: Predictions, weights: NDArray[np.generic] | None = None) -> dict[str, FloatArray]:
    """Every score by its name.

    ``auc`` (of several classes the mean of those that occur, each against the rest), ``balanced_accuracy``,
    ``accuracy``, then ``sensitivity [c]`` and ``specificity [c]`` of the positive class c; of several classes
    for each, and ``auc [c]`` before them.
    """
    auc = roc_auc_score(predictions, weights)
    sensitivity, specificity = (
        sensitivity_score(predictions, weights),
        specificity_score(predictions, weights),
    )
    scores = {
        "auc": _mean_of_defined(auc),
        "balanced_accuracy": _mean_of_defined(sensitivity),
        "accuracy": accuracy_score(predictions, weights),
    }
    positives = positive_classes(predictions)
    for c, code in enumerate(positives):
        name = predictions.classes[code]
        if len(positives) > 1:
            scores[f"auc [{name}]"] = auc[..., c]
        scores[f"sensitivity [{name}]"] = sensitivity[..., code]
        scores[f"specificity [{name}]"] = specificity[..., code]
    return scores


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


def _row_weights(predictions: Predictions, weights: NDArray[np.generic] | None) -> FloatArray:
    return np.ones(len(predictions)) if weights is None else weights.astype(np.float64, copy=False)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    ratio = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean_of_defined(by_class: FloatArray) -> FloatArray:
    defined = np.isfinite(by_class)
    return _ratio(np.where(defined, by_class, 0).sum(axis=-1), defined.sum(axis=-1))
