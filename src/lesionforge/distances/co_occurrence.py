"""Grey-level co-occurrence: how often two grey levels lie a given step apart, and Haralick's features of that.

R. M. Haralick, K. Shanmugam, I. Dinstein, "Textural features for image classification", IEEE Trans. Systems, Man and
Cybernetics 3 (1973). Steps run along the axes and the diagonals, 4 directions in the plane and 13 in space; pairs of
all directions are counted in one symmetric matrix, as texture of lesions has no direction that is the same for all.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

# N images, L grey levels, P pixels.

Levels = NDArray[np.integer]
Numbers = NDArray[np.float64]

NAMES = (
    "contrast",
    "dissimilarity",
    "homogeneity",
    "correlation",
    "cluster_shade",
    "cluster_prominence",
    "energy",
    "entropy",
)


def co_occurrence(levels: Levels, *, count: int, distance: int) -> Numbers:
    """Share of pairs of pixels ``distance`` steps apart that have each two levels: [N, *shape] → [N, L, L], symmetric.

    ``levels`` lie in 0 … ``count`` − 1; every axis is longer than ``distance``.
    """
    images = len(levels)
    second = levels.astype(np.intp)
    first = second * count + np.arange(images).reshape(-1, *(1,) * (levels.ndim - 1)) * count**2
    cells = images * count**2
    pairs = np.zeros(cells, dtype=np.intp)
    for here, there in _steps(levels.shape[1:], distance):
        pairs += np.bincount((first[here] + second[there]).ravel(), minlength=cells)
    square = pairs.reshape(images, count, count)
    symmetric = square + square.swapaxes(1, 2)
    return np.asarray(symmetric / symmetric.sum(axis=(1, 2), keepdims=True))


def haralick(shares: Numbers) -> dict[str, Numbers]:
    """Haralick's features of co-occurrence matrices [N, L, L]: each of `NAMES`, [N], levels counted in bins.

    Homogeneity is the inverse difference moment, energy the angular second moment, entropy in bits. Of a constant
    image, whose correlation is not defined, it is 1.
    """
    images, count = shares.shape[:2]
    i, j = np.mgrid[:count, :count].reshape(2, -1).astype(np.float64)
    flat = shares.reshape(images, -1)
    # All but energy and entropy are sums over cells weighted alike for every image: one product of matrices.
    away = np.stack([(i - j) ** 2, np.abs(i - j), 1 / (1 + (i - j) ** 2), i])
    contrast, dissimilarity, homogeneity, mean = (flat @ away.T).T
    along = np.arange(count) - mean[:, None]
    variance = np.einsum("nij,ni,ni->n", shares, along, along)
    covariance = np.einsum("nij,ni,nj->n", shares, along, along)
    together = along[:, :, None] + along[:, None, :]
    squared = together**2
    varied = variance > 0
    correlation = np.where(varied, covariance / np.where(varied, variance, 1), 1.0)
    logarithm = np.log2(flat, out=np.zeros_like(flat), where=flat > 0)
    return {
        "contrast": contrast,
        "dissimilarity": dissimilarity,
        "homogeneity": homogeneity,
        "correlation": correlation,
        "cluster_shade": (shares * squared * together).sum(axis=(1, 2)),
        "cluster_prominence": (shares * squared**2).sum(axis=(1, 2)),
        "energy": np.einsum("nk,nk->n", flat, flat),
        "entropy": -np.einsum("nk,nk->n", flat, logarithm),
    }


def _steps(shape: tuple[int, ...], distance: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Where both pixels of a pair lie, one direction after the other; of two opposite directions one is enough."""
    for direction in product((-1, 0, 1), repeat=len(shape)):
        if direction > (0,) * len(shape):
            spans = [_span(side, step * distance) for side, step in zip(shape, direction, strict=True)]
            yield (slice(None), *(here for here, _ in spans)), (slice(None), *(there for _, there in spans))


def _span(side: int, step: int) -> tuple[slice, slice]:
    here, there = slice(0, side - abs(step)), slice(abs(step), side)
    return (here, there) if step >= 0 else (there, here)
