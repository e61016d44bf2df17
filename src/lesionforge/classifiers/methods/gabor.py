"""Gabor features with an SVM.

M. Frid-Adar et al., Neurocomputing 321 (2018), section 3.4 and table 6: mean, standard deviation, energy and entropy of
the response for each scale and orientation. Neither their number nor the filters are printed: 4 octaves from 0.4 cycles
a pixel down and 6 orientations, with a bandwidth of one octave, as in B. S. Manjunath and W. Y. Ma, "Texture features
for browsing and retrieval of image data", IEEE PAMI 18:837 (1996).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import fft

from lesionforge.classifiers.contract import Arrays, Facts, FloatArray
from lesionforge.classifiers.described import DescribingClassifier
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Rate

SMALLEST_PX = 8


@dataclass(frozen=True)
class Gabor(DescribingClassifier):
    """4 × scales × orientations features of 2-D patches."""

    paper: ClassVar[str] = "Frid-Adar et al. 2018, table 6"

    frequencies: tuple[Rate, ...] = (0.4, 0.2, 0.1, 0.05)  # cycles a pixel
    orientations: Count = 6
    bandwidth: Rate = 1.0  # octaves

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and hold a few cycles."""
        if len(shape) != 2 or min(shape) < SMALLEST_PX:
            raise LesionForgeError(
                f"gabor takes 2-D patches of {SMALLEST_PX} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def describe(self, patches: Patches, facts: Facts, learnt: Arrays) -> FloatArray:
        """Statistics of each filter's magnitude: [N, 4 · filters], filter by filter."""
        del learnt
        images = facts.window.to_unit_interval(patches.images).astype(np.float64)
        return np.concatenate([_statistics(each) for each in self.magnitudes(images)], axis=1)

    @property
    def filters(self) -> tuple[tuple[float, float], ...]:
        """Frequency (cycles a pixel) and orientation (radians) of each filter."""
        angles = np.pi * np.arange(self.orientations) / self.orientations
        return tuple((frequency, float(angle)) for frequency in self.frequencies for angle in angles)

    def magnitudes(self, images: FloatArray) -> Iterator[FloatArray]:
        """Yield the magnitude of each filter's complex response, [N, y, x]; beyond its sides an image is mirrored."""
        from skimage.filters import gabor_kernel

        kernels = [gabor_kernel(frequency, angle, self.bandwidth) for frequency, angle in self.filters]
        reach = max(side // 2 for kernel in kernels for side in kernel.shape)
        padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
        size = [fft.next_fast_len(side) for side in padded.shape[1:]]
        spectrum = fft.fft2(padded, size)
        for kernel in kernels:
            response = fft.ifft2(spectrum * fft.fft2(kernel, size))
            top, left = (reach + side // 2 for side in kernel.shape)  # what wraps around lies before
            yield np.abs(response[:, top : top + images.shape[1], left : left + images.shape[2]])


def _statistics(magnitude: FloatArray) -> FloatArray:
    """Mean, standard deviation, mean energy, and entropy (in nats) of where the energy lies: [N, 4]."""
    energy = magnitude**2
    share = energy / np.maximum(energy.sum(axis=(1, 2), keepdims=True), np.finfo(np.float64).tiny)
    entropy = -(share * np.log(np.maximum(share, np.finfo(np.float64).tiny))).sum(axis=(1, 2))
    parts = [magnitude.mean(axis=(1, 2)), magnitude.std(axis=(1, 2)), energy.mean(axis=(1, 2)), entropy]
    return np.stack(parts, axis=1)
