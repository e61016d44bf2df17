"""Resampling against analytic functions and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.geometry import Geometry
from lesionforge.data.resampling import onto, resample, window_for
from lesionforge.errors import LesionForgeError

GEOMETRY = Geometry((24, 40, 50), (2.0, 0.7, 0.9), (-10.0, 20.0, 30.0))
ORDER = {"linear": 1, "bspline": 3, "nearest": 0}


def turned(shape=(12, 14, 16), spacing_mm=(1.5, 0.8, 0.9), seed=0):
    axes = Rotation.random(random_state=seed).as_matrix()
    return Geometry(shape, spacing_mm, (5.0, -7.0, 11.0), tuple(map(tuple, axes.tolist())))


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 100, shape).astype(np.float32)


def points(grid):
    """Points of a grid, [z, y, x, 3]."""
    return grid.to_world(np.stack(np.indices(grid.shape), axis=-1))


def looked_up(voxels, geometry, grid, order, mode="nearest"):
    index = np.moveaxis(geometry.to_index(points(grid)), -1, 0)
    return ndimage.map_coordinates(voxels, index, order=order, mode=mode)


def test_nothing_changes_where_the_spacing_does_not():
    voxels = noise(GEOMETRY.shape)
    same, geometry = resample(voxels, GEOMETRY, GEOMETRY.spacing_mm)
    assert same is voxels
    assert geometry is GEOMETRY


@given(
    seed=st.integers(0, 1000),
    start=st.tuples(*[st.integers(-9, 16)] * 3),
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    dtype=st.sampled_from([np.int16, np.uint8, np.float32, np.float64, bool]),
    interpolation=st.sampled_from(sorted(ORDER)),
)
@settings(deadline=None, max_examples=60)
def test_a_window_of_voxels_is_copied_exactly_under_any_direction(seed, start, shape, dtype, interpolation):
    geometry = turned(seed=seed)
    voxels = (np.random.default_rng(seed).random(geometry.shape) * 200).astype(dtype)
    cut = onto(voxels, geometry, geometry.cut(start, shape), outside=1, interpolation=interpolation)
    padded = np.pad(voxels, 40, constant_values=1)
    expected = padded[tuple(slice(s + 40, s + 40 + n) for s, n in zip(start, shape, strict=True))]
    assert cut.dtype == dtype
    np.testing.assert_array_equal(cut, expected)
    assert not np.shares_memory(cut, voxels)


@pytest.mark.parametrize(("interpolation", "mode"), [("linear", "nearest"), ("bspline", "mirror")])
@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_finer_grids_agree_with_scipy_under_any_direction(interpolation, mode, seed):
    geometry = turned(seed=seed)
    voxels = noise(geometry.shape, seed)
    finer = geometry.cut((3, 4, 5), (5, 5, 5)).with_spacing((0.83, 0.71, 0.64))
    found = onto(voxels, geometry, finer, outside=0, interpolation=interpolation)
    expected = looked_up(voxels, geometry, finer, ORDER[interpolation], mode)
    np.testing.assert_allclose(found, np.clip(expected, voxels.min(), voxels.max()), atol=0.05)


def test_nearest_agrees_with_scipy_and_keeps_a_mask_a_mask():
    mask = noise(GEOMETRY.shape) > 50
    coarser, geometry = resample(mask, GEOMETRY, (3.1, 1.3, 1.7), interpolation="nearest")
    assert coarser.dtype == bool
    np.testing.assert_array_equal(coarser, looked_up(mask.astype(np.uint8), GEOMETRY, geometry, 0).astype(bool))


def test_coarser_grids_agree_with_a_gaussian_and_lookup_of_scipy():
    voxels = noise(GEOMETRY.shape)
    coarser, geometry = resample(voxels, GEOMETRY, (2.0, 2.1, 3.6))
    sigma = [np.sqrt(max(k**2 - 1, 0) / (8 * np.log(2))) for k in (1, 3, 4)]
    expected = looked_up(ndimage.gaussian_filter(voxels, sigma, mode="nearest"), GEOMETRY, geometry, 1)
    assert coarser.std() > 5
    # ITK's kernel is the discrete analogue of a Gaussian, SciPy's a sampled one.
    assert np.abs(coarser - expected).mean() < 0.1 * expected.std()
    unsmoothed = looked_up(voxels, GEOMETRY, geometry, 1)
    assert np.abs(unsmoothed - expected).mean() > 20 * np.abs(coarser - expected).mean()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("interpolation", ["linear", "bspline"])
def test_detail_too_fine_for_the_new_grid_goes_and_coarse_stays(axis, interpolation):
    geometry = Geometry((64, 64, 64), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    place = np.indices(geometry.shape)[axis]
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 3.0

    def kept(cycles_per_mm):
        wave = 1000 * np.sin(2 * np.pi * cycles_per_mm * place + 0.3).astype(np.float32)
        coarser, _ = resample(wave, geometry, spacing, interpolation=interpolation)
        return np.take(coarser, range(3, 18), axis=axis).std() / wave.std()

    nyquist = 1 / 6
    assert kept(0.2 * nyquist) > 0.94
    assert kept(1.7 * nyquist) < 0.22
    assert kept(2.6 * nyquist) < 0.05


@pytest.mark.parametrize("interpolation", ["linear", "bspline"])
@pytest.mark.parametrize("spacing_mm", [(1.1, 0.4, 0.5), (5.0, 1.9, 2.2)], ids=["finer", "coarser"])
def test_ramps_are_reproduced_in_world_coordinates(spacing_mm, interpolation):
    geometry = turned((30, 50, 60), (2.0, 0.7, 0.9), seed=3)
    slope = np.array([3.0, -2.0, 5.0])
    found, grid = resample(
        (points(geometry) @ slope).astype(np.float32), geometry, spacing_mm, interpolation=interpolation
    )
    inner = tuple(slice(n // 4, -(n // 4)) for n in grid.shape)
    np.testing.assert_allclose(found[inner], (points(grid) @ slope)[inner], atol=0.3)


def test_smoothing_follows_the_voxels_axes_not_the_grids():
    """The grid's z lies along the voxels' x: detail along x goes, detail along z stays."""
    geometry = Geometry((32, 8, 32), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    grid = Geometry((8, 8, 32), (4.0, 1.0, 1.0), (1.5, 0.0, 0.0), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    wave = np.sin(np.arange(32) * 2.3).astype(np.float32)
    along_x = onto(np.broadcast_to(wave, geometry.shape), geometry, grid, outside=0)
    along_z = onto(np.broadcast_to(wave[:, None, None], geometry.shape), geometry, grid, outside=0)
    assert along_x[1:-1].std() < 0.1
    np.testing.assert_allclose(along_z[3, 4], wave, atol=1e-5)


@pytest.mark.parametrize("interpolation", sorted(ORDER))
@pytest.mark.parametrize("spacing_mm", [(0.9, 0.5, 0.5), (4.0, 2.0, 1.5)], ids=["finer", "coarser"])
def test_a_window_is_cut_from_what_lies_about_it_alone(spacing_mm, interpolation):
    geometry = Geometry((60, 90, 90), (2.0, 0.7, 0.9), (-10.0, 20.0, 30.0))
    voxels = noise(geometry.shape)
    whole = geometry.with_spacing(spacing_mm)
    middle = [n // 2 for n in whole.shape]
    expected = onto(voxels, geometry, whole, outside=0, interpolation=interpolation)
    grid = whole.cut(middle, (3, 5, 5))
    window = window_for(geometry, grid, interpolation=interpolation)
    assert np.prod([along.stop - along.start for along in window]) < 0.25 * voxels.size
    far = np.full_like(voxels, np.nan)
    far[window] = voxels[window]
    found = onto(far, geometry, grid, outside=0, interpolation=interpolation)
    np.testing.assert_allclose(
        found, expected[tuple(slice(m, m + n) for m, n in zip(middle, grid.shape, strict=True))], atol=0.1
    )


@pytest.mark.parametrize("interpolation", sorted(ORDER))
def test_outside_begins_where_the_last_voxel_ends(interpolation):
    geometry = turned()
    grid = geometry.cut((-3, -3, -3), (18, 20, 22)).with_spacing((1.1, 0.6, 0.7))
    found = onto(np.full(geometry.shape, 50, np.int16), geometry, grid, outside=-7, interpolation=interpolation)
    np.testing.assert_array_equal(found, np.where(geometry.contains(points(grid)), 50, -7))
    away = grid.cut((500, 0, 0), (2, 2, 2))
    assert (onto(np.full(geometry.shape, 50, np.int16), geometry, away, outside=-7) == -7).all()


def test_whole_numbers_are_rounded_and_a_spline_does_not_leave_their_range():
    step = np.zeros((16, 16, 16), dtype=np.int16)
    step[:, :, 8:] = 1001
    geometry = Geometry(step.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    finer, _ = resample(step, geometry, (1.0, 1.0, 0.5), interpolation="bspline")
    assert finer.dtype == np.int16
    assert (finer.min(), finer.max()) == (0, 1001)
    middle, _ = resample(step, geometry, (1.0, 1.0, 0.5))
    assert middle[8, 8, 15] == 250  # 250.25


@pytest.mark.parametrize("interpolation", sorted(ORDER))
def test_a_single_slice_can_be_resampled_in_its_plane(interpolation):
    voxels = noise((1, 20, 30)).astype(np.int16)
    geometry = Geometry(voxels.shape, (5.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    finer, grid = resample(voxels, geometry, (5.0, 0.5, 0.5), interpolation=interpolation)
    assert finer.shape == grid.shape == (1, 40, 60)
    assert abs(float(finer.mean()) - voxels.mean()) < 5


@pytest.mark.parametrize(
    ("spacing_mm", "says"),
    [
        ((0, 1, 1), "above 0"),
        ((1, -1, 1), "above 0"),
        ((1, 1, float("nan")), "above 0"),
        ((1, float("inf"), 1), "above 0"),
        ((1, 1), "three numbers"),
        ((1e-3, 1e-3, 1e-3), "coarser spacing"),
    ],
)
def test_a_spacing_that_cannot_be_is_refused(spacing_mm, says):
    with pytest.raises(LesionForgeError, match=says):
        resample(noise(GEOMETRY.shape), GEOMETRY, spacing_mm)
