"""Fréchet distance between two clouds of feature vectors, taken for Gaussians; and how much of it is small samples.

D. Dowson, B. Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate Analysis 12
(1982): |m − m'|² + tr(C + C' − 2 (C C')^½). M. Heusel et al., NeurIPS 2017, made it a measure of generators on features
of a network; on radiomic features it is the Fréchet radiomic distance (N. Konz et al., 2024).

Means and covariances of few samples lie apart though the sets are of one kind, the more the fewer samples and the more
features: two halves of the same patients are at a distance that many papers would report as a result. M. Chong, D.
Forsyth, "Effectively unbiased FID and Inception Score and where to find them", CVPR 2020: the bias is linear in 1/N, so
the distance at several N gives a line, and its end at 1/N = 0 the distance without that bias.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError

# N samples, F features.

Numbers = NDArray[np.float64]

LEAST_SAMPLES = 2
SIZES = (1.0, 0.85, 0.7, 0.55, 0.4)  # shares of the set that the line goes through
DRAWS = 5  # of each smaller share


@dataclass(frozen=True, eq=False)
class Extrapolated:
    """The distance at several sizes of the sets, and the line through them."""

    at_infinity: float  # may fall below 0 where the sets do not differ
    sizes: NDArray[np.int64]  # of both sets, largest first
    distances: Numbers  # mean over draws, at each size

    @property
    def bias(self) -> float:
        """Part of the distance at full size that is owed to the number of samples."""
        return float(self.distances[0]) - self.at_infinity


def frechet_distance(samples: Numbers, others: Numbers) -> float:
    """Distance of features [N, F] and [N', F], in the features' squared unit: 0 for equal sets, lower is nearer.

    Defined for fewer samples than features too, where it is mostly bias. Memory: F² or N F, whichever is less, and no
    product of the covariances is formed: tr (C C')^½ is the sum of the singular values of R R'ᵀ, with C = Rᵀ R.

    Raises
    ------
    LesionForgeError
        A set has fewer than 2 samples, or the features differ in number or are not finite.
    """
    _check(samples, others)
    (mean, root), (other_mean, other_root) = _moments(samples), _moments(others)
    together = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    apart = ((mean - other_mean) ** 2).sum() + (root**2).sum() + (other_root**2).sum()
    return float(max(apart - 2 * together, 0.0))  # rounding alone goes below 0


def extrapolated(samples: Numbers, others: Numbers, *, seed: int = 0) -> Extrapolated:
    """Distance at `SIZES` of the smaller set, both sets drawn to one size without replacement; and at infinity.

    Raises
    ------
    LesionForgeError
        As of `frechet_distance`, of the smallest share.
    """
    _check(samples, others)
    most = min(len(samples), len(others))
    sizes = np.unique(np.round(np.array(SIZES) * most).astype(np.int64))[::-1]
    if len(sizes) < len(SIZES) or sizes[-1] < LEAST_SAMPLES:
        raise LesionForgeError(f"an extrapolation needs ten samples or more in both sets, but the smaller has {most}.")
    rng = np.random.default_rng(seed)

    def at(size: int) -> float:
        drawn = (each[rng.permutation(len(each))[:size]] for each in (samples, others))
        return frechet_distance(*drawn)

    alike = len(samples) == len(others)
    means = [np.mean([at(size) for _ in range(1 if alike and size == most else DRAWS)]) for size in sizes]
    _, at_infinity = np.polyfit(1 / sizes, means, 1)
    return Extrapolated(float(at_infinity), sizes, np.array(means))


def _moments(features: Numbers) -> tuple[Numbers, Numbers]:
    """Mean [F], and R [min(N, F), F] of which Rᵀ R is the covariance."""
    mean = features.mean(axis=0)
    centred = (features - mean) / np.sqrt(len(features) - 1)
    if len(features) > features.shape[1]:
        centred = scipy.linalg.qr(centred, mode="r")[0][: features.shape[1]]
    return mean, centred


def _check(samples: Numbers, others: Numbers) -> None:
    for each in (samples, others):
        if each.ndim != 2 or len(each) < LEAST_SAMPLES or each.shape[1:] != samples.shape[1:]:
            raise LesionForgeError(
                f"a Fréchet distance needs {LEAST_SAMPLES} samples or more with as many features in both sets, but "
                f"{samples.shape} and {others.shape} came."
            )
        if not np.isfinite(each).all():
            raise LesionForgeError("a Fréchet distance needs finite features, but NaN or infinity came.")
