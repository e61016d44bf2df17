"""Voxels on another grid: another spacing, or a window of a few millimetres cut out of a scan.

Down-sampling is preceded by a Gaussian, or detail finer than the new voxels would come back as false structure. A
voxel is taken for a Gaussian as wide at half its height as the voxels are apart; to make one k times as wide, the
Gaussian to smooth with has the variance (k² − 1) / (8 ln 2) voxels (Cardoso et al., "Scale factor point spread
function matching", MICCAI 2015). Axes that are not down-sampled are not smoothed.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lesionforge.data.formats.volume_file import MOST_VOXELS, to_sitk
from lesionforge.data.geometry import Geometry, Window
from lesionforge.errors import LesionForgeError

Interpolation = Literal["linear", "bspline", "nearest"]

INTERPOLATORS = {"linear": sitk.sitkLinear, "bspline": sitk.sitkBSpline, "nearest": sitk.sitkNearestNeighbor}
# Voxels around a place that its value depends on; those of a cubic spline fade by a factor of 0.27 a voxel.
REACH = {"linear": 1, "bspline": 12, "nearest": 1}
FULL_WIDTHS_SQUARED = 8 * np.log(2)
SAME_WITHIN = 1e-6  # voxels for each voxel


def resample(
    voxels: NDArray[Any], geometry: Geometry, spacing_mm: Sequence[float], *, interpolation: Interpolation = "linear"
) -> tuple[NDArray[Any], Geometry]:
    """Bring voxels [z, y, x] to a spacing (z, y, x), over the same space.

    Returns
    -------
    voxels, geometry
        Of the dtype that came; the very same where the spacing does not change.

    Raises
    ------
    LesionForgeError
        A spacing is not above 0, or so fine that the scan would not fit in memory.
    """
    if tuple(spacing_mm) == geometry.spacing_mm:
        return voxels, geometry
    if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise LesionForgeError(f"spacing_mm must be three numbers above 0 (z, y, x), but {tuple(spacing_mm)} came.")
    if np.prod(geometry.extent_mm) > MOST_VOXELS * np.prod(spacing_mm):
        raise LesionForgeError(
            f"a scan of {geometry.extent_mm} mm at {tuple(spacing_mm)} mm would have more than {MOST_VOXELS} voxels: "
            "choose a coarser spacing."
        )
    grid = geometry.with_spacing(spacing_mm)
    return onto(voxels, geometry, grid, outside=0, interpolation=interpolation), grid  # nothing of it lies outside


def onto(
    voxels: NDArray[Any], geometry: Geometry, grid: Geometry, *, outside: float, interpolation: Interpolation = "linear"
) -> NDArray[Any]:
    """Look up voxels [z, y, x] at every point of a grid, which may reach beyond them.

    Only what the grid needs of them is looked at, so a small window of a large scan is cheap. Where the points of the
    grid are voxels, they are copied.

    Parameters
    ----------
    outside
        What the grid holds where no voxel is.
    interpolation
        ``"bspline"`` is cubic, and kept within the range of the voxels around; ``"nearest"`` is for masks and never
        smooths.

    Returns
    -------
    voxels
        [z, y, x] of the grid, of the dtype that came; whole numbers are rounded.
    """
    steps = _steps(geometry, grid)
    first = geometry.to_index(grid.origin_mm)
    start = np.rint(first)
    if np.allclose(steps, np.eye(3), rtol=0, atol=SAME_WITHIN) and np.allclose(first, start, rtol=0, atol=1e-3):
        return _copied(voxels, start.astype(int), grid.shape, outside)
    window = window_for(geometry, grid, interpolation=interpolation)
    source = voxels[window]
    if not source.size:
        return np.full(grid.shape, outside, dtype=voxels.dtype)
    image = to_sitk(source.astype(np.float32), geometry.cut([along.start for along in window], source.shape))
    variance = np.zeros(3) if interpolation == "nearest" else _variance(steps)
    if variance.any():
        width = 2 * int(np.ceil(5 * np.sqrt(variance.max()))) + 1
        image = sitk.DiscreteGaussian(image, variance[::-1].tolist(), width, 1e-3, useImageSpacing=False)
    reference = to_sitk(np.broadcast_to(np.uint8(0), grid.shape), grid)
    moved = sitk.Resample(
        image, reference, sitk.Transform(), INTERPOLATORS[interpolation], float(outside), sitk.sitkFloat32
    )
    # A spline overshoots at edges: no bone is denser, no air thinner than what was measured.
    found = np.clip(sitk.GetArrayFromImage(moved), min(source.min(), outside), max(source.max(), outside))
    kept: NDArray[Any] = (found if voxels.dtype.kind == "f" else np.rint(found)).astype(voxels.dtype)
    return kept


def window_for(geometry: Geometry, grid: Geometry, *, interpolation: Interpolation = "linear") -> Window:
    """Voxels of a scan that its values on ``grid`` depend on; empty where the grid lies outside the scan."""
    ends = np.array(np.meshgrid(*((0, n - 1) for n in grid.shape), indexing="ij")).reshape(3, -1).T
    corners = geometry.to_index(grid.to_world(ends))
    margin = REACH[interpolation] + np.ceil(4 * np.sqrt(_variance(_steps(geometry, grid))))
    low = np.clip(np.floor(corners.min(axis=0) - margin), 0, geometry.shape).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + margin) + 1, low, geometry.shape).astype(int)
    z, y, x = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return z, y, x


def _steps(geometry: Geometry, grid: Geometry) -> NDArray[np.float64]:
    """How far one step along each axis of the grid leads along the voxels' axes: [axis of grid, axis of voxels]."""
    steps: NDArray[np.float64] = geometry.to_index(grid.to_world(np.eye(3))) - geometry.to_index(grid.origin_mm)
    return steps


def _variance(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance (z, y, x) in voxels² of the Gaussian that widens voxels to the grid's."""
    widening = (steps**2).sum(axis=0)
    variance: NDArray[np.float64] = np.where(widening > 1 + SAME_WITHIN, widening - 1, 0) / FULL_WIDTHS_SQUARED
    return variance


def _copied(voxels: NDArray[Any], start: NDArray[np.int_], shape: tuple[int, ...], outside: float) -> NDArray[Any]:
    copy = np.full(shape, outside, dtype=voxels.dtype)
    low, high = np.maximum(start, 0), np.minimum(start + shape, voxels.shape)
    if (low < high).all():
        target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        copy[target] = voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return copy
