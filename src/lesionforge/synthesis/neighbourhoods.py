"""What a painter is shown of a scan about a site, and the way back.

A 3-D painter paints all of a lesion at once. A 2-D one paints each slice that the wanted ball cuts, with the same
random numbers, if it follows the masks it is given: the slices then fit as well as their surroundings do. Where slices
are as thick as the lesion there is one alone. One that does not follow masks paints the middle slice and no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.geometry import Geometry, Window
from lesionforge.data.hounsfield import as_stored
from lesionforge.data.patch_grid import grid_about
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.data.resampling import REACH, onto
from lesionforge.data.scan import Scan
from lesionforge.networks import derived_seed
from lesionforge.synthesis.painter import LESION, Painter
from lesionforge.synthesis.sites import Site

FEWEST_PIXELS = 3  # across a lesion, in the plane: below, there is nothing to look at
ON_THE_GRID = 1e-6  # voxels

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class View:
    """A site as the painter sees it: the grids of its neighbourhoods, and where they lie in the scan.

    Parameters
    ----------
    geometry
        Of the scan, canonical.
    """

    geometry: Geometry
    painter: Painter
    site: Site

    @property
    def flat(self) -> bool:
        """Whether it is painted slice by slice."""
        return len(self.painter.shape) == 2

    @property
    def number(self) -> int:
        """Of the lesion: decided by its site, so that it does not depend on the others."""
        return derived_seed(*self.site.position_mm, float(self.site.diameter_mm)) % 2**31

    @cached_property
    def grids(self) -> list[Geometry]:
        """One for all, or one for each slice that the lesion is painted in, in order."""
        k, y, x = self.geometry.to_index(self.site.position_mm).tolist()
        if not self.flat:
            depth, height, width = self.painter.shape
            steps = self.painter.spacing_mm
            return [grid_about(self.geometry, (k, y, x), (depth, height, width), (steps[0], steps[1], steps[2]))]
        height, width = self.painter.shape
        spacing = (self.geometry.spacing_mm[0], self.painter.spacing_mm[0], self.painter.spacing_mm[1])
        slices = self._slices(k)
        return [grid_about(self.geometry, (float(number), y, x), (1, height, width), spacing) for number in slices]

    def _slices(self, centre: float) -> range:
        """Slices of the scan in which a section of the lesion is large enough to be painted; one at least."""
        last = self.geometry.shape[0] - 1
        middle = int(np.clip(np.rint(centre), 0, last))
        if not self.painter.follows_masks:
            return range(middle, middle + 1)
        least = FEWEST_PIXELS / 2 * max(*self.geometry.spacing_mm[1:], *self.painter.spacing_mm)
        reach = np.sqrt(max((self.site.diameter_mm / 2) ** 2 - least**2, 0)) / self.geometry.spacing_mm[0]
        low, high = max(0, int(np.ceil(centre - reach))), min(last, int(np.floor(centre + reach)))
        return range(low, high + 1) or range(middle, middle + 1)

    def masks(self) -> list[Mask]:
        """Wanted ball on each grid; where one slice is painted alone, the ball's largest section."""
        found = []
        for grid in self.grids:
            places = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
            offset = self.geometry.to_index(grid.to_world(places)) - self.geometry.to_index(self.site.position_mm)
            if self.flat and len(self.grids) == 1:
                offset[..., 0] = 0
            found.append(((offset * self.geometry.spacing_mm) ** 2).sum(axis=-1) <= (self.site.diameter_mm / 2) ** 2)
        return found

    @cached_property
    def window(self) -> Window:
        """Voxels of the scan that lie within the grids."""
        ends = [
            self.geometry.to_index(grid.to_world(index))
            for grid, index in (
                (self.grids[0], (0, 0, 0)),
                (self.grids[-1], [n - 1 for n in self.grids[-1].shape]),
            )
        ]
        low = np.clip(np.ceil(ends[0] - ON_THE_GRID), 0, self.geometry.shape).astype(int)
        high = np.clip(np.floor(ends[1] + ON_THE_GRID) + 1, low, self.geometry.shape).astype(int)
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return z, y, x

    def back(self, arrays: Sequence[Array], *, nearest: bool = False) -> Array:
        """Bring arrays of the painter's shape, one for each grid, to the window's voxels, [z, y, x]."""
        box = self.geometry.cut([each.start for each in self.window], [each.stop - each.start for each in self.window])
        parts = [box.cut((k, 0, 0), (1, *box.shape[1:])) for k in range(box.shape[0])] if self.flat else [box]
        moved = [
            onto(array.reshape(grid.shape), grid, part, outside=0, interpolation="nearest" if nearest else "linear")
            for array, grid, part in zip(arrays, self.grids, parts, strict=True)
        ]
        return np.concatenate(moved)


def hosts_for(scan: Scan, views: Sequence[View]) -> Patches:
    """Neighbourhoods of all views, with the wanted masks: what a painter is given."""
    painter = views[0].painter
    placed = [(view, grid, mask) for view in views for grid, mask in zip(view.grids, view.masks(), strict=True)]
    numbers: dict[str, list[int]] = {LESION: [view.number for view, _, _ in placed]}
    return Patches.of(
        np.stack([neighbourhood(scan, grid).reshape(painter.shape) for _, grid, _ in placed]),
        masks=np.stack([mask.reshape(painter.shape) for _, _, mask in placed]).astype(np.uint8),
        patient=[scan.patient] * len(placed),
        spacing_mm=np.tile(painter.spacing_mm, (len(placed), 1)),
        unit=scan.unit,
        diameter_mm=[view.site.diameter_mm for view, _, _ in placed],
        **numbers,  # type: ignore[arg-type]  # a further column
    )


def neighbourhood(scan: Scan, grid: Geometry) -> NDArray[np.float32]:
    """Voxels on a grid, not rounded. Beyond the scan's border its outermost voxels go on: air there would be a wall."""
    ends = np.array(np.meshgrid(*((0, n - 1) for n in grid.shape), indexing="ij")).reshape(3, -1).T
    corners = scan.geometry.to_index(grid.to_world(ends))
    margin = REACH["linear"] + np.ceil(4 * np.divide(grid.spacing_mm, scan.geometry.spacing_mm))  # for smoothing
    low = np.floor(corners.min(axis=0) - margin).astype(int)
    high = np.ceil(corners.max(axis=0) + margin).astype(int) + 1
    rows = [np.clip(np.arange(a, b), 0, n - 1) for a, b, n in zip(low, high, scan.geometry.shape, strict=True)]
    part = scan.voxels[np.ix_(*rows)]
    voxels = (as_stored(part) if scan.unit == "HU" else part).astype(np.float32)
    return onto(voxels, scan.geometry.cut(low.tolist(), part.shape), grid, outside=float(voxels.min()))
