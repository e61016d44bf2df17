"""The chest: two lungs with their vessels and airways, and what lies between, below and around them."""

from dataclasses import dataclass, replace

import numpy as np

from lesionforge.data.hounsfield import AIR_HU
from lesionforge.data.phantom import tissues
from lesionforge.data.phantom.grid import Array, Grid, blend, coverage, ellipsoid_distance, smooth_union
from lesionforge.data.phantom.organs import Organ
from lesionforge.data.phantom.texture import Texture
from lesionforge.data.phantom.torso import ENDLESS, Torso
from lesionforge.data.phantom.tubes import Points, Tubes, grow_tree

APEX_MM = 135.0
BASE_MM = -130.0
HILUM_MM = (36.0, 8.0, 5.0)  # of the left lung; the right one's is mirrored
LEAVES_PER_TREE = 2000
LEAF_RADIUS_MM = 0.34


@dataclass(frozen=True)
class Chest:
    """One patient's chest."""

    torso: Torso
    heart: Organ
    organs: tuple[Organ, ...]
    dome_mm: tuple[float, float]  # heights of the diaphragm under the left and the right lung
    vessels: Tubes
    airways: Tubes  # the lumen
    blood_hu: float
    lung_hu: float
    gravity_hu_per_mm: float  # the lung on the table is denser
    mottle_hu: float  # fine texture of the parenchyma
    fine: Texture
    coarse: Texture

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Chest":
        """Draw a patient."""
        fine = Texture.drawn(rng, correlation_mm=1.0)
        torso = Torso.drawn(rng, apex_mm=APEX_MM, grain=fine)
        # Collections mix scans with and without contrast medium in the blood: here, an assumed half each.
        blood = tissues.BLOOD_HU + (rng.uniform(60, 180) if rng.random() < 0.5 else rng.normal(0, 5))
        heart = Organ((rng.normal(22, 5), -25, -50), (rng.normal(58, 4), rng.normal(50, 4), 55), blood)
        bare = cls(
            torso=torso,
            heart=heart,
            organs=_between_the_lungs(torso, blood),
            dome_mm=(rng.normal(48, 6), rng.normal(60, 6)),
            vessels=Tubes.none(),
            airways=Tubes.none(),
            blood_hu=blood,
            lung_hu=float(np.clip(rng.normal(-868, 44), -945, -730)),
            gravity_hu_per_mm=rng.uniform(0.1, 0.5),
            mottle_hu=rng.uniform(10, 24),
            fine=fine,
            coarse=Texture.drawn(rng, correlation_mm=4.0),
        )
        return bare._with_trees(rng)

    def _with_trees(self, rng: np.random.Generator) -> "Chest":
        vessels, airways = [], []
        for side in (-1, 1):
            leaves = self._points_in_lung(rng, side, 2 * LEAVES_PER_TREE)
            root = np.array(HILUM_MM) * (side, 1, 1)
            arteries = grow_tree(root, leaves[::2], leaf_radius_mm=LEAF_RADIUS_MM, rng=rng)
            veins = grow_tree(root - (0, 14, 14), leaves[1::2], leaf_radius_mm=LEAF_RADIUS_MM, rng=rng)
            vessels += [arteries, veins]
            airways.append(_beside(arteries, rng))
        return replace(self, vessels=Tubes.together(vessels), airways=Tubes.together(airways))

    def _points_in_lung(self, rng: np.random.Generator, side: int, count: int) -> Points:
        rx, ry = self.torso.cavity_mm
        found = np.empty((0, 3))
        while len(found) < count:
            drawn = rng.uniform((0, -ry, BASE_MM), (rx, ry, APEX_MM), (4 * count, 3)) * (side, 1, 1)
            depth = self.lung_distance(*drawn.astype(np.float32).T)
            found = np.concatenate([found, drawn[depth < -2]])
        return found[:count]

    def lung_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the surface of the lungs, negative inside them."""
        return np.maximum(self.torso.cavity_distance(x, y, z), -self._mediastinum_distance(x, y, z))

    def _mediastinum_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to what is in the cavity and not lung: middle, heart, spine's flanks, below the diaphragm."""
        rx, ry = self.torso.cavity_mm
        middle = ellipsoid_distance(x, y + 12, z, (30, ry - 10, ENDLESS))
        spine = ellipsoid_distance(x, y - np.float32(self.torso.spine_y_mm + 10), z, (34, 30, ENDLESS))
        hx, hy, hz = HILUM_MM
        hila = ellipsoid_distance(np.abs(x) - np.float32(hx - 4), y - np.float32(hy), z - np.float32(hz), (15, 19, 26))
        body = smooth_union(smooth_union(middle, spine, 12), smooth_union(self.heart.distance(x, y, z), hila, 8), 10)
        left, right = self.dome_mm
        dome = np.where(x > 0, np.float32(left), np.float32(right)) * (
            1 - ((np.abs(x) - 66) / np.float32(rx)) ** 2 - ((y + 5) / np.float32(1.1 * ry)) ** 2
        )
        below = (z - np.float32(BASE_MM) - dome) * np.float32(0.8)
        return smooth_union(body, below, 12)

    def attenuation(self, grid: Grid) -> Array:
        """Attenuation without lesions, [Z, Y, X] in HU."""
        x, y, z = grid.points
        cavity = self.torso.cavity_distance(x, y, z)
        middle = self._mediastinum_distance(x, y, z)
        lung = np.maximum(cavity, -middle)
        hu = np.broadcast_to(np.float32(self.lung_hu) + np.float32(self.gravity_hu_per_mm) * y, grid.shape).copy()
        hu += np.float32(self.mottle_hu) * (0.8 * self.fine.on(grid) + 0.6 * self.coarse.on(grid))
        if (lung < 0).any():
            self._paint_trees(hu, grid)
        if (lung > -grid.edge_mm).any():
            self._paint_surroundings(hu, grid, cavity, middle)
        return hu

    def _paint_trees(self, hu: Array, grid: Grid) -> None:
        blend(hu, self.vessels.coverage(grid), self.blood_hu)
        wall = Tubes(
            self.airways.start_mm,
            self.airways.end_mm,
            1.15 * self.airways.start_radius_mm + 0.4,
            1.15 * self.airways.end_radius_mm + 0.4,
        )
        blend(hu, wall.coverage(grid), tissues.AIRWAY_WALL_HU)
        blend(hu, self.airways.coverage(grid), AIR_HU + 40)

    def _paint_surroundings(self, hu: Array, grid: Grid, cavity: Array, middle: Array) -> None:
        grain = self.fine.on(grid)
        between = np.full(grid.shape, np.float32(tissues.MUSCLE_HU - 15)) + 12 * self.coarse.on(grid) + 6 * grain
        for organ in self.organs:
            organ.paint(between, grid)
        self.heart.paint(between, grid)
        blend(hu, coverage(middle, grid.edge_mm), between)
        blend(hu, coverage(-cavity, grid.edge_mm), self.torso.wall(grid, cavity))
        self.torso.spine(hu, grid)


def _between_the_lungs(torso: Torso, blood_hu: float) -> tuple[Organ, ...]:
    spine = torso.spine_y_mm
    return (
        Organ((0, -torso.cavity_mm[1] + 12, 40), (28, 12, 70), tissues.FAT_HU),
        Organ((-70, 0, BASE_MM), (85, 80, 60), 60.0),
        Organ((22, spine - 22, 0), (12, 12, ENDLESS), blood_hu),
        Organ((-8, -22, 45), (16, 16, 28), blood_hu),
        Organ((-24, -12, 40), (9, 9, 45), blood_hu),
        Organ((0, 4, 15), (34, 11, 11), blood_hu),
        Organ((0, 8, 95), (9, 8, 75), AIR_HU),
    )


def _beside(arteries: Tubes, rng: np.random.Generator) -> Tubes:
    """Airways that go with the arteries wide enough for their walls to be seen."""
    wide = arteries.rows(arteries.start_radius_mm > 1.6)
    aside = rng.normal(size=3)
    aside /= np.linalg.norm(aside)
    lumen = 0.75 * wide.start_radius_mm, 0.75 * wide.end_radius_mm
    start, end = (
        point + 2.1 * radius[:, None] * aside
        for point, radius in ((wide.start_mm, wide.start_radius_mm), (wide.end_mm, wide.end_radius_mm))
    )
    return Tubes(start, end, *lumen)
