"""Cutting regions loose: distances and outlines against brute force, necks and walls against what was drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from lesionforge.data.annotation.leak_control import Tissue, component_at, depth_mm, distance_mm, peak

SPACING_MM = (2.5, 0.7, 0.7)
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))


def ball(shape, centre, radius_mm, spacing_mm=(1.0, 1.0, 1.0)):
    return distance_mm(shape, centre, spacing_mm) <= radius_mm


def best(tissue, seed, *, spacing_mm=(1.0, 1.0, 1.0), max_diameter_mm=30.0):
    regions = Tissue(tissue, spacing_mm, max_diameter_mm).regions_at(seed, reach_mm=2.0)
    return max(regions, key=lambda region: region.score)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@settings(deadline=None, max_examples=50)
@given(MASKS)
def test_depth_is_the_distance_to_the_nearest_voxel_outside(mask):
    depth = depth_mm(mask, SPACING_MM)
    outside = np.argwhere(~mask) * SPACING_MM
    for index in np.ndindex(mask.shape):
        gaps = np.linalg.norm(outside - np.multiply(index, SPACING_MM), axis=1)
        assert depth[index] == pytest.approx(gaps.min(initial=np.inf))


def test_a_component_is_connected_by_faces_only():
    mask = np.zeros((1, 4, 4), dtype=bool)
    mask[0, [0, 0, 1, 2], [0, 1, 1, 2]] = True
    found = component_at(mask, (0, 0, 0))
    assert sorted(map(tuple, np.argwhere(found))) == [(0, 0, 0), (0, 0, 1), (0, 1, 1)]
    assert not component_at(mask, (0, 3, 3)).any()


def test_the_peak_is_looked_for_in_the_mask_alone():
    values = np.arange(8.0).reshape(2, 2, 2)
    assert peak(values, values < 6) == (1, 0, 1)


def test_what_stands_alone_is_taken_whole():
    nodule = ball((25, 25, 25), (12, 12, 12), 6)
    found = best(nodule, (12, 12, 12))
    assert found.cut == 0
    np.testing.assert_array_equal(found.mask, nodule)


def test_a_vessel_is_cut_at_its_neck():
    shape, centre = (41, 41, 41), (20, 20, 20)
    nodule = ball(shape, centre, 7)
    vessel = np.hypot(*np.ogrid[-20:21, -20:21])[:, :, np.newaxis] <= 1.5
    found = best(nodule | np.broadcast_to(vessel, shape), centre)
    assert 0 < found.cut < 0.6
    assert dice(found.mask, nodule) > 0.95


@pytest.mark.parametrize("sunk_mm", [0, 2])
@pytest.mark.parametrize("slices", [1, 31])
def test_the_wall_is_cut_off(sunk_mm, slices):
    shape, centre = (slices, 51, 51), (slices // 2, 25, 25)
    wall = np.broadcast_to(np.arange(51) > 25 + 6 - sunk_mm, shape)
    nodule = ball(shape, centre, 6)
    found = best(nodule | wall, centre)
    assert 0 < found.cut < 0.6
    assert dice(found.mask, nodule & ~wall) > 0.9


def test_holes_are_filled_slice_by_slice():
    nodule = ball((1, 21, 21), (0, 10, 10), 6)
    bubble = nodule.copy()
    bubble[0, 10, 12] = False
    np.testing.assert_array_equal(best(bubble, (0, 10, 10)).mask, nodule)


def test_nothing_is_found_beyond_reach_or_beyond_the_greatest_diameter():
    nodule = ball((25, 25, 25), (12, 12, 12), 6)
    assert list(Tissue(nodule, (1.0, 1.0, 1.0), 30.0).regions_at((2, 2, 2), reach_mm=2.0)) == []
    assert list(Tissue(nodule, (1.0, 1.0, 1.0), 9.0).regions_at((12, 12, 12), reach_mm=2.0)) == []


def test_cut_and_compactness_of_a_box():
    tissue = np.zeros((7, 9, 9), dtype=bool)
    tissue[2:5, 2:5, 2:6] = True
    box = tissue.copy()
    box[:, :, 5] = False  # severed from the rest of the tissue there
    measured = Tissue(tissue, (2.0, 1.0, 1.0), 30.0)
    surface_mm2 = 2 * 9 * 1.0 + 4 * 9 * 2.0  # two sides of 3×3 voxels across z, four along it
    assert measured._cut_share(box) == pytest.approx(9 * 2.0 / surface_mm2)
    assert measured._compactness(box) == pytest.approx(2.0 / np.cbrt(27 * 2.0 * 3 / 4 / np.pi))  # 2 mm deep
    disc = ball((1, 41, 41), (0, 20, 20), 15)
    assert Tissue(disc, (2.5, 1.0, 1.0), 40.0)._compactness(disc) == pytest.approx(1, abs=0.05)


def test_the_ends_of_the_scan_are_no_outline():
    column = np.zeros((4, 7, 7), dtype=bool)
    column[:, 2:5, 2:5] = True
    tissue = column.copy()
    tissue[0, 2, 1] = True
    assert Tissue(tissue, (1.0, 1.0, 1.0), 9.0)._cut_share(column) == pytest.approx(1 / (4 * 3 * 4))
