import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from lesionforge.distances.texture import Texture
from lesionforge.errors import LesionForgeError

TEXTURE = Texture(-1000.0, 400.0)


@pytest.fixture(scope="module")
def patches():
    """Bright, smooth blobs in noise, in HU."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 15.5
    radius = rng.uniform(3, 9, (40, 1, 1))
    blobs = 600 / (1 + np.exp((np.hypot(y, x) - radius) / 1.5))
    return (blobs - 850 + rng.normal(0, 40, (40, 32, 32))).round().clip(-1000).astype(np.int16)


def described(images, texture=TEXTURE):
    """Features by name."""
    return dict(zip(texture.names(images.shape[1:]), texture.describe(images).T, strict=True))


def test_first_order_features_equal_scipys(patches):
    found = described(patches)
    pixels = patches.reshape(len(patches), -1).astype(np.float64)
    for name, expected in {
        "mean": pixels.mean(axis=1),
        "log_sd": np.log(pixels.std(axis=1)),
        "skewness": np.cbrt(stats.skew(pixels, axis=1)),
        "log_kurtosis": np.log1p(stats.kurtosis(pixels, axis=1, fisher=False)),
        "percentile_5": np.percentile(pixels, 5, axis=1),
        "percentile_50": np.median(pixels, axis=1),
        "percentile_95": np.percentile(pixels, 95, axis=1),
    }.items():
        np.testing.assert_allclose(found[name], expected, rtol=2e-5, err_msg=name)


def test_a_level_is_of_the_stated_width():
    assert TEXTURE.bin_width == 50
    steps = np.tile(np.arange(-1000, 600, 50), (1, 8, 1))  # a level a pixel, and four more above the window
    found = described(steps.repeat(4, axis=1)[:, :32])
    coarse = described((steps + 49).repeat(4, axis=1)[:, :32])
    for name in ("contrast_1", "entropy_1", "energy_2"):
        assert found[name] == pytest.approx(coarse[name])


def test_rings_see_how_large_a_lesion_is_and_whether_it_is_round():
    y, x = np.mgrid[:64, :64] - 31.5
    disc = np.where(np.hypot(y, x) < 12, 0.0, -800.0)
    ellipse = np.where(np.hypot(y / 2, x * 2) < 12, 0.0, -800.0)
    found = described(np.stack([disc, ellipse]))
    means = [found[f"ring_{number}_mean"][0] for number in range(8)]  # rings are 4 pixels wide
    assert means == pytest.approx([0, 0, 0, -800, -800, -800, -800, -800])
    assert found["ring_2_log_sd"][0] < 0 < found["ring_2_log_sd"][1]


def test_power_of_white_noise_is_its_variance_in_every_band():
    noise = np.random.default_rng(0).normal(-300, 30, (200, 32, 32))
    found = described(noise)
    for number in range(8):
        assert np.mean(10 ** (found[f"band_{number}_db"] / 10)) == pytest.approx(900, rel=0.1)


def test_power_of_a_wave_lies_in_its_band():
    x = np.arange(64)
    wave = np.tile(-300 + 100 * np.sin(2 * np.pi * x * 0.28), (1, 64, 1))  # 0.25 to 0.3125 cycles a pixel is band 4
    found = described(wave)
    powers = np.array([found[f"band_{number}_db"][0] for number in range(8)])
    assert powers.argmax() == 4
    assert powers[4] - np.delete(powers, 4).max() > 10


def test_every_damage_moves_the_features_that_should_see_it(patches):
    before = described(patches)
    blurred = described(ndimage.gaussian_filter(patches.astype(float), (0, 1, 1)))
    noisy = described(patches + np.random.default_rng(1).normal(0, 80, patches.shape))
    brighter = described(patches + 30)
    assert (blurred["band_7_db"] < before["band_7_db"] - 10).all()
    assert (blurred["contrast_1"] < before["contrast_1"]).all()
    assert (noisy["band_7_db"] > before["band_7_db"] + 3).all()
    np.testing.assert_allclose(brighter["mean"] - before["mean"], 30, atol=1)
    np.testing.assert_allclose(brighter["ring_0_mean"] - before["ring_0_mean"], 30, atol=1)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=15)
def test_flips_and_the_size_of_the_set_change_nothing(seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(-500, 200, (7, *rng.integers(8, 20, 2)))
    whole = TEXTURE.describe(images)
    np.testing.assert_allclose(TEXTURE.describe(images[:, ::-1, ::-1]), whole, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(TEXTURE.describe(images[3:]), whole[3:], rtol=1e-9)


@pytest.mark.parametrize("shape", [(4, 4), (8, 8), (9, 16), (4, 8, 8), (16, 16, 16)])
def test_small_patches_and_volumes_have_finite_features(shape):
    rng = np.random.default_rng(0)
    images = np.concatenate([rng.normal(-500, 200, (3, *shape)), np.full((1, *shape), -700.0)])
    found = TEXTURE.describe(images)
    assert found.shape == (4, len(TEXTURE.names(shape)))
    assert np.isfinite(found).all()
    assert len(set(TEXTURE.names(shape))) == found.shape[1]


def test_what_lies_outside_the_window_is_clipped(patches):
    beyond = patches.astype(np.int32)
    beyond[:, 0, 0], beyond[:, 0, 1] = -3024, 20_000
    np.testing.assert_array_equal(TEXTURE.describe(beyond), TEXTURE.describe(beyond.clip(-1000, 400)))


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.zeros((2, 3, 8)), "4 pixels a side"),
        (np.zeros((2, 8)), "planes or volumes"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        (np.full((2, 8, 8), np.inf), "infinity"),
    ],
)
def test_what_has_no_texture_is_refused(images, complaint):
    with pytest.raises(LesionForgeError, match=complaint):
        TEXTURE.describe(images)
