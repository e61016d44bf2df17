"""Feature vectors of both sets, computed alike: texture of whole patches, radiomics of lesions.

Features of networks come from the caller, who has them; nothing here imports a network.
"""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.annotation.lesion_masks import MEANING, MaskSource, lesion_masks
from lesionforge.data.patches import Patches
from lesionforge.data.plausibility import PlausibleRanges
from lesionforge.distances.radiomics import RadiomicSettings
from lesionforge.distances.texture import Texture
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.evaluation.fidelity import Features
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.evaluation.radiomic_set import radiomics_of
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import to_json

Masking = Literal["auto", "drawn", "grown", "measured"]


@dataclass(frozen=True)
class RadiomicPlan:
    """How lesions are outlined and measured."""

    masks: Masking = "auto"  # drawn if both sets have masks, else measured
    settings: RadiomicSettings = field(default_factory=RadiomicSettings)
    cache: Path | None = None
    workers: int = 1


@dataclass(frozen=True, eq=False)
class Radiomics:
    """Features of the lesions that could be measured, and which rows these are."""

    real: FloatArray
    real_rows: NDArray[np.intp]
    synthetic: FloatArray
    synthetic_rows: NDArray[np.intp]
    facts: dict[str, Any]  # masks, settings, and how many lesions could not be measured

    @property
    def evened(self) -> Features:
        """Features for distances: see `evened`."""
        return evened(self.real, self.synthetic)


def evened(real: FloatArray, synthetic: FloatArray) -> Features:
    """Radiomic features on a scale that grows like a logarithm far from the real set's middle half.

    Some of them span orders of magnitude, and one is 10⁶ by definition where nothing varies: as they are, a single odd
    lesion would outweigh all others in a Fréchet or kernel distance. arsinh((x − median) / interquartile range).
    """
    low, median, high = np.quantile(real, [0.25, 0.5, 0.75], axis=0)
    width = np.where(high > low, high - low, 1)
    return Features(*(np.arcsinh((each - median) / width) for each in (real, synthetic)))


def texture_of(sides: Sides) -> Features:
    """Texture of whole patches, of both sets."""
    texture = Texture(sides.window.low, sides.window.high)
    return Features(texture.describe(sides.real.images), texture.describe(sides.synthetic.images))


def radiomics_of_sides(sides: Sides, plan: RadiomicPlan, *, progress: Progress = SILENT) -> Radiomics:
    """Outline and measure the lesions of both sets alike.

    Raises
    ------
    LesionForgeError
        pyradiomics is missing, the masks cannot be had, or no lesion of a set can be measured.
    """
    source = _source(sides, plan.masks)
    brighter = PlausibleRanges.of(sides.real, sides.window).brighter
    found: list[FloatArray] = []
    kept: list[NDArray[np.intp]] = []
    facts: dict[str, Any] = {"masks": source, "masks_mean": MEANING[source], "settings": to_json(plan.settings)}
    for name, patches in (("real", sides.real), ("synthetic", sides.synthetic)):
        features = _measured(patches, source, plan, brighter=brighter, progress=progress.within(name))
        rows = np.flatnonzero(np.isfinite(features).all(axis=1))
        facts[f"{name}_not_measured"] = len(features) - len(rows)
        if not len(rows):
            raise LesionForgeError(
                f"none of the {len(features)} {name} patches has a lesion that radiomics can measure ({source} masks): "
                "choose other masks, or look at the patches with `lesionforge inspect`."
            )
        found.append(features[rows])
        kept.append(rows)
    return Radiomics(found[0], kept[0], found[1], kept[1], facts)


def pyradiomics_is_there() -> bool:
    """Whether the extra radiomics is installed."""
    return importlib.util.find_spec("radiomics") is not None


def _source(sides: Sides, masks: Masking) -> MaskSource:
    if masks != "auto":
        return masks
    return "measured" if sides.real.masks is None or sides.synthetic.masks is None else "drawn"


def _measured(
    patches: Patches, source: MaskSource, plan: RadiomicPlan, *, brighter: bool, progress: Progress
) -> FloatArray:
    masks = lesion_masks(patches, source, brighter=brighter)
    if plan.settings.resample_mm is None:
        # Spacing then enters total energy alone, and there gives samples away: they have one spacing, patients several.
        patches = patches.with_images(patches.images, patches.masks, spacing_mm=1.0)
    return radiomics_of(
        patches, masks, settings=plan.settings, cache=plan.cache, workers=plan.workers, progress=progress
    )
