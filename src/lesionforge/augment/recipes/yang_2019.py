"""Random crops and scales of nodule volumes.

J. Yang et al., "Class-aware adversarial lung nodule synthesis in CT images", ISBI 2019, section 3: "traditional data
augmentation methods including random cropping and scaling were used for training all the networks".
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lesionforge.augment.affine import Affine, Scale, Translate
from lesionforge.augment.recipe import Recipe
from lesionforge.augment.transform import Axes
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Share


@dataclass(frozen=True)
class Yang2019(Recipe):
    """A window at a random place of the patch, along every axis, shown again on the pixels of the result.

    The paper gives neither sizes nor counts, so these are ours. The scale runs from 1 to 1.25: of 64×64×32 voxels
    the window has from 51×51×26 to all, so it holds true tissue alone. Its middle lies within a tenth of the result
    from the lesion, which is all the room that there is unless patches are larger than the result; from such,
    ``min_scale`` may be below 1. A training loop would draw without end; 10 of each make a set that can be stored.
    """

    paper: ClassVar[str] = "Yang et al. 2019"
    crops: Count = 10
    min_scale: float = 1.0
    max_scale: float = 1.25
    max_translation_share: Share = 0.1

    @property
    def per_lesion(self) -> int:
        """Every crop."""
        return self.crops

    def steps(self, axes: Axes) -> tuple[Affine, ...]:
        """Return the shift that brings the window to the middle, and its scale."""
        return (Translate(axes=axes), Scale(self.min_scale, self.max_scale))

    def poses(self, patches: Patches, rng: np.random.Generator) -> pd.DataFrame:
        """Draw scales, then windows of that scale inside the patch.

        Raises
        ------
        LesionForgeError
            A window is larger than the patch.
        """
        translate, rescale = self.steps(patches.axes)
        drawn = rescale.sample(np.full(len(patches) * self.crops, np.nan), rng=rng)
        shown = self.chain(patches).output_shape(patches.shape)
        if any(m - 1 > (n - 1) * self.min_scale for m, n in zip(shown, patches.shape, strict=True)):
            raise LesionForgeError(
                f"a window must fit inside patches of {patches.shape} pixels, but {shown} pixels at a scale of "
                f"{self.min_scale} came: set output_size smaller or min_scale larger."
            )
        scale = drawn["scale"].to_numpy()
        shifts = {}
        for name, n, m in zip(translate.columns, patches.shape, shown, strict=True):
            # How far the window's lesion pixel may lie from the patch's while its ends stay inside.
            first, last = m // 2 / scale - n // 2, (n - 1 - n // 2) - (m - 1 - m // 2) / scale
            farthest = self.max_translation_share * m
            low = np.maximum(first, -farthest)
            shifts[name] = -rng.uniform(low, np.maximum(low, np.minimum(last, farthest)))
        return pd.DataFrame(shifts | {"scale": scale})
