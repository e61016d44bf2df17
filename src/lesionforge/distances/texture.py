"""What a CT patch looks like, as a short vector of radiomic features: whole patches, no masks, planes or volumes.

A distance between sets of lesions should see what radiologists and radiomics look at, not what a network learnt on
photographs. Four families, as in common radiomics (Zwanenburg et al., "The Image Biomarker Standardization Initiative",
Radiology 295, 2020), computed in the image's own unit:

- *first order*: mean, spread, skewness, kurtosis, percentiles of the intensities, entropy of their histogram;
- *rings* around the centre, where the lesion lies: mean and spread of each, hence size, edge and how round it is;
- *co-occurrence* (Haralick) at some distances, grey levels being bins of a stated width;
- *spectrum*: power in bands of spatial frequency, in decibels, hence noise, sharpness and kernel.

Quantities that span orders of magnitude are taken as logarithms, so that a few odd patches do not rule a distance.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfftfreq, rfftn

from lesionforge.distances.co_occurrence import NAMES, co_occurrence, haralick
from lesionforge.errors import LesionForgeError

# N patches, F features.

Images = NDArray[np.generic]
Numbers = NDArray[np.float64]

CHUNK_PIXELS = 2**18  # worked on at a time: what fits a core's cache
PERCENTILES = (5, 25, 50, 75, 95)
LOGARITHMIC = ("contrast", "dissimilarity", "cluster_prominence")
ROUNDING = 1 / 12  # variance that rounding to whole numbers adds: no finer difference of intensities is looked at


@dataclass(frozen=True)
class Texture:
    """How features are computed; intensities outside ``low`` to ``high`` are clipped, as a window would."""

    low: float
    high: float
    levels: int = 28  # bins of equal width between them: of 50 HU in a lung window of −1000 to 400 HU
    distances: tuple[int, ...] = (1, 2, 4)  # pixels; those that a patch is large enough for
    rings: int = 8  # from the centre to the nearest border; corners count to the last. Fewer in small patches
    bands: int = 8  # of equal width from 0 to 0.5 cycles a pixel; higher ones count to the last. Fewer likewise

    @property
    def bin_width(self) -> float:
        """Width of a grey level, in the unit of the images."""
        return (self.high - self.low) / self.levels

    def describe(self, images: Images) -> Numbers:
        """Return the features of each patch, [N, *shape] → [N, F], in the order of `names`.

        Raises
        ------
        LesionForgeError
            Patches are neither planes nor volumes of 4 pixels a side or more, or hold values that are no numbers.
        """
        shape = images.shape[1:]
        if len(shape) not in {2, 3} or min(shape) < 4:
            raise LesionForgeError(f"texture needs planes or volumes of 4 pixels a side or more, but {shape} came.")
        described = np.empty((len(images), len(self.names(shape))))
        step = max(1, CHUNK_PIXELS // int(np.prod(shape)))
        for start in range(0, len(images), step):
            chunk = images[start : start + step].astype(np.float64)
            if not np.isfinite(chunk).all():
                raise LesionForgeError("texture needs finite intensities, but NaN or infinity came.")
            features = dict(self._features(np.clip(chunk, self.low, self.high)))
            described[start : start + step] = np.stack(list(features.values()), axis=1)
        return described

    def names(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Name the features of patches of this shape."""
        return tuple(name for name, _ in self._features(np.full((1, *shape), self.low)))

    def _features(self, images: Numbers) -> Iterator[tuple[str, Numbers]]:
        """[N, *shape] → names and features [N]."""
        levels = ((images - self.low) / self.bin_width).astype(np.intp).clip(0, self.levels - 1)
        yield from self._first_order(images.reshape(len(images), -1))
        yield from self._rings(images)
        for distance in self.distances:
            if distance < min(images.shape[1:]):
                found = haralick(co_occurrence(levels, count=self.levels, distance=distance))
                for name in NAMES:
                    yield f"{name}_{distance}", np.log1p(found[name]) if name in LOGARITHMIC else found[name]
        yield from self._spectrum(images)

    def _first_order(self, pixels: Numbers) -> Iterator[tuple[str, Numbers]]:
        mean = pixels.mean(axis=1)
        away = pixels - mean[:, None]
        squared = away**2
        variance = squared.mean(axis=1)
        spread = np.sqrt(np.maximum(variance, ROUNDING))
        yield "mean", mean
        yield "log_sd", np.log(variance + ROUNDING) / 2
        yield "skewness", np.cbrt(np.einsum("np,np->n", squared, away) / pixels.shape[1]) / spread
        yield "log_kurtosis", np.log1p((squared**2).mean(axis=1) / spread**4)
        for percentile, values in zip(PERCENTILES, _percentiles(pixels), strict=True):
            yield f"percentile_{percentile}", values

    def _rings(self, images: Numbers) -> Iterator[tuple[str, Numbers]]:
        shape = images.shape[1:]
        rings = min(self.rings, min(shape) // 2)
        axes = np.meshgrid(*((np.arange(side) - (side - 1) / 2) / (side / 2) for side in shape), indexing="ij")
        ring = (np.sqrt(sum(axis**2 for axis in axes)) * rings).astype(np.intp).clip(max=rings - 1).ravel()
        share = np.eye(rings)[ring] / np.bincount(ring, minlength=rings)
        pixels = images.reshape(len(images), -1)
        means = pixels @ share
        spreads = np.maximum((pixels**2) @ share - means**2, 0)
        for number in range(rings):
            yield f"ring_{number}_mean", means[:, number]
            yield f"ring_{number}_log_sd", np.log(spreads[:, number] + ROUNDING) / 2

    def _spectrum(self, images: Numbers) -> Iterator[tuple[str, Numbers]]:
        shape, axes = images.shape[1:], tuple(range(1, images.ndim))
        # Hann's window: the jump from one border to the opposite one is none of the lesion's.
        window = np.ones(shape)
        for axis, side in enumerate(shape):
            window *= np.hanning(side + 2)[1:-1].reshape(-1, *(1,) * (len(shape) - 1 - axis))
        inside = images - images.mean(axis=axes, keepdims=True)
        power = np.abs(rfftn(inside * window, axes=axes)) ** 2 / (window**2).sum()
        bands = min(self.bands, min(shape) // 2)
        along = [np.fft.fftfreq(side) for side in shape[:-1]] + [rfftfreq(shape[-1])]
        frequency = np.sqrt(sum(axis**2 for axis in np.meshgrid(*along, indexing="ij")))
        band = np.ceil(frequency * 2 * bands - 1e-9).astype(np.intp).clip(1, bands) - 1
        # Frequencies of the last axis between 0 and its end stand for their mirror images as well.
        twice = np.ones(frequency.shape)
        twice[..., 1 : (shape[-1] + 1) // 2] = 2
        share = np.eye(bands)[band.ravel()] * twice.reshape(-1, 1)
        share[0] = 0  # the mean
        decibels = 10 * np.log10(power.reshape(len(images), -1) @ (share / share.sum(axis=0)) + ROUNDING)
        for number in range(bands):
            yield f"band_{number}_db", decibels[:, number]


def _percentiles(pixels: Numbers) -> Numbers:
    """[N, P] → [percentiles, N], as `numpy.percentile`; in single precision numbers are sorted several at a time."""
    ordered = np.sort(pixels.astype(np.float32), axis=1)
    place = np.asarray(PERCENTILES) / 100 * (pixels.shape[1] - 1)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, pixels.shape[1] - 1)
    part = place - below
    return np.asarray((ordered[:, below] * (1 - part) + ordered[:, above] * part).T, dtype=np.float64)
