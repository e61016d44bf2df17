"""Cutting a lesion off what it grew into: vessels, and the wall of the chest.

Growing by a threshold runs on wherever bright tissue touches. Two cuts are tried, each in several strengths. An
*opening* severs necks: the parts deeper than a share of the lesion's own depth fall apart, the one at the seed is kept
and grown back (in the manner of Kuhnigk et al. 2006, doi 10.1109/TMI.2006.871547). A *closing of the lung* takes the
wall away: tissue is inside the lung where a ball outside of the lung cannot come. Of the regions so found, the best
has an outline that is edge rather than cut, and is compact.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.geometry import Index, Point

Mask = NDArray[np.bool_]

OPENINGS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)  # shares of the lesion's depth
BALLS_MM = (8.0, 16.0, 30.0)  # radii that close the lung
IN_PLANE = ndimage.generate_binary_structure(2, 1)[np.newaxis]


@dataclass(frozen=True, eq=False)
class Region:
    """A connected region [z, y, x] of a field.

    ``cut`` is the share of its outline along which it was severed from other tissue. ``compactness`` is the radius of
    the largest ball (on a single slice: disc) in it over that of the ball of its size.
    """

    mask: Mask
    cut: float
    compactness: float

    @property
    def score(self) -> float:
        """The higher, the likelier a lesion."""
        return (1 - self.cut) * self.compactness


@dataclass(frozen=True, eq=False)
class Tissue:
    """What a threshold took for tissue in a field [z, y, x], with the spacing of its voxels.

    What is longer than ``max_diameter_mm`` along an axis, or comes to the field's side, has leaked. At the first and
    the last slice a region may end: scans end there too.
    """

    mask: Mask
    spacing_mm: Point
    max_diameter_mm: float

    def regions_at(self, seed: Index, *, reach_mm: float) -> Iterator[Region]:
        """Yield regions that hold the seed, or begin within ``reach_mm`` of it, and end inside the field."""
        yield from self._opened(self.mask, seed, reach_mm)
        if not (self.mask[seed] and self._fits(component_at(self.mask, seed))):
            for radius_mm in BALLS_MM:
                yield from self._opened(self.mask & self._closed_lung(radius_mm), seed, reach_mm)

    def _closed_lung(self, radius_mm: float) -> Mask:
        swollen = depth_mm(self.mask, self.spacing_mm) <= radius_mm
        return depth_mm(swollen, self.spacing_mm) > radius_mm

    def _opened(self, tissue: Mask, seed: Index, reach_mm: float) -> Iterator[Region]:
        away_mm = np.where(tissue, distance_mm(tissue.shape, seed, self.spacing_mm), np.inf)
        if tissue.all() or away_mm.min() > reach_mm:
            return
        start = peak(-away_mm, tissue)
        region = component_at(tissue, start)
        deep = depth_mm(region, self.spacing_mm)
        deepest = peak(deep, distance_mm(region.shape, start, self.spacing_mm) <= deep[start])
        for share in OPENINGS:
            loss_mm = share * deep[deepest]
            kept = component_at(deep > loss_mm, deepest)
            piece = component_at(region & (depth_mm(~kept, self.spacing_mm) <= loss_mm), deepest)
            if self._fits(piece):
                filled = ndimage.binary_fill_holes(piece, structure=IN_PLANE)
                yield Region(filled, self._cut_share(filled), self._compactness(filled))

    def _fits(self, region: Mask) -> bool:
        spans = [np.flatnonzero(region.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        lengths_mm = [(span[-1] - span[0] + 1) * s for span, s in zip(spans, self.spacing_mm, strict=True)]
        beside = any(span[0] == 0 or span[-1] == n - 1 for span, n in zip(spans[1:], region.shape[1:], strict=True))
        return max(lengths_mm) <= self.max_diameter_mm and not beside

    def _compactness(self, region: Mask) -> float:
        size = np.count_nonzero(region) * np.prod(self.spacing_mm)
        if region.any(axis=(1, 2)).sum() == 1:  # a disc rather than a ball
            radius_mm = np.sqrt(size / self.spacing_mm[0] / np.pi)
        else:
            radius_mm = np.cbrt(size * 3 / 4 / np.pi)
        return float(depth_mm(region, self.spacing_mm).max() / radius_mm)

    def _cut_share(self, region: Mask) -> float:
        """Share of the region's surface that looks on tissue rather than on air."""
        surface_mm2 = cut_mm2 = 0.0
        for axis, spacing_mm in enumerate(self.spacing_mm):
            face_mm2 = float(np.prod(self.spacing_mm)) / spacing_mm
            inside, tissue = np.moveaxis(region, axis, 0), np.moveaxis(self.mask, axis, 0)
            for here, beyond in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
                outline = inside[here] & ~inside[beyond]
                surface_mm2 += face_mm2 * np.count_nonzero(outline)
                cut_mm2 += face_mm2 * np.count_nonzero(outline & tissue[beyond])
        return float(cut_mm2 / surface_mm2)


def component_at(mask: Mask, seed: Index) -> Mask:
    """Return the part of the mask that is connected with the seed by faces of voxels."""
    numbers, _ = ndimage.label(mask)
    return np.asarray((numbers == numbers[seed]) & mask)


def depth_mm(mask: Mask, spacing_mm: Point) -> NDArray[np.float64]:
    """How far the mask's voxels lie from the nearest outside it; infinite where there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_mm))


def distance_mm(shape: Index, seed: Index, spacing_mm: Point) -> NDArray[np.float64]:
    """How far each voxel of a field lies from the seed."""
    steps = np.ogrid[tuple(slice(0, n) for n in shape)]
    return np.asarray(np.sqrt(sum(((a - b) * s) ** 2 for a, b, s in zip(steps, seed, spacing_mm, strict=True))))


def peak(values: NDArray[np.floating], where: Mask) -> Index:
    """Return the voxel of the mask that has the highest value."""
    z, y, x = (int(i) for i in np.unravel_index(np.where(where, values, -np.inf).argmax(), values.shape))
    return z, y, x
