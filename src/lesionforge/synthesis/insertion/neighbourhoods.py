"""What a painter is shown of a scan about a site, and the way back.

A 3-D painter paints all of a lesion at once. A 2-D one paints each slice that the wanted outline cuts, with the same
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
from lesionforge.errors import LesionForgeError
from lesionforge.networks import derived_seed
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.outlines import Ball, Outline
from lesionforge.synthesis.insertion.painter import LESION, Painter
from lesionforge.synthesis.insertion.sites import Site

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
    manner: Manner
    site: Site

    @property
    def painter(self) -> Painter:
        """The manner's."""
        return self.manner.painter

    @property
    def flat(self) -> bool:
        """Whether it is painted slice by slice."""
        return len(self.painter.shape) == 2

    @property
    def number(self) -> int:
        """Of the lesion: decided by its site, so that it does not depend on the others."""
        return derived_seed(*self.site.position_mm, float(self.site.diameter_mm)) % 2**31

    @cached_property
    def outline(self) -> Outline:
        """What the lesion is asked to look like: the first outline drawn that fits into the painter's patches.

        Raises
        ------
        LesionForgeError
            None does.
        """
        if not self.painter.follows_masks:
            return Ball(self.site.diameter_mm)
        rng = np.random.default_rng(derived_seed(self.manner.seed, "outline", self.number))
        candidates = self.manner.outlines.candidates(self.site, self.manner.lesion_class, rng)
        room = extent_mm(self.painter) / 2 - self.manner.blending.reach_mm
        for outline in candidates:
            if outline.reach_mm <= room and outline.holds(np.zeros(3)):
                return outline
        raise LesionForgeError(
            f"the outline of a lesion must lie about its middle and reach no farther than {room:.1f} mm from it, so "
            "that it fits into what the painter sees, but one does not: give a smaller one, or a checkpoint of larger "
            "patches."
        )

    @cached_property
    def grids(self) -> list[Geometry]:
        """One for all, or one for each slice that the lesion is painted in, in order."""
        return [grid for grid, _ in self._sections]

    @property
    def masks(self) -> list[Mask]:
        """Wanted outline on each grid; where one slice is painted alone, its middle section."""
        return [mask for _, mask in self._sections]

    @cached_property
    def _sections(self) -> list[tuple[Geometry, Mask]]:
        if not self.flat:
            grid = grid_of(self.painter, self.geometry, self._centre)
            return [(grid, self._held(grid))]
        large_enough = {number: section for number in self._cut_slices() if (section := self._section(number))}
        if len(large_enough) > 1:
            return _run(large_enough)
        middle = int(np.clip(np.rint(self._centre[0]), 0, self.geometry.shape[0] - 1))
        grid = self._slice_grid(middle)
        return [(grid, self._held(grid, flattened=True))]

    @cached_property
    def _centre(self) -> tuple[float, float, float]:
        z, y, x = map(float, self.geometry.to_index(self.site.position_mm))
        return z, y, x

    def _cut_slices(self) -> range:
        """Slices of the scan that the outline may cut, of which a painter that does not follow masks paints none."""
        if not self.painter.follows_masks:
            return range(0)
        centre, reach = self._centre[0], self.outline.reach_mm / self.geometry.spacing_mm[0]
        low, high = np.clip([np.ceil(centre - reach), np.floor(centre + reach) + 1], 0, self.geometry.shape[0])
        return range(int(low), int(high))

    def _section(self, number: int) -> tuple[Geometry, Mask] | None:
        """Grid and mask of a slice; None where the section is too small to be painted."""
        grid = self._slice_grid(number)
        mask = self._held(grid)
        least_mm = FEWEST_PIXELS * max(*self.geometry.spacing_mm[1:], *self.painter.spacing_mm)
        is_large = mask.sum() * np.prod(self.painter.spacing_mm) >= np.pi / 4 * least_mm**2
        return (grid, mask) if is_large else None

    def _slice_grid(self, number: int) -> Geometry:
        return grid_of(self.painter, self.geometry, (float(number), *self._centre[1:]))

    def _held(self, grid: Geometry, *, flattened: bool = False) -> Mask:
        """Where the outline is on a grid; ``flattened``: its middle section, on whatever slice."""
        places = np.moveaxis(np.indices(grid.shape, dtype=np.float64), 0, -1)
        offsets = self.geometry.to_index(grid.to_world(places)) - self.geometry.to_index(self.site.position_mm)
        if flattened:
            offsets[..., 0] = 0
        return self.outline.holds(offsets * self.geometry.spacing_mm)

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


def _run(sections: dict[int, tuple[Geometry, Mask]]) -> list[tuple[Geometry, Mask]]:
    """Those of consecutive slices, about the largest section: an outline may come back after a gap."""
    first = last = max(sections, key=lambda number: sections[number][1].sum())
    while first - 1 in sections:
        first -= 1
    while last + 1 in sections:
        last += 1
    return [sections[number] for number in range(first, last + 1)]


def grid_of(painter: Painter, geometry: Geometry, centre: tuple[float, float, float]) -> Geometry:
    """Grid of one neighbourhood about ``centre``, an index (z, y, x) of the scan; a slice's is one voxel thick."""
    depth, height, width = (1,) * (3 - len(painter.shape)) + painter.shape
    z, y, x = geometry.spacing_mm[: 3 - len(painter.shape)] + painter.spacing_mm
    return grid_about(geometry, centre, (depth, height, width), (z, y, x))


def extent_mm(painter: Painter) -> float:
    """Width of the narrowest side of what a painter sees."""
    return min(n * s for n, s in zip(painter.shape, painter.spacing_mm, strict=True))


def hosts_for(scan: Scan, views: Sequence[View]) -> Patches:
    """Neighbourhoods of all views, with the wanted masks: what a painter is given."""
    painter = views[0].painter
    placed = [(view, grid, mask) for view in views for grid, mask in zip(view.grids, view.masks, strict=True)]
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
