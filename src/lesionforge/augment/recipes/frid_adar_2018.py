"""Classic augmentation of liver lesions, 480 of each.

M. Frid-Adar, I. Diamant, E. Klang, M. Amitai, J. Goldberger, H. Greenspan, "GAN-based synthetic medical image
augmentation for increased CNN performance in liver lesion classification", Neurocomputing 321 (2018), section 3.1.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.augment.affine import Affine, Flip, Rotate, Translate, WidenMargin
from lesionforge.augment.recipe import Recipe
from lesionforge.augment.transform import Axes, known_diameters
from lesionforge.data.patches import Patches
from lesionforge.settings import Count


@dataclass(frozen=True)
class FridAdar2018(Recipe):
    """Each lesion turned, and each turned region flipped, shifted and scaled.

    Each lesion is rotated N_rot times; each rotated region is kept, flipped N_flip ways, translated N_trans
    times within ±min(4, 0.1 d) pixels and scaled N_scale times, d being the lesion's diameter in pixels:
    N = N_rot (1 + N_flip + N_trans + N_scale) = 480. Nothing is sheared, and the lesion stays centred.

    The paper scales "by changing the amount of tissue around the lesion", s in [0.1 d, 0.4 d]. We read it as
    a region that grows by s on each side: the reading that never cuts into the lesion.
    """

    paper: ClassVar[str] = "Frid-Adar et al. 2018"
    output_size: Count = 64
    rotations: Count = 30
    max_rotation_deg: float = 180.0
    flips: tuple[str, ...] = ("y", "x", "yx")
    translations: Count = 7
    max_translation_px: float = 4.0
    max_translation_diameters: float = 0.1
    scalings: Count = 5
    min_margin_diameters: float = 0.1
    max_margin_diameters: float = 0.4

    @property
    def per_lesion(self) -> int:
        """All that is done to a rotated region, for every rotation."""
        return self.rotations * (1 + len(self.flips) + self.translations + self.scalings)

    def steps(self, axes: Axes) -> tuple[Affine, ...]:
        """Return the turn, and of flip, shift and scale the one that a pose has."""
        del axes  # volumes move as slices do
        return (
            Rotate(0, self.max_rotation_deg),
            Flip(self.flips),
            Translate(self.max_translation_px, self.max_translation_diameters),
            WidenMargin(self.min_margin_diameters, self.max_margin_diameters, self.output_size),
        )

    def poses(self, patches: Patches, rng: np.random.Generator) -> pd.DataFrame:
        """Draw the poses of each lesion, ordered by rotation and what is done to the rotated region."""
        kinds = np.repeat(
            ["kept", "flipped", "translated", "scaled"],
            [1, len(self.flips), self.translations, self.scalings],
        )
        ways = np.repeat("", len(kinds)).astype(object)
        ways[kinds == "flipped"] = self.flips
        diameter_px = known_diameters(lesion_diameter_px(patches), by="the recipe of Frid-Adar et al.")
        regions = np.repeat(diameter_px, self.rotations)  # a rotated region each, [L · N_rot]
        diameters = np.repeat(regions, len(kinds))
        kind = np.tile(kinds, len(regions))

        rotate, _, translate, widen = self.steps(patches.axes)
        rotated = rotate.sample(regions, rng=rng)
        shift = translate.sample(diameters, rng=rng)
        scale = widen.sample(diameters, rng=rng)["scale"]
        return pd.DataFrame(
            {
                "rotation_deg": np.repeat(rotated["rotation_deg"].to_numpy(), len(kinds)),
                "flip": pd.Series(np.tile(ways, len(regions)), dtype="str"),
                **{name: shift[name].where(kind == "translated", 0.0) for name in shift},
                "scale": scale.where(kind == "scaled", 1.0),
            }
        )


def lesion_diameter_px(patches: Patches) -> NDArray[np.float64]:
    """In-plane diameter of each lesion in pixels, [N]; NaN where it is unknown.

    It is ``diameter_mm`` over the spacing; where either is missing, the diameter of the circle with the area
    of the mask's largest axial slice.
    """
    diameter_px: NDArray[np.float64] = patches.table["diameter_mm"].to_numpy(np.float64) / patches.spacing_mm[:, -1]
    unknown = np.flatnonzero(np.isnan(diameter_px))
    if patches.masks is not None:
        area = patches.masks[unknown].sum(axis=(-2, -1), dtype=np.int64)
        area = area.max(axis=tuple(range(1, area.ndim)))
        diameter_px[unknown] = np.where(area > 0, 2 * np.sqrt(area / np.pi), np.nan)
    return diameter_px
