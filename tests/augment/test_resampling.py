import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lesionforge.augment.resampling import resample


def matrices(count, axes, *, rng):
    """Small random similarities and shears, so that nothing cancels by symmetry."""
    pull = np.tile(np.eye(axes + 1), (count, 1, 1))
    pull[:, :axes] += rng.uniform(-0.4, 0.4, (count, axes, axes + 1))
    return pull


def keys(t, a=-0.75):
    """Keys' cubic convolution kernel (IEEE TASSP 29, 1981, equation 4, with a free)."""
    t = np.abs(t)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def bicubic_reference(image, pull, shape):
    """Weigh every pixel of an edge-padded image by the kernel at its distance, in float64."""
    pad = 3
    padded = np.pad(image.astype(np.float64), pad, mode="edge")
    out = np.empty(shape)
    for y, x in np.ndindex(shape):
        at = pull @ [y - shape[0] // 2, x - shape[1] // 2, 1]
        where = [p + n // 2 for p, n in zip(at[:2], image.shape, strict=True)]
        where = [-p if p < 0 else p for p in where]
        where = [2 * (n - 1) - p if p > n - 1 else p for p, n in zip(where, image.shape, strict=True)]
        weights = [keys(p + pad - np.arange(n + 2 * pad)) for p, n in zip(where, image.shape, strict=True)]
        out[y, x] = weights[0] @ padded @ weights[1]
    return np.clip(out, image.min(), image.max())


@pytest.mark.parametrize(("source", "shape"), [((15, 15), (12, 12)), ((12, 16), (12, 16)), ((9, 14), (7, 9))])
def test_two_dimensions_agree_with_keys_kernel_in_float64(source, shape):
    rng = np.random.default_rng(0)
    images = rng.normal(0, 400, (5, *source))
    pull = matrices(5, 2, rng=rng)
    result, _ = resample(images, None, pull, shape=shape)
    expected = [bicubic_reference(image, matrix, shape) for image, matrix in zip(images, pull, strict=True)]
    np.testing.assert_allclose(result, expected, atol=0.05)


def test_three_dimensions_agree_with_scipy_linear_and_nearest():
    rng = np.random.default_rng(1)
    source, shape = (8, 13, 12), (6, 11, 12)
    images = rng.normal(0, 400, (4, *source))
    masks = (rng.random((4, *source)) < 0.5).astype(np.uint8)
    pull = matrices(4, 3, rng=rng)
    result, result_masks = resample(images, masks, pull, shape=shape)
    for i, matrix in enumerate(pull):
        linear = matrix[:3, :3]
        offset = matrix[:3, 3] + np.array(source) // 2 - linear @ (np.array(shape) // 2)
        same = {"matrix": linear, "offset": offset, "output_shape": shape, "mode": "mirror"}
        np.testing.assert_allclose(result[i], ndimage.affine_transform(images[i], order=1, **same), atol=0.05)
        np.testing.assert_array_equal(result_masks[i], ndimage.affine_transform(masks[i], order=0, **same))


@settings(deadline=None, max_examples=40)
@given(
    size=st.lists(st.integers(1, 71), min_size=2, max_size=2) | st.lists(st.integers(1, 12), min_size=3, max_size=3),
    dtype=st.sampled_from([np.int16, np.uint8, np.uint16, np.int32]),
    seed=st.integers(0, 99),
)
def test_identity_is_bit_identical_and_copies(size, dtype, seed):
    images = np.random.default_rng(seed).integers(0, 255, (2, *size)).astype(dtype)
    masks = images > 100
    identity = np.tile(np.eye(len(size) + 1), (2, 1, 1))
    result, result_masks = resample(images, masks, identity, shape=tuple(size))
    np.testing.assert_array_equal(result, images)
    np.testing.assert_array_equal(result_masks, masks)
    assert result.dtype == images.dtype
    assert result_masks.dtype == masks.dtype
    assert not np.shares_memory(result, images)


def test_identity_of_full_range_hu_is_bit_identical():
    images = np.random.default_rng(0).integers(-3024, 3072, (2, 71, 71)).astype(np.int16)
    result, _ = resample(images, None, np.tile(np.eye(3), (2, 1, 1)), shape=(71, 71))
    np.testing.assert_array_equal(result, images)


def test_the_centre_pixel_becomes_the_centre_pixel_of_a_crop():
    images = np.random.default_rng(0).integers(-1000, 400, (1, 71, 71)).astype(np.int16)
    result, _ = resample(images, None, np.eye(3)[None], shape=(64, 64))
    np.testing.assert_array_equal(result, images[:, 3:67, 3:67])


def test_outside_lies_the_mirror_image_then_its_far_edge():
    row = np.arange(5, dtype=np.int16) ** 2
    images = np.tile(row, (1, 5, 1))
    pull = np.eye(3)[None].copy()
    pull[:, 1, 2] = 6
    result, _ = resample(images, None, pull, shape=(5, 5))
    # Columns 6 … 10 of 5: 6 is the image of 2, 7 of 1, 8 of 0; then the edge stays.
    np.testing.assert_array_equal(result[0, 0], row[[2, 1, 0, 0, 0]])


def test_overshoot_is_cut_at_the_source_range():
    images = np.zeros((1, 21, 21), np.int16)
    images[:, :, 10:] = 1000
    pull = np.eye(3)[None].copy()
    pull[:, 1, 2] = 0.4
    result, _ = resample(images, None, pull, shape=(21, 21))
    assert result.min() == 0
    assert result.max() == 1000
    assert 0 < result[0, 10, 9] < 1000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_default_device_computes_the_same():
    rng = np.random.default_rng(0)
    images = rng.normal(0, 400, (4, 21, 21))
    pull = matrices(4, 2, rng=rng)
    on_cpu, _ = resample(images, images > 0, pull, shape=(16, 16))
    with torch.device("cuda"):
        on_gpu, _ = resample(images, images > 0, pull, shape=(16, 16))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=0.05)
