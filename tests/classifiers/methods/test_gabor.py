import numpy as np
import pytest
from skimage.filters import gabor

from lesionforge.classifiers.methods.gabor import Gabor
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError


@pytest.mark.parametrize("shape", [(40, 41), (9, 16)], ids=str)
def test_magnitudes_equal_scikit_images(shape):
    images = np.random.default_rng(0).random((2, *shape))
    method = Gabor(orientations=3)
    for (frequency, angle), magnitude in zip(method.filters, method.magnitudes(images), strict=True):
        for image, found in zip(images, magnitude, strict=True):
            real, imaginary = gabor(image, frequency, theta=angle, bandwidth=1.0, mode="reflect")
            np.testing.assert_allclose(found, np.hypot(real, imaginary), atol=1e-12)


def test_four_statistics_of_each_filter(facts_of):
    hu = np.random.default_rng(1).uniform(-1200, 600, (3, 20, 20))
    patches = Patches.of(hu, patient=list("abc"), label=list("xyx"))
    method = Gabor(frequencies=(0.3, 0.1), orientations=2)
    found = method.describe(patches, facts_of(patches), {})
    assert found.shape == (3, 16)
    unit = np.clip((hu + 1000) / 1400, 0, 1)
    for number, (frequency, angle) in enumerate(method.filters):
        for row in range(3):
            magnitude = np.hypot(*gabor(unit[row], frequency, theta=angle, bandwidth=1.0, mode="reflect"))
            share = (magnitude**2 / (magnitude**2).sum()).ravel()
            expected = [magnitude.mean(), magnitude.std(), (magnitude**2).mean(), -(share * np.log(share)).sum()]
            np.testing.assert_allclose(found[row, 4 * number : 4 * number + 4], expected, rtol=1e-4)


def test_a_wave_answers_to_its_own_filter():
    x = np.arange(64)
    method = Gabor()
    wave = np.cos(2 * np.pi * 0.2 * x)[None, None].repeat(64, axis=1)  # along x: orientation 0
    energy = [float((magnitude[:, 16:48, 16:48] ** 2).mean()) for magnitude in method.magnitudes(wave)]
    assert method.filters[int(np.argmax(energy))] == (0.2, 0.0)


def test_an_even_patch_has_finite_features(facts_of):
    patches = Patches.of(np.full((2, 16, 16), -1000), patient=["a", "b"], label=["x", "y"])
    assert np.isfinite(Gabor().describe(patches, facts_of(patches), {})).all()


def test_volumes_are_refused():
    with pytest.raises(LesionForgeError, match="2-D patches"):
        Gabor().check_shape((16, 16, 16))
