"""Regions that follow the lesion's size."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.cutting.lesion_roi import LesionRoi
from lesionforge.data.scan import Lesion
from lesionforge.errors import UnfitDataError


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (8, 20), (30, 12)])
def test_a_lesion_takes_the_same_share_of_every_patch(cut, lesion_at, rows, columns):
    (patch,) = cut(LesionRoi(margin=0.5), [lesion_at((5, 50, 40), [(rows, columns)])])
    side = max(rows, columns)
    assert patch.columns["roi_mm"] == pytest.approx(side * 1.5 * 2)
    assert patch.spacing_mm == pytest.approx((side * 3 / 64,) * 2)
    extent = [np.ptp(axis) + 1 for axis in np.nonzero(patch.mask)]
    assert extent == pytest.approx([32 * rows / side, 32 * columns / side], abs=1.1)


def test_the_slice_is_that_of_the_largest_section(cut, lesion_at):
    (patch,) = cut(LesionRoi(), [lesion_at((5, 50, 40), [(4, 4), (9, 9), (5, 5)])])
    assert patch.columns["slice_index"] == 6
    assert patch.columns["roi_mm"] == pytest.approx(9 * 1.5 * 1.5)


def test_enlarged_patches_are_cubic_as_scipys(cut, chest, lesion_at):
    (patch,) = cut(LesionRoi(), [lesion_at((5, 50, 40), [(12, 12)])])
    step = patch.spacing_mm[0] / 1.5
    assert step < 0.5
    index = np.indices((64, 64)) - 32
    section = chest.voxels[5].astype(float)
    expected = ndimage.map_coordinates(section, [55.5 + index[0] * step, 45.5 + index[1] * step], order=3)
    np.testing.assert_allclose(patch.image, expected, atol=0.51)


def test_reduced_patches_are_smoothed_before(cut, chest, lesion_at):
    """A region of 108 pixels becomes 16: what is left of white noise is little."""
    (patch,) = cut(LesionRoi(size=16, roi_size=16), [lesion_at((5, 24, 70), [(72, 16)])])
    assert patch.spacing_mm[0] == pytest.approx(72 * 1.5 * 1.5 / 16)
    assert patch.image[7:10, 8].std() < 12 / 3


def test_a_larger_patch_shows_more_around_the_same_region(cut, lesion_at):
    lesion = lesion_at((5, 50, 40), [(12, 12)])
    (region,), (wide,) = cut(LesionRoi(), [lesion]), cut(LesionRoi(size=96), [lesion])
    assert wide.spacing_mm == region.spacing_mm
    assert np.abs(wide.image[16:80, 16:80].astype(int) - region.image).max() <= 1
    np.testing.assert_array_equal(wide.mask[16:80, 16:80], region.mask)


def test_a_diameter_stands_in_for_a_mask_and_nothing_for_both(cut, chest):
    lesion = Lesion("one", tuple(chest.geometry.to_world((5, 60, 45)).tolist()), diameter_mm=12.0)
    (patch,) = cut(LesionRoi(), [lesion])
    assert patch.columns["roi_mm"] == pytest.approx(18.0)
    with pytest.raises(UnfitDataError, match="neither") as error:
        cut(LesionRoi(), [replace(lesion, diameter_mm=float("nan"))])
    assert error.value.reason == "size of a lesion unknown"
