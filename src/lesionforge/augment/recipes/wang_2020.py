"""Common augmentation of lung adenocarcinomas, 70 of each image.

Y. Wang et al., "Combination of generative adversarial network and convolutional neural network for automatic
subcentimeter pulmonary adenocarcinoma classification", Quantitative Imaging in Medicine and Surgery 10 (2020),
section "Data processing".
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lesionforge.augment.affine import Affine, Flip, Rotate, Scale, Translate
from lesionforge.augment.recipe import Recipe
from lesionforge.augment.transform import Axes
from lesionforge.data.patches import Patches
from lesionforge.settings import Count, Share


@dataclass(frozen=True)
class Wang2020(Recipe):
    """Each image shifted, each shifted image turned, each turned image rescaled, and that flipped.

    The paper names four operations in their order ("first … then … afterwards … finally") and their sum, 70 images
    of each. It says how many angles (7) and flips (2: up-down and left-right) there are, and one ratio is drawn for
    a turned image. 70 = N_trans × 7 × 1 × 2 then leaves N_trans = 5 shifts, the one number that we infer; the
    originals are not among the 70, for neither is a turn by 0° nor a flip of nothing.

    "Translated randomly by [1, 20 % × 64] pixels" we read as a shift of 1 to 12.8 pixels along y and another
    along x, each either way.
    """

    paper: ClassVar[str] = "Wang et al. 2020"
    output_size: Count = 64
    translations: Count = 5
    min_translation_px: float = 1.0
    max_translation_share: Share = 0.2
    angles_deg: tuple[float, ...] = (30, 45, 60, 90, 120, 135, 150)
    min_scale: float = 0.8
    max_scale: float = 1.2
    flips: tuple[str, ...] = ("y", "x")

    @property
    def per_lesion(self) -> int:
        """Every flip of every angle of every shift."""
        return self.translations * len(self.angles_deg) * len(self.flips)

    def steps(self, axes: Axes) -> tuple[Affine, ...]:
        """Return the four operations, in the paper's order."""
        del axes  # volumes move as slices do
        return (
            Translate(self.max_translation_share * self.output_size, at_least_px=self.min_translation_px),
            Rotate(),
            Scale(self.min_scale, self.max_scale),
            Flip(self.flips),
        )

    def poses(self, patches: Patches, rng: np.random.Generator) -> pd.DataFrame:
        """Draw the poses of each image, ordered by shift, angle and flip."""
        translate, _, rescale, _ = self.steps(patches.axes)
        angles, flips = len(self.angles_deg), len(self.flips)
        shifted = np.full(len(patches) * self.translations, np.nan)  # no range here follows the diameter
        turned = np.repeat(shifted, angles)
        shift = translate.sample(shifted, rng=rng)
        scale = rescale.sample(turned, rng=rng)["scale"]
        return pd.DataFrame(
            {
                **{name: np.repeat(shift[name].to_numpy(), angles * flips) for name in shift},
                "rotation_deg": np.tile(np.repeat(self.angles_deg, flips), len(shifted)),
                "scale": np.repeat(scale.to_numpy(), flips),
                "flip": pd.Series(np.tile(self.flips, len(turned)), dtype="str"),
            }
        )
