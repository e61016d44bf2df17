"""Lesions of the liver in the portal phase, as Frid-Adar et al. 2018 describe them in their section on data.

Cysts do not enhance: water, well circumscribed. Metastases are soft tissue darker than the liver, their margins less
well defined; some hold brighter parts. Haemangiomas enhance in separate nodules along their rim. With difficulty,
cysts thicken, metastases gain bright parts and haemangiomas lose theirs. The paper gives no attenuations and no
distribution of sizes but their range: those numbers are assumed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lesionforge.data.hounsfield import WATER_HU
from lesionforge.data.phantom.abdomen import Abdomen
from lesionforge.data.phantom.grid import Array, Grid, Vector, blend, coverage
from lesionforge.data.phantom.organs import Organ
from lesionforge.data.phantom.shapes import Shape

METASTASIS_BELOW_LIVER_HU = 45.0
HAEMANGIOMA_BELOW_LIVER_HU = 42.0  # where it has not filled in yet
ROI_SHARE = (0.45, 0.7)  # of a patch's width: "the lesion and its surrounding tissue relative to its size"


@dataclass(frozen=True)
class LiverLesion:
    """A lesion of one attenuation with brighter (or darker) parts."""

    shape: Shape
    attenuation_hu: float
    margin_mm: float
    heterogeneity_hu: float
    parts: tuple[Organ, ...]
    roi_share: float

    @property
    def facts(self) -> dict[str, str | float]:
        """What was drawn, by table column."""
        return {"attenuation_hu": self.attenuation_hu, "margin_mm": self.margin_mm, "bright_parts": len(self.parts)}

    def paint(self, hu: Array, grid: Grid, grain: Array) -> None:
        """Replace the liver by the lesion, in place."""
        inside = np.float32(self.attenuation_hu) + np.float32(self.heterogeneity_hu) * grain
        for part in self.parts:
            share = coverage(part.distance(*grid.points), 0.5 * min(part.radii_mm))
            blend(inside, share, part.attenuation_hu)
        blend(hu, coverage(self.shape.distance(grid), self.margin_mm), inside)


def _shape(rng: np.random.Generator, centre_mm: Vector, diameter_mm: float, *, lobulation: float) -> Shape:
    return Shape.drawn(rng, centre_mm, diameter_mm, lobulation=lobulation * rng.beta(1.5, 2.5), spiculation=0.0)


def _parts(
    rng: np.random.Generator, shape: Shape, count: int, *, depth: float, size: tuple[float, float], hu: float
) -> tuple[Organ, ...]:
    """Draw bright parts about ``depth`` radii from the centre, most of them in the plane that a patch shows."""
    away = rng.normal(size=(count, 3)) * (1, 1, 0.35)
    away *= depth * rng.normal(1, 0.06, (count, 1)) / np.linalg.norm(away, axis=1, keepdims=True)
    radii = shape.radius_mm * rng.uniform(*size, (count, 3))
    centres = shape.centre_mm + shape.radius_mm * away
    return tuple(
        Organ(tuple(centre), tuple(radius), float(hu + rng.normal(0, 8)))
        for centre, radius in zip(centres.tolist(), radii.tolist(), strict=True)
    )


def _cyst(
    rng: np.random.Generator, abdomen: Abdomen, centre_mm: Vector, diameter_mm: float, difficulty: float
) -> LiverLesion:
    water = WATER_HU + 8 + rng.normal(0, 5)
    thickened = difficulty * rng.uniform(0.3, 0.9) * (abdomen.liver_hu - METASTASIS_BELOW_LIVER_HU - water)
    return LiverLesion(
        shape=_shape(rng, centre_mm, diameter_mm, lobulation=0.1),
        attenuation_hu=float(water + thickened),
        margin_mm=float(rng.uniform(0.5, 1.2) + 0.1 * difficulty * diameter_mm),
        heterogeneity_hu=2.0,
        parts=(),
        roi_share=float(rng.uniform(*ROI_SHARE)),
    )


def _metastasis(
    rng: np.random.Generator, abdomen: Abdomen, centre_mm: Vector, diameter_mm: float, difficulty: float
) -> LiverLesion:
    shape = _shape(rng, centre_mm, diameter_mm, lobulation=0.4)
    bright = int(rng.integers(1, 6)) if rng.random() < 0.15 + 0.6 * difficulty else 0
    return LiverLesion(
        shape=shape,
        attenuation_hu=float(abdomen.liver_hu - METASTASIS_BELOW_LIVER_HU + rng.normal(0, 8)),
        margin_mm=float(rng.uniform(0.1, 0.3) * diameter_mm),
        heterogeneity_hu=float(rng.uniform(5, 14)),
        parts=_parts(rng, shape, bright, depth=0.65, size=(0.12, 0.3), hu=abdomen.blood_hu - 25),
        roi_share=float(rng.uniform(*ROI_SHARE)),
    )


def _haemangioma(
    rng: np.random.Generator, abdomen: Abdomen, centre_mm: Vector, diameter_mm: float, difficulty: float
) -> LiverLesion:
    shape = _shape(rng, centre_mm, diameter_mm, lobulation=0.3)
    nodules = int(rng.integers(3, 8))
    faded = difficulty * rng.uniform(0, 1.4) * (abdomen.blood_hu - abdomen.liver_hu)
    return LiverLesion(
        shape=shape,
        attenuation_hu=float(abdomen.liver_hu - HAEMANGIOMA_BELOW_LIVER_HU + rng.normal(0, 8)),
        margin_mm=float(rng.uniform(0.05, 0.12 + 0.12 * difficulty) * diameter_mm),
        heterogeneity_hu=float(rng.uniform(3, 10)),
        parts=_parts(rng, shape, nodules, depth=0.82, size=(0.16, 0.36), hu=abdomen.blood_hu - faded),
        roi_share=float(rng.uniform(*ROI_SHARE)),
    )


Drawing = Callable[[np.random.Generator, Abdomen, Vector, float, float], LiverLesion]
DRAWN_LESION: Mapping[str, Drawing] = {"cyst": _cyst, "hemangioma": _haemangioma, "metastasis": _metastasis}
