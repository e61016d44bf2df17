"""`Geometry`: where the voxels of a scan lie in the patient.

Arrays are [z, y, x]; points are (x, y, z) in mm in the patient's coordinates (x to the left, y to the back, z to
the head), as in DICOM. An index [k, j, i] may fall between voxels: 0 is the middle of the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesionforge.errors import LesionForgeError

Point = tuple[float, float, float]
Index = tuple[int, int, int]
Window = tuple[slice, slice, slice]
Direction = tuple[Point, Point, Point]

# In a canonical array z runs to the head, y to the back and x to the left.
CANONICAL: Direction = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
ORTHONORMAL_WITHIN = 1e-3
TOWARDS = (("R", "L"), ("A", "P"), ("I", "S"))  # lower and higher end of x, y and z


@dataclass(frozen=True)
class Geometry:
    """The grid of a scan.

    Parameters
    ----------
    shape
        Voxels along the array's axes (z, y, x).
    spacing_mm
        Distance between voxels along the array's axes (z, y, x).
    origin_mm
        Where voxel [0, 0, 0] lies, (x, y, z).
    direction
        For each of the array's axes (z, y, x) the unit vector (x, y, z) along which it runs.

    Raises
    ------
    LesionForgeError
        A number is not finite, a spacing not above 0, or the directions are not at right angles.
    """

    shape: Index
    spacing_mm: Point
    origin_mm: Point
    direction: Direction = CANONICAL

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise LesionForgeError(f"a scan must have voxels along z, y and x, but has {self.shape}.")
        if len(self.spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise LesionForgeError(f"spacing_mm must be three numbers above 0 (z, y, x), but {self.spacing_mm} came.")
        if len(self.origin_mm) != 3 or not np.isfinite(self.origin_mm).all():
            raise LesionForgeError(f"origin_mm must be three finite numbers (x, y, z), but {self.origin_mm} came.")
        axes = self._axes
        if axes.shape != (3, 3) or not np.allclose(axes @ axes.T, np.eye(3), rtol=0, atol=ORTHONORMAL_WITHIN):
            raise LesionForgeError(
                f"direction must hold three unit vectors at right angles, but {self.direction} came: a sheared scan "
                "must be resampled to a right-angled grid first."
            )

    @property
    def _axes(self) -> NDArray[np.float64]:
        return np.asarray(self.direction, dtype=np.float64)

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Points (x, y, z) in mm of these indices (z, y, x). [..., 3] → [..., 3]."""
        scaled = np.asarray(index, dtype=np.float64) * self.spacing_mm
        return np.asarray(scaled @ self._axes + self.origin_mm)

    def to_index(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """Indices (z, y, x), not rounded, of these points (x, y, z) in mm. [..., 3] → [..., 3]."""
        # Solved rather than transposed: what a file gives is at right angles only to the digits it prints.
        offset = np.asarray(point_mm, dtype=np.float64) - self.origin_mm
        return np.asarray(offset @ np.linalg.inv(self._axes) / self.spacing_mm)

    def contains(self, point_mm: ArrayLike) -> NDArray[np.bool_]:
        """Tell which points (x, y, z) lie inside a voxel. [..., 3] → [...]."""
        index = self.to_index(point_mm)
        return np.asarray(((index >= -0.5) & (index < np.asarray(self.shape) - 0.5)).all(axis=-1))

    @property
    def orientation(self) -> str:
        """Where x, y and z of the array run, nearest first: ``"LPS"`` for a canonical one."""
        axes = self._axes
        along = {source: 2 - axis for axis, source in enumerate(_nearest_axes(axes))}
        return "".join(TOWARDS[along[source]][int(axes[source, along[source]] > 0)] for source in (2, 1, 0))

    @property
    def extent_mm(self) -> Point:
        """Length of the grid along the array's axes (z, y, x), voxels counted whole."""
        z, y, x = (n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))
        return z, y, x

    def cut(self, start: Sequence[int], shape: Sequence[int]) -> "Geometry":
        """Return the grid of ``shape`` voxels from voxel ``start`` (z, y, x) on; it may reach beyond this one."""
        origin = self.to_world(start)
        return replace(self, shape=_index(shape), origin_mm=_point(origin))

    def with_spacing(self, spacing_mm: Sequence[float]) -> "Geometry":
        """Return a grid of this spacing (z, y, x) that covers the same space, centred on it."""
        spacing = replace(self, spacing_mm=_point(spacing_mm)).spacing_mm  # checked
        shape = tuple(max(1, round(extent / s)) for extent, s in zip(self.extent_mm, spacing, strict=True))
        grid = replace(self, shape=_index(shape), spacing_mm=spacing)
        middle = self.to_world((np.asarray(self.shape) - 1) / 2)
        shifted = middle - (grid.to_world((np.asarray(shape) - 1) / 2) - np.asarray(self.origin_mm))
        return replace(grid, origin_mm=_point(shifted))

    def reordered(self) -> tuple["Geometry", tuple[int, ...], tuple[int, ...]]:
        """Return the nearest canonical grid: (geometry, axes to transpose by, axes of the result to flip)."""
        axes = self._axes
        order = _nearest_axes(axes)
        flipped = tuple(axis for axis, source in enumerate(order) if axes[source][2 - axis] < 0)
        corner = [0, 0, 0]
        for axis in flipped:
            corner[order[axis]] = self.shape[order[axis]] - 1
        direction = [_point(-axes[source] if axis in flipped else axes[source]) for axis, source in enumerate(order)]
        geometry = Geometry(
            shape=_index([self.shape[source] for source in order]),
            spacing_mm=_point([self.spacing_mm[source] for source in order]),
            origin_mm=_point(self.to_world(corner)),
            direction=(direction[0], direction[1], direction[2]),
        )
        return geometry, order, flipped


def _nearest_axes(axes: NDArray[np.float64]) -> tuple[int, ...]:
    """For z, y and x of the patient, the array's axis that runs most nearly along it; each is used once."""
    along = np.abs(axes)
    return max(
        permutations(range(3)), key=lambda order: sum(along[source, 2 - axis] for axis, source in enumerate(order))
    )


def _point(values: ArrayLike) -> Point:
    first, second, third = (float(value) + 0.0 for value in np.asarray(values, dtype=np.float64))
    return first, second, third


def _index(values: Sequence[int]) -> Index:
    first, second, third = (int(value) for value in values)
    return first, second, third
