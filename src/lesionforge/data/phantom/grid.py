"""A regular grid of sample points in the patient, and distances on it.

Arrays are [z, y, x]; points are (x, y, z) in mm, x to the left, y to the back, z to the head, as in DICOM.
Distances to a surface are signed: negative inside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Vector = NDArray[np.float64]  # [3], x, y, z in mm
Point = tuple[float, float, float]
Window = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """Sample points: all three fields are in the order (z, y, x) of the array's axes."""

    first_mm: Point
    spacing_mm: Point
    shape: tuple[int, int, int]

    @classmethod
    def centred(cls, centre_mm: NDArray[np.float64], spacing_mm: Point, shape: tuple[int, int, int]) -> "Grid":
        """Grid whose voxel ``n // 2`` of each axis lies at ``centre_mm`` (x, y, z)."""
        first = [c - n // 2 * s for c, n, s in zip(centre_mm[::-1], shape, spacing_mm, strict=True)]
        return cls((float(first[0]), float(first[1]), float(first[2])), spacing_mm, shape)

    @property
    def points(self) -> tuple[Array, Array, Array]:
        """Coordinates x [1, 1, X], y [1, Y, 1] and z [Z, 1, 1], which broadcast to the grid."""
        z, y, x = (
            (first + spacing * np.arange(n)).astype(np.float32)
            for first, spacing, n in zip(self.first_mm, self.spacing_mm, self.shape, strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]

    @property
    def last_mm(self) -> Point:
        """The last sample, (z, y, x)."""
        z, y, x = (f + s * (n - 1) for f, s, n in zip(self.first_mm, self.spacing_mm, self.shape, strict=True))
        return z, y, x

    @property
    def edge_mm(self) -> float:
        """Width over which a surface is blended so that it is not sampled as a staircase."""
        return max(self.spacing_mm[1:])

    def window(self, centre_mm: NDArray[np.float64], reach_mm: float | NDArray[np.float64]) -> Window | None:
        """Slices of the samples within ``reach_mm`` of ``centre_mm`` (x, y, z) along each axis; None where none are."""
        first, spacing = np.array(self.first_mm), np.array(self.spacing_mm)
        offset, reach = np.asarray(centre_mm)[::-1] - first, np.broadcast_to(reach_mm, 3)[::-1]
        low = np.maximum(np.ceil((offset - reach) / spacing), 0).astype(int)
        high = np.minimum(np.floor((offset + reach) / spacing) + 1, self.shape).astype(int)
        if (low >= high).any():
            return None
        return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])

    def cut(self, window: Window) -> "Grid":
        """Return the part of the grid that ``window`` selects."""
        first = [f + w.start * s for f, w, s in zip(self.first_mm, window, self.spacing_mm, strict=True)]
        shape = [w.stop - w.start for w in window]
        return Grid((first[0], first[1], first[2]), self.spacing_mm, (shape[0], shape[1], shape[2]))


def coverage(distance_mm: Array, width_mm: float) -> Array:
    """Share of a sample inside a surface at this signed distance, blended over ``width_mm``. Any shape."""
    share: Array = np.clip(np.float32(0.5) - distance_mm / np.float32(width_mm), 0, 1)
    return share


def blend(hu: Array, share: Array, attenuation_hu: Array | float) -> None:
    """Replace ``share`` of each voxel of ``hu`` by a tissue of this attenuation, in place."""
    tissue = attenuation_hu if isinstance(attenuation_hu, np.ndarray) else np.float32(attenuation_hu)
    hu += share * (tissue - hu)


def ellipsoid_distance(x: Array, y: Array, z: Array, radii_mm: Point) -> Array:
    """Signed distance to an ellipsoid at the origin, exact to first order near its surface.

    ``radii_mm`` is (x, y, z); an infinite radius makes a cylinder, and that axis is not broadcast.
    """
    scaled = [
        (axis / np.float32(r), np.float32(r)) for axis, r in zip((x, y, z), radii_mm, strict=True) if np.isfinite(r)
    ]
    level = np.asarray(sum(ratio**2 for ratio, _ in scaled), dtype=np.float32)
    slope = np.asarray(sum((ratio / r) ** 2 for ratio, r in scaled), dtype=np.float32)
    distance: Array = (level - np.sqrt(level)) / np.sqrt(slope + np.float32(1e-12))
    return distance


def smooth_union(first: Array, second: Array, radius_mm: float) -> Array:
    """Signed distance to two bodies together, their crease rounded over ``radius_mm`` (polynomial minimum)."""
    overlap = np.maximum(radius_mm - np.abs(first - second), 0)
    joined: Array = np.minimum(first, second) - overlap * overlap / np.float32(4 * radius_mm)
    return joined
