"""The upper abdomen in the portal-venous phase: the liver with its veins, and the organs around it."""

from dataclasses import dataclass, replace

import numpy as np

from lesionforge.data.hounsfield import AIR_HU
from lesionforge.data.phantom import tissues
from lesionforge.data.phantom.grid import Array, Grid, blend, coverage, smooth_union
from lesionforge.data.phantom.organs import Organ
from lesionforge.data.phantom.texture import Texture, Undulation
from lesionforge.data.phantom.torso import ENDLESS, Torso
from lesionforge.data.phantom.tubes import Points, Tubes, grow_tree

PORTA_MM = (-22.0, 12.0, -18.0)
CAVAL_CONFLUENCE_MM = (-16.0, 42.0, 58.0)
LEAVES_PER_TREE = 350
LEAF_RADIUS_MM = 1.05


@dataclass(frozen=True)
class Abdomen:
    """One patient's upper abdomen."""

    torso: Torso
    lobes: tuple[Organ, Organ]  # right and left, one body together
    organs: tuple[Organ, ...]
    veins: Tubes
    liver_hu: float
    blood_hu: float
    mottle_hu: float
    bend: Undulation
    fine: Texture
    coarse: Texture

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Abdomen":
        """Draw a patient; a fatty liver is darker, a late phase brings blood and liver together."""
        fine = Texture.drawn(rng, correlation_mm=1.2)
        torso = Torso.drawn(rng, apex_mm=None, grain=fine)
        liver = float(np.clip(rng.normal(tissues.PORTAL_LIVER_HU, 12), 75, 140))
        blood = float(liver + rng.uniform(30, 70))
        scale = rng.normal(1, 0.06)
        right = Organ((-60, -4, 0), (72 * scale, 78 * scale, 92 * scale), liver)
        left = Organ((14, -44, 18), (72 * scale, 34 * scale, 52 * scale), liver)
        bare = cls(
            torso=torso,
            lobes=(right, left),
            organs=_around_the_liver(rng, torso, blood),
            veins=Tubes.none(),
            liver_hu=liver,
            blood_hu=blood,
            mottle_hu=rng.uniform(3, 8),
            bend=Undulation.drawn(rng, wavelength_mm=(50, 120)),
            fine=fine,
            coarse=Texture.drawn(rng, correlation_mm=5.0),
        )
        leaves = bare._points_in_liver(rng, 2 * LEAVES_PER_TREE)
        trees = [
            grow_tree(np.array(root), leaves[k::2], leaf_radius_mm=LEAF_RADIUS_MM, rng=rng)
            for k, root in enumerate((PORTA_MM, CAVAL_CONFLUENCE_MM))
        ]
        return replace(bare, veins=Tubes.together(trees))

    def _points_in_liver(self, rng: np.random.Generator, count: int) -> Points:
        low = np.min([np.subtract(lobe.centre_mm, lobe.radii_mm) for lobe in self.lobes], axis=0)
        high = np.max([np.add(lobe.centre_mm, lobe.radii_mm) for lobe in self.lobes], axis=0)
        drawn = rng.uniform(low, high, (12 * count, 3))
        return drawn[self.liver_distance(*drawn.astype(np.float32).T) < -4][:count]

    def liver_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the liver's surface."""
        right, left = (lobe.distance(x, y, z) for lobe in self.lobes)
        body = smooth_union(right, left, 30) + 2 * self.bend.at(x, y, z)
        liver: Array = np.maximum(body, self.torso.cavity_distance(x, y, z) + 4)
        return liver

    def attenuation(self, grid: Grid) -> Array:
        """Attenuation without lesions, [Z, Y, X] in HU."""
        x, y, z = grid.points
        cavity, liver = self.torso.cavity_distance(x, y, z), self.liver_distance(x, y, z)
        grain = self.fine.on(grid)
        parenchyma = np.float32(self.liver_hu) + np.float32(self.mottle_hu) * (0.8 * grain + 0.6 * self.coarse.on(grid))
        blend(parenchyma, self.veins.coverage(grid), self.blood_hu)
        if (liver < -grid.edge_mm).all():
            return parenchyma
        hu = np.float32(tissues.FAT_HU) + 8 * grain + 10 * self.coarse.on(grid)
        for organ in self.organs:
            organ.paint(hu, grid)
        blend(hu, coverage(liver, grid.edge_mm), parenchyma)
        blend(hu, coverage(-cavity, grid.edge_mm), self.torso.wall(grid, cavity))
        self.torso.spine(hu, grid)
        return hu


def _around_the_liver(rng: np.random.Generator, torso: Torso, blood_hu: float) -> tuple[Organ, ...]:
    rx, _ = torso.cavity_mm
    spine = torso.spine_y_mm
    kidney = tissues.PORTAL_KIDNEY_HU + rng.normal(0, 12)
    return (
        *(Organ((side * 42, spine + 4, 0), (20, 14, ENDLESS), tissues.MUSCLE_HU + 10) for side in (-1, 1)),
        Organ((62, -20, 10), (44, 40, 60), tissues.GUT_HU),
        Organ((58, -38, 15), (30, 16, 40), AIR_HU + 50),
        Organ((rx - 34, 38, 25), (26, 42, 50), tissues.PORTAL_SPLEEN_HU + rng.normal(0, 8)),
        *(Organ((side * 58, spine - 14, -70), (26, 22, 52), kidney) for side in (-1, 1)),
        *(Organ((side * 52, spine - 17, -70), (11, 9, 26), tissues.FAT_HU) for side in (-1, 1)),
        *(
            Organ((rng.uniform(-60, 80), rng.uniform(-70, 10), rng.uniform(-110, -75)), (22, 18, 20), tissues.GUT_HU)
            for _ in range(9)
        ),
        Organ((10, spine - 27, 0), (10, 10, ENDLESS), blood_hu),
        Organ((-18, spine - 30, 0), (12, 9, ENDLESS), blood_hu - 8),
    )
