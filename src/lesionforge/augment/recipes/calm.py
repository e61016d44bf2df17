"""Translations of nodules for detection.

S. S. Ghosal, I. Sarkar, I. El Hallaoui, "Lung nodule classification using convolutional autoencoder and clustering
augmented learning method (CALM)", Health Search and Data Mining Workshop 2020, section "Data".
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lesionforge.augment.affine import Affine, Translate
from lesionforge.augment.recipe import Recipe
from lesionforge.augment.transform import Axes
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count


@dataclass(frozen=True)
class Calm(Recipe):
    """Each nodule shifted by different whole numbers of pixels along y and x, up to 10 each: intensities stay exact.

    "Translations of up to 10 pixels in the XY plane are added to the positive training set": give the positive rows
    alone, 60 pixels wide for a result of 40, and every shifted patch is a true cut of its scan.

    How many are added is not said. The paper's rules (≥ 3 readers, slices ≤ 2.5 mm, outliers in size dropped) leave
    about 1100 nodules (LUNA16, by the first two of them, has 1186), of which it has 5422 images: five of each, so
    four shifts beside the nodule itself.
    """

    paper: ClassVar[str] = "Ghosal et al. 2020"
    output_size: Count = 40
    translations: Count = 4
    max_translation_px: Count = 10

    def __post_init__(self) -> None:
        shifts = (2 * self.max_translation_px + 1) ** 2 - 1
        if self.translations > shifts:
            raise LesionForgeError(
                f"translations must be at most {shifts}, the different shifts of up to {self.max_translation_px} "
                f"pixels, but {self.translations} came: allow longer ones."
            )

    @property
    def per_lesion(self) -> int:
        """Every shift."""
        return self.translations

    def steps(self, axes: Axes) -> tuple[Affine, ...]:
        """Return the shift."""
        del axes  # "in the XY plane"
        return (Translate(self.max_translation_px),)

    def poses(self, patches: Patches, rng: np.random.Generator) -> pd.DataFrame:
        """Draw shifts, no two of a nodule the same and none that leaves it where it is."""
        (translate,) = self.steps(patches.axes)
        along = np.arange(-self.max_translation_px, self.max_translation_px + 1.0)
        shifts = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
        shifts = shifts[shifts.any(axis=1)]
        drawn = rng.permuted(np.tile(np.arange(len(shifts)), (len(patches), 1)), axis=1)[:, : self.translations]
        return pd.DataFrame(shifts[drawn.ravel()], columns=list(translate.columns))
