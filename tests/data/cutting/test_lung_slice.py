"""Whole slices of lung, and the nodule erased."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.data.cutting.lung_slice import LungSlice, erased
from lesionforge.data.hounsfield import AIR_HU
from lesionforge.data.lungs import lungs
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError


def window(pixels, size):
    """Slices of the patch and of the scan, for a scan smaller than the patch."""
    start = size // 2 - pixels // 2
    return slice(start, start + pixels)


def test_lung_stays_and_everything_else_becomes_air(cut, chest, lesion_at):
    (patch,) = cut(LungSlice(), [lesion_at((9, 60, 45), [(6, 6)])])
    assert patch.image.shape == (512, 512)
    lung = lungs(chest)[9]
    expected = np.full((512, 512), AIR_HU)
    inner = window(120, 512), window(160, 512)
    expected[inner] = np.where(lung, chest.voxels[9], AIR_HU)
    np.testing.assert_array_equal(patch.image, expected)
    assert patch.columns["padded_share"] == pytest.approx(1 - 120 * 160 / 512**2)
    assert 0.15 < lung.mean() < 0.4


def test_all_slices_with_the_nodule_or_the_largest(cut, lesion_at):
    lesion = lesion_at((9, 60, 45), [(6, 6), (8, 8), (7, 7)])
    assert [each.columns["slice_index"] for each in cut(LungSlice(), [lesion])] == [10, 11, 9]
    assert [each.columns["slice_index"] for each in cut(LungSlice(slices="largest"), [lesion])] == [10]


@pytest.mark.parametrize("start", [(9, 60, 45), (9, 30, 100), (9, 112, 152), (9, 0, 0)])
def test_the_square_is_about_the_nodule_and_inside_the_patch(cut, lesion_at, start):
    for size in (160, 512):
        (patch,) = cut(LungSlice(size=size), [lesion_at(start, [(7, 7)])])
        y, x, n = (patch.columns[f"roi_{what}_px"] for what in ("y", "x", "size"))
        assert n == 32
        assert 0 <= min(y, x) <= max(y, x) + n <= size
        assert patch.mask[y : y + n, x : x + n].sum() == patch.mask.sum() == 49
        if size == 512:
            assert np.argwhere(patch.mask).mean(axis=0) == pytest.approx((y + 16, x + 16))


@pytest.mark.parametrize("start", [(9, 60, 36), (9, 60, 118), (9, 32, 70)])
def test_a_slice_larger_than_the_patch_is_cropped_about_its_middle_unless_the_nodule_would_go(
    cut, chest, lesion_at, start
):
    (patch,) = cut(LungSlice(size=80), [lesion_at(start, [(7, 7)])])
    assert patch.mask.sum() == 49
    assert patch.columns["padded_share"] == 0
    _, y, x = np.rint(chest.geometry.to_index(patch.position_mm)).astype(int)
    # As near to the middle (60, 80) as a square of 32 pixels about the nodule allows.
    expected = [
        np.clip(middle, s + 3 - 16 + 32 - 40, s + 3 - 16 + 40) for middle, s in zip((60, 80), start[1:], strict=True)
    ]
    assert [y, x] == expected


def test_a_nodule_that_the_outline_leaves_out_is_kept_by_its_mask(cut, chest, lesion_at):
    lesion = lesion_at((9, 40, 2), [(40, 30)])  # in the chest wall
    (patch,) = cut(LungSlice(), [lesion])
    np.testing.assert_array_equal(
        patch.image[patch.mask], chest.voxels[9][lesion.mask_within((9, 0, 0), (1, 120, 160))[0]]
    )


def test_erased_patches_are_black_where_the_nodule_was_and_the_same_elsewhere(cut, lesion_at):
    cuts = cut(LungSlice(), [lesion_at((9, 60, 45), [(6, 6), (8, 8)])])
    patches = Patches.of(
        np.stack([each.image for each in cuts]),
        patient=["p"] * 2,
        masks=np.stack([each.mask for each in cuts]).astype(np.uint8),
    )
    blank = erased(patches)
    assert blank.images.dtype == np.int16
    marked = patches.masks > 0
    assert (blank.images[marked] == AIR_HU).all()
    assert (patches.images[marked] != AIR_HU).all()
    np.testing.assert_array_equal(blank.images[~marked], patches.images[~marked])
    np.testing.assert_array_equal(blank.masks, patches.masks)
    assert blank.table.equals(patches.table)
    with pytest.raises(LesionForgeError, match="no masks"):
        erased(Patches.of(patches.images, patient=["p"] * 2))


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(LesionForgeError, match="roi_size"):
        LungSlice(size=30)


def test_it_does_not_read_the_whole_scan_for_one_nodule(cut, chest, lesion_at):
    """Only slices about the nodule are looked at: the others may be anything."""
    tall = np.concatenate([chest.voxels] * 3)
    geometry = chest.geometry.cut((0, 0, 0), tall.shape)
    spoilt = tall.astype(np.float32)
    spoilt[40:] = np.nan
    lesion = lesion_at((9, 60, 45), [(6, 6)])
    for voxels in (tall, spoilt):
        (patch,) = cut(LungSlice(), [lesion], scan=replace(chest, voxels=voxels, geometry=geometry))
        np.testing.assert_array_equal(patch.image, cut(LungSlice(), [lesion])[0].image)
