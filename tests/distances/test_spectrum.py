import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from lesionforge.distances.spectrum import (
    frequencies,
    histogram_distance,
    histograms,
    radial_spectrum,
    spectrum_distance_db,
)


def noise(count=200, shape=(32, 32), seed=0):
    return np.random.default_rng(seed).normal(-500, 100, (count, *shape))


@pytest.mark.parametrize("shape", [(32, 32), (31, 40), (12, 16, 16)])
def test_white_noise_has_its_variance_at_every_frequency(shape):
    power = radial_spectrum(noise(shape=shape)).mean(axis=0)
    assert power.shape == frequencies(shape).shape
    # The lowest ring lost what the mean took with it.
    np.testing.assert_allclose(power[1:], 100**2, rtol=0.1)


def test_a_wave_is_found_at_its_frequency():
    x = np.arange(32)
    for cycles in (4, 9, 15):
        wave = 50 * np.sin(2 * np.pi * cycles * x / 32)[None, None] * np.ones((1, 32, 1))
        power = radial_spectrum(wave)[0]
        assert abs(frequencies((32, 32))[power.argmax()] - cycles / 32) < 1 / 32


def test_blur_and_noise_are_seen_in_decibels():
    images = noise()
    power = radial_spectrum(images)
    assert spectrum_distance_db(power, power) == 0
    assert spectrum_distance_db(power, radial_spectrum(2 * images)) == pytest.approx(20 * np.log10(2), rel=1e-3)
    assert spectrum_distance_db(power, radial_spectrum(gaussian_filter(images, (0, 1, 1)))) > 10


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_the_distance_of_histograms_is_scipys_of_binned_values(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 30, (5, 8, 8)), rng.normal(10, 40, (7, 8, 8))
    found = [histograms(each, low=-200, high=200, bins=50) for each in (first, second)]
    middles = -200 + 8 * (np.arange(50) + 0.5)
    for shares, images in zip(found, (first, second), strict=True):
        expected = np.histogram(images.clip(-200, 199.999), bins=50, range=(-200, 200))[0] / images.size
        np.testing.assert_allclose(shares.mean(axis=0), expected, atol=1e-12)
    expected = wasserstein_distance(middles, middles, *(each.mean(axis=0) for each in found))
    assert histogram_distance(*found, width=8) == pytest.approx(expected, rel=1e-6)


def test_a_shifted_scale_is_found_in_its_unit():
    images = noise(20)
    shares = [histograms(each, low=-1000, high=400, bins=140) for each in (images, images + 50)]
    assert histogram_distance(*shares, width=10) == pytest.approx(50, rel=0.01)
