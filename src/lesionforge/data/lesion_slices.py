"""The axial slices that show a lesion, the largest section first.

A lesion of which only position and diameter are known is taken for a sphere; without a diameter it is on one slice.
"""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Lesion
from lesionforge.errors import UnfitDataError


@dataclass(frozen=True)
class LesionSlice:
    """One section of a lesion.

    Parameters
    ----------
    index
        Of the slice in the scan.
    rank
        Among the lesion's slices: 1 is the largest section.
    centre
        Middle (y, x) of the section's bounding box, in pixels; it may lie between two.
    extent_mm
        Size (y, x) of the bounding box; NaN: unknown.
    """

    index: int
    rank: int
    centre: tuple[float, float]
    extent_mm: tuple[float, float]

    @property
    def middle(self) -> tuple[float, float, float]:
        """The section's middle as an index (z, y, x) of the scan."""
        return (float(self.index), *self.centre)


def lesion_slices(lesion: Lesion, geometry: Geometry) -> list[LesionSlice]:
    """Sections of a lesion, the largest first; of equal ones, the lower first.

    Parameters
    ----------
    geometry
        The scan's. Only what lies inside it counts.

    Raises
    ------
    UnfitDataError
        Nothing of the lesion lies inside the scan.
    """
    sections = _drawn(lesion, geometry) if lesion.mask is not None else _of_sphere(lesion, geometry)
    if not sections:
        raise UnfitDataError(
            "lesion outside its scan",
            "every lesion must lie inside its scan, but one does not: check that positions are in the patient's "
            "coordinates (x to the left, y to the back, z to the head, in mm) and belong to this scan.",
        )
    sections.sort(key=lambda section: (-section[0], section[1]))
    return [LesionSlice(index, rank, centre, extent) for rank, (_, index, centre, extent) in enumerate(sections, 1)]


_Section = tuple[float, int, tuple[float, float], tuple[float, float]]  # area, slice, centre, extent


def _drawn(lesion: Lesion, geometry: Geometry) -> list[_Section]:
    assert lesion.mask is not None
    assert lesion.start is not None
    low = np.maximum(lesion.start, 0)
    high = np.minimum(np.add(lesion.start, lesion.mask.shape), geometry.shape)
    if (low >= high).any():
        return []
    mask = lesion.mask_within(low.tolist(), (high - low).tolist())
    _, y_mm, x_mm = geometry.spacing_mm
    sections: list[_Section] = []
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        rows, columns = np.nonzero(mask[index])
        centre = float((rows.min() + rows.max()) / 2 + low[1]), float((columns.min() + columns.max()) / 2 + low[2])
        extent = float(np.ptp(rows) + 1) * y_mm, float(np.ptp(columns) + 1) * x_mm
        sections.append((len(rows), int(index + low[0]), centre, extent))
    return sections


def _of_sphere(lesion: Lesion, geometry: Geometry) -> list[_Section]:
    if not geometry.contains(lesion.position_mm):
        return []
    z, y, x = map(float, geometry.to_index(lesion.position_mm))
    nearest = int(np.rint(z))
    if np.isnan(lesion.diameter_mm):
        return [(0.0, nearest, (y, x), (np.nan, np.nan))]
    radius = lesion.diameter_mm / 2
    reach = int(radius / geometry.spacing_mm[0])
    sections: list[_Section] = []
    for index in range(max(nearest - reach, 0), min(nearest + reach + 1, geometry.shape[0])):
        squared = radius**2 - ((index - z) * geometry.spacing_mm[0]) ** 2
        if squared > 0 or index == nearest:
            width = 2 * float(np.sqrt(max(squared, 0)))
            sections.append((squared, index, (y, x), (width, width)))
    return sections
