import importlib.util

import numpy as np
import pytest

from lesionforge.distances import radiomics as file
from lesionforge.distances.radiomics import CLASSES, RadiomicSettings, check_installed, names, radiomic_features
from lesionforge.errors import LesionForgeError

installed = pytest.mark.skipif(importlib.util.find_spec("radiomics") is None, reason="the extra radiomics is missing")


def lesion(shape=(24, 24), radius=6, seed=0):
    """A ball of noise in noise."""
    grid = np.indices(shape) - np.reshape([side // 2 for side in shape], (-1, *[1] * len(shape)))
    inside = np.linalg.norm(grid, axis=0) < radius
    image = np.random.default_rng(seed).normal(-850, 30, shape) + 700 * inside
    return image.round(), inside.astype(np.uint8)


def plainly(image, mask, spacing, **settings):
    """pyradiomics as its documentation shows it."""
    import SimpleITK as sitk
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    extractor = RadiomicsFeatureExtractor(**settings)
    extractor.disableAllFeatures()
    for family in CLASSES:
        extractor.enableFeatureClassByName(family)
    pictures = [sitk.GetImageFromArray(each.reshape((1,) * (3 - each.ndim) + each.shape)) for each in (image, mask)]
    for picture in pictures:
        picture.SetSpacing((*spacing[::-1], 1.0)[:3])
    found = extractor.execute(*pictures)
    return [float(value) for name, value in found.items() if name.startswith("original_")]


@installed
@pytest.mark.parametrize("shape", [(24, 24), (9, 24, 24)])
@pytest.mark.parametrize("bin_width", [25.0, 10.0])
def test_features_equal_pyradiomics_own(shape, bin_width):
    image, mask = lesion(shape)
    spacing = (0.7,) * len(shape)
    found = radiomic_features(image, mask, spacing, RadiomicSettings(bin_width=bin_width))
    np.testing.assert_allclose(found, plainly(image, mask, spacing, binWidth=bin_width), rtol=1e-9)


@installed
def test_resampling_is_pyradiomics_own_in_the_plane():
    image, mask = lesion()
    padded = [np.pad(each, 1) for each in (image, mask)]
    found = radiomic_features(image, mask, (0.7, 0.7), RadiomicSettings(resample_mm=1.0))
    expected = plainly(*padded, (0.7, 0.7), resampledPixelSpacing=[1, 1, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not np.allclose(found, radiomic_features(image, mask, (0.7, 0.7), RadiomicSettings()))


@installed
def test_there_are_93_named_by_family():
    families = [name.partition("_")[0] for name in names()]
    published = {"firstorder": 18, "glcm": 24, "gldm": 14, "glrlm": 16, "glszm": 16, "ngtdm": 5}
    assert {family: families.count(family) for family in CLASSES} == published


@installed
def test_a_constant_lesion_has_features():
    _, mask = lesion()
    found = radiomic_features(np.full(mask.shape, -50.0), mask, (1.0, 1.0), RadiomicSettings())
    assert np.isfinite(found).all()
    by_name = dict(zip(names(), found, strict=True))
    assert by_name["firstorder_Variance"] == 0
    assert by_name["glcm_Correlation"] == 1


@installed
@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_too_few_pixels_are_no_lesion(pixels):
    image, mask = lesion()
    mask[:] = 0
    mask[4, 4 : 4 + pixels] = 1
    with pytest.raises(LesionForgeError, match=f"its mask has {pixels}"):
        radiomic_features(image, mask, (1.0, 1.0), RadiomicSettings())


@installed
def test_a_line_is_no_lesion():
    image, mask = lesion()
    mask[:] = 0
    mask[4, 4:12] = 1
    with pytest.raises(LesionForgeError, match="cannot measure this lesion of 8 pixels"):
        radiomic_features(image, mask, (1.0, 1.0), RadiomicSettings())


@installed
def test_the_threads_of_simpleitk_are_given_back():
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    radiomic_features(*lesion(), (1.0, 1.0), RadiomicSettings())
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before


def test_without_pyradiomics_the_way_out_is_said(monkeypatch):
    monkeypatch.setattr(file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LesionForgeError, match="no-build-isolation"):
        check_installed()
