"""Random fields over the patient: every point has one value, on whatever grid it is sampled.

The same tissue is sampled for a patch and for a whole scan, so texture must be a function of position, not of
the array that is being filled.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lesionforge.data.phantom.grid import Array, Grid

SIDE = 64


@dataclass(frozen=True)
class Texture:
    """A periodic block of correlated Gaussian noise, mean 0 and standard deviation 1, interpolated linearly."""

    block: Array
    voxel_mm: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, correlation_mm: float) -> "Texture":
        """Noise smoothed by a Gaussian of standard deviation ``correlation_mm``; it repeats after 64 of them."""
        block = gaussian_filter(rng.standard_normal((SIDE,) * 3, dtype=np.float32), 1.0, mode="wrap")
        return cls((block - block.mean()) / block.std(), correlation_mm)

    def on(self, grid: Grid) -> Array:
        """Values on the grid's points, [Z, Y, X]: trilinear, one axis after another because the grid is regular."""
        values = self.block
        for axis, (first, spacing, count) in enumerate(zip(grid.first_mm, grid.spacing_mm, grid.shape, strict=True)):
            place = (first + spacing * np.arange(count)) / self.voxel_mm
            low = np.floor(place).astype(np.int64)
            share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            near, far = values.take(low % SIDE, axis), values.take((low + 1) % SIDE, axis)
            values = near + share * (far - near)
        return values


@dataclass(frozen=True)
class Undulation:
    """A gentle sum of standing waves: bends surfaces that would otherwise be ellipses. Amplitude about 1."""

    waves_per_mm: NDArray[np.float32]  # [waves, 3], radians per mm along x, y, z
    phases: NDArray[np.float32]  # [waves, 3]

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, wavelength_mm: tuple[float, float], waves: int = 4) -> "Undulation":
        """Draw wavelengths uniformly from a range, phases from a full turn."""
        lengths = rng.uniform(*wavelength_mm, size=(waves, 3))
        return cls((2 * np.pi / lengths).astype(np.float32), rng.uniform(0, 2 * np.pi, (waves, 3)).astype(np.float32))

    def at(self, x: Array, y: Array, z: Array) -> Array:
        """Values at the points, in the shape they broadcast to."""
        terms = [
            np.cos(x * wave[0] + phase[0]) * np.cos(y * wave[1] + phase[1]) * np.cos(z * wave[2] + phase[2])
            for wave, phase in zip(self.waves_per_mm, self.phases, strict=True)
        ]
        total: Array = sum(terms[1:], start=terms[0])
        return total
