"""Annotating a scan from one point: the lesion grown there, measured and drawn, in a folder (`annotate`)."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from lesionforge.data.annotation.picture import annotation_picture
from lesionforge.data.annotation.region_growing import Growing, grow
from lesionforge.data.contact_sheet import save_png
from lesionforge.data.formats.volume_file import write_volume
from lesionforge.data.geometry import Geometry, Point
from lesionforge.data.scan import Lesion, Scan
from lesionforge.storage import new_folder, refuse_existing, write_json

MASK, MEASURES, PICTURE = "mask.nii.gz", "lesion.json", "picture.png"


def annotate(
    scan: Scan, at_mm: Point, out: Path, *, settings: Growing | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Grow the lesion at ``at_mm`` (x, y, z) and write it to the new folder ``out``; return what the JSON holds.

    The folder holds ``mask.nii.gz`` on the grid of the scan, ``picture.png`` with the outline in three planes, and
    ``lesion.json`` with the position, what `measures` gives, and how the lesion was grown.

    Raises
    ------
    LesionForgeError
        As `grow` does.
    StorageError
        ``out`` exists, or the disk refuses.
    """
    refuse_existing(out, overwrite=overwrite)
    settings = settings or Growing()
    lesion = grow(scan, at_mm, settings=settings)
    written = {
        "position_mm": list(lesion.position_mm),
        "seed_mm": [float(value) for value in at_mm],
        **measures(lesion, scan.geometry),
        **lesion.facts,
        "settings": asdict(settings),
    }
    with new_folder(out, overwrite=overwrite) as folder:
        whole = lesion.mask_within((0, 0, 0), scan.geometry.shape)
        write_volume(folder / MASK, whole.astype(np.uint8), scan.geometry)
        save_png(folder / PICTURE, annotation_picture(scan, lesion))
        write_json(folder / MEASURES, written)
    return written


def measures(lesion: Lesion, geometry: Geometry) -> dict[str, float]:
    """Size of a lesion with a mask.

    ``diameter_mm`` is the lesion's own (of the circle with the area of the largest axial slice, if it was measured);
    ``long_axis_mm`` the longest line across that slice, ``short_axis_mm`` the slice's width at right angles to it, as
    in RECIST; ``extent_z_mm`` the slices it spans; ``volume_mm3`` that of its voxels.
    """
    assert lesion.mask is not None
    largest = lesion.mask[lesion.mask.sum(axis=(1, 2)).argmax()]
    long_mm, short_mm = _axes_mm(largest, geometry.spacing_mm[1:])
    return {
        "diameter_mm": lesion.diameter_mm,
        "long_axis_mm": long_mm,
        "short_axis_mm": short_mm,
        "extent_z_mm": lesion.extent_mm(geometry)[0],
        "volume_mm3": float(np.count_nonzero(lesion.mask) * np.prod(geometry.spacing_mm)),
    }


def _axes_mm(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Longest line between the outer sides of pixels [y, x], and the width at right angles to it."""
    pieces, _ = ndimage.label(mask)  # in one plane, what hangs together through others may lie apart
    largest = np.bincount(pieces[mask]).argmax()
    pixels = np.argwhere(pieces == largest)[:, np.newaxis]
    sides = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])
    points = ((pixels + sides) * spacing_mm).reshape(-1, 2)
    corners = points[ConvexHull(points).vertices]
    apart = squareform(pdist(corners))
    first, last = np.unravel_index(apart.argmax(), apart.shape)
    along = (corners[last] - corners[first]) / apart[first, last]
    across = corners @ np.array([-along[1], along[0]])
    return float(apart.max()), float(np.ptp(across))
