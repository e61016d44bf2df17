"""How unlike the training patches a patch is: a classifier must not answer about what it has never seen.

Shown an abdomen, noise, or numbers that are no Hounsfield units, a classifier of lung nodules still gives
probabilities, often sure ones. So each patch is described three times: by the features that the classifier decides
from, by its intensities, and by its texture, since a network maps anything onto features that it knows (on nodules,
features alone refused neither noise nor abdomens: docs/classifiers.md). In each description its distance from the
training patches is measured as their covariance has it (Mahalanobis; Lee et al., NeurIPS 2018), on principal
components, the covariance shrunk as Ledoit & Wolf (2004) say.

The bound of each distance is conformal (Laxhammar & Falkman, 2011): the ⌈(n + 1)(1 − α)⌉-th smallest distance of n
validation patches, which a further patch like them exceeds with a probability of α or less. Fewer than 1/α − 1 have no
such distance; then it is the upper prediction limit of a further one, taking their logarithms for normal.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.covariance import LedoitWolf

from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches

FloatArray = NDArray[np.float64]

REFUSED_SHARE = 0.02  # of patches like the training patches, in each description
MOST_COMPONENTS = 32
MOST_PATCHES = 1000  # that familiarity is learnt from: more know it no better
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of intensities
DISTANCES = (1, 2, 4, 8)  # pixels, of texture
BEYOND = 0.5  # of the window's width, on either side: farther away is all the same
LEAST = 1e-12  # variance or bound: nothing is divided by less
TINY = 1e-3  # of the window's width

# N patches, F features, P principal components.


@dataclass(frozen=True, eq=False)
class Region:
    """Where patches lie in one description.

    Parameters
    ----------
    mean, scale
        [F] of the training patches' features.
    axes
        [F, P], from standardised features to components that are uncorrelated, each with a variance of about 1.
    bound
        [1], the greatest distance that is like the training patches.
    """

    mean: FloatArray
    scale: FloatArray
    axes: FloatArray
    bound: FloatArray

    @classmethod
    def around(cls, train: FloatArray, validation: FloatArray) -> "Region":
        """Fit to training features [N, F]; set the bound by validation features."""
        mean, scale = train.mean(axis=0), train.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        standard = (train - mean) / scale
        components = np.linalg.svd(standard, full_matrices=False)[2][:MOST_COMPONENTS].T
        covariance = LedoitWolf(assume_centered=True).fit(standard @ components).covariance_
        variance, directions = np.linalg.eigh(covariance)
        axes = components @ (directions / np.sqrt(np.maximum(variance, LEAST)))
        unbounded = cls(mean, scale, axes, np.ones(1))
        return cls(mean, scale, axes, np.array([_bound(unbounded.distance(validation))]))

    def distance(self, features: FloatArray) -> FloatArray:
        """[N, F] → [N], as a share of the bound."""
        return np.asarray(np.linalg.norm((features - self.mean) / self.scale @ self.axes, axis=1) / self.bound)


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A region for each description."""

    regions: tuple[Region, ...]

    @classmethod
    def fit(cls, train: Sequence[FloatArray], validation: Sequence[FloatArray]) -> "Familiarity":
        """Fit to the descriptions of training patches; set the bounds by those of validation patches."""
        return cls(tuple(Region.around(*both) for both in zip(train, validation, strict=True)))

    def strangeness(self, described: Sequence[FloatArray]) -> FloatArray:
        """[N]: how many times its bound the worse distance of a patch is."""
        each = [region.distance(features) for region, features in zip(self.regions, described, strict=True)]
        return np.asarray(np.max(each, axis=0))

    @property
    def arrays(self) -> dict[str, FloatArray]:
        """Each region's arrays, by its number and their names."""
        regions = enumerate(self.regions)
        return {f"{number}.{name}": array for number, region in regions for name, array in vars(region).items()}

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]]) -> "Familiarity":
        """Make it of its arrays; raise KeyError if some are missing."""
        names = ("mean", "scale", "axes", "bound")
        return cls(tuple(Region(*(arrays[f"{k}.{name}"] for name in names)) for k in range(len(arrays) // len(names))))


def _bound(distances: FloatArray) -> float:
    """What a further distance exceeds with a probability of `REFUSED_SHARE`; of a single one, twice that."""
    count = len(distances)
    rank = math.ceil((count + 1) * (1 - REFUSED_SHARE))
    if rank <= count:
        return float(max(np.sort(distances)[rank - 1], LEAST))
    if count == 1:
        return float(max(2 * distances[0], LEAST))
    logs = np.log(np.maximum(distances, LEAST))
    reach = t.ppf(1 - REFUSED_SHARE, count - 1) * np.sqrt(1 + 1 / count)
    return float(np.exp(logs.mean() + reach * logs.std(ddof=1)))


def look(patches: Patches, window: Window) -> tuple[FloatArray, FloatArray]:
    """What patches look like: their intensities [N, 5] and their texture [N, F], for ranges as wide as the window.

    Intensities are quantiles, as shares of the window. Texture is, for distances of 1, 2, 4 and 8 pixels, the logarithm
    of the mean step and how well pixels so far apart agree (Fisher's z of their correlation).
    """
    scaled = (np.asarray(patches.images, dtype=np.float64) - window.low) / (window.high - window.low)
    scaled = np.clip(scaled, -BEYOND, 1 + BEYOND)
    flat = scaled.reshape(len(scaled), math.prod(patches.shape))
    spread = flat.var(axis=1) + TINY**2
    texture = []
    for distance in DISTANCES:
        steps = _steps(scaled, distance)
        if steps is not None:
            agreement = 1 - (steps**2).mean(axis=1) / (2 * spread)
            texture += [np.log(np.abs(steps).mean(axis=1) + TINY), np.arctanh(np.clip(agreement, -0.99, 0.99))]
    return np.quantile(flat, LEVELS, axis=1).T, np.stack(texture or [spread], axis=1)


def _steps(images: FloatArray, distance: int) -> FloatArray | None:
    """Differences of pixels so far apart along each axis, [N, differences]; None where no axis is so long."""
    steps = []
    for axis in range(1, images.ndim):
        ahead = np.moveaxis(images, axis, 1)
        steps.append((ahead[:, distance:] - ahead[:, :-distance]).reshape(len(images), -1))
    found = np.concatenate(steps, axis=1)
    return found if found.shape[1] else None


def learnt_from(train: Patches) -> Patches:
    """The training patches that familiarity is learnt from: real ones where there are any, not too many."""
    real = np.flatnonzero(~train.is_synthetic)
    rows = real if len(real) else np.arange(len(train))
    return train.rows(rows[:: -(-len(rows) // MOST_PATCHES)])
