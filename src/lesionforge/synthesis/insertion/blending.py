"""How what was painted goes over into the scan, and what can then be seen of it.

With w falling from 1 at the lesion to 0 at the edge of the *blend region*, a voxel becomes

    (1 − w) · scan + w · painted + √max(0, 1 − (1 − w)² − (r w)²) · noise

where the noise is the scan's (`ScanNoise`), and r the share of its grain that the painted image shows already. So the
variance of the noise is that of the scan everywhere, w = ½ included, where a plain blend would be calmer than either
side. Where w is 0 nothing is computed: those voxels stay as they are, bit for bit.

A lesion grows beside walls and vessels and does not take them away. Where the host is tissue and what was painted is
air (a network leaves a dark rim between a lesion and the pleura), w is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.hounsfield import FAINTEST_LESION_CONTRAST_HU, LUNG_PARENCHYMA_HU, SOFT_TISSUE_HU, as_stored
from lesionforge.data.patch_table import Array
from lesionforge.errors import LesionForgeError
from lesionforge.synthesis.insertion.noise import ScanNoise

HARD_BELOW_MM = 1e-3  # a rim that no voxel can lie in
AROUND_MM = 4.0  # beyond the blend region, where the tissue around a lesion is looked at
CALM_PX = 0.7  # standard deviation of the Gaussian that calms noise before an edge is looked for

Mask = NDArray[np.bool_]
Weight = NDArray[np.float64]


@dataclass(frozen=True)
class Blending:
    """How what was painted goes over into the scan.

    Parameters
    ----------
    margin_mm
        Around the lesion's mask, where what was painted stands alone.
    rim_mm
        Beyond the margin, over which it fades; 0: a hard edge.
    match_noise
        Whether the scan's noise is added where it lacks.
    """

    margin_mm: float = 1.0
    rim_mm: float = 2.5
    match_noise: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.margin_mm < np.inf and 0 <= self.rim_mm < np.inf):
            raise LesionForgeError(
                f"margin_mm and rim_mm must be 0 or more, but {self.margin_mm} and {self.rim_mm} came."
            )

    @property
    def reach_mm(self) -> float:
        """From the lesion's mask to the edge of the blend region."""
        return self.margin_mm + self.rim_mm

    def weight(self, mask: Mask, spacing_mm: Sequence[float], *, slice_by_slice: bool) -> Weight:
        """Return w of each voxel [z, y, x]: 1 in the mask and its margin, falling smoothly to 0 over the rim."""
        if slice_by_slice:
            distance = np.stack([_distance(section, spacing_mm[1:]) for section in mask])
        else:
            distance = _distance(mask, spacing_mm)
        if self.rim_mm < HARD_BELOW_MM:
            return (distance <= self.margin_mm).astype(np.float64)
        share = np.clip(1 - (distance - self.margin_mm) / self.rim_mm, 0, 1)
        weight: Weight = share**2 * (3 - 2 * share)
        return weight


USUAL = Blending()


def blend(
    host: Array,
    painted: Array,
    weight: Weight,
    *,
    unit: str,
    noise: NDArray[np.float64] | None = None,
    grain: float = 1,
) -> Array:
    """Return the host with what was painted, [z, y, x], of the host's dtype; the host itself where w is 0.

    Parameters
    ----------
    noise
        [z, y, x], the scan's; None: none is added.
    grain
        r, see above.
    """
    mixed = (1 - weight) * host + weight * painted
    if noise is not None:
        mixed += np.sqrt(np.maximum(0, 1 - (1 - weight) ** 2 - (grain * weight) ** 2)) * noise
    return np.where(weight > 0, _like(host, mixed, unit), host)


def without_holes(weight: Weight, host: Array, painted: Array) -> Weight:
    """Return w, 0 where tissue would turn into air. All [z, y, x], in HU."""
    half_way = (LUNG_PARENCHYMA_HU + SOFT_TISSUE_HU) / 2
    tissue = ndimage.gaussian_filter(np.asarray(host, np.float32), (0, CALM_PX, CALM_PX)) > half_way
    return np.where(tissue & (painted < half_way), 0, weight)


def grain_of(painted: Array, mask: Mask, spacing_mm: Sequence[float], noise: ScanNoise) -> float:
    """Return r of a painted lesion: in its inner half, as edges would be taken for grain."""
    return noise.share_in(painted, _core(mask, spacing_mm))


def outline(voxels: Array, asked: Mask, weight: Weight, spacing_mm: Sequence[float]) -> Mask | None:
    """Return what can be seen of a lesion: what is nearer to its core than to its surroundings; None: nothing.

    The edge lies half-way between the median of the inner half of what was asked for and that of the tissue within
    `AROUND_MM` of the blend region, as an edge does that a scanner has blurred. It counts where what was painted stands
    alone, the margin included, which painters fill as well: beyond may be a wall or a vessel.
    """
    core = _core(asked, spacing_mm)
    around = (weight == 0) & (_distance(weight > 0, spacing_mm) <= AROUND_MM)
    if not around.any():
        return None
    inside, outside = float(np.median(voxels[core])), float(np.median(voxels[around]))
    if abs(inside - outside) < FAINTEST_LESION_CONTRAST_HU:
        return None
    calm = ndimage.gaussian_filter(np.asarray(voxels, np.float32), (0, CALM_PX, CALM_PX))
    brighter = np.sign(inside - outside)
    pieces, _ = ndimage.label((brighter * (calm - (inside + outside) / 2) > 0) & (weight >= 1))
    found = pieces[core][pieces[core] > 0]
    return pieces == np.bincount(found).argmax() if found.size else None


def _core(mask: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Return the inner half of a mask, by depth."""
    depth = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    core: Mask = mask & (depth >= depth.max() / 2)
    return core


def _distance(mask: Mask, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Distance of each voxel from the mask, in mm; infinite where there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm))


def _like(host: Array, mixed: NDArray[np.float64], unit: str) -> Array:
    """Bring values to the host's dtype, within what scanners store."""
    if host.dtype.kind == "f":
        return mixed.astype(host.dtype)
    limits = np.iinfo(host.dtype)
    whole = as_stored(mixed) if unit == "HU" else np.rint(mixed)
    return np.clip(whole, limits.min, limits.max).astype(host.dtype)
