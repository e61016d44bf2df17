"""Where in a scan a lesion can plausibly grow.

Inside the organ: the lungs as `data.lungs` finds them, or any mask that is given (a liver's). Away from the middle of
the chest, where the hila are: windpipe, great vessels and the heart lie between the lungs, and a lesion near them is
another disease. Away from the lesions that are known, and from each other. On request attached to the organ's surface
(the pleura) or to a vessel, or free of both.

Distances to surfaces are taken on a grid of about `COARSE_MM`, so that a whole chest takes a second or two; what lies
within the lesion itself is looked at voxel by voxel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.geometry import Point
from lesionforge.data.hounsfield import FAINTEST_LESION_CONTRAST_HU, LUNG_PARENCHYMA_HU, SOFT_TISSUE_HU
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError

Attachment = Literal["any", "free", "surface", "vessel"]
Mask = NDArray[np.bool_]

COARSE_MM = 2.0
LOOKED_AT = 4000  # places, before it is said that there is none


@dataclass(frozen=True)
class Site:
    """Where a lesion is to grow, (x, y, z), and how large."""

    position_mm: Point
    diameter_mm: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.position_mm).all() or not 0 < self.diameter_mm < np.inf:
            raise LesionForgeError(
                f"a site must have a position in mm and a diameter above 0 mm, but {self.position_mm} and "
                f"{self.diameter_mm} came."
            )


@dataclass(frozen=True)
class SiteRules:
    """What makes a site plausible.

    Parameters
    ----------
    attached
        ``"surface"``: the lesion touches the organ's surface, its middle a little inside; ``"vessel"``: it takes in
        part of a vessel and lies off the surface; ``"free"``: neither; ``"any"``: inside, whatever it touches.
    from_middle_mm
        Between the lesion and what lies between the lungs.
    apart_mm
        Between lesions, and between them and the known ones.
    off_mm
        What counts as off the surface, at least.
    vessel_share, most_dense
        Share of the lesion's ball that is denser than the organ's tissue: at most the first where it is free, more
        where it is at a vessel, and never above the second, where something else grows already.
    """

    attached: Attachment = "any"
    from_middle_mm: float = 15.0
    apart_mm: float = 10.0
    off_mm: float = 2.0
    vessel_share: float = 0.03
    most_dense: float = 0.3


def find_sites(
    scan: Scan,
    organ: Mask,
    diameters_mm: Sequence[float],
    *,
    rules: SiteRules = SiteRules(),
    known: Sequence[Lesion] = (),
    seed: int = 0,
) -> tuple[Site, ...]:
    """Find a place for a lesion of each diameter; same seed, same places.

    Parameters
    ----------
    scan
        Canonical.
    organ
        [z, y, x], of the scan.
    known
        Lesions that are there already.

    Raises
    ------
    LesionForgeError
        There are not so many plausible places.
    """
    ground = _Ground.of(scan, organ, known)
    rng = np.random.default_rng([seed, len(diameters_mm)])
    sites: list[Site] = []
    for diameter in sorted(diameters_mm, reverse=True):  # the largest finds the fewest places
        places = (Site(place, diameter) for place in ground.places(diameter / 2, rules, rng))
        site = next((each for each in places if ground.fits(each, rules, sites)), None)
        if site is None:
            raise LesionForgeError(
                f"there must be {len(diameters_mm)} places for lesions, but only {len(sites)} were found "
                f"({rules.attached}; none more of {diameter:g} mm): ask for fewer or smaller lesions, or other places."
            )
        sites.append(site)
    order = np.argsort(np.argsort([-diameter for diameter in diameters_mm], kind="stable"), kind="stable")
    return tuple(sites[place] for place in order)


def between_lungs(lungs: Mask) -> Mask:
    """Return what lies, row by row of each slice, between one lung and the other: the mediastinum with the hila.

    Where one run of lung follows another within the same half of the body, what parts them is a vessel or a fissure.
    """
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    middle = int(columns.mean()) if columns.size else 0
    right, left = lungs[..., :middle], lungs[..., middle:]
    facing = np.zeros_like(lungs)
    both = right.any(axis=-1, keepdims=True) & left.any(axis=-1, keepdims=True)
    facing[..., :middle] = ~np.logical_or.accumulate(right[..., ::-1], axis=-1)[..., ::-1] & both
    facing[..., middle:] = ~np.logical_or.accumulate(left, axis=-1) & both
    return facing


@dataclass(frozen=True, eq=False)
class _Ground:
    """A scan's organ, coarse and fine."""

    scan: Scan
    organ: Mask
    known: Sequence[Lesion]
    steps: tuple[int, ...]  # voxels of the scan for one of the coarse grid
    depth_mm: NDArray[np.float64]  # below the organ's surface, coarse
    from_middle_mm: NDArray[np.float64]  # coarse
    dense_above: float

    @classmethod
    def of(cls, scan: Scan, organ: Mask, known: Sequence[Lesion]) -> "_Ground":
        if organ.shape != scan.voxels.shape or not organ.any():
            raise LesionForgeError("the organ's mask must mark something and be as large as its scan, but is not.")
        steps = tuple(max(1, round(COARSE_MM / s)) for s in scan.geometry.spacing_mm)
        coarse = organ[tuple(slice(None, None, step) for step in steps)]
        spacing = np.multiply(steps, scan.geometry.spacing_mm)
        # A series may begin and end inside the organ: it goes on there. At the sides of the picture it does not.
        padded = np.pad(np.pad(coarse, ((1, 1), (0, 0), (0, 0)), mode="edge"), ((0, 0), (1, 1), (1, 1)))
        depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
        facing = between_lungs(coarse)
        far = np.full(coarse.shape, np.inf)
        from_middle = ndimage.distance_transform_edt(~facing, sampling=spacing) if facing.any() else far
        tissue = float(np.median(scan.voxels[organ][:: max(1, int(organ.sum()) // 10**6)]))
        half_way = (LUNG_PARENCHYMA_HU + SOFT_TISSUE_HU) / 2
        dense = half_way if tissue < half_way else tissue + FAINTEST_LESION_CONTRAST_HU
        return cls(scan, organ, known, steps, depth, from_middle, dense)

    def places(self, radius_mm: float, rules: SiteRules, rng: np.random.Generator) -> Iterator[Point]:
        """Yield places whose distances to surfaces are right, in random order."""
        deepest, least = np.inf, radius_mm + rules.off_mm
        if rules.attached == "surface":
            deepest, least = radius_mm, 0.6 * radius_mm
        elif rules.attached == "any":
            least = 0.6 * radius_mm
        right = (self.depth_mm >= max(least, 1e-6)) & (self.depth_mm <= deepest)
        right &= self.from_middle_mm >= rules.from_middle_mm + radius_mm
        slices = np.arange(len(right)) * self.steps[0]
        reach = min(radius_mm / self.scan.geometry.spacing_mm[0], (self.scan.geometry.shape[0] - 1) / 2)
        right &= ((slices >= reach) & (slices <= self.scan.geometry.shape[0] - 1 - reach))[:, None, None]
        found = np.flatnonzero(right)
        for place in rng.permutation(found)[:LOOKED_AT]:
            x, y, z = map(
                float, self.scan.geometry.to_world(np.multiply(np.unravel_index(place, right.shape), self.steps))
            )
            yield x, y, z

    def fits(self, site: Site, rules: SiteRules, others: Sequence[Site]) -> bool:
        """Tell whether a lesion fits there, beside the others."""
        taken = [(other.position_mm, other.diameter_mm / 2) for other in others]
        taken += [(lesion.position_mm, self._radius_mm(lesion)) for lesion in self.known]
        for place, radius_mm in taken:
            gap = np.linalg.norm(np.subtract(place, site.position_mm)) - radius_mm - site.diameter_mm / 2
            if gap < rules.apart_mm:
                return False
        share = self._dense_share(site)
        if rules.attached == "free":
            return share <= rules.vessel_share
        if rules.attached == "vessel":
            return rules.vessel_share < share <= rules.most_dense
        return share <= rules.most_dense

    def _radius_mm(self, lesion: Lesion) -> float:
        extent = max(lesion.extent_mm(self.scan.geometry))
        return 0.0 if np.isnan(extent) else extent / 2

    def _dense_share(self, site: Site) -> float:
        """Share of the ball inside the organ that is dense."""
        window, distance = ball(self.scan, site, reach_mm=0)
        inside = (distance <= site.diameter_mm / 2) & self.organ[window]
        return float((self.scan.voxels[window][inside] > self.dense_above).mean()) if inside.any() else 1.0


def ball(scan: Scan, site: Site, *, reach_mm: float) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """Window of the scan about a site, ``reach_mm`` beyond the lesion, and each voxel's distance from its middle."""
    centre = scan.geometry.to_index(site.position_mm)
    reach = (site.diameter_mm / 2 + reach_mm) / np.asarray(scan.geometry.spacing_mm)
    low = np.clip(np.floor(centre - reach), 0, scan.geometry.shape).astype(int)
    high = np.clip(np.ceil(centre + reach) + 1, low, scan.geometry.shape).astype(int)
    window = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    steps = [(np.arange(a, b) - c) * s for a, b, c, s in zip(low, high, centre, scan.geometry.spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*steps, indexing="ij", sparse=True)
    return window, np.sqrt(z**2 + y**2 + x**2)
