"""The lung patient: a chest and its nodules, each drawn from distributions that have names here.

Sizes are near those of LIDC-IDRI's nodules (Armato et al. 2011): log-normal, median 7.5 mm. What separates the
classes is attenuation, margin and texture; size, place and everything around a nodule are drawn alike for both.
"""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.phantom.chest import Chest
from lesionforge.data.phantom.grid import Array, Grid, Vector
from lesionforge.data.phantom.nodules import Nodule, drawn_nodule
from lesionforge.data.phantom.shapes import Sizes, Wanted, clearance

SHARES = {"non-solid": 0.3, "solid": 0.7}
SIZES = Sizes(median_mm=7.5, spread=0.42, range_mm=(4.0, 30.0))
SITES = {"pleura": 0.3, "vessel": 0.15, "periphery": 0.45, "anywhere": 0.1}
PERIPHERY_MM = 12.0  # below the chest wall


@dataclass(frozen=True)
class LungPatient:
    """A chest with nodules."""

    chest: Chest
    lesions: tuple[Nodule, ...]

    def attenuation(self, grid: Grid) -> Array:
        """Attenuation of chest and nodules, [Z, Y, X] in HU."""
        hu = self.chest.attenuation(grid)
        for nodule in self.lesions:
            window = grid.window(nodule.shape.centre_mm, nodule.paint_reach_mm)
            if window is not None:
                inner = grid.cut(window)
                grain = 0.6 * self.chest.fine.on(inner) + 0.8 * self.chest.coarse.on(inner)
                nodule.paint(hu[window], inner, grain)
        return hu


def draw(rng: np.random.Generator, wanted: Wanted, difficulty: float) -> LungPatient:
    """Draw a chest, then a nodule for each wanted label and size, apart from one another."""
    chest = Chest.drawn(rng)
    nodules: list[Nodule] = []
    for label, size in wanted:
        diameter = SIZES.quantile(size)
        centre = _site(rng, chest, diameter, nodules)
        nodules.append(drawn_nodule(rng, label, centre, diameter, difficulty))
    return LungPatient(chest, tuple(nodules))


def _site(rng: np.random.Generator, chest: Chest, diameter_mm: float, others: list[Nodule]) -> Vector:
    """Draw a place for a nodule; where none is free, the one with most room."""
    site = rng.choice(list(SITES), p=list(SITES.values()))
    radii = chest.vessels.start_radius_mm
    on_vessel = site == "vessel"
    places = rng.permutation(chest.vessels.end_mm[(radii > 0.8) & (radii < 1.6) if on_vessel else radii < 0.5])
    if not on_vessel:
        places = places + rng.normal(0, 3, places.shape)
    x, y, z = places.astype(np.float32).T
    embedded = 0.85 if site == "pleura" else 1.5  # radii below the lung's surface
    deepest = {"pleura": 0.0, "periphery": PERIPHERY_MM}.get(site, np.inf) + max(embedded, 1.1) * diameter_mm / 2
    fits = (-chest.lung_distance(x, y, z) > embedded * diameter_mm / 2) & (
        -chest.torso.cavity_distance(x, y, z) < deepest
    )
    room = clearance(places, diameter_mm, [other.shape for other in others])
    free = np.flatnonzero(fits & (room > 0))
    centre: Vector = places[free[0] if len(free) else np.argmax(room)]
    return centre
