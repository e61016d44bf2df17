"""The 93 radiomic features of a lesion's pixels, as pyradiomics computes them: first order and five textures.

J. van Griethuysen et al., "Computational radiomics system to decode the radiographic phenotype", Cancer Research 77
(2017). 18 features of first order, 24 of grey-level co-occurrence (GLCM), 14 of dependence (GLDM), 16 of run lengths
(GLRLM), 16 of size zones (GLSZM), 5 of neighbouring tone difference (NGTDM); none of shape or size. pyradiomics is the
extra ``radiomics``.
"""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError
from lesionforge.settings import Rate

CLASSES = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")
FEWEST_PX = 4  # of a lesion: below, nothing lies beside anything

Voxels = NDArray[Any]  # [y, x] or [z, y, x]
Spacing = tuple[float, ...]  # of these axes, in mm


@dataclass(frozen=True)
class RadiomicSettings:
    """What the features depend on beside the pixels; the defaults are pyradiomics' own."""

    bin_width: Rate = 25.0  # of the grey levels that texture is counted in, in the images' unit
    resample_mm: Rate | None = None  # in-plane spacing that images are brought to (B-spline) before; None: as they are


@cache
def names() -> tuple[str, ...]:
    """Names of the features, as pyradiomics has them: class_Feature."""
    noise = np.random.default_rng(0).normal(size=(8, 8))
    return tuple(_extracted(noise, np.ones(noise.shape, dtype=np.uint8), (1.0, 1.0), RadiomicSettings()))


def radiomic_features(
    image: Voxels, mask: Voxels, spacing_mm: Spacing, settings: RadiomicSettings
) -> NDArray[np.float64]:
    """Features of the pixels where ``mask`` is 1, in the order of `names`: [93].

    Of pixels that are all alike they are defined: 0 where nothing varies, 1 for a correlation.

    Raises
    ------
    LesionForgeError
        pyradiomics is missing; the mask has fewer than 4 pixels, or they make no lesion it can measure.
    """
    check_installed()
    if (count := int(np.count_nonzero(mask))) < FEWEST_PX:
        raise LesionForgeError(f"radiomics needs a lesion of {FEWEST_PX} pixels or more, but its mask has {count}.")
    try:
        return np.array(list(_extracted(image, mask, spacing_mm, settings).values()))
    except ValueError as error:  # of a lesion on too few lines and columns, or lost by resampling
        raise LesionForgeError(f"radiomics cannot measure this lesion of {count} pixels: {error}.") from error


def check_installed() -> None:
    """Raise LesionForgeError, with the way out, if pyradiomics is missing."""
    if importlib.util.find_spec("radiomics") is None:
        raise LesionForgeError(
            "radiomic features need pyradiomics, which is not installed: pip install numpy setuptools wheel, then "
            "pip install --no-build-isolation 'lesionforge[radiomics]'."
        )


def _extracted(image: Voxels, mask: Voxels, spacing_mm: Spacing, settings: RadiomicSettings) -> dict[str, float]:
    import SimpleITK as sitk

    flat = (1,) * (3 - image.ndim)
    spacing = (*(1.0 for _ in flat), *(each if np.isfinite(each) else 1.0 for each in spacing_mm))
    pictures = []
    for array in (image.astype(np.float64), mask.astype(np.uint8)):
        # A margin: pyradiomics refuses a mask without any pixel outside.
        picture = sitk.GetImageFromArray(np.pad(array.reshape(flat + array.shape), ((0, 0), (1, 1), (1, 1))))
        picture.SetSpacing(spacing[::-1])
        pictures.append(picture)
    prefix = "original_"
    with _one_thread():
        found = _extractor(settings).execute(*pictures).items()
    return {name.removeprefix(prefix): float(value) for name, value in found if name.startswith(prefix)}


@contextmanager
def _one_thread() -> Iterator[None]:
    """SimpleITK hands even the smallest images to all cores, and waits longer for them than it works."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@cache
def _extractor(settings: RadiomicSettings) -> Any:
    import radiomics
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    radiomics.setVerbosity(logging.CRITICAL)  # it warns of what it refuses as well
    spacing = None if settings.resample_mm is None else [settings.resample_mm, settings.resample_mm, 0]  # 0: as it is
    extractor = RadiomicsFeatureExtractor(
        binWidth=settings.bin_width,
        minimumROISize=FEWEST_PX,
        resampledPixelSpacing=spacing,
        additionalInfo=False,  # hashes of every image, which nobody asked for
    )
    extractor.disableAllFeatures()
    for name in CLASSES:
        extractor.enableFeatureClassByName(name)
    return extractor
