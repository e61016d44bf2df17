"""The scanner: from attenuation at every point to the picture that a reconstruction gives.

A voxel is the mean over the slice's thickness, blurred in the plane by the reconstruction kernel's modulation
transfer function (MTF), plus noise. Filtered back-projection multiplies the projections' white noise by the
ramp |f| before the kernel, so its noise power spectrum is |f|·MTF²(f) (Riederer et al. 1978; Kijewski and Judy
1987, Phys Med Biol 32:565, who add what pixel sampling aliases, left out here): grain of the kernel's
own size, with nothing at zero frequency.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.phantom.grid import Array, Grid

SAMPLES_PER_PIXEL = 2
SLICE_PLANES = (2, 4)  # fewest and most planes that are averaged to a slice, by its thickness
PLANE_MM = 0.6
MARGIN_PIXELS = 8  # rendered around the picture, so that the blur near its border sees real neighbours


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: half of the contrast is left at ``half_per_mm`` line pairs per mm.

    ``enhancement`` lifts the frequencies below it: sharp kernels overshoot at edges.
    """

    name: str
    half_per_mm: float
    enhancement: float
    noise_hu: float  # median over patients of the noise that comes with it

    def mtf(self, frequency_per_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Contrast kept at these spatial frequencies; 1 at 0."""
        relative = (frequency_per_mm / self.half_per_mm) ** 2
        kept: NDArray[np.float64] = (1 + self.enhancement * relative) * np.exp(
            -np.log(2 + 2 * self.enhancement) * relative
        )
        return kept


KERNELS = (
    Kernel("smooth", 0.24, 0.0, noise_hu=20.0),
    Kernel("standard", 0.29, 0.0, noise_hu=28.0),
    Kernel("sharp", 0.50, 4.0, noise_hu=52.0),
)


@dataclass(frozen=True)
class ScanHabit:
    """What scans of a body part are like: shares of the `KERNELS`, pixels, slices in mm, and dose."""

    kernel_shares: tuple[float, ...]
    pixel_mm: tuple[float, float, float]  # least, most frequent, largest
    slice_shares: Mapping[float, float]
    noise_factor: float  # against the kernels' own: more dose, less noise


# Chest: roughly the kernels, pixels and slices met in LIDC-IDRI (Armato et al. 2011), and its lungs' grain.
# Liver: slices of 1.25–5 mm as in Frid-Adar et al. 2018; they do not state kernels or noise, which are assumed.
CHEST_CT = ScanHabit((0.25, 0.5, 0.25), (0.55, 0.7, 0.85), {1.0: 0.2, 1.25: 0.4, 2.0: 0.15, 2.5: 0.25}, 1.1)
LIVER_CT = ScanHabit((0.6, 0.4, 0.0), (0.6, 0.75, 0.9), {1.25: 0.2, 2.5: 0.4, 5.0: 0.4}, 0.45)


@dataclass(frozen=True)
class Scanner:
    """How one patient was scanned."""

    kernel: Kernel
    pixel_mm: float
    slice_thickness_mm: float
    noise_hu: float
    streak_angle: float  # direction, in radians, of the noise's grain: thick body parts smear it into streaks
    streak_strength: float  # 0: none, 1: all noise power along the streaks

    @classmethod
    def drawn(cls, rng: np.random.Generator, habit: ScanHabit) -> "Scanner":
        """Draw how a patient is scanned where that is the habit."""
        kernel = KERNELS[rng.choice(len(KERNELS), p=habit.kernel_shares)]
        return cls(
            kernel=kernel,
            pixel_mm=round(float(rng.triangular(*habit.pixel_mm)), 4),
            slice_thickness_mm=float(rng.choice(list(habit.slice_shares), p=list(habit.slice_shares.values()))),
            noise_hu=float(kernel.noise_hu * habit.noise_factor * np.clip(rng.lognormal(0, 0.4), 0.45, 2.2)),
            streak_angle=float(rng.uniform(0, np.pi)),
            streak_strength=float(rng.beta(1.5, 3)),
        )

    def reconstruct(self, attenuation: Callable[[Grid], Array], grid: Grid) -> Array:
        """Picture of ``attenuation`` on ``grid`` without noise, [Z, Y, X] in HU."""
        return np.concatenate([self._slice(attenuation, grid, k) for k in range(grid.shape[0])])

    def _slice(self, attenuation: Callable[[Grid], Array], grid: Grid, k: int) -> Array:
        planes = int(np.clip(np.ceil(self.slice_thickness_mm / PLANE_MM), *SLICE_PLANES))
        step = self.slice_thickness_mm / planes
        z = grid.first_mm[0] + k * grid.spacing_mm[0] - (planes - 1) / 2 * step
        (dy, dx), (ny, nx) = grid.spacing_mm[1:], (n + 2 * MARGIN_PIXELS for n in grid.shape[1:])
        lead = MARGIN_PIXELS + (1 - 1 / SAMPLES_PER_PIXEL) / 2  # pixels from the first fine sample to pixel 0
        fine = Grid(
            (z, grid.first_mm[1] - lead * dy, grid.first_mm[2] - lead * dx),
            (step, dy / SAMPLES_PER_PIXEL, dx / SAMPLES_PER_PIXEL),
            (planes, ny * SAMPLES_PER_PIXEL, nx * SAMPLES_PER_PIXEL),
        )
        image = self._blurred(attenuation(fine).mean(axis=0), fine.spacing_mm[1:])
        pixels = image.reshape(ny, SAMPLES_PER_PIXEL, nx, SAMPLES_PER_PIXEL).mean(axis=(1, 3))
        inner = slice(MARGIN_PIXELS, -MARGIN_PIXELS)
        picture: Array = pixels[None, inner, inner].astype(np.float32)
        return picture

    def _blurred(self, image: Array, spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
        response = self.kernel.mtf(np.hypot(*_frequencies(image.shape, spacing_mm)))
        return np.fft.irfft2(np.fft.rfft2(image) * response, s=image.shape)

    def noise(self, grid: Grid, rng: np.random.Generator) -> Array:
        """Noise of ``grid``'s slices, [Z, Y, X] in HU; slices that overlap share theirs."""
        overlap = max(1, round(self.slice_thickness_mm / grid.spacing_mm[0]))
        shape = tuple(n + 2 * MARGIN_PIXELS for n in grid.shape[1:])  # the filter wraps round: cut the wrapped rim
        fy, fx = _frequencies(shape, grid.spacing_mm[1:])
        frequency = np.hypot(fy, fx)
        power = frequency * self.kernel.mtf(frequency) ** 2
        power *= 1 - self.streak_strength * np.cos(2 * (np.arctan2(fy, fx) - self.streak_angle))
        white = rng.standard_normal((grid.shape[0] + overlap - 1, *shape), dtype=np.float32)
        spectrum = np.fft.rfft2(white) * np.sqrt(power)
        filtered = np.fft.irfft2(spectrum, s=shape)[:, MARGIN_PIXELS:-MARGIN_PIXELS, MARGIN_PIXELS:-MARGIN_PIXELS]
        slices = sum(filtered[k : k + grid.shape[0]] for k in range(overlap))
        # The half spectrum of a real picture holds its columns 1 … n/2 − 1 twice.
        twice = np.full(power.shape[1], 2.0)
        twice[0] = 1.0
        if shape[1] % 2 == 0:
            twice[-1] = 1.0
        expected = np.sqrt(overlap * (power * twice).sum() / (shape[0] * shape[1]))
        return np.asarray(slices * (self.noise_hu / expected), dtype=np.float32)


def _frequencies(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> tuple[NDArray[np.float64], ...]:
    """Frequencies in line pairs per mm of `numpy.fft.rfft2`'s rows [Y, 1] and columns [1, X // 2 + 1]."""
    rows, columns = np.fft.fftfreq(shape[0], spacing_mm[0]), np.fft.rfftfreq(shape[1], spacing_mm[1])
    return rows.astype(np.float64)[:, None], columns.astype(np.float64)[None, :]
