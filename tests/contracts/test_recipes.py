"""What every recipe must do; a new file in `lesionforge.augment.recipes` is tested by existing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lesionforge import registry, settings
from lesionforge.augment import recipes
from lesionforge.augment.recipe import Recipe
from lesionforge.data import patches_file
from lesionforge.data.patch_table import AXES
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

SPACING_MM = {2: (0.7, 0.7), 3: (2.0, 0.7, 0.7)}
SHAPES = {"2-D": (71, 71), "3-D": (11, 71, 71)}
OFF_CENTRE_PX = {"z": 0, "y": 2, "x": -4}  # or no one would see a flip
RESULT_PX = 40
PEAK = 1000.0
LESIONS = 5

pytestmark = [
    pytest.mark.parametrize("name", registry.names(recipes)),
    pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES),
]


@pytest.fixture
def recipe(name):
    return replace(registry.class_named(recipes, name, Recipe)(), output_size=RESULT_PX)


@pytest.fixture
def source(shape):
    """Gaussian blobs, round in mm, as high as `PEAK` above 0; their masks end where they have half of it."""
    spacing_mm = SPACING_MM[len(shape)]
    where_px = np.indices(shape).T - np.array(shape) // 2 - [OFF_CENTRE_PX[axis] for axis in AXES[len(shape)]]
    squared = ((where_px * spacing_mm) ** 2).sum(axis=-1).T
    sigma_mm = np.linspace(1.9, 2.3, LESIONS).reshape(-1, *(1,) * len(shape))
    images = (PEAK * np.exp(-squared / (2 * sigma_mm**2))).astype(np.float32)
    return Patches.of(
        images,
        patient=[f"p{i}" for i in range(LESIONS)],
        label=["benign"] * 2 + ["malignant"] * 3,
        spacing_mm=spacing_mm,
        masks=(images > PEAK / 2).astype(np.uint8),
        diameter_mm=5.0,
        rating=np.arange(LESIONS),
    )


def centroids_px(images):
    axes = tuple(range(1, images.ndim))
    weights = images / images.sum(axis=axes, keepdims=True)
    return np.stack([(weights * where).sum(axis=axes) for where in np.indices(images.shape[1:])], axis=1)


def test_it_names_its_paper_and_its_numbers_are_settings(name, shape):
    kind = registry.class_named(recipes, name, Recipe)
    assert kind.paper
    assert settings.from_json(kind, settings.to_json(kind())) == kind()


def test_every_lesion_has_its_number_of_poses_no_two_alike(recipe, source, shape):
    table = recipe.sample(source, rng=np.random.default_rng(0))
    assert np.bincount(table["source_row"]).tolist() == [recipe.per_lesion] * LESIONS
    assert not table.duplicated().any()
    assert set(table) == {"source_row", *recipe.chain(source).columns}


def test_groups_are_nested_and_balanced(recipe, source, shape):
    largest = recipe.augment(source, seed=1, count=20)
    for count in (0, 1, 7, 20):
        group = recipe.augment(source, seed=1, count=count)
        pd.testing.assert_frame_equal(group.table, largest.rows(range(count)).table)
        np.testing.assert_array_equal(group.images, largest.images[:count])
        np.testing.assert_array_equal(group.masks, largest.masks[:count])
        each = np.bincount(group.table["source_row"], minlength=LESIONS)
        assert np.ptp(each) <= 1


def test_the_seed_decides(recipe, source, shape):
    made = recipe.augment(source, seed=3, count=9)
    assert recipe.augment(source, seed=3, count=9).digest == made.digest
    assert recipe.augment(source, seed=4, count=9).digest != made.digest


def test_rows_keep_their_identity(recipe, source, shape):
    made = recipe.augment(source, seed=0, count=20)
    kept = ["patient", "scan", "label", "origin", "source_pixels", "diameter_mm", "rating"]
    rows = made.table["source_row"]
    pd.testing.assert_frame_equal(made.table[kept], source.table[kept].iloc[rows].reset_index(drop=True))
    assert made.exposure == source.exposure
    assert made.unit == source.unit
    assert made.shape == (*shape[:-2], RESULT_PX, RESULT_PX)


def test_any_row_can_be_replayed_from_disk(recipe, source, shape, tmp_path):
    made = recipe.augment(source, seed=0, count=20)
    stored = patches_file.load(patches_file.save(made, tmp_path / "augmented"))
    some = [17, 2, 11]
    again = recipe.replay(source, stored.table.iloc[some])
    assert again.digest == made.rows(some).digest


def test_masks_follow_and_change_nothing(recipe, source, shape):
    made = recipe.augment(source, seed=0, count=20)
    of_images, of_masks = centroids_px(made.images), centroids_px(made.masks)
    np.testing.assert_allclose(of_masks, of_images, atol=0.7)
    assert np.ptp(of_images[:, -1]) > 3  # they did move
    without = Patches.of(source.images, patient=source.patients, spacing_mm=source.spacing_mm, diameter_mm=5.0)
    np.testing.assert_array_equal(recipe.augment(without, seed=0, count=20).images, made.images)


def test_the_spacing_keeps_lesions_their_size_in_mm(recipe, source, shape):
    made = recipe.augment(source, seed=0, count=20)
    across = tuple(range(1, made.images.ndim))
    mass = made.images.sum(across, dtype=np.float64) * made.spacing_mm.prod(axis=1)
    before = source.images.sum(across, dtype=np.float64) * source.spacing_mm.prod(axis=1)
    np.testing.assert_allclose(mass, before[made.table["source_row"]], rtol=0.07)
    flatness = [spacing_mm[:, 0] / spacing_mm[:, -1] for spacing_mm in (made.spacing_mm, source.spacing_mm)]
    np.testing.assert_allclose(flatness[0], flatness[1][0])


def test_an_empty_set_gives_an_empty_set(recipe, source, shape):
    assert len(recipe.augment(source.rows([]), seed=0)) == 0


def test_more_than_there_are_is_refused(recipe, source, shape):
    every = LESIONS * recipe.per_lesion
    for count in (-1, every + 1):
        with pytest.raises(LesionForgeError, match=f"between 0 and {every} .*but {count} came"):
            recipe.sample(source, count=count, rng=np.random.default_rng(0))


def test_patches_smaller_than_the_result_are_refused(recipe, source, shape):
    with pytest.raises(LesionForgeError, match="must fit inside patches"):
        recipe.augment(source.centre_crop((*shape[:-2], 20, 20)), seed=0, count=1)
