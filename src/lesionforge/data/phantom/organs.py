"""Organs drawn as ellipsoids: plain bodies of one tissue, most of them out of a lesion's picture."""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.phantom.grid import Array, Grid, Point, blend, coverage, ellipsoid_distance


@dataclass(frozen=True)
class Organ:
    """An ellipsoid of one attenuation; an infinite radius along z makes a vessel or a tube along the body."""

    centre_mm: Point  # x, y, z
    radii_mm: Point
    attenuation_hu: float

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the surface."""
        cx, cy, cz = (np.float32(c) for c in self.centre_mm)
        return ellipsoid_distance(x - cx, y - cy, z - cz, self.radii_mm)

    def paint(self, hu: Array, grid: Grid) -> None:
        """Paint the organ over ``hu``, in place."""
        window = grid.window(np.array(self.centre_mm), np.array(self.radii_mm) + grid.edge_mm)
        if window is not None:
            inner = grid.cut(window)
            blend(hu[window], coverage(self.distance(*inner.points), grid.edge_mm), self.attenuation_hu)
