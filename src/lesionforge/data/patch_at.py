"""The patch about a point of a scan, as the patches of a set were cut.

A patch of as many pixels, whose middle one (``n // 2``) lies at the point. It is on the scan's own pixels where these
are as large as the set's, which vary from scan to scan; otherwise on pixels of the nearest size that the set has. A 2-D
patch lies in the slice that is nearest to the point.
"""

from collections.abc import Sequence

import numpy as np

from lesionforge.data.geometry import Index, Point
from lesionforge.data.patch_grid import as_slice, cut_on, grid_about
from lesionforge.data.patches import Patches
from lesionforge.data.scan import Scan
from lesionforge.errors import LesionForgeError


def patch_at(
    scan: Scan, point_mm: Point, *, shape: Sequence[int], spacing_mm: Sequence[tuple[float, float]] = ()
) -> Patches:
    """Cut one patch.

    Parameters
    ----------
    point_mm
        (x, y, z), inside the scan.
    shape
        Pixels along [z,] y and x.
    spacing_mm
        Least and greatest pixel of each of these axes; empty: any.

    Raises
    ------
    LesionForgeError
        The point lies outside the scan, or is no point.
    """
    geometry = scan.geometry
    if not np.isfinite(point_mm).all() or not geometry.contains(point_mm):
        ends = np.sort([geometry.to_world([0, 0, 0]), geometry.to_world(np.subtract(geometry.shape, 1))], axis=0)
        reach = "; ".join(f"{axis} {low:.1f} to {high:.1f}" for axis, low, high in zip("xyz", *ends, strict=True))
        raise LesionForgeError(
            f"the point must lie inside the scan ({reach} mm), but {', '.join(f'{value:g}' for value in point_mm)} "
            "came: give x (left), y (back), z (head) in mm."
        )
    flat = len(shape) == 2
    size: Index = (1, *shape) if flat else tuple(shape)  # type: ignore[assignment]
    ranges = [(0.0, np.inf)] * (3 - len(spacing_mm)) + list(spacing_mm)
    own = geometry.spacing_mm
    z, y, x = (float(np.clip(mm, *within)) for mm, within in zip(own, ranges, strict=True))
    grid = grid_about(geometry, geometry.to_index(point_mm).tolist(), size, None if (z, y, x) == own else (z, y, x))
    cut = cut_on(scan, grid, None)
    cut = as_slice(cut) if flat else cut
    left, back, head = cut.position_mm
    return Patches.of(
        cut.image[None],
        patient=[scan.patient],
        spacing_mm=[cut.spacing_mm],
        unit=scan.unit,
        position_x_mm=left,
        position_y_mm=back,
        position_z_mm=head,
    )
