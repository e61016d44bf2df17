"""Do samples look real, and is everything real among them? Precision, recall, density and coverage.

T. Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019: what lies
within reach of a real vector, as far as that one's k-th nearest real neighbour, is taken for real. *Precision* is the
share of samples within reach of a real vector, *recall* the share of real ones within reach of a sample. M. Naeem et
al., "Reliable fidelity and diversity metrics for generative models", ICML 2020: a single odd real vector reaches far,
so *density* counts how many real vectors' reach a sample lies in, over k (1 for sets of one kind, may exceed it), and
*coverage* is the share of real vectors with a sample within their reach. A generator that makes few kinds of lesions
well has a high precision and a low coverage.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError

# M real, N samples, F features.

Numbers = NDArray[np.float64]

NEIGHBOURS = 5  # as Naeem et al.
CHUNK_CELLS = 2**22  # of the matrix of distances, held at a time


@dataclass(frozen=True)
class Manifold:
    """Shares from 0 to 1, and a density about 1; of all more is better."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: Numbers, samples: Numbers, *, neighbours: int = NEIGHBOURS) -> Manifold:
    """Compare features [M, F] and [N, F]. They depend on the sizes: hold them against two real sets of those sizes.

    Raises
    ------
    LesionForgeError
        A set has no more rows than ``neighbours``, or the features differ in number or are not finite.
    """
    for each in (real, samples):
        if each.ndim != 2 or len(each) <= neighbours or each.shape[1:] != real.shape[1:]:
            raise LesionForgeError(
                f"precision and coverage need more than {neighbours} rows with as many features in both sets, but "
                f"{real.shape} and {samples.shape} came."
            )
        if not np.isfinite(each).all():
            raise LesionForgeError("precision and coverage need finite features, but NaN or infinity came.")
    reach, sample_reach = _reach(real, neighbours), _reach(samples, neighbours)
    within = np.zeros(len(samples), dtype=np.int64)  # real vectors' reaches that a sample lies in
    recalled, covered = np.zeros((2, len(real)), dtype=bool)
    for rows, squared in _squared(real, samples):
        inside = squared < reach[rows, None]
        within += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (squared < sample_reach).any(axis=1)
    return Manifold(
        precision=float((within > 0).mean()),
        recall=float(recalled.mean()),
        density=float(within.mean() / neighbours),
        coverage=float(covered.mean()),
    )


def _reach(features: Numbers, neighbours: int) -> Numbers:
    """Squared distance of each row to its k-th nearest other one, [N]."""
    reach = np.empty(len(features))
    for rows, squared in _squared(features, features):
        squared[np.arange(len(squared)), np.arange(len(features))[rows]] = 0  # itself, whatever rounding made of it
        reach[rows] = np.partition(squared, neighbours, axis=1)[:, neighbours]
    return reach


def _squared(first: Numbers, second: Numbers) -> Iterator[tuple[slice, Numbers]]:
    """Squared distances of some rows of ``first`` to all of ``second``, part by part."""
    middle = second.mean(axis=0)  # near 0, products keep their digits
    columns = second - middle
    norms = np.einsum("nf,nf->n", columns, columns)
    step = max(1, CHUNK_CELLS // len(second))
    for start in range(0, len(first), step):
        rows = slice(start, min(start + step, len(first)))
        part = first[rows] - middle
        yield rows, np.einsum("nf,nf->n", part, part)[:, None] + norms - 2 * part @ columns.T
