"""Classifiers that were never trained: predictions drawn from a model whose AUC is known."""

from collections.abc import Callable

import numpy as np
import pytest

from lesionforge.evaluation.predictions import Predictions

Simulate = Callable[..., Predictions]


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Give a function that draws predictions for patients with several lesions each."""
    return _simulate


def _simulate(
    seed: int = 0,
    *,
    patients: int = 60,
    lesions: int = 3,
    classes: tuple[str, ...] = ("benign", "malignant"),
    folds: int = 3,
    separation: float = 1.0,
    patient_spread: float = 1.0,
    noise_seed: int | None = None,
) -> Predictions:
    """A patient has one class; a score is separation · is-the-class + patient's effect + lesion's noise.

    ``noise_seed`` redraws the lesions' noise alone: another classifier on the same patients.
    """
    rng = np.random.default_rng(seed)
    k = len(classes)
    class_of_patient = np.arange(patients) % k
    fold_of_patient = (np.arange(patients) // k) % folds
    effect = rng.normal(scale=patient_spread, size=(patients, k))
    patient = np.repeat(np.arange(patients), lesions)
    truth = class_of_patient[patient]
    rng = rng if noise_seed is None else np.random.default_rng([seed, noise_seed])
    score = effect[patient] + rng.normal(size=(len(patient), k))
    score[:, 0] *= k > 2  # of two classes the second's score says all
    score[np.arange(len(truth)), truth] += separation * ((k > 2) | (truth > 0))
    probability = np.exp(score)
    return Predictions.of(
        classes,
        labels=np.array(classes)[truth],
        probability=probability / probability.sum(axis=1, keepdims=True),
        patients=[f"patient {number}" for number in patient],
        fold=fold_of_patient[patient],
    )
