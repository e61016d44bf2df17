"""What recipes share; what every one of them must do is in the contract's tests."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.augment.recipes.frid_adar_2018 import FridAdar2018
from lesionforge.augment.recipes.wang_2020 import Wang2020
from lesionforge.data.patches import concatenate
from lesionforge.errors import LesionForgeError

SMALL = FridAdar2018(output_size=24)


@pytest.fixture
def source(small_patches):
    return small_patches(patients=3, per_patient=1, shape=(35, 35))


def test_only_the_augmentations_asked_for_are_made(source, monkeypatch):
    made = []

    def resample(images, masks, pull, *, shape):
        made.append(len(images))
        return np.zeros((len(images), *shape)), np.zeros((len(images), *shape))

    monkeypatch.setattr("lesionforge.augment.affine.resample", resample)
    SMALL.augment(source, seed=0, count=5)
    assert sum(made) == 5


def test_replay_refuses_what_was_made_from_others(source):
    made = SMALL.augment(source, seed=0, count=6)
    mixed = concatenate([source.centre_crop(24), made])
    for patches, table, message in (
        (source.rows([2, 0, 1]), made.table, "must have been made from these patches"),
        (source.rows([0]), made.table, "must have been made from these patches"),
        (source, mixed.table, "must have been made from these patches"),
        (source, source.table, "column source_row"),
        (source, made.table.drop(columns="scale"), "scale are missing"),
    ):
        with pytest.raises(LesionForgeError, match=message):
            SMALL.replay(patches, table)


def test_the_steps_of_a_pose_are_made_in_the_papers_order(source):
    images = source.images.astype(np.float64)
    recipe = replace(Wang2020(), output_size=35, angles_deg=(90.0,), min_scale=1, max_scale=1, flips=("y",))
    made = recipe.augment(source, seed=0, count=3)
    shifts = made.table[["translate_y_px", "translate_x_px"]].round().astype(int)
    table = made.table.assign(**shifts)  # whole shifts and a quarter turn need no interpolation
    again = recipe.replay(source, table)
    for i, (row, dy, dx) in enumerate(zip(table["source_row"], *shifts.to_numpy().T, strict=True)):
        expected = np.flip(np.rot90(np.roll(images[row], (dy, dx), axis=(0, 1))), 0)
        np.testing.assert_array_equal(again.images[i, 8:-8, 8:-8], expected[8:-8, 8:-8])


def test_oblong_pixels_are_refused_where_they_would_be_turned(source):
    oblong = source.with_images(source.images, source.masks, spacing_mm=(0.5, 0.6))
    with pytest.raises(LesionForgeError, match="square pixels along y and x"):
        SMALL.augment(oblong, seed=0, count=3)
