import numpy as np
import pandas as pd
import pytest

from lesionforge.augment.recipes.frid_adar_2018 import FridAdar2018, lesion_diameter_px
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

PUBLISHED_GROUPS = (0, 500, 1000, 2000, 3000, 5000, 7500, 10000, 15000)


def lesions(diameter_px, shape=(2, 2), masks=None):
    images = np.zeros((len(diameter_px), *shape), np.int16)
    patients = [f"p{i}" for i in range(len(diameter_px))]
    return Patches.of(images, patient=patients, spacing_mm=0.6, diameter_mm=0.6 * np.array(diameter_px), masks=masks)


def sample(diameter_px=(10.0, 60.0), **arguments):
    return FridAdar2018().sample(lesions(diameter_px), rng=np.random.default_rng(0), **arguments)


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


def test_a_lesion_of_unknown_size_is_refused():
    with pytest.raises(LesionForgeError, match="1 of 3 lesions have none"):
        sample((5.0, np.nan, 5.0))


def test_an_unknown_diameter_is_read_off_the_mask():
    y, x = np.mgrid[-17:18, -17:18]
    disc = (y**2 + x**2 <= 8**2).astype(np.uint8)
    diameter_px = lesion_diameter_px(lesions([10, np.nan, np.nan], (35, 35), np.stack([disc, disc, 0 * disc])))
    assert diameter_px[0] == pytest.approx(10)
    assert diameter_px[1] == pytest.approx(16, abs=0.3)
    assert np.isnan(diameter_px[2])
    volume = lesions([np.nan], (3, 35, 35), np.stack([0 * disc, disc, 0 * disc])[None])
    assert lesion_diameter_px(volume) == pytest.approx([16], abs=0.3)


@pytest.mark.real_data
def test_real_nodules_stay_centred_in_true_tissue(lidc):
    with np.load(lidc / "images_hu.npz") as file:
        images, masks = file["hu"][:200], file["mask"][:200]
    small = masks.sum(axis=(1, 2)) < 300
    source = Patches.of(images[small], patient=[str(i) for i in range(small.sum())], masks=masks[small])
    result = FridAdar2018().augment(source, seed=0, count=4 * len(source))
    rows = result.table["source_row"].to_numpy()
    kept = (result.table["translate_y_px"] == 0).to_numpy()
    middle = (slice(None), slice(24, 41), slice(24, 41))
    before = source.centre_crop(64).masks[rows][middle].mean(axis=(1, 2))
    after = result.masks[middle].mean(axis=(1, 2)) * result.table["scale"].to_numpy() ** -2
    assert np.corrcoef(before[kept], after[kept])[0, 1] > 0.95
    reach = images[small].reshape(small.sum(), -1)
    assert (result.images.min(axis=(1, 2)) >= reach.min(axis=1)[rows]).all()
    assert (result.images.max(axis=(1, 2)) <= reach.max(axis=1)[rows]).all()
