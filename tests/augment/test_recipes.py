import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionforge.augment.recipes import FridAdar2018, frid_adar_2018, lesion_diameter_px, replay
from lesionforge.data import patches_file
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LesionForgeError

PUBLISHED_GROUPS = (0, 500, 1000, 2000, 3000, 5000, 7500, 10000, 15000)


def lesions(count=3, shape=(35, 35), **columns):
    images = np.random.default_rng(0).integers(-1000, 400, (count, *shape)).astype(np.int16)
    columns = {"diameter_mm": np.linspace(6, 18, count), "spacing_mm": 0.6} | columns
    return Patches.of(images, patient=[f"p{i}" for i in range(count)], label="cyst", **columns)


def sample(diameter_px=(10.0, 60.0), **arguments):
    return FridAdar2018().sample(np.array(diameter_px), rng=np.random.default_rng(0), **arguments)


SMALL = FridAdar2018(output_size=24)


def test_counts_and_ranges_are_the_published_ones():
    table = sample()
    assert FridAdar2018().per_lesion == 480 == 30 * (1 + 3 + 7 + 5)
    assert table["source_row"].value_counts().to_dict() == {0: 480, 1: 480}
    assert table["rotation_deg"].between(0, 180).all()
    shifted = (table[["translate_y_px", "translate_x_px"]] != 0).all(axis=1)
    scaled, flipped = table["scale"] != 1, table["flip"] != ""
    for (_, _), region in table.groupby(["source_row", "rotation_deg"]):
        assert len(region) == 16
        assert sorted(region["flip"]) == [""] * 13 + ["x", "y", "yx"]
    assert table.groupby("source_row")["rotation_deg"].nunique().tolist() == [30, 30]
    assert (shifted.sum(), scaled.sum(), flipped.sum()) == (2 * 30 * 7, 2 * 30 * 5, 2 * 30 * 3)
    assert (shifted.astype(int) + scaled + flipped).max() == 1
    for row, (limit, diameter) in enumerate([(1, 10), (4, 60)]):  # min(4, 0.1 d)
        ours = table[table["source_row"] == row]
        farthest = ours[["translate_y_px", "translate_x_px"]].abs().to_numpy().max()
        assert 0.97 * limit < farthest < limit
        margin = (64 / ours.loc[ours["scale"] != 1, "scale"] - 64) / 2
        assert margin.between(0.1 * diameter, 0.4 * diameter).all()
        assert np.ptp(margin) > 0.28 * diameter


def test_published_groups_are_nested_with_the_same_number_of_each_lesion():
    diameters = np.full(121, 20.0)  # two thirds of the paper's 182 lesions
    largest = sample(diameters, count=PUBLISHED_GROUPS[-1])
    assert not largest.duplicated().any()
    for count in PUBLISHED_GROUPS:
        group = sample(diameters, count=count)
        pd.testing.assert_frame_equal(group, largest.iloc[:count])
        each = np.bincount(group["source_row"], minlength=121)
        assert set(each) <= {count // 121, -(-count // 121)}
    kinds = largest["flip"].value_counts(normalize=True)
    assert kinds[""] == pytest.approx(13 / 16, abs=0.01)


def test_a_smaller_set_is_the_beginning_of_a_larger_one_to_the_pixel():
    small = frid_adar_2018(lesions(), seed=3, count=7, recipe=SMALL)
    large = frid_adar_2018(lesions(), seed=3, count=20, recipe=SMALL)
    assert small.shape == (24, 24)
    np.testing.assert_array_equal(small.images, large.images[:7])
    other = frid_adar_2018(lesions(), seed=4, count=7, recipe=SMALL)
    assert not np.array_equal(small.images, other.images)


def test_all_augmentations_by_default():
    assert len(frid_adar_2018(lesions(1), seed=0, recipe=SMALL)) == 480


def test_only_the_augmentations_asked_for_are_made(monkeypatch):
    made = []
    monkeypatch.setattr(
        "lesionforge.augment.affine.resample",
        lambda images, masks, pull, *, shape: (
            made.append(len(images)),
            (np.zeros((len(images), *shape)), masks),
        )[1],
    )
    frid_adar_2018(lesions(), seed=0, count=5, recipe=SMALL)
    assert sum(made) == 5


def test_rows_keep_their_identity_for_the_leak_guard():
    source = lesions()
    result = frid_adar_2018(source, seed=0, count=9, recipe=SMALL)
    assert result.exposure == source.exposure
    rows = result.table["source_row"]
    assert (result.table["patient"].to_numpy() == source.table["patient"].to_numpy()[rows]).all()
    np.testing.assert_allclose(result.spacing_mm[:, 0] * result.table["scale"], 0.6)


def test_any_row_can_be_replayed_from_disk(tmp_path):
    images = lesions().images
    source = lesions(masks=(images > 0).astype(np.uint8))
    made = frid_adar_2018(source, seed=0, count=60, recipe=SMALL)
    stored = patches_file.load(patches_file.save(made, tmp_path / "augmented"))
    some = [50, 3, 17]
    again = replay(source, stored.table.iloc[some], output_size=24)
    np.testing.assert_array_equal(again.images, made.images[some])
    np.testing.assert_array_equal(again.masks, made.masks[some])
    pd.testing.assert_frame_equal(again.table, made.rows(some).table)


def test_replay_refuses_what_was_made_from_others():
    source = lesions()
    made = frid_adar_2018(source, seed=0, count=6, recipe=SMALL)
    others = source.rows([2, 0, 1])
    with pytest.raises(LesionForgeError, match="must have been made from these patches"):
        replay(others, made.table, output_size=24)
    with pytest.raises(LesionForgeError, match="must have been made from these patches"):
        replay(source.rows([0]), made.table, output_size=24)
    with pytest.raises(LesionForgeError, match="column source_row"):
        replay(source, source.table, output_size=24)
    mixed = concatenate([source.centre_crop(24), made])
    with pytest.raises(LesionForgeError, match="must have been made from these patches"):
        replay(source, mixed.table, output_size=24)


def test_a_lesion_of_unknown_size_is_refused():
    with pytest.raises(LesionForgeError, match="1 of 3 lesions have none"):
        frid_adar_2018(lesions(diameter_mm=[5.0, np.nan, 5.0]), seed=0)


def test_an_unknown_diameter_is_read_off_the_mask():
    y, x = np.mgrid[-17:18, -17:18]
    disc = (y**2 + x**2 <= 8**2).astype(np.uint8)
    masks = np.stack([disc, disc, 0 * disc])
    source = lesions(masks=masks, diameter_mm=[6.0, np.nan, np.nan])
    diameter_px = lesion_diameter_px(source)
    assert diameter_px[0] == pytest.approx(10)
    assert diameter_px[1] == pytest.approx(16, abs=0.3)
    assert np.isnan(diameter_px[2])
    volume = lesions(1, (3, 35, 35), masks=np.stack([0 * disc, disc, 0 * disc])[None], diameter_mm=np.nan)
    assert lesion_diameter_px(volume) == pytest.approx([16], abs=0.3)


def test_volumes_turn_in_the_axial_plane():
    result = frid_adar_2018(lesions(2, (5, 30, 30)), seed=0, count=4, recipe=SMALL)
    assert result.shape == (5, 24, 24)


@pytest.mark.parametrize("count", [-1, 3 * 480 + 1])
def test_more_than_there_are_is_refused(count):
    with pytest.raises(LesionForgeError, match="between 0 and 1440"):
        frid_adar_2018(lesions(), seed=0, count=count)


def test_oblong_pixels_are_refused():
    with pytest.raises(LesionForgeError, match="square pixels"):
        frid_adar_2018(lesions(spacing_mm=np.array([[0.5, 0.6]] * 3)), seed=0, count=3, recipe=SMALL)


@pytest.mark.real_data
@pytest.mark.skipif("LESIONFORGE_DATA" not in os.environ, reason="LESIONFORGE_DATA is not set")
def test_real_nodules_stay_centred_in_true_tissue():
    with np.load(Path(os.environ["LESIONFORGE_DATA"]) / "lidc_maxslice" / "images_hu.npz") as file:
        images, masks = file["hu"][:200], file["mask"][:200]
    small = masks.sum(axis=(1, 2)) < 300
    source = Patches.of(images[small], patient=[str(i) for i in range(small.sum())], masks=masks[small])
    result = frid_adar_2018(source, seed=0, count=4 * len(source))
    rows = result.table["source_row"].to_numpy()
    kept = (result.table["translate_y_px"] == 0).to_numpy()
    middle = (slice(None), slice(24, 41), slice(24, 41))
    before = source.centre_crop(64).masks[rows][middle].mean(axis=(1, 2))
    after = result.masks[middle].mean(axis=(1, 2)) * result.table["scale"].to_numpy() ** -2
    assert np.corrcoef(before[kept], after[kept])[0, 1] > 0.95
    reach = images[small].reshape(small.sum(), -1)
    assert (result.images.min(axis=(1, 2)) >= reach.min(axis=1)[rows]).all()
    assert (result.images.max(axis=(1, 2)) <= reach.max(axis=1)[rows]).all()
