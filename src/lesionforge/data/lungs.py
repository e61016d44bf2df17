"""Where the lungs are: air-filled regions inside the body, by seed filling.

Slice by slice, so that a series of a few slices, or one, is enough: air is filled from outside the body and taken
away; of the air inside, regions as empty as bare air are windpipe or gut. Regions of neighbouring slices then belong
together, and those that nowhere reach the size of a lung's section go. What is left is closed in the axial plane by a
disc, so that vessels and nodules become lung. Of a nodule at the pleura a cap stays outside: 1 mm where its dent is
12 mm wide, 4 mm at 20 mm, all of it from 30 mm on, and more where the wall is round. Where a nodule is known, join its
mask to the lungs'. The main bronchi count as lung where their walls are too thin to be seen.

Lungs whose chest wall lies outside the field of view, so that they open to the border, are not found.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.hounsfield import BARE_AIR_BELOW_HU, LUNG_PARENCHYMA_HU, SOFT_TISSUE_HU
from lesionforge.data.scan import Scan
from lesionforge.errors import UnfitDataError

CLOSING_MM = 15.0  # half the width of the widest dent that is closed at all
LARGEST_HOLE_MM2 = 1000.0  # a nodule of 35 mm; the top of the diaphragm's dome grows larger within a slice or two
SMALLEST_SECTION_MM2 = 800.0

Mask = NDArray[np.bool_]


def lungs(scan: Scan) -> Mask:
    """Return the lungs of a canonical scan, [z, y, x].

    Raises
    ------
    UnfitDataError
        There is no lung in the scan, or it is not in HU.
    """
    if scan.unit != "HU":
        raise UnfitDataError("not in HU", f"lungs are found by their Hounsfield units, but the unit is {scan.unit!r}.")
    threshold = (LUNG_PARENCHYMA_HU + SOFT_TISSUE_HU) / 2
    body = np.stack([_body(section) for section in scan.voxels > threshold])
    pixel_mm2 = scan.geometry.spacing_mm[1] * scan.geometry.spacing_mm[2]
    found = np.stack(
        [_air_filled(hu, inside & (hu <= threshold)) for hu, inside in zip(scan.voxels, body, strict=True)]
    )
    found = _large(found, SMALLEST_SECTION_MM2 / pixel_mm2)
    if not found.any():
        raise UnfitDataError(
            "no lung found",
            "the scan must show lungs with the chest wall around them, but no air-filled region inside the body is as "
            "large as a lung's section and filled as a lung is.",
        )
    return _closed(found, body, scan.geometry.spacing_mm[1:])


def _body(dense: Mask) -> Mask:
    """Return the largest dense region of a slice and all that it encloses: no table, no arms, no air outside."""
    regions, count = ndimage.label(dense)
    if not count:
        return dense
    largest: Mask = regions == np.bincount(regions.ravel())[1:].argmax() + 1
    filled: Mask = ndimage.binary_fill_holes(largest)
    return filled


def _air_filled(hu: NDArray[np.number], air: Mask) -> Mask:
    """Return those regions of a slice's inner air of which at least half holds tissue, as lung does."""
    regions, count = ndimage.label(air)
    pixels = np.bincount(regions.ravel(), minlength=count + 1)
    tissue = np.bincount(regions[hu > BARE_AIR_BELOW_HU], minlength=count + 1)
    lung = 2 * tissue >= pixels
    lung[0] = False
    return lung[regions]


def _large(found: Mask, pixels: float) -> Mask:
    """Return the regions whose section on some slice is as large as ``pixels``."""
    regions, count = ndimage.label(found)
    sections = [np.bincount(section.ravel(), minlength=count + 1) for section in regions]
    large = np.max(sections, axis=0) >= pixels
    large[0] = False
    kept: Mask = large[regions]
    return kept


def _closed(found: Mask, body: Mask, spacing_mm: tuple[float, float]) -> Mask:
    """Close the lungs' dents and holes slice by slice, each half of the body by itself: the middle stays open."""
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    middle = int(columns.mean())
    closed = found.copy()
    for section, result in zip(found, closed, strict=True):
        for half in (slice(None, middle), slice(middle, None)):
            if section[:, half].any():
                result[:, half] |= _closed_half(section[:, half], spacing_mm)
    closed &= body
    return closed


def _closed_half(lung: Mask, spacing_mm: tuple[float, float]) -> Mask:
    """Close one half of a slice: widen by `CLOSING_MM`, narrow again, fill what is enclosed and small."""
    rows, columns = (np.flatnonzero(lung.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    margins = [int(CLOSING_MM / step) + 1 for step in spacing_mm]
    padded = np.pad(lung[box], [(margin, margin) for margin in margins])
    wide = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= CLOSING_MM
    narrow = ndimage.distance_transform_edt(wide, sampling=spacing_mm) > CLOSING_MM
    holes, count = ndimage.label(ndimage.binary_fill_holes(narrow) & ~narrow)
    small = np.bincount(holes.ravel(), minlength=count + 1) * np.prod(spacing_mm) <= LARGEST_HOLE_MM2
    closed = np.zeros_like(lung)
    closed[box] = (narrow | (small & (np.arange(count + 1) > 0))[holes])[
        margins[0] : -margins[0], margins[1] : -margins[1]
    ]
    return closed | lung
