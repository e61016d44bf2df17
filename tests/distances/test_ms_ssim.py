import numpy as np
import pytest
from scipy.signal import fftconvolve
from skimage.metrics import structural_similarity

from lesionforge.distances.ms_ssim import GAUSSIAN, WEIGHTS, ms_ssim, random_pairs
from lesionforge.errors import LesionForgeError


def pairs(side, count=3, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.random((count, side, side))
    return first, (first + 0.3 * rng.random(first.shape)).clip(0, 1)


def by_definition(one, other, scales):
    """Wang et al. 2003, equation 7, with a two-dimensional convolution."""
    kernel = np.outer(GAUSSIAN, GAUSSIAN)
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    value = 1.0
    for scale in range(scales):
        mean, other_mean, square, other_square, product = (
            fftconvolve(each, kernel, mode="valid") for each in (one, other, one**2, other**2, one * other)
        )
        structure = (2 * (product - mean * other_mean) + 0.03**2) / (
            square + other_square - mean**2 - other_mean**2 + 0.03**2
        )
        if scale == scales - 1:
            structure *= (2 * mean * other_mean + 0.01**2) / (mean**2 + other_mean**2 + 0.01**2)
        value *= structure.mean() ** weights[scale]
        side = len(one) // 2 * 2
        one, other = (each[:side, :side].reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3)) for each in (one, other))
    return value


@pytest.mark.parametrize(("side", "scales"), [(16, 1), (33, 2), (64, 3), (180, 5)])
def test_it_equals_its_definition(side, scales):
    first, second = pairs(side, count=2)
    expected = [by_definition(*pair, scales) for pair in zip(first, second, strict=True)]
    np.testing.assert_allclose(ms_ssim(first, second, low=0, high=1), expected, rtol=1e-6)


def test_at_one_scale_it_is_scikit_images_similarity():
    first, second = pairs(20)
    expected = [
        structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(ms_ssim(first, second, low=0, high=1), expected, rtol=1e-6)


def test_intensities_are_taken_as_the_window_shows_them():
    first, second = pairs(24)
    hu = [each * 1400 - 1000 for each in (first, second)]
    np.testing.assert_allclose(ms_ssim(*hu, low=-1000, high=400), ms_ssim(first, second, low=0, high=1), rtol=1e-9)
    outside = np.where(first > 0.9, 5000, hu[0])
    clipped = np.where(first > 0.9, 400, hu[0])
    expected = ms_ssim(clipped, hu[1], low=-1000, high=400)
    np.testing.assert_allclose(ms_ssim(outside, hu[1], low=-1000, high=400), expected)


def test_equal_images_are_1_and_volumes_work():
    volume = np.random.default_rng(0).random((2, 12, 16, 16))
    np.testing.assert_allclose(ms_ssim(volume, volume, low=0, high=1), 1)
    assert (ms_ssim(volume, 1 - volume, low=0, high=1) < 0.5).all()


def test_pairs_are_of_two_patients_and_seeded():
    groups = np.repeat(["a", "b", "c"], [8, 1, 1])
    drawn = random_pairs(50, groups, seed=0)
    assert drawn.shape == (2, 50)
    assert (groups[drawn[0]] != groups[drawn[1]]).all()
    np.testing.assert_array_equal(drawn, random_pairs(50, groups, seed=0))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(LesionForgeError, match="11 pixels"):
        ms_ssim(np.zeros((1, 10, 30)), np.zeros((1, 10, 30)), low=0, high=1)
    with pytest.raises(LesionForgeError, match="pairs of images"):
        ms_ssim(np.zeros((1, 30, 30)), np.zeros((2, 30, 30)), low=0, high=1)
    with pytest.raises(LesionForgeError, match="two patients"):
        random_pairs(3, np.zeros(5), seed=0)
