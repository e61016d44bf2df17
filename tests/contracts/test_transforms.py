"""What every transform must do; a new class in `lesionforge.augment` is tested by existing."""

import importlib
import inspect
import pkgutil

import numpy as np
import pandas as pd
import pytest

import lesionforge.augment
from lesionforge.augment.transform import Transform


def every_transform():
    modules = pkgutil.walk_packages(lesionforge.augment.__path__, "lesionforge.augment.")
    classes = {
        kind
        for module in modules
        for kind in vars(importlib.import_module(module.name)).values()
        if inspect.isclass(kind) and issubclass(kind, Transform) and not inspect.isabstract(kind)
    }
    return sorted(classes, key=lambda kind: kind.__name__)


COUNT = 6
SHAPES = {"2-D": (23, 23), "2-D, even": (16, 16), "3-D": (6, 12, 12)}
pytestmark = [
    pytest.mark.parametrize("kind", every_transform(), ids=lambda kind: kind.__name__),
    pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES),
]


@pytest.fixture
def images(shape):
    return np.random.default_rng(0).integers(-1000, 400, (COUNT, *shape)).astype(np.int16)


@pytest.fixture
def masks(images):
    return (images > 0).astype(np.uint8)


def drawn(kind, seed=0, count=COUNT):
    return kind().sample(np.linspace(5, 12, count), rng=np.random.default_rng(seed))


def test_the_same_seed_draws_the_same_parameters_and_another_seed_others(kind, shape):
    pd.testing.assert_frame_equal(drawn(kind), drawn(kind))
    assert not drawn(kind, count=40).equals(drawn(kind, seed=1, count=40))


def test_parameters_are_plain_columns_that_survive_a_csv_file(kind, shape, images, masks, tmp_path):
    parameters = drawn(kind)
    assert tuple(parameters) == kind().columns
    assert len(parameters) == COUNT
    assert all(isinstance(value, (int, float, str)) for row in parameters.to_numpy().tolist() for value in row)
    parameters.to_csv(tmp_path / "parameters.csv", index=False)
    stored = pd.read_csv(tmp_path / "parameters.csv", keep_default_na=False)
    replayed, replayed_masks = kind().apply(images, masks, stored)
    expected, expected_masks = kind().apply(images, masks, parameters)
    np.testing.assert_array_equal(replayed, expected)
    np.testing.assert_array_equal(replayed_masks, expected_masks)


def test_it_changes_images_and_leaves_its_inputs_alone(kind, shape, images, masks):
    before, masks_before = images.copy(), masks.copy()
    changed, _ = kind().apply(images, masks, drawn(kind))
    assert not np.array_equal(changed, before)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(masks, masks_before)


def test_shape_and_types_are_kept_and_masks_stay_binary(kind, shape, images, masks):
    transform = kind()
    for dtype in (np.int16, np.uint8, np.float32, np.float64):
        changed, changed_masks = transform.apply(images.astype(dtype), masks, drawn(kind))
        assert changed.dtype == dtype
        assert changed.shape == changed_masks.shape == (COUNT, *transform.output_shape(shape))
        assert changed_masks.dtype == masks.dtype
        assert set(np.unique(changed_masks)) <= {0, 1}


def test_intensities_stay_finite_and_within_the_source_patch(kind, shape, images, masks):
    across = tuple(range(1, images.ndim))
    changed, _ = kind().apply(images.astype(np.float32), masks, drawn(kind))
    assert np.isfinite(changed).all()
    assert (changed.min(across) >= images.min(across)).all()
    assert (changed.max(across) <= images.max(across)).all()


def test_a_batch_equals_one_by_one_with_or_without_masks(kind, shape, images, masks):
    transform, parameters = kind(), drawn(kind)
    batch, batch_masks = transform.apply(images, masks, parameters)
    without, no_masks = transform.apply(images, None, parameters)
    np.testing.assert_array_equal(without, batch)
    assert no_masks is None
    for i in range(COUNT):
        image, mask = transform.apply(images[i : i + 1], masks[i : i + 1], parameters.iloc[i : i + 1])
        np.testing.assert_array_equal(image[0], batch[i])
        np.testing.assert_array_equal(mask[0], batch_masks[i])


def test_masks_follow_images(kind, shape):
    block = np.zeros((COUNT, *shape), np.uint8)
    block[(slice(None), *(slice(n // 2) for n in shape))] = 1
    changed, masks = kind().apply(block.astype(np.float32), block, drawn(kind))
    assert np.mean((changed > 0.5) != masks) < 0.03  # the nearest pixel of an edge may be the other one's


def test_read_only_arrays_are_enough(kind, shape, images, masks):
    images.flags.writeable = masks.flags.writeable = False
    kind().apply(images, masks, drawn(kind))


def test_magnification_is_a_positive_number_for_each_row(kind, shape):
    magnification = kind().magnification(drawn(kind))
    assert magnification.shape == (COUNT,)
    assert (magnification > 0).all()
