"""The liver patient: an upper abdomen in the portal phase and its lesions."""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.phantom.abdomen import Abdomen
from lesionforge.data.phantom.grid import Array, Grid, Vector
from lesionforge.data.phantom.liver_lesions import DRAWN_LESION, LiverLesion
from lesionforge.data.phantom.shapes import Sizes, Wanted, clearance

SHARES = {"cyst": 53 / 182, "hemangioma": 65 / 182, "metastasis": 64 / 182}
SIZES = Sizes(median_mm=26.0, spread=0.55, range_mm=(10.0, 102.0))


@dataclass(frozen=True)
class LiverPatient:
    """An abdomen with liver lesions."""

    abdomen: Abdomen
    lesions: tuple[LiverLesion, ...]

    def attenuation(self, grid: Grid) -> Array:
        """Attenuation of abdomen and lesions, [Z, Y, X] in HU."""
        hu = self.abdomen.attenuation(grid)
        for lesion in self.lesions:
            window = grid.window(lesion.shape.centre_mm, lesion.shape.reach_mm + lesion.margin_mm)
            if window is not None:
                inner = grid.cut(window)
                lesion.paint(hu[window], inner, self.abdomen.coarse.on(inner))
        return hu


def draw(rng: np.random.Generator, wanted: Wanted, difficulty: float) -> LiverPatient:
    """Draw an abdomen, then a lesion for each wanted label and size, apart from one another."""
    abdomen = Abdomen.drawn(rng)
    lesions: list[LiverLesion] = []
    for label, size in wanted:
        diameter = SIZES.quantile(size)
        centre = _site(rng, abdomen, diameter, lesions)
        lesions.append(DRAWN_LESION[label](rng, abdomen, centre, diameter, difficulty))
    return LiverPatient(abdomen, tuple(lesions))


def _site(rng: np.random.Generator, abdomen: Abdomen, diameter_mm: float, others: list[LiverLesion]) -> Vector:
    """Draw a place in the liver that the lesion fits into; where none is free, the roomiest."""
    places = rng.permutation(abdomen.veins.end_mm)
    x, y, z = places.astype(np.float32).T
    depth = -abdomen.liver_distance(x, y, z) - 0.45 * diameter_mm
    room = np.minimum(depth, clearance(places, diameter_mm, [other.shape for other in others]))
    centre: Vector = places[np.argmax(room > 0) if (room > 0).any() else np.argmax(room)]
    return centre
