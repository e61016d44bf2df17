"""Growing a lung lesion from a point in it, as the annotation tool of Wang et al. 2020 does (`grow`).

The threshold adapts to the place: it lies halfway between the lesion's core at the seed and the lung around it, where
the blurred edge of a solid nodule and that of a faint ground-glass one really are. What grows is kept from running into
vessels and the chest wall (`leak_control`). Readers draw outside of that edge (LIDC's were told to mark the first
pixels that are nodule no longer), so a margin is added to look as they do.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.annotation.leak_control import Region, Tissue, depth_mm, distance_mm, peak
from lesionforge.data.geometry import Index, Point
from lesionforge.data.hounsfield import FAINTEST_LESION_CONTRAST_HU, LUNG_PARENCHYMA_HU, WINDOWS
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError

ALGORITHM = "region growing with an adaptive threshold and leak control"
CORE_MM = 1.5  # radius of what is taken for the lesion's core
CORE_BLUR_MM = 0.7  # the core is looked for where a Gaussian of this standard deviation is brightest
AROUND_MM = 15.0  # radius in which the lung is looked for
AROUND_LEAST = 0.02  # share of it that must be lung
FAINT = 0.1  # of the contrast: the margin takes in nothing that is nearly as dark as lung
FIELD = 1.2  # side of the field to grow in, as a multiple of the greatest diameter
LIMITED_ABOVE = 0.05  # less is a corner rounded off
TRUSTED_SCORE = 0.15  # nearly all regions grown in real nodules score more


@dataclass(frozen=True)
class Growing:
    """How a lesion is grown.

    Parameters
    ----------
    level
        Where its edge lies between the lung (0) and its core (1). One half is the edge of a blurred step.
    margin_mm
        Added around the edge, as readers do; 0 for the edge itself.
    max_diameter_mm
        What is longer along an axis has leaked.
    reach_mm
        How far from the seed the lesion's core may lie.
    smoothing_mm
        Standard deviation of the Gaussian that calms noise before the threshold.

    Raises
    ------
    LesionForgeError
        A value is out of range.
    """

    level: float = 0.5
    margin_mm: float = 1.0
    max_diameter_mm: float = 40.0
    reach_mm: float = 2.0
    smoothing_mm: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise LesionForgeError(f"level must lie between 0 and 1, but {self.level} came.")
        if not self.max_diameter_mm > 0:
            raise LesionForgeError(f"max_diameter_mm must be above 0, but {self.max_diameter_mm} came.")
        for name, value in asdict(self).items():
            if not 0 <= value < np.inf:
                raise LesionForgeError(f"{name} must be a number of 0 or more, but {value} came.")


def grow(scan: Scan, seed_mm: Point, *, settings: Growing | None = None, name: str = "grown") -> Lesion:
    """Grow the lesion at ``seed_mm`` (x, y, z); the point of a voxel is ``scan.geometry.to_world(index)``.

    A scan of a single slice is grown in its plane. The lesion's facts are ``algorithm``, ``threshold_hu``, ``core_hu``,
    ``lung_hu``, ``limited`` (leak control cut something off), ``cut_share`` (of the outline, how much is a cut) and
    ``confidence`` (the region's score, mostly from 0.3 to 1).

    Raises
    ------
    LesionForgeError
        The seed lies outside the scan, in air or in lung, or far from lung; or whatever grows from it leaks.
    """
    settings = settings or Growing()
    _check(scan, seed_mm)
    field = _Field.around(scan, seed_mm, settings)
    region, levels = _grown(field, settings)
    rim = depth_mm(~region.mask, field.spacing_mm) <= settings.margin_mm
    mask = region.mask | (rim & (field.smooth >= levels.at(FAINT)))
    facts = {
        "algorithm": ALGORITHM,
        "threshold_hu": levels.at(settings.level),
        "core_hu": levels.core,
        "lung_hu": levels.lung,
        "limited": region.cut > LIMITED_ABOVE,
        "cut_share": region.cut,
        "confidence": region.score,
    }
    return Lesion.from_mask(mask, field.start, scan.geometry, name=name, facts=facts)


def _check(scan: Scan, seed_mm: Point) -> None:
    if scan.unit != "HU":
        raise LesionForgeError(f"a scan must be in HU for a lesion to be grown in it, but is in {scan.unit!r}.")
    if not np.isfinite(seed_mm).all() or not scan.geometry.contains(seed_mm):
        low, high = np.sort(scan.geometry.to_world(np.outer((0, 1), np.subtract(scan.geometry.shape, 1))), axis=0)
        raise LesionForgeError(
            f"the seed must lie inside the scan, x {low[0]:.1f} to {high[0]:.1f}, y {low[1]:.1f} to {high[1]:.1f}, "
            f"z {low[2]:.1f} to {high[2]:.1f} mm, but is {tuple(map(float, seed_mm))}: give x, y, z in mm in the "
            "patient's coordinates (x to the left, y to the back, z to the head), not a voxel's numbers."
        )


def _grown(field: "_Field", settings: Growing) -> tuple[Region, "_Levels"]:
    core, levels = field.levels(settings.reach_mm)
    region = _best(field, core, levels, settings)
    if region is None:
        raise LesionForgeError(
            f"what grows from the seed must end within {settings.max_diameter_mm:g} mm, but it runs on into the chest "
            "wall, vessels or the side of the scan: put the seed nearer to the lesion's middle, raise level, or give a "
            "max_diameter_mm above the lesion's size."
        )
    # Once more from what was found: a dense spot or a vessel at the seed does not stand for the ground glass around.
    typical = _Levels(min(levels.core, float(np.median(field.hu[region.mask]))), levels.lung)
    again = _best(field, core, typical, settings)
    return (region, levels) if again is None else (again, typical)


def _best(field: "_Field", core: Index, levels: "_Levels", settings: Growing) -> Region | None:
    tissue = Tissue(field.smooth >= levels.at(settings.level), field.spacing_mm, settings.max_diameter_mm)
    regions = [r for r in tissue.regions_at(core, reach_mm=settings.reach_mm) if r.score >= TRUSTED_SCORE]
    return max(regions, key=lambda region: region.score, default=None)


@dataclass(frozen=True)
class _Levels:
    """Brightness of the lesion's core and of the lung around it, in HU."""

    core: float
    lung: float

    def at(self, share: float) -> float:
        return self.lung + share * (self.core - self.lung)


@dataclass(frozen=True, eq=False)
class _Field:
    """What of a scan lies around the seed: [z, y, x] from voxel ``start`` of the scan on, in HU."""

    hu: NDArray[np.float32]
    smooth: NDArray[np.float32]
    seed: Index
    start: Index
    spacing_mm: Point

    @classmethod
    def around(cls, scan: Scan, seed_mm: Point, settings: Growing) -> "_Field":
        geometry = scan.geometry
        seed = np.rint(geometry.to_index(seed_mm)).astype(int)
        half = np.ceil(FIELD * settings.max_diameter_mm / 2 / np.asarray(geometry.spacing_mm)).astype(int)
        start = np.maximum(seed - half, 0)
        window = tuple(slice(a, b + 1) for a, b in zip(start, seed + half, strict=True))
        hu = scan.voxels[window].astype(np.float32)
        if not np.isfinite(hu).all():
            raise LesionForgeError("voxels must be finite numbers, but around the seed some are not: mend the scan.")
        hu = hu.clip(WINDOWS["lung"].low, WINDOWS["lung"].high)
        smooth = _blurred(hu, settings.smoothing_mm, geometry.spacing_mm)
        return cls(hu, smooth, _index(seed - start), _index(start), geometry.spacing_mm)

    def levels(self, reach_mm: float) -> tuple[Index, _Levels]:
        """Return the core's brightest voxel within reach of the seed, and the levels there."""
        blurred = _blurred(self.hu, CORE_BLUR_MM, self.spacing_mm)
        core = peak(blurred, distance_mm(self.hu.shape, self.seed, self.spacing_mm) <= reach_mm)
        away_mm = distance_mm(self.hu.shape, core, self.spacing_mm)
        core_hu = float(np.median(self.hu[away_mm <= CORE_MM]))
        around = self.hu[away_mm <= AROUND_MM]
        darker_hu = max((core_hu + LUNG_PARENCHYMA_HU) / 2, LUNG_PARENCHYMA_HU + FAINTEST_LESION_CONTRAST_HU)
        lung = around[around < darker_hu]
        if lung.size < AROUND_LEAST * around.size:
            raise LesionForgeError(
                f"there must be lung within {AROUND_MM:g} mm of the seed, but there is none: only lesions in the lung "
                "or at its wall can be grown."
            )
        levels = _Levels(core_hu, float(np.median(lung)))
        if levels.core - levels.lung < FAINTEST_LESION_CONTRAST_HU:
            raise LesionForgeError(
                f"at the seed must be something brighter than the lung around it by {FAINTEST_LESION_CONTRAST_HU:g} HU "
                f"at least, but it is {levels.core - levels.lung:.0f} HU: put the seed into the lesion."
            )
        return core, levels


def _blurred(hu: NDArray[np.float32], sigma_mm: float, spacing_mm: Point) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(hu, [sigma_mm / s for s in spacing_mm], mode="nearest")
    return blurred


def _index(values: NDArray[np.int_]) -> Index:
    z, y, x = map(int, values)
    return z, y, x
