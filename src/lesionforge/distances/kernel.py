"""Kernel distance between two sets of feature vectors: unbiased at any size of the sets, with a standard error.

M. Bińkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR 2018: the squared maximum mean
discrepancy under the polynomial kernel k(x, y) = (x·y / d + 1)³ (their "kernel inception distance", here on whatever
features come). A Fréchet distance at a few hundred samples is mostly bias; this one has none, so that small sets and
sets of different sizes can be compared. It may fall below 0 where two sets do not differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesionforge.errors import LesionForgeError

# M samples, N others, F features.

Numbers = NDArray[np.float64]

LEAST_SAMPLES = 3  # of each set, for a standard error
CHUNK_CELLS = 2**22  # of the matrix of kernels, held at a time


@dataclass(frozen=True)
class Estimate:
    """A number, and by how much it would vary if both sets were drawn anew."""

    value: float
    standard_error: float


def kernel_distance(samples: Numbers, others: Numbers) -> Estimate:
    """Squared maximum mean discrepancy of features [M, F] and [N, F]: 0 for sets of one kind, lower is nearer.

    The standard error is the jackknife's over the rows of both sets, taken as independent.

    Raises
    ------
    LesionForgeError
        A set has fewer than 3 rows, or the features differ in number or are not finite.
    """
    for each in (samples, others):
        if len(each) < LEAST_SAMPLES or each.shape[1:] != samples.shape[1:] or not np.isfinite(each).all():
            raise LesionForgeError(
                f"a kernel distance needs {LEAST_SAMPLES} rows or more of as many finite features in both sets, but "
                f"{samples.shape} and {others.shape} came{'' if np.isfinite(each).all() else ', with NaN or infinity'}."
            )
    own, theirs = _row_sums(samples, samples) - _kernel_with_itself(samples), _row_sums(samples, others)
    others_own, others_theirs = _row_sums(others, others) - _kernel_with_itself(others), _row_sums(others, samples)
    value = _own_mean(own) + _own_mean(others_own) - 2 * theirs.sum() / (len(samples) * len(others))
    variance = _jackknife(own, theirs, len(others)) + _jackknife(others_own, others_theirs, len(samples))
    return Estimate(float(value), float(np.sqrt(variance)))


def weighted(estimates: Sequence[Estimate], weights: ArrayLike) -> Estimate:
    """Mean of independent estimates by weights, which are scaled to sum to 1."""
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    values = np.array([[estimate.value, estimate.standard_error] for estimate in estimates])
    return Estimate(float(share @ values[:, 0]), float(np.sqrt(share**2 @ values[:, 1] ** 2)))


@dataclass(frozen=True, eq=False)
class Standardised:
    """Features in units of a reference set's standard deviations; what does not vary there is left out as 0."""

    mean: Numbers
    sd: Numbers

    @classmethod
    def by(cls, reference: Numbers) -> "Standardised":
        """Take mean and standard deviation from the features [N, F] of a reference set, such as the training set."""
        return cls(reference.mean(axis=0), reference.std(axis=0))

    def __call__(self, features: Numbers) -> Numbers:
        """[N, F] → the same."""
        varies = self.sd > 1e-9 * (1 + np.abs(self.mean))
        return np.asarray(np.where(varies, features - self.mean, 0) / np.where(varies, self.sd, 1))


def _row_sums(rows: Numbers, columns: Numbers) -> Numbers:
    """Σ over columns of k(row, column), [rows]."""
    sums, step = np.empty(len(rows)), max(1, CHUNK_CELLS // len(columns))
    for start in range(0, len(rows), step):
        kernels = rows[start : start + step] @ columns.T / rows.shape[1] + 1
        sums[start : start + step] = np.einsum("rc,rc,rc->r", kernels, kernels, kernels)
    return sums


def _kernel_with_itself(rows: Numbers) -> Numbers:
    return np.asarray((np.einsum("rf,rf->r", rows, rows) / rows.shape[1] + 1) ** 3)


def _own_mean(own: Numbers) -> float:
    """Mean kernel of two different rows of a set, from each row's sum over the others."""
    return float(own.sum() / (len(own) * (len(own) - 1)))


def _jackknife(own: Numbers, theirs: Numbers, others: int) -> float:
    """Variance of the distance that one set's rows bring: each is left out in turn."""
    count = len(own)
    within = (own.sum() - 2 * own) / ((count - 1) * (count - 2))
    between = (theirs.sum() - theirs) / ((count - 1) * others)
    return float((count - 1) * (within - 2 * between).var())
