import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from scipy.stats import wasserstein_distance

from lesionforge.distances import sliced_wasserstein as module
from lesionforge.distances.sliced_wasserstein import expanded, laplacian, reduced, sliced_wasserstein
from lesionforge.errors import LesionForgeError

FEW = {"neighbourhoods": 16, "directions": 24}
KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256  # Burt and Adelson's, as in OpenCV's pyramids


def textured(count=40, shape=(32, 32), seed=0, smoothness=1.0):
    noise = np.random.default_rng(seed).normal(size=(count, *shape))
    return (gaussian_filter(noise, (0, smoothness, smoothness)) * 300 - 700).astype(np.float32)


def mirrored(image, kernel):
    return convolve2d(np.pad(image.astype(np.float64), 2, mode="reflect"), kernel, mode="valid")


@pytest.mark.parametrize("shape", [(16, 16), (21, 14), (7, 9)], ids=str)
def test_a_level_is_reduced_and_expanded_as_by_convolution_in_double_precision(shape):
    images = textured(3, shape)
    small = np.stack([mirrored(image, KERNEL)[::2, ::2] for image in images])
    np.testing.assert_allclose(reduced(images), small, atol=1e-3)
    spread = np.zeros(images.shape)
    spread[:, ::2, ::2] = small
    large = np.stack([mirrored(image, 4 * KERNEL) for image in spread])
    np.testing.assert_allclose(expanded(reduced(images), shape), large, atol=1e-3)
    np.testing.assert_allclose(laplacian(images, 0, is_coarsest=False), images - large, atol=2e-3)


def test_the_levels_of_a_pyramid_add_up_to_the_images():
    images = textured(4, (64, 48))
    restored = laplacian(images, 2, is_coarsest=True)
    for level, shape in ((1, (32, 24)), (0, (64, 48))):
        restored = laplacian(images, level, is_coarsest=False) + expanded(restored, shape)
    np.testing.assert_allclose(restored, images, atol=1e-3)


def test_distances_are_those_of_scipy_for_each_projection():
    first, second = textured(6, (16, 16), 1), textured(6, (16, 16), 2, smoothness=2)
    found = sliced_wasserstein(first, second, neighbourhoods=5, directions=7, seed=3)
    rng = np.random.default_rng([3, 0])
    corners = np.stack([rng.integers(0, 16 - 7 + 1, (6, 5)) for _ in range(2)])
    clouds = []
    for images in (first.astype(np.float64), second.astype(np.float64)):
        cloud = [
            image[y : y + 7, x : x + 7].ravel()
            for image, ys, xs in zip(images, *corners, strict=True)
            for y, x in zip(ys, xs, strict=True)
        ]
        clouds.append((np.array(cloud) - np.mean(cloud)) / np.std(cloud))
    axes = rng.normal(size=(7, 49))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    expected = np.mean([wasserstein_distance(clouds[0] @ axis, clouds[1] @ axis) for axis in axes])
    assert found == {16: pytest.approx(expected, rel=1e-5)}


def test_levels_halve_down_to_16_pixels():
    first, second = textured(4, (80, 64)), textured(4, (80, 64), 1)
    assert list(sliced_wasserstein(first, second, **FEW)) == [64, 32, 16]
    assert list(sliced_wasserstein(first[:, :31, :31], second[:, :31, :31], **FEW)) == [31]
    assert list(sliced_wasserstein(first[:, :7, :8], second[:, :7, :8], **FEW)) == [7]


def test_the_same_images_are_at_0_whatever_their_unit_and_other_images_are_not():
    images = textured()
    assert sliced_wasserstein(images, images, **FEW) == {32: 0, 16: 0}
    assert sliced_wasserstein(images, 1.7 * images + 40, **FEW) == pytest.approx({32: 0, 16: 0}, abs=1e-5)
    assert min(sliced_wasserstein(images, textured(seed=1), **FEW).values()) > 0.01


def test_blur_shows_at_the_finest_level_alone():
    first, second = (textured(150, seed=seed, smoothness=0.5) for seed in (1, 2))
    alike = sliced_wasserstein(first, second, **FEW)
    blurred = sliced_wasserstein(first, gaussian_filter(second, (0, 0.7, 0.7)), **FEW)
    assert blurred[32] > 2 * alike[32]
    assert blurred[16] == pytest.approx(alike[16], rel=0.2)


def test_more_images_of_one_kind_are_nearer():
    few, many = (sliced_wasserstein(textured(n, seed=1), textured(n, seed=2), **FEW)[32] for n in (10, 300))
    assert many < few / 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_it_is_symmetric_and_its_seed_decides_the_draws(seed, sizes):
    first, second = (textured(n, (16, 16), n) for n in sizes)
    there, back = (sliced_wasserstein(*pair, **FEW, images=4, seed=seed) for pair in ((first, second), (second, first)))
    assert there == pytest.approx(back)
    assert there == sliced_wasserstein(first, second, **FEW, images=4, seed=seed)
    assert there != sliced_wasserstein(first, second, **FEW, images=4, seed=seed + 1) or not there[16]


def test_as_many_images_as_asked_for_are_drawn_from_each_set():
    first, second = textured(30), textured(50, seed=1)
    assert sliced_wasserstein(first, second, **FEW, images=30) == sliced_wasserstein(first, second, **FEW)
    assert sliced_wasserstein(first, first, **FEW, images=7) == {32: 0, 16: 0}
    assert sliced_wasserstein(first, second, **FEW, images=7) != sliced_wasserstein(first, second, **FEW)


def test_work_in_parts_gives_the_same(monkeypatch):
    first, second = textured(20), textured(20, seed=1)
    whole = sliced_wasserstein(first, second, **FEW)
    monkeypatch.setattr(module, "CHUNK_IMAGES", 3)
    monkeypatch.setattr(module, "CHUNK_PROJECTIONS", 1000)
    assert sliced_wasserstein(first, second, **FEW) == pytest.approx(whole, rel=1e-5)


def test_images_without_structure_are_far_from_others_and_not_an_error():
    flat = np.full((4, 16, 16), -800, np.int16)
    assert sliced_wasserstein(textured(4, (16, 16)), flat, **FEW)[16] > 0.3
    assert sliced_wasserstein(flat, flat, **FEW) == {16: 0}


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 16, 16), (4, 16, 16)), ((4, 16, 16), (4, 16, 8)), ((4, 6, 16), (4, 6, 16)), ((4, 8, 8, 8), (4, 8, 8, 8))],
    ids=str,
)
def test_sets_that_cannot_be_compared_are_named(first, second):
    with pytest.raises(LesionForgeError, match=r"7×7 pixels or more, but \("):
        sliced_wasserstein(np.zeros(first), np.zeros(second))


def test_nan_is_refused():
    images = textured(2, (8, 8))
    images[1, 0, 0] = np.nan
    with pytest.raises(LesionForgeError, match="NaN"):
        sliced_wasserstein(textured(2, (8, 8)), images)
