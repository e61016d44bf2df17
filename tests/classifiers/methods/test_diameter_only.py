import numpy as np
import pytest

from lesionforge.classifiers.methods.diameter_only import DiameterOnly
from lesionforge.errors import LesionForgeError


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8)], ids=str)
def test_only_the_diameter_counts(small_patches, shape):
    patches = small_patches(patients=20, shape=shape)
    large = np.where(patches.labels == "malignant", 20.0, 5.0) + np.arange(len(patches)) / 100
    train = patches.with_columns(diameter_mm=large)
    fitted = DiameterOnly().fit(train)
    probability = fitted.predict_proba(train, already_seen=True)
    assert (probability.argmax(axis=1) == (patches.labels == "malignant")).all()
    other = train.with_images(np.zeros_like(train.images), train.masks)
    np.testing.assert_array_equal(fitted.predict_proba(other, already_seen=True), probability)
    np.testing.assert_allclose(fitted.features(train, already_seen=True), np.stack([large, np.log(large)], axis=1))


def test_a_missing_diameter_is_counted(small_patches):
    patches = small_patches()
    diameters = patches.table["diameter_mm"].to_numpy(copy=True)
    diameters[[2, 5]] = np.nan
    with pytest.raises(LesionForgeError, match="2 of 16 have none"):
        DiameterOnly().fit(patches.with_columns(diameter_mm=diameters))
