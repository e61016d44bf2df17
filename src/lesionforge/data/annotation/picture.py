"""A picture of a lesion in a scan: its outline on the axial, coronal and sagittal plane through its middle."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from lesionforge.data.geometry import Geometry
from lesionforge.data.hounsfield import Window, default_window
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # and the array's axis that each is cut across
OUTLINE = (255, 64, 64)
LETTERING = (255, 224, 96)
AROUND = 2.0  # a plane's side, in lesions' lengths
SHORTEST_SIDE_MM = 40.0
GAP_PIXELS = 4


def annotation_picture(
    scan: Scan, lesion: Lesion, *, window: Window | None = None, side_pixels: int = 320, outlined: bool = True
) -> NDArray[np.uint8]:
    """Draw three planes side by side, [side_pixels, width, 3] of 8-bit red, green and blue.

    Seen as radiologists do: in the axial plane from the feet, in the coronal one from the front, in the sagittal one
    from the patient's left; up is front or head. All have the same scale. What lies outside the scan is black.

    Parameters
    ----------
    scan
        Canonical.
    lesion
        With a mask.
    window
        For the greys; None: the unit's first.
    outlined
        Whether the outline is drawn, too.

    Raises
    ------
    LesionForgeError
        The lesion has no mask.
    """
    if lesion.mask is None or lesion.start is None:
        raise LesionForgeError(
            f"a lesion must have a mask to be outlined, but only the place of {lesion.name} is known."
        )
    window = window or default_window(scan.unit)
    middle = np.asarray(lesion.start) + ndimage.center_of_mass(lesion.mask)
    side_mm = max(SHORTEST_SIDE_MM, AROUND * max(lesion.extent_mm(scan.geometry)))
    planes = []
    steps_mm = np.linspace(-side_mm / 2, side_mm / 2, side_pixels)
    for name, axis in PLANES.items():
        where = _plane(scan.geometry, middle, axis, steps_mm)
        grey = window.to_unit_interval(_sampled(scan.voxels, where, order=1, outside=window.low))
        inside = _sampled(lesion.mask, where - np.reshape(lesion.start, (3, 1, 1)), order=0, outside=0) > 0
        inside &= outlined
        planes += [_drawn(grey, inside, name), np.zeros((side_pixels, GAP_PIXELS, 3), np.uint8)]
    return np.concatenate(planes[:-1], axis=1)


def _plane(
    geometry: Geometry, middle: NDArray[np.float64], axis: int, steps_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Indices (z, y, x) into the scan of a plane's pixels, [3, rows, columns]."""
    rows, columns = (other for other in range(3) if other != axis)
    # z runs to the head and pictures run down; the sagittal plane is seen from the left, so that the front is left.
    down = -steps_mm if rows == 0 else steps_mm
    where = np.empty((3, steps_mm.size, steps_mm.size))
    where[:] = middle[:, np.newaxis, np.newaxis]
    where[rows] += down[:, np.newaxis] / geometry.spacing_mm[rows]
    where[columns] += steps_mm / geometry.spacing_mm[columns]
    return where


def _sampled(
    voxels: NDArray[Any], where: NDArray[np.float64], *, order: Literal[0, 1], outside: float
) -> NDArray[np.float32]:
    """Values at indices between voxels, [rows, columns]: of the nearest voxel (order 0) or linear (1)."""
    values = ndimage.map_coordinates(voxels, where, output=np.float32, order=order, mode="constant", cval=outside)
    return np.asarray(values)


def _drawn(grey: NDArray[np.float32], inside: NDArray[np.bool_], name: str) -> NDArray[np.uint8]:
    """Grey from 0 to 1 with the outline of what is inside and the plane's name, [rows, columns, 3]."""
    rgb = np.repeat(np.rint(grey * 255).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    rgb[inside & ~ndimage.binary_erosion(inside)] = OUTLINE
    picture = Image.fromarray(rgb)
    ImageDraw.Draw(picture).text((4, 2), name, fill=LETTERING)
    return np.asarray(picture)
