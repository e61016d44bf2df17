"""Radiomic features with a logistic regression, paper B's "radiomics physician".

Y. Wang et al. 2022 (ground-glass nodules by in-painting), section on radiomics: 93 features of pyradiomics with its
default settings: first order (18), GLCM (24), GLDM (14), GLRLM (16), GLSZM (16) and NGTDM (5) of the lesion's pixels; a
logistic regression on them. The lesion is the patch's mask; where there is none it is grown from the patch's centre.
Neither shape nor size is among the features.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lesionforge.classifiers.contract import Arrays, Facts, FloatArray
from lesionforge.classifiers.decision import AnyDecision
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.classifiers.described import DescribingClassifier
from lesionforge.data.annotation.lesion_masks import grown_mask
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.distances.radiomics import FEWEST_PX, RadiomicSettings, names, radiomic_features
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Rate

SMALLEST_PX = 4


@dataclass(frozen=True)
class Radiomics(DescribingClassifier):
    """93 features of the lesion in 2-D and 3-D patches."""

    paper: ClassVar[str] = "Wang et al. 2022"
    extra: ClassVar[str] = "radiomics"

    decision: AnyDecision = field(default_factory=Logistic)
    bin_width: Rate = 25.0  # of the grey levels, in the patches' unit

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are large enough in-plane to hold a lesion."""
        if min(shape[-2:]) < SMALLEST_PX:
            raise LesionForgeError(
                f"radiomics takes patches of {SMALLEST_PX} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def describe(self, patches: Patches, facts: Facts, learnt: Arrays) -> FloatArray:
        """All features of each lesion, in the order of `names`: [N, 93]."""
        del facts, learnt
        self.check_installed()
        found, complaints = [], []
        for number, image in enumerate(patches.images):
            mask = None if patches.masks is None else patches.masks[number]
            try:
                found.append(self._of_one(image, mask, patches.spacing_mm[number], patches.unit))
            except LesionForgeError as error:  # there is no lesion, or none that can be measured
                complaints.append(str(error))
        if complaints:
            raise LesionForgeError(
                f"radiomics needs a lesion of {FEWEST_PX} pixels or more in every patch, drawn as its mask or such "
                f"that it grows from the centre, but {len(complaints)} of {len(patches)} have none. The first: "
                f"{complaints[0]} Leave these patches out, or bring masks."
            )
        return np.array(found)

    def names(self) -> tuple[str, ...]:
        """Names of the features, as pyradiomics has them: class_Feature."""
        self.check_installed()
        return names()

    def _of_one(self, image: Array, mask: Array | None, spacing_mm: FloatArray, unit: str) -> FloatArray:
        """Features of one lesion, [93]."""
        spacing = tuple(spacing_mm.tolist())
        lesion = grown_mask(image, spacing, unit=unit) if mask is None or not mask.any() else mask
        return radiomic_features(image, lesion, spacing, RadiomicSettings(bin_width=self.bin_width))
