import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.feature import canny

from lesionforge.generators import pictures


def disc(radius, side=33, centre=(16, 16)):
    y, x = np.ogrid[:side, :side]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def batch(*images):
    return torch.from_numpy(np.stack(images)).float().unsqueeze(1)


def test_an_outline_is_one_in_the_lesion_and_minus_one_around_it():
    masks = batch(disc(5), disc(9))
    assert torch.equal(pictures.outline(masks) == 1, masks == 1)
    assert set(pictures.outline(masks).unique().tolist()) == {-1, 1}


def found_edges(image, smoothing_px=1.0, least_slope=0.1):
    made = pictures.edges(batch(image), smoothing_px=smoothing_px, least_slope=least_slope)
    assert set(made.unique().tolist()) <= {-1, 1}
    return made[0, 0].numpy() == 1


@pytest.mark.parametrize("radius", [4, 7, 11.5])
def test_edges_run_around_a_disc_one_pixel_thin(radius):
    image = np.where(disc(radius), 0.5, -0.5)
    edge = found_edges(image)
    y, x = np.nonzero(edge)
    assert np.abs(np.hypot(y - 16, x - 16) - radius).max() < 1.5
    assert ndimage.label(~edge)[1] == 2  # inside and outside: no gap
    assert edge.sum() < 2 * np.pi * radius * 1.3


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_straight_edge_between_two_pixels_is_found_once(axis, sign):
    half = sign * np.where(np.arange(16) < 8, 0.4, -0.4)
    edge = found_edges(np.broadcast_to(half[:, None] if axis == 0 else half, (16, 16)))
    assert (edge.sum(axis=axis) == 1).all()
    assert set(np.nonzero(edge)[axis]) <= {7, 8}


def test_edges_are_those_of_canny_without_hysteresis():
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(0, 1, (64, 64)), 3)
    image /= np.abs(image).max()
    # scikit-image's Sobel operator gives 8 times the slope a pixel.
    expected = canny(image, sigma=1, low_threshold=0.32, high_threshold=0.32, mode="nearest")
    edge = found_edges(image, least_slope=0.04)
    inner = (slice(2, -2), slice(2, -2))
    assert expected[inner].sum() > 100
    # Its maxima are interpolated between eight neighbours, ours are taken at the nearest of them.
    near = (
        ndimage.binary_dilation(edge, np.ones((3, 3)))[inner],
        ndimage.binary_dilation(expected, np.ones((3, 3)))[inner],
    )
    assert near[0][expected[inner]].mean() > 0.97
    assert near[1][edge[inner]].mean() > 0.97


@pytest.mark.parametrize("width", [4, 8])
def test_the_least_slope_is_that_of_the_image_a_pixel(width):
    profile = 0.8 * np.tanh((np.arange(64) - 32) / width)  # 0.8 / width at its steepest, smooth enough to stay so
    image, steepest = np.broadcast_to(profile, (64, 64)), 0.8 / width
    assert found_edges(image, least_slope=0.9 * steepest)[:, 32].all()
    assert not found_edges(image, least_slope=1.02 * steepest).any()


def test_edges_do_not_care_for_brightness_and_see_dark_lesions_as_bright_ones():
    image = np.where(disc(7), 0.3, -0.3) + np.random.default_rng(0).normal(0, 0.01, (33, 33))
    np.testing.assert_array_equal(found_edges(image), found_edges(image + 0.2))
    different = found_edges(image) ^ found_edges(-image)  # of two equal neighbours the other one is taken
    assert different.sum() < 0.3 * found_edges(image).sum()


@pytest.mark.parametrize("margin_px", [0, 1, 3])
def test_what_is_erased_is_the_lesion_and_its_margin(margin_px):
    image = np.random.default_rng(0).uniform(-0.9, 1, (33, 33)).astype(np.float32)
    mask = disc(6, centre=(12, 20))
    patch, hole = pictures.erased(batch(image), batch(mask), margin_px=margin_px)[0].numpy()
    gone = ndimage.binary_dilation(mask, np.ones((2 * margin_px + 1,) * 2))
    np.testing.assert_array_equal(hole, np.where(gone, 1, -1))
    np.testing.assert_array_equal(patch, np.where(gone, -1, image))
