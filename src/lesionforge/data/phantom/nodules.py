"""Nodules of the lung: solid, part-solid and ground-glass."""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.phantom.grid import Array, Grid, Vector, coverage
from lesionforge.data.phantom.shapes import Shape

ATTENUATION_HU = (-780.0, 110.0)
PART_SOLID_SHARE = 0.4  # of the non-solid
TYPICAL_DIAMETER_MM = 7.5  # at which the margins below are stated
CALCIFIED_SHARE = 0.06  # of the solid


@dataclass(frozen=True)
class Nodule:
    """A lung nodule: a haze or a solid body of ``attenuation_hu``, or a haze with a solid ``core``."""

    shape: Shape
    texture: str  # "solid", "part-solid" or "ground-glass"
    attenuation_hu: float
    margin_mm: float  # width over which it fades into the lung
    heterogeneity_hu: float
    ragged_mm: float  # how far its surface wanders from the shape
    core: Shape | None = None
    core_hu: float = 0.0
    calcification_hu: float = 0.0  # added in the middle
    roi_share: None = None

    @property
    def facts(self) -> dict[str, str | float]:
        """What was drawn, by table column."""
        return {
            "texture": self.texture,
            "attenuation_hu": self.attenuation_hu,
            "margin_mm": self.margin_mm,
            "calcification_hu": self.calcification_hu,
        }

    @property
    def paint_reach_mm(self) -> float:
        """No point farther from the centre is changed."""
        strands = np.abs(self.shape.spicules.end_mm - self.shape.centre_mm).max(initial=0)
        return max(self.shape.reach_mm + self.margin_mm + 3 * self.ragged_mm, float(strands) + 2)

    def paint(self, hu: Array, grid: Grid, grain: Array) -> None:
        """Fill the lung with the nodule, in place; denser tissue (vessels, wall) shows through it."""
        distance = self.shape.distance(grid) + np.float32(self.ragged_mm) * grain
        inside = np.float32(self.attenuation_hu) + np.float32(self.heterogeneity_hu) * grain
        radius = np.float32(self.shape.radius_mm)
        inside += np.float32(self.calcification_hu) * coverage(distance + radius / 2, self.shape.radius_mm)
        share = coverage(distance, self.margin_mm)
        _raise_to(hu, share, inside)
        strands = self.shape.spicules.coverage(grid)
        if self.core is not None:
            _raise_to(hu, coverage(self.core.distance(grid), self.margin_mm), np.float32(self.core_hu))
        _raise_to(hu, strands, np.float32(self.core_hu if self.core else self.attenuation_hu))


def _raise_to(hu: Array, share: Array, attenuation_hu: Array | np.float32) -> None:
    hu += share * np.maximum(attenuation_hu - hu, 0)


def drawn_nodule(
    rng: np.random.Generator, label: str, centre_mm: Vector, diameter_mm: float, difficulty: float
) -> Nodule:
    """Draw a nodule of the class ``label``: lobulation and spiculation alike for both, the rest by class."""
    shape = Shape.drawn(
        rng, centre_mm, diameter_mm, lobulation=0.5 * rng.beta(1.3, 2.5), spiculation=rng.beta(0.9, 2.2)
    )
    drawn = _solid if label == "solid" else _non_solid
    return drawn(rng, shape, difficulty)


def _solid(rng: np.random.Generator, shape: Shape, difficulty: float) -> Nodule:
    """With difficulty it fades and its margin softens, as partial volume does to small nodules."""
    return Nodule(
        shape=shape,
        texture="solid",
        attenuation_hu=_attenuation(rng, 40 - 360 * difficulty, difficulty),
        margin_mm=_margin(rng, shape, (0.6 + difficulty, 1.6 + 2.4 * difficulty)),
        heterogeneity_hu=float(rng.uniform(5, 20)),
        ragged_mm=float(rng.uniform(0.01, 0.05) * shape.diameter_mm),
        calcification_hu=float(rng.uniform(200, 700)) if rng.random() < CALCIFIED_SHARE else 0.0,
    )


def _non_solid(rng: np.random.Generator, shape: Shape, difficulty: float) -> Nodule:
    """With difficulty the haze thickens, and a part-solid nodule's core shrinks and fades."""
    core = None
    if rng.random() < PART_SOLID_SHARE:
        centre = shape.centre_mm + rng.normal(0, 0.12, 3) * shape.diameter_mm
        diameter = rng.uniform(0.3, 0.6) * (1 - 0.3 * difficulty) * shape.diameter_mm
        core = Shape.drawn(rng, centre, float(diameter), lobulation=shape.lobulation, spiculation=0.0)
    return Nodule(
        shape=shape,
        texture="ground-glass" if core is None else "part-solid",
        attenuation_hu=_attenuation(rng, -690 + 240 * difficulty, difficulty),
        margin_mm=_margin(rng, shape, (2.0, 4.0)),
        heterogeneity_hu=float(rng.uniform(40, 90)),
        ragged_mm=float(rng.uniform(0.025, 0.125) * shape.diameter_mm),
        core=core,
        core_hu=float(rng.normal(-150 * difficulty, 60)),
    )


def _attenuation(rng: np.random.Generator, mean_hu: float, difficulty: float) -> float:
    return float(np.clip(rng.normal(mean_hu, 30 + 170 * difficulty), *ATTENUATION_HU))


def _margin(rng: np.random.Generator, shape: Shape, range_mm: tuple[float, float]) -> float:
    return float(rng.uniform(*range_mm) * np.sqrt(shape.diameter_mm / TYPICAL_DIAMETER_MM))
