import importlib.util

import numpy as np
import pytest

from lesionforge.distances.radiomics import RadiomicSettings, names, radiomic_features
from lesionforge.evaluation import radiomic_set
from lesionforge.evaluation.radiomic_set import radiomics_of

pytestmark = pytest.mark.skipif(importlib.util.find_spec("radiomics") is None, reason="the extra radiomics is missing")


@pytest.fixture
def lesions(small_patches):
    return small_patches(patients=5, per_patient=2, shape=(16, 16))


def test_each_lesion_is_measured_as_alone(lesions, monkeypatch):
    monkeypatch.setattr(radiomic_set, "AT_ONCE", 3)
    found = radiomics_of(lesions, lesions.masks)
    alone = [
        radiomic_features(image, mask, (0.7, 0.7), RadiomicSettings())
        for image, mask in zip(lesions.images, lesions.masks, strict=True)
    ]
    np.testing.assert_array_equal(found, alone)


def test_two_processes_find_the_same(lesions, monkeypatch):
    monkeypatch.setattr(radiomic_set, "AT_ONCE", 5)
    found = radiomics_of(lesions, lesions.masks, workers=2)
    np.testing.assert_array_equal(found, radiomics_of(lesions, lesions.masks))


def test_what_cannot_be_measured_is_nan_and_the_rest_is_not(lesions):
    masks = lesions.masks.copy()
    masks[2] = 0
    masks[4], masks[4, 3, 3] = 0, 1
    found = radiomics_of(lesions, masks)
    assert np.flatnonzero(np.isnan(found).all(axis=1)).tolist() == [2, 4]
    assert np.isfinite(np.delete(found, [2, 4], axis=0)).all()


def test_what_is_kept_is_not_measured_again(lesions, tmp_path, monkeypatch):
    first = radiomics_of(lesions, lesions.masks, cache=tmp_path / "kept")
    counted = []
    monkeypatch.setattr(radiomic_set, "radiomic_features", lambda *a: counted.append(a) or np.zeros(len(names())))
    again = radiomics_of(lesions.rows([3, 1]), lesions.masks[[3, 1]], cache=tmp_path / "kept")
    np.testing.assert_array_equal(again, first[[3, 1]])
    assert counted == []
    radiomics_of(lesions, lesions.masks, settings=RadiomicSettings(bin_width=10), cache=tmp_path / "kept")
    assert len(counted) == len(lesions)  # other settings, other features


def test_lesions_that_are_alike_are_measured_once(lesions, tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr(radiomic_set, "radiomic_features", lambda *a: counted.append(a) or np.zeros(len(names())))
    rows = [0, 1, 0, 0, 1]
    radiomics_of(lesions.rows(rows), lesions.masks[rows])
    assert len(counted) == 2


def test_a_damaged_file_is_measured_once_more(lesions, tmp_path):
    first = radiomics_of(lesions, lesions.masks, cache=tmp_path)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(radiomics_of(lesions, lesions.masks, cache=tmp_path), first)


def test_no_patches_have_no_features(lesions):
    assert radiomics_of(lesions.rows([]), lesions.masks[:0]).shape == (0, 93)
