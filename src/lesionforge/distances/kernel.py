"""Kernel distance between two sets of feature vectors: unbiased at any size of the sets, with a standard error.

M. Bińkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR 2018: the squared maximum mean
discrepancy under the polynomial kernel k(x, y) = (x·y / d + 1)³ (their "kernel inception distance", here on whatever
features come). A Fréchet distance at a few hundred samples is mostly bias; this one has none, so that small sets and
sets of different sizes can be compared. It may fall below 0 where two sets do not differ.

The third power makes one sample that is far out outweigh a hundred that are not. With the kernel −‖x − y‖ instead it is
the energy distance (G. Székely, M. Rizzo, "Energy statistics: a class of statistics based on distances", Journal of
Statistical Planning and Inference 143, 2013), which is 0 for sets of one kind alone as well, and steadier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf

from lesionforge.errors import LesionForgeError

# M samples, N others, F features.

Numbers = NDArray[np.float64]
Groups = NDArray[np.generic]
Kernel = Callable[[Numbers, Numbers], Numbers]  # of all pairs: [M, F], [N, F] → [M, N]

LEAST_SAMPLES = 3  # of each set, for a standard error
CHUNK_CELLS = 2**22  # of the matrix of kernels, held at a time


@dataclass(frozen=True)
class Estimate:
    """A number, and by how much it would vary if both sets were drawn anew."""

    value: float
    standard_error: float


def polynomial(rows: Numbers, columns: Numbers) -> Numbers:
    """Kernel of the kernel inception distance: (x·y / F + 1)³."""
    base = rows @ columns.T / rows.shape[1] + 1
    return np.asarray(base * base * base)


def less_distance(rows: Numbers, columns: Numbers) -> Numbers:
    """Kernel of the energy distance: −‖x − y‖."""
    return np.asarray(-cdist(rows, columns))


def kernel_distance(
    samples: Numbers,
    others: Numbers,
    *,
    kernel: Kernel = polynomial,
    groups: Groups | None = None,
    other_groups: Groups | None = None,
) -> Estimate:
    """Squared maximum mean discrepancy of features [M, F] and [N, F]: 0 for sets of one kind, lower is nearer.

    The standard error is the jackknife's over the rows of both sets, taken as independent; or over groups of rows (such
    as those of a patient) given for a set, [M] and [N]. Rows of one group are more alike than the set is, and so pairs
    within a group are left out.

    Raises
    ------
    LesionForgeError
        A set has fewer than 3 rows or groups, or the features differ in number or are not finite.
    """
    for each in (samples, others):
        if len(each) < LEAST_SAMPLES or each.shape[1:] != samples.shape[1:] or not np.isfinite(each).all():
            raise LesionForgeError(
                f"a kernel distance needs {LEAST_SAMPLES} rows or more of as many finite features in both sets, but "
                f"{samples.shape} and {others.shape} came{'' if np.isfinite(each).all() else ', with NaN or infinity'}."
            )
    first, second = _sums(samples, others, kernel, groups), _sums(others, samples, kernel, other_groups)
    value = first.own_mean + second.own_mean - 2 * first.theirs.sum() / (len(samples) * len(others))
    variance = first.variance(len(others)) + second.variance(len(samples))
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


def _row_sums(rows: Numbers, columns: Numbers, kernel: Kernel) -> Numbers:
    """Σ over columns of k(row, column), [rows]."""
    step = max(1, CHUNK_CELLS // len(columns))
    return np.concatenate(
        [kernel(rows[start : start + step], columns).sum(axis=1) for start in range(0, len(rows), step)]
    )


@dataclass(frozen=True, eq=False)
class Whitened:
    """Standardised features, decorrelated: of a dozen that say the same, each would count as if it told of more.

    Along each principal axis of the reference set the spread becomes 1, as far as the set is large enough to know it:
    its covariance is shrunk (O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 88, 2004), of a small set to nearly that of uncorrelated features.
    """

    standardised: Standardised
    axes: Numbers  # [F, F], in columns

    @classmethod
    def by(cls, reference: Numbers) -> "Whitened":
        """Take means, spreads and axes from the features [N, F] of a reference set, N ≥ 2."""
        standardised = Standardised.by(reference)
        covariance, _ = ledoit_wolf(standardised(reference), assume_centered=True)
        variance, axes = np.linalg.eigh(covariance)
        return cls(standardised, axes / np.sqrt(variance))

    def __call__(self, features: Numbers) -> Numbers:
        """[N, F] → the same."""
        return np.asarray(self.standardised(features) @ self.axes)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of each group of a set's rows: its size, its kernels with the set's other groups, and with the other set."""

    rows: Numbers
    own: Numbers
    theirs: Numbers

    @property
    def pairs(self) -> float:
        """Ordered pairs of rows of two groups."""
        return float(self.rows.sum() ** 2 - (self.rows**2).sum())

    @property
    def own_mean(self) -> float:
        """Mean kernel of two rows of different groups."""
        return float(self.own.sum() / self.pairs)

    def variance(self, others: int) -> float:
        """Variance of the distance that this set brings, by the jackknife: each group is left out in turn."""
        count, left = len(self.rows), self.rows.sum() - self.rows
        within = (self.own.sum() - 2 * self.own) / (self.pairs - 2 * self.rows * left)
        between = (self.theirs.sum() - self.theirs) / (left * others)
        return float((count - 1) * (within - 2 * between).var())


def _sums(rows: Numbers, others: Numbers, kernel: Kernel, groups: Groups | None) -> _Sums:
    code = np.arange(len(rows)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if code.shape != (len(rows),) or code.max() + 1 < LEAST_SAMPLES:
        raise LesionForgeError(
            f"a kernel distance needs {LEAST_SAMPLES} groups (patients) or more and a group for each row, but "
            f"{code.max() + 1} groups for {code.shape} of {len(rows)} rows came."
        )
    within = np.empty(len(rows))
    order = np.argsort(code, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        within[members] = _row_sums(rows[members], rows[members], kernel)
    by_row = np.ones(len(rows)), _row_sums(rows, rows, kernel) - within, _row_sums(rows, others, kernel)
    size, own, theirs = (np.bincount(code, weights=each).astype(np.float64) for each in by_row)
    return _Sums(size, own, theirs)
