"""Radiomic features with a logistic regression, paper B's "radiomics physician".

Y. Wang et al. 2022 (ground-glass nodules by in-painting), section on radiomics: 93 features of pyradiomics with its
default settings: first order (18), GLCM (24), GLDM (14), GLRLM (16), GLSZM (16) and NGTDM (5) of the lesion's pixels; a
logistic regression on them. The lesion is the patch's mask; where there is none it is grown from the patch's centre.
Neither shape nor size is among the features.
"""

import logging
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.classifiers.contract import Arrays, Facts, FloatArray
from lesionforge.classifiers.decision import AnyDecision
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.classifiers.described import DescribingClassifier
from lesionforge.data.annotation.region_growing import grow
from lesionforge.data.geometry import Geometry
from lesionforge.data.patches import Patches
from lesionforge.data.scan import Scan
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Rate

CLASSES = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")
FEWEST_PX = 4  # of a lesion: below, nothing lies beside anything
SMALLEST_PX = 4

Voxels = NDArray[Any]  # [z, y, x]
Spacing = tuple[float, float, float]  # z, y, x


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
                found.append(list(self._of_one(image, mask, patches.spacing_mm[number], patches.unit).values()))
            except ValueError as error:  # pyradiomics', or our own of a lesion that does not grow
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
        noise = np.random.default_rng(0).normal(size=(8, 8))
        return tuple(self._of_one(noise, np.ones(noise.shape, dtype=np.uint8), np.ones(2), "HU"))

    def _of_one(self, image: Voxels, mask: Voxels | None, spacing_mm: FloatArray, unit: str) -> dict[str, float]:
        """Features of one lesion, by name."""
        volume = image.reshape((1,) * (3 - image.ndim) + image.shape)
        depth, height, width = [1.0] * (3 - image.ndim) + spacing_mm.tolist()
        spacing = (depth, height, width)
        lesion = _grown(volume, spacing, unit) if mask is None or not mask.any() else mask.reshape(volume.shape)
        return _extracted(_extractor(self.bin_width), volume, lesion, spacing)


def _grown(volume: Voxels, spacing_mm: Spacing, unit: str) -> Voxels:
    """Mask of the lesion that grows from the middle of ``volume``."""
    geometry = Geometry(volume.shape, spacing_mm, (0.0, 0.0, 0.0))
    middle = geometry.to_world([side // 2 for side in volume.shape])
    lesion = grow(Scan(volume, geometry, patient="", name="", unit=unit), tuple(middle.tolist()))
    assert lesion.mask is not None
    assert lesion.start is not None
    mask = np.zeros(volume.shape, dtype=np.uint8)
    place = tuple(slice(first, first + side) for first, side in zip(lesion.start, lesion.mask.shape, strict=True))
    mask[place] = lesion.mask
    return mask


def _extracted(extractor: Any, volume: Voxels, lesion: Voxels, spacing_mm: Spacing) -> dict[str, float]:
    import SimpleITK as sitk

    pictures = []
    for array in (volume.astype(np.float64), lesion):
        # A margin: pyradiomics refuses a mask without any pixel outside.
        picture = sitk.GetImageFromArray(np.pad(array, ((0, 0), (1, 1), (1, 1))))
        picture.SetSpacing(spacing_mm[::-1] if np.isfinite(spacing_mm).all() else (1.0, 1.0, 1.0))
        pictures.append(picture)
    prefix = "original_"
    found = extractor.execute(*pictures).items()
    return {name.removeprefix(prefix): float(value) for name, value in found if name.startswith(prefix)}


@cache
def _extractor(bin_width: float) -> Any:
    import radiomics
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    radiomics.setVerbosity(logging.CRITICAL)  # it warns of what it refuses as well
    extractor = RadiomicsFeatureExtractor(binWidth=bin_width, minimumROISize=FEWEST_PX)
    extractor.disableAllFeatures()
    for name in CLASSES:
        extractor.enableFeatureClassByName(name)
    return extractor
