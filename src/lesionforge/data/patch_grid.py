"""Where a patch lies in its scan, and its pixels there: what every way to cut shares.

Beyond the scan's border there is air in a scan in HU, and the scan's lowest value in any other; the column
``padded_share`` says how much of a patch that is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.cutter import Cut
from lesionforge.data.geometry import Geometry, Index, Point
from lesionforge.data.hounsfield import AIR_HU, as_stored
from lesionforge.data.resampling import Interpolation, onto, window_for
from lesionforge.data.scan import Lesion, Scan


def grid_about(geometry: Geometry, centre: Sequence[float], shape: Index, spacing_mm: Point | None = None) -> Geometry:
    """Grid along the scan's axes whose voxel ``n // 2`` lies at ``centre``, an index (z, y, x) of the scan.

    With ``spacing_mm`` None its voxels are the scan's own, and the middle one is nearest to ``centre``: the lower one
    where that lies half-way.
    """
    middle = np.asarray(shape) // 2
    if spacing_mm is None:
        start = np.ceil(np.asarray(centre) - 0.5) - middle
        return geometry.cut(start.astype(int).tolist(), shape)
    x, y, z = map(float, geometry.to_world(centre - middle * np.asarray(spacing_mm) / geometry.spacing_mm))
    return replace(geometry, shape=shape, spacing_mm=spacing_mm, origin_mm=(x, y, z))


def cut_on(
    scan: Scan,
    grid: Geometry,
    lesion: Lesion | None,
    *,
    interpolation: Interpolation = "linear",
    columns: Mapping[str, Any] = MappingProxyType({}),
) -> Cut:
    """Cut the patch [z, y, x] on a grid along the scan's axes; without a lesion its mask is false everywhere."""
    window = window_for(scan.geometry, grid, interpolation=interpolation)
    part = scan.voxels[window]
    voxels = as_stored(part) if scan.unit == "HU" else part  # before padding of −3000 is blended into what it touches
    padded = padded_share(scan.geometry, grid)
    image = onto(
        voxels,
        scan.geometry.cut([along.start for along in window], part.shape),
        grid,
        outside=outside_value(scan) if padded else 0,
        interpolation=interpolation,
    )
    x, y, z = map(float, grid.to_world([n // 2 for n in grid.shape]))
    return Cut(
        lesion=lesion,
        image=image,
        mask=np.zeros(grid.shape, dtype=bool) if lesion is None else mask_on(lesion, scan.geometry, grid),
        spacing_mm=grid.spacing_mm,
        position_mm=(x, y, z),
        columns={**columns, "padded_share": padded},
    )


def as_slice(cut: Cut) -> Cut:
    """Return a patch of one slice as an image [y, x]."""
    mask = None if cut.mask is None else cut.mask[0]
    return replace(cut, image=cut.image[0], mask=mask, spacing_mm=cut.spacing_mm[1:])


def outside_value(scan: Scan) -> float:
    """Return what is taken to lie beyond the scan's border."""
    return AIR_HU if scan.unit == "HU" else float(scan.voxels.min())


def padded_share(geometry: Geometry, grid: Geometry) -> float:
    """Share of a grid along the scan's axes that lies beyond the scan's border."""
    first = geometry.to_index(grid.origin_mm)
    inside = 1.0
    for axis, start in enumerate(first):
        index = start + np.arange(grid.shape[axis]) * grid.spacing_mm[axis] / geometry.spacing_mm[axis]
        inside *= float(((index >= -0.5) & (index < geometry.shape[axis] - 0.5)).mean())
    return 1 - inside


def mask_on(lesion: Lesion, geometry: Geometry, grid: Geometry) -> NDArray[np.bool_] | None:
    """Return a lesion's mask on a grid; None where it is not known."""
    if lesion.mask is None or lesion.start is None:
        return None
    box = geometry.cut(lesion.start, lesion.mask.shape)
    return onto(lesion.mask, box, grid, outside=0, interpolation="nearest")
