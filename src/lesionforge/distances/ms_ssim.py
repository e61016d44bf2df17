"""How alike images of one set are: multi-scale structural similarity of random pairs.

Z. Wang, E. Simoncelli, A. Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar 2003: the
similarity of local contrast and structure at several resolutions, and of brightness at the coarsest, multiplied. A.
Odena, C. Olah, J. Shlens, ICML 2017, take its mean over pairs of a set for a measure of diversity: a generator that has
collapsed makes pairs more alike than real ones are. It says nothing of quality: noise is most diverse.

The published five scales need 176 pixels; of smaller images as many are taken as keep the 11 pixels of the Gaussian,
and their weights are scaled to sum to 1.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from lesionforge.distances.neighbours import halved
from lesionforge.errors import LesionForgeError

# N images, P pairs.

Images = NDArray[np.generic]
Numbers = NDArray[np.float64]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
RADIUS, SIGMA = 5, 1.5  # pixels
TAP = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
GAUSSIAN = TAP / TAP.sum()
STABLE = (0.01, 0.03)  # Wang's K₁ and K₂
CHUNK_PIXELS = 2**19


def ms_ssim(first: Images, second: Images, *, low: float, high: float) -> Numbers:
    """Similarity of each pair of images [P, *shape], from about 0 to 1, intensities clipped to ``low`` … ``high``: [P].

    Raises
    ------
    LesionForgeError
        Shapes differ, or a side is shorter than 11 pixels.
    """
    shape = first.shape[1:]
    if second.shape != first.shape or min(shape) <= 2 * RADIUS:
        raise LesionForgeError(
            f"structural similarity needs pairs of images of {2 * RADIUS + 1} pixels a side or more, but "
            f"{first.shape} and {second.shape} came."
        )
    scales = min(len(WEIGHTS), int(np.log2(min(shape) // (2 * RADIUS + 1))) + 1)
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    step = max(1, CHUNK_PIXELS // int(np.prod(shape)))
    found = np.ones(len(first))
    for start in range(0, len(first), step):
        rows = slice(start, start + step)
        pair = [((each[rows].clip(low, high) - low) / (high - low)).astype(np.float64) for each in (first, second)]
        for scale, weight in enumerate(weights):
            brightness, structure = _compared(*pair)
            value = (brightness * structure if scale == scales - 1 else structure).reshape(len(pair[0]), -1).mean(1)
            found[rows] *= np.maximum(value, 0) ** weight
            pair = [halved(each).astype(np.float64) for each in pair]
    return found


def random_pairs(count: int, groups: NDArray[np.generic], *, seed: int) -> NDArray[np.intp]:
    """Draw ``count`` pairs of rows that are of different groups (such as patients), [2, count].

    Raises
    ------
    LesionForgeError
        All rows are of one group.
    """
    if len(np.unique(groups)) < 2:
        raise LesionForgeError("pairs of different patients need two patients or more, but there is one.")
    rng, pairs = np.random.default_rng(seed), np.empty((2, 0), dtype=np.intp)
    while pairs.shape[1] < count:
        drawn = rng.integers(0, len(groups), (2, 2 * count))
        pairs = np.concatenate([pairs, drawn[:, groups[drawn[0]] != groups[drawn[1]]]], axis=1)
    return pairs[:, :count]


def _compared(one: Numbers, other: Numbers) -> tuple[Numbers, Numbers]:
    """Local brightness, and contrast with structure, of pairs [P, *shape], where the Gaussian fits in."""
    mean, other_mean = _smoothed(one), _smoothed(other)
    variance = _smoothed(one * one) + _smoothed(other * other) - mean**2 - other_mean**2
    covariance = _smoothed(one * other) - mean * other_mean
    c1, c2 = (k**2 for k in STABLE)
    brightness = (2 * mean * other_mean + c1) / (mean**2 + other_mean**2 + c1)
    return brightness, (2 * covariance + c2) / (variance + c2)


def _smoothed(smooth: Numbers) -> Numbers:
    shape = smooth.shape[1:]
    for axis in range(1, smooth.ndim):
        smooth = correlate1d(smooth, GAUSSIAN, axis=axis)
    inside: Numbers = smooth[(slice(None), *(slice(RADIUS, side - RADIUS) for side in shape))]
    return inside
