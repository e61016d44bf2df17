"""Where in a scan a lesion can plausibly grow.

Inside the organ: the lungs as `data.lungs` finds them, or any mask that is given (a liver's). Away from the middle of
the chest, where the hila are: windpipe, great vessels and the heart lie between the lungs, and a lesion near them is
another disease. Away from the lesions that are known, and from each other. On request attached to the organ's surface
(the pleura) or to a vessel, or free of both.

Distances to surfaces are taken on a grid of about `COARSE_MM`, so that a whole chest takes a second or two; what lies
within the lesion itself is looked at voxel by voxel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.geometry import Point
from lesionforge.data.hounsfield import FAINTEST_LESION_CONTRAST_HU, LUNG_PARENCHYMA_HU, SOFT_TISSUE_HU
from lesionforge.data.lungs import lungs
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError

Attachment = Literal["any", "free", "surface", "vessel"]
Mask = NDArray[np.bool_]

COARSE_MM = 2.0
LOOKED_AT = 4000  # places, before it is said that there is none
LONGEST = 1.5  # how far a drawn outline may reach from its site, in radii of the ball of its diameter


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
        Between lesions, and between them and the known ones, however their outlines lie.
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
    sites = [site for site in places_for(scan, organ, diameters_mm, rules=rules, known=known, seed=seed) if site]
    if len(sites) < len(diameters_mm):
        raise LesionForgeError(
            f"there must be {len(diameters_mm)} places for lesions, but only {len(sites)} were found "
            f"({rules.attached}): ask for fewer or smaller lesions, or other places."
        )
    return tuple(sites)


def places_for(
    scan: Scan,
    organ: Mask,
    diameters_mm: Sequence[float],
    *,
    rules: SiteRules = SiteRules(),
    known: Sequence[Lesion] = (),
    seed: int = 0,
) -> tuple[Site | None, ...]:
    """As `find_sites`, but with None for a lesion that there is no place for."""
    ground = _Ground.of(scan, organ, known)
    rng = np.random.default_rng([seed, len(diameters_mm)])
    found: dict[int, Site] = {}
    for number in np.argsort([-diameter for diameter in diameters_mm], kind="stable").tolist():
        diameter = diameters_mm[number]  # the largest first: it finds the fewest places
        places = ground.places(diameter, rules, list(found.values()), rng)
        site = next((each for each in places if ground.is_plausible(each, rules)), None)
        if site is not None:
            found[number] = site
    return tuple(found.get(number) for number in range(len(diameters_mm)))


def is_plausible(scan: Scan, organ: Mask, site: Site, *, rules: SiteRules = SiteRules()) -> bool:
    """Tell whether what lies within a lesion at this site is the organ's tissue, as far as the rules ask for it."""
    return _Ground.of(scan, organ, ()).is_plausible(site, rules)


def lungs_about(scan: Scan) -> Mask:
    """Return the lungs, [z, y, x], found on every few pixels of a slice: near enough for places, and quick.

    Raises
    ------
    UnfitDataError
        As of `lungs`.
    """
    z, y, x = scan.geometry.spacing_mm
    rows, columns = (max(1, round(COARSE_MM / step)) for step in (y, x))
    every = scan.voxels[:, rows // 2 :: rows, columns // 2 :: columns]
    grid = replace(scan.geometry, shape=every.shape, spacing_mm=(z, y * rows, x * columns))
    found = lungs(replace(scan, voxels=every, geometry=grid)).repeat(rows, axis=1).repeat(columns, axis=2)
    short = [(0, max(0, n - have)) for n, have in zip(scan.voxels.shape, found.shape, strict=True)]
    return np.pad(found, short)[:, : scan.voxels.shape[1], : scan.voxels.shape[2]]


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
        every = tuple(slice(None, None, step) for step in steps)
        coarse, spacing = organ[every], np.multiply(steps, scan.geometry.spacing_mm)
        if not coarse.any():
            raise LesionForgeError(f"the organ's mask must be thicker than {COARSE_MM:g} mm, but is not.")
        (box,) = ndimage.find_objects(coarse.astype(np.uint8))
        depth, from_middle = np.zeros(coarse.shape), np.full(coarse.shape, np.inf)
        # A series may begin and end inside the organ: it goes on there. At the sides of the picture it does not.
        padded = np.pad(np.pad(coarse[box], ((1, 1), (0, 0), (0, 0)), mode="edge"), ((0, 0), (1, 1), (1, 1)))
        depth[box] = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
        facing = between_lungs(coarse[box])
        if facing.any():
            from_middle[box] = ndimage.distance_transform_edt(~facing, sampling=spacing)
        tissue = float(np.median(scan.voxels[every][coarse]))
        half_way = (LUNG_PARENCHYMA_HU + SOFT_TISSUE_HU) / 2
        dense = half_way if tissue < half_way else tissue + FAINTEST_LESION_CONTRAST_HU
        return cls(scan, organ, known, steps, depth, from_middle, dense)

    def places(
        self, diameter_mm: float, rules: SiteRules, others: Sequence[Site], rng: np.random.Generator
    ) -> Iterator[Site]:
        """Yield sites whose distances to surfaces and to lesions are right, in random order."""
        radius_mm = diameter_mm / 2
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
        found = self.scan.geometry.to_world(np.argwhere(right) * self.steps)
        taken = [(other.position_mm, LONGEST * other.diameter_mm / 2) for other in others]
        taken += [(lesion.position_mm, self._radius_mm(lesion)) for lesion in self.known]
        for place, own_mm in taken:
            gap = np.linalg.norm(found - place, axis=1) - own_mm - LONGEST * radius_mm
            found = found[gap >= rules.apart_mm]
        for x, y, z in rng.permutation(found)[:LOOKED_AT].tolist():
            yield Site((x, y, z), diameter_mm)

    def is_plausible(self, site: Site, rules: SiteRules) -> bool:
        """Tell whether what lies within the lesion is what the rules ask for."""
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
