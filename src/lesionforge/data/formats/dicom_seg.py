"""DICOM Segmentation objects (SEG): masks, a frame for each slice and segment, that say where they lie.

DICOM PS3.3 C.8.20. A frame is ``BINARY`` (a bit a pixel), ``FRACTIONAL`` (a share or probability) or ``LABELMAP`` (the
number of a segment). Frames are laid on the scan's grid by their geometry, never interpolated.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels

from lesionforge.data.formats.dicom_header import LARGEST_SIDE, Plane
from lesionforge.data.formats.dicom_region import Region, plain_text, within
from lesionforge.data.geometry import Geometry
from lesionforge.errors import UnfitDataError

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
SAME_GRID_WITHIN_VOXELS = 0.1
FARTHEST = 1e6  # voxels from the scan, where nothing of it is left


def read_segments(
    dataset: Dataset,
    geometry: Geometry,
    *,
    planes: Mapping[str, Plane],
    wanted: Callable[[str], bool],
    threshold: float,
) -> list[Region]:
    """Read the segments of a SEG on the grid of its scan; what lies outside the scan is left out.

    Parameters
    ----------
    geometry
        Of the scan, canonical.
    planes
        The scan's slices by SOP instance UID: where a frame does not say where it lies, its source image does.
    wanted
        Asked with a segment's name whether it is read.
    threshold
        Share from which on a pixel of a FRACTIONAL SEG belongs to its segment.

    Raises
    ------
    UnfitDataError
        The object is broken, or lies on another grid than the scan.
    """
    segments = {int(segment.SegmentNumber): segment for segment in dataset.SegmentSequence}
    names = {number: plain_text(each.get("SegmentLabel")) or f"segment {number}" for number, each in segments.items()}
    voxels: dict[int, list[NDArray[np.int32]]] = {
        number: [np.empty((0, 3), dtype=np.int32)] for number, name in sorted(names.items()) if wanted(name)
    }
    for groups, pixels in zip(_frames(dataset), iter_pixels(dataset, raw=True), strict=True):
        marked = _marked(dataset, groups, pixels, threshold)
        if not set(marked) <= set(segments):
            raise UnfitDataError("frame of an unknown segment", "a SEG must describe each segment that it shows.")
        if read := marked.keys() & voxels.keys():
            first, steps = _on_grid(groups, geometry, (dataset.Rows, dataset.Columns), planes)
            for number in read:
                voxels[number].append(within(np.argwhere(marked[number]) @ steps + first, geometry.shape))
    return [
        Region(names[number], np.concatenate(own), facts=_facts(segments[number])) for number, own in voxels.items()
    ]


def _facts(segment: Dataset) -> dict[str, str]:
    return {
        "segment": plain_text(segment.get("SegmentLabel")),
        "description": plain_text(segment.get("SegmentDescription")),
        "algorithm": plain_text(segment.get("SegmentAlgorithmType")),
        "tracking_id": plain_text(segment.get("TrackingID")),
    }


def _frames(dataset: Dataset) -> Iterator[list[Dataset]]:
    """Yield what is said of each frame: its own functional groups, then the shared ones."""
    rows, columns, frames = (int(dataset[name].value) for name in ("Rows", "Columns", "NumberOfFrames"))
    own = dataset.PerFrameFunctionalGroupsSequence
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE) or len(own) != frames:
        raise UnfitDataError(
            "impossible frames",
            f"a SEG must have 1 to {LARGEST_SIDE} rows and columns, and say of each frame where it lies, but this one "
            f"has {frames} of {rows} × {columns} and says it of {len(own)}.",
        )
    if dataset.SegmentationType not in KINDS:
        raise UnfitDataError("unknown kind of SEG", f"a SEG must be one of {', '.join(KINDS)}, but this one is not.")
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    for item in own:
        yield [item, *shared]


def _group(groups: list[Dataset], name: str) -> Dataset | None:
    """First item of the functional group of this name."""
    return next((each[name].value[0] for each in groups if each.get(name)), None)


def _marked(
    dataset: Dataset, groups: list[Dataset], pixels: NDArray[Any], threshold: float
) -> dict[int, NDArray[np.bool_]]:
    """Mask [row, column] of each segment that a frame shows."""
    if dataset.SegmentationType == "LABELMAP":
        return {int(number): pixels == number for number in np.unique(pixels) if number}
    segment = _group(groups, "SegmentIdentificationSequence")
    if segment is None:
        raise UnfitDataError("frame of an unknown segment", "a frame of a SEG must name its segment, but one does not.")
    is_share = dataset.SegmentationType == "FRACTIONAL"
    mask = pixels >= max(threshold * dataset.MaximumFractionalValue, 1) if is_share else pixels > 0
    return {int(segment.ReferencedSegmentNumber): mask} if mask.any() else {}


def _on_grid(
    groups: list[Dataset], geometry: Geometry, shape: tuple[int, int], planes: Mapping[str, Plane]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the voxel (z, y, x) of a frame's first pixel, and the steps to the next row and column, [2, 3]."""
    position, directions, spacing = _plane(groups, planes)
    along = position + np.array([directions[1] * spacing[0], directions[0] * spacing[1]])
    first = geometry.to_index(position)
    steps = geometry.to_index(along) - first
    off = np.abs(first - np.rint(first)).max() + (np.abs(steps - np.rint(steps)).max(axis=1) * shape).max()
    is_one_voxel = np.array_equal(np.abs(np.rint(steps)).sum(axis=1), (1, 1))
    if not (is_one_voxel and off <= SAME_GRID_WITHIN_VOXELS):
        raise UnfitDataError(
            "SEG on another grid",
            "a SEG must lie on its scan's grid, pixel on pixel and slice on slice, but this one lies between: resample "
            "it to the scan with nearest-neighbour interpolation.",
        )
    return np.rint(np.clip(first, -FARTHEST, FARTHEST)).astype(np.int64), np.rint(steps).astype(np.int64)


def _plane(groups: list[Dataset], planes: Mapping[str, Plane]) -> tuple[NDArray[np.float64], ...]:
    """Position of the first pixel, directions (x, y, z) along a row and a column, spacing of rows and columns."""
    position, orientation, measures, source = (
        _group(groups, f"{name}Sequence")
        for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures", "DerivationImage")
    )
    if position is not None and orientation is not None and measures is not None:
        numbers = [position.ImagePositionPatient, orientation.ImageOrientationPatient, measures.PixelSpacing]
    else:
        uid = str(source.SourceImageSequence[0].ReferencedSOPInstanceUID) if source is not None else ""
        if uid not in planes:
            raise UnfitDataError(
                "SEG without geometry",
                "a frame of a SEG must say where it lies, or which slice it is of; one does not.",
            )
        plane = planes[uid]
        numbers = [plane.position_mm, plane.orientation, plane.spacing_mm]
    first, directions, spacing = (np.asarray(each, dtype=np.float64) for each in numbers)
    return first, directions.reshape(2, 3), spacing
