"""DICOM RT Structure Sets (RTSTRUCT): contours in the planes of a series' slices.

DICOM PS3.3 C.8.8.6. A region of interest is a set of closed contours, of which several on one slice combine by the
even-odd rule: one inside another is a hole, and a keyhole contour, which runs to the hole and back, is one too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from lesionforge.data.formats.dicom_region import Region, plain_text
from lesionforge.data.geometry import Geometry, Point
from lesionforge.errors import UnfitDataError

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
POINT = "POINT"
PLANAR_WITHIN_SLICES = 0.1
SAME_PLANE_DECIMALS = 2  # of a slice
FEWEST_CORNERS = 3
FEWEST_PLANES, FARTHEST_PLANES = 3, 1.5  # contours this far apart, in slices, leave slices between them out


def read_contours(dataset: Dataset, geometry: Geometry, *, wanted: Callable[[str], bool]) -> list[Region]:
    """Read the regions of an RTSTRUCT on the grid of its scan; what lies outside the scan is left out.

    A slice takes the contours of the plane nearest to it, if that is within half a slice.

    Parameters
    ----------
    geometry
        Of the scan, canonical.
    wanted
        Asked with a region's name whether it is read.

    Raises
    ------
    UnfitDataError
        A contour is broken, open or crosses slices.
    """
    described = {int(roi.ROINumber): roi for roi in dataset.StructureSetROISequence}
    drawn = {int(item.ReferencedROINumber): item for item in dataset.get("ROIContourSequence") or ()}
    if not set(drawn) <= set(described):
        raise UnfitDataError("contours of an unknown region", "an RTSTRUCT must describe each region that it draws.")
    names = {number: plain_text(roi.get("ROIName")) or f"region {number}" for number, roi in described.items()}
    return [
        _region(names[number], described[number], item, geometry)
        for number, item in sorted(drawn.items())
        if wanted(names[number])
    ]


def _region(name: str, roi: Dataset, item: Dataset, geometry: Geometry) -> Region:
    planes: dict[float, list[NDArray[np.float64]]] = defaultdict(list)
    points: list[Point] = []
    for contour in item.get("ContourSequence") or ():
        corners = _corners(contour)
        if contour.ContourGeometricType == POINT:
            points += [(float(x), float(y), float(z)) for x, y, z in corners if geometry.contains((x, y, z))]
        elif len(corners) >= FEWEST_CORNERS:  # fewer have no area
            index = geometry.to_index(corners)
            if np.ptp(index[:, 0]) > PLANAR_WITHIN_SLICES:
                raise UnfitDataError("contour across slices", "a contour must lie in a slice, but one crosses several.")
            planes[round(float(index[:, 0].mean()), SAME_PLANE_DECIMALS)].append(index[:, 1:])
    facts = {
        "segment": name,
        "description": plain_text(roi.get("ROIDescription")),
        "algorithm": plain_text(roi.get("ROIGenerationAlgorithm")),
        "tracking_id": "",
    }
    return Region(name, _voxels(planes, geometry), tuple(points), facts)


def _corners(contour: Dataset) -> NDArray[np.float64]:
    """Corners (x, y, z) of a contour in mm, [n, 3]."""
    numbers = np.atleast_1d(np.asarray(contour.ContourData, dtype=np.float64))
    if contour.ContourGeometricType not in (*CLOSED, POINT):
        raise UnfitDataError(
            "open contour",
            f"a contour must be closed in a plane ({', '.join(CLOSED)}) or a point, but one is not: name with `labels` "
            "the regions that are lesions.",
        )
    if numbers.size == 0 or numbers.size % 3 or not np.isfinite(numbers).all():
        raise UnfitDataError("broken contour", "a contour must be finite points (x, y, z), but one is not.")
    return numbers.reshape(-1, 3)


def _voxels(planes: dict[float, list[NDArray[np.float64]]], geometry: Geometry) -> NDArray[np.int32]:
    """Voxels (z, y, x) inside the contours of each plane, [n, 3]."""
    if len(planes) >= FEWEST_PLANES and np.diff(sorted(planes)).min() > FARTHEST_PLANES:
        raise UnfitDataError(
            "contours on some slices alone",
            "contours must be drawn on each slice of a lesion, but these leave slices out: interpolate them first.",
        )
    nearest: dict[int, float] = {}
    for plane in sorted(planes):
        z = int(np.floor(plane + 0.5))
        if 0 <= z < geometry.shape[0] and (z not in nearest or abs(plane - z) < abs(nearest[z] - z)):
            nearest[z] = plane
    found = [np.empty((0, 3), dtype=np.int32)]
    for z, plane in nearest.items():
        inside = np.argwhere(even_odd(planes[plane], geometry.shape[1:])).astype(np.int32)
        found.append(np.insert(inside, 0, z, axis=1))
    return np.concatenate(found)


def even_odd(polygons: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which pixels' middles lie inside an odd number of polygons, [rows, columns].

    A polygon is its corners (row, column), [n, 2], counted from the middle of the first pixel. A middle on an edge is
    inside at the upper left and outside at the lower right, so that regions that share an edge share no pixel.
    """
    rows, columns = shape
    crossings = np.zeros((rows, columns + 1), dtype=np.int32)
    for row, column in _crossings(polygons, rows):
        np.add.at(crossings, (row, np.clip(np.ceil(column), 0, columns).astype(np.int64)), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1)


def _crossings(
    polygons: Sequence[NDArray[np.float64]], rows: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield where the edges of each polygon cross rows of pixels: rows, and the columns at which they do."""
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        first, last = (
            np.clip(np.ceil(extreme(start[:, 0], end[:, 0])), 0, rows).astype(np.int64)
            for extreme in (np.minimum, np.maximum)
        )
        edge = np.repeat(np.arange(len(polygon)), last - first)
        row = np.concatenate([np.arange(low, high) for low, high in zip(first, last, strict=True)])
        share = (row - start[edge, 0]) / (end[edge, 0] - start[edge, 0])
        yield row, start[edge, 1] + share * (end[edge, 1] - start[edge, 1])
