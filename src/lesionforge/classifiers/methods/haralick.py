"""Haralick's features of grey-level co-occurrence matrices (GLCM) with an SVM.

M. Frid-Adar et al., Neurocomputing 321 (2018), section 3.4 and table 6: "GLCM with Haralick texture features"; their
settings are not printed. R. M. Haralick, K. Shanmugam, I. Dinstein, "Textural features for image classification", IEEE
SMC 3:610 (1973), appendix I, features 1 to 13 (the 14th needs an unstable eigenvalue and is left out everywhere), of
which the mean and the range over the four directions are taken, as Haralick does.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lesionforge.classifiers.contract import Arrays, Facts, FloatArray
from lesionforge.classifiers.described import DescribingClassifier
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Widths

ANGLES = tuple(np.pi * np.arange(4) / 4)
TINY = np.finfo(np.float64).tiny

# L grey levels, M matrices.


@dataclass(frozen=True)
class Haralick(DescribingClassifier):
    """2 × 13 features at each distance, of 2-D patches."""

    paper: ClassVar[str] = "Frid-Adar et al. 2018, table 6"

    levels: Count = 32  # grey levels across the window
    distances: Widths = (1, 2, 4)  # pixels

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and wider than the greatest distance."""
        least = max(self.distances) + 1
        if len(shape) != 2 or min(shape) < least:
            raise LesionForgeError(
                f"haralick takes 2-D patches of {least} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def describe(self, patches: Patches, facts: Facts, learnt: Arrays) -> FloatArray:
        """Mean, then range over directions, of 13 features at each distance: [N, 26 · distances]."""
        del learnt
        from skimage.feature import graycomatrix

        grey = facts.window.to_unit_interval(patches.images)
        grey = np.minimum((grey * self.levels).astype(np.uint16), self.levels - 1)
        found = np.empty((len(grey), 2, len(self.distances), 13))
        for number, image in enumerate(grey):
            matrices = graycomatrix(image, self.distances, ANGLES, self.levels, symmetric=True, normed=True)
            each = haralick(matrices.reshape(self.levels, self.levels, -1)).reshape(*matrices.shape[2:], 13)
            found[number] = each.mean(axis=1), np.ptp(each, axis=1)
        return found.reshape(len(grey), -1)


def haralick(matrices: FloatArray) -> FloatArray:
    """Features 1 to 13 of symmetric, normalised matrices [L, L, M]: [M, 13].

    In Haralick's order: angular second moment, contrast, correlation (1 where nothing varies), variance, inverse
    difference moment, sum average, sum variance, sum entropy, entropy, difference variance, difference entropy, and the
    two information measures of correlation. Entropies are in nats; levels count from 0.
    """
    count = matrices.shape[0]
    i, j = np.indices((count, count))
    p = matrices.reshape(count * count, -1)
    level = np.arange(count, dtype=np.float64)
    marginal = matrices.sum(axis=1)
    sums, differences = _totals(p, i + j, 2 * count - 1), _totals(p, np.abs(i - j), count)
    mean, variance = _moments(marginal, level)
    sum_mean, sum_variance = _moments(sums, np.arange(2 * count - 1.0))
    _, difference_variance = _moments(differences, level)
    covariance = (i * j).ravel() @ p - mean**2
    entropy, own = _entropy(p), _entropy(marginal)
    # For symmetric matrices both marginals are one, and HXY1 = HXY2 = 2 HX.
    features = (
        (p**2).sum(axis=0),
        (level**2) @ differences,
        np.where(variance > 1e-12, covariance / np.maximum(variance, 1e-12), 1.0),
        variance,
        (1 / (1 + level**2)) @ differences,
        sum_mean,
        sum_variance,
        _entropy(sums),
        entropy,
        difference_variance,
        _entropy(differences),
        (entropy - 2 * own) / np.maximum(own, TINY),
        np.sqrt(np.maximum(0, 1 - np.exp(-2 * (2 * own - entropy)))),
    )
    return np.stack(features, axis=1)


def _totals(p: FloatArray, of: np.ndarray[tuple[int, ...], np.dtype[np.int64]], count: int) -> FloatArray:
    """Sum of the probabilities p [L², M] that share a number ``of`` [L, L]: [count, M]."""
    return np.asarray((of.ravel() == np.arange(count)[:, None]).astype(np.float64) @ p)


def _moments(p: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of ``values`` [n] under each column of p [n, M]."""
    mean = values @ p
    return mean, ((values[:, None] - mean) ** 2 * p).sum(axis=0)


def _entropy(p: FloatArray) -> FloatArray:
    return np.asarray(-(p * np.log(np.maximum(p, TINY))).sum(axis=0))
