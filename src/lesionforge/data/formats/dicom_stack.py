"""Slices stacked into a volume: put in order by their positions, copies dropped, gaps and tilt refused.

A stack that is not evenly spaced and right-angled is refused, not interpolated: what lay between its slices is not
known, and what interpolation puts there a network takes for anatomy.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.formats.dicom_header import Plane
from lesionforge.data.formats.dicom_pixels import read_hu
from lesionforge.data.geometry import Direction, Geometry
from lesionforge.errors import UnfitDataError

SAME_PLACE_MM = 0.01
UNEVEN_WITHIN = 0.1  # of the distance between slices; a missing slice exceeds it five times
PRINTED_WITHIN_MM = 0.051  # some scanners print positions to a tenth
SHIFTED_WITHIN = 0.5  # of a pixel


def stack(planes: Sequence[Plane]) -> tuple[tuple[Plane, ...], Geometry]:
    """Order planes of one size and direction along their normal, towards head, back or left, and give their grid.

    Returns
    -------
    planes, geometry
        The grid's first axis runs from plane to plane, the second down the columns, the third along the rows.

    Raises
    ------
    UnfitDataError
        Slices are missing, shifted, or of one place but not alike; or a single one has no thickness.
    """
    direction = _direction(planes[0])
    normal = np.asarray(direction[0])
    ordered = sorted(planes, key=lambda plane: (np.dot(normal, plane.position_mm), plane.uid, plane.frame, plane.file))
    ordered = _without_copies(ordered, normal)
    x, y, z = ordered[0].position_mm
    rows, columns = ordered[0].shape
    between_rows, between_columns = ordered[0].spacing_mm
    geometry = Geometry(
        shape=(len(ordered), rows, columns),
        spacing_mm=(_step_mm(ordered, normal), between_rows, between_columns),
        origin_mm=(x, y, z),
        direction=direction,
    )
    return tuple(ordered), geometry


def _direction(plane: Plane) -> Direction:
    """Along the normal, the columns and the rows; of both normals the one whose axis stays when made canonical."""
    x, y, z, u, v, w = plane.orientation
    along_row, along_column = (x, y, z), (u, v, w)
    crossed = np.cross(along_row, along_column)
    a, b, c = (float(cosine) for cosine in crossed / np.linalg.norm(crossed))
    direction = ((a, b, c), along_column, along_row)
    _, order, flipped = Geometry((1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), direction).reordered()
    return ((-a, -b, -c), along_column, along_row) if order.index(0) in flipped else direction


def _without_copies(ordered: Sequence[Plane], normal: NDArray[np.float64]) -> list[Plane]:
    """Drop slices that repeat the one before, pixel by pixel; refuse others at the same place."""
    kept = [ordered[0]]
    for plane in ordered[1:]:
        if np.dot(normal, plane.position_mm) - np.dot(normal, kept[-1].position_mm) > SAME_PLACE_MM:
            kept.append(plane)
        elif not _are_copies(kept[-1], plane):
            message = (
                f"a series must have one slice at each place, but {kept[-1].file} and {plane.file} differ at the same: "
                "put phases or reconstructions into series of their own."
            )
            raise UnfitDataError("different slices at one place", message)
    if len({(plane.uid, plane.frame) for plane in kept}) < len(kept):
        message = f"slices must have SOP instance UIDs of their own, but those of {kept[0].file} and others share one."
        raise UnfitDataError("one SOP instance UID for several slices", message)
    return kept


def _are_copies(one: Plane, other: Plane) -> bool:
    if not np.allclose(one.position_mm, other.position_mm, rtol=0, atol=SAME_PLACE_MM):
        return False
    both = np.empty((2, *one.shape))
    read_hu([one], both[:1])
    read_hu([other], both[1:])
    return np.array_equal(*both)


def _step_mm(ordered: Sequence[Plane], normal: NDArray[np.float64]) -> float:
    """Distance between slices, which must be the same throughout and along the normal."""
    if len(ordered) == 1:
        return _thickness_mm(ordered[0])
    offsets = np.array([plane.position_mm for plane in ordered]) - ordered[0].position_mm
    along = offsets @ normal
    step = float(along[-1]) / (len(ordered) - 1)
    file = ordered[0].file
    shift = np.abs(offsets - np.outer(along, normal)).max()
    if shift > SHIFTED_WITHIN * min(ordered[0].spacing_mm):
        message = (
            f"the slices of {file} and its series must lie straight above each other, but are shifted by up to "
            f"{shift:.2f} mm, as with a tilted gantry: resample them to a right-angled grid first (dcm2niix does)."
        )
        raise UnfitDataError("tilted gantry or shifted slices", message)
    steps = np.diff(along)
    if np.abs(along - step * np.arange(len(ordered))).max() > max(UNEVEN_WITHIN * step, PRINTED_WITHIN_MM):
        message = (
            f"the slices of {file} and its series must be evenly spaced, but lie {steps.min():.3f} to "
            f"{steps.max():.3f} mm apart, most of them {np.median(steps):.3f} mm: fetch the missing slices."
        )
        raise UnfitDataError("missing or uneven slices", message)
    return step


def _thickness_mm(plane: Plane) -> float:
    thickness = float(plane.facts["slice_thickness_mm"])
    if not thickness > 0:
        message = f"{plane.file} is the only slice of its series: it must say how thick it is, but does not."
        raise UnfitDataError("single slice of unknown thickness", message)
    return thickness
