"""Blocks of voxels about a lesion."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.cutting.block import Block
from lesionforge.data.hounsfield import AIR_HU


def test_blocks_are_those_of_the_paper(cut, lesion_at):
    (block,) = cut(Block(), [lesion_at((8, 60, 45), [(9, 9)] * 4)])
    assert block.image.shape == (32, 64, 64)
    assert block.spacing_mm == (2.0, 1.0, 1.0)


def test_the_middle_voxel_lies_at_the_lesions_position(cut, chest, lesion_at):
    lesion = lesion_at((8, 60, 45), [(8, 8)] * 3, position_mm=(-50.3, 1.7, 63.1))
    (block,) = cut(Block(), [lesion])
    assert block.position_mm == pytest.approx(lesion.position_mm)
    index = chest.geometry.to_index(lesion.position_mm)
    expected = ndimage.map_coordinates(chest.voxels.astype(float), index[:, None], order=1)
    assert block.image[16, 32, 32] == pytest.approx(expected[0], abs=0.51)


def test_the_scans_own_voxels_are_copied(cut, chest, lesion_at):
    lesion = lesion_at((8, 60, 45), [(9, 9)] * 3)
    (block,) = cut(Block(size=(5, 20, 21), spacing_mm=None), [lesion])
    np.testing.assert_array_equal(block.image, chest.voxels[7:12, 54:74, 39:60])
    np.testing.assert_array_equal(block.mask, lesion.mask_within((7, 54, 39), (5, 20, 21)))
    assert block.spacing_mm == chest.geometry.spacing_mm


def test_a_series_thinner_than_the_block_is_padded_with_air_above_and_below(cut, chest, lesion_at):
    (block,) = cut(Block(), [lesion_at((9, 60, 45), [(9, 9)])])
    z = block.position_mm[2] + (np.arange(32) - 16) * 2.0
    inside = (z >= 40 - 1.25) & (z < 40 + 19.5 * 2.5)
    assert 0 < inside.sum() < 32
    np.testing.assert_array_equal((block.image == AIR_HU).all(axis=(1, 2)), ~inside)
    assert block.columns["padded_share"] == pytest.approx(1 - inside.mean())


def test_the_masks_volume_is_kept(cut, chest, lesion_at):
    lesion = lesion_at((6, 55, 45), [(12, 10)] * 5)
    (block,) = cut(Block(), [lesion])
    volume = lesion.mask.sum() * np.prod(chest.geometry.spacing_mm)
    assert block.mask.sum() * np.prod(block.spacing_mm) == pytest.approx(volume, rel=0.15)
