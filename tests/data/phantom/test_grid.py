"""Grids of sample points, and distances on them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.phantom.grid import Grid, blend, coverage, ellipsoid_distance, smooth_union

GRID = Grid((-4.0, -10.0, -20.0), (2.0, 0.5, 0.7), (5, 41, 59))


def test_centred_grid_has_its_centre_in_the_middle_voxel() -> None:
    grid = Grid.centred(np.array([3.0, -2.0, 50.0]), (2.5, 0.7, 0.6), (5, 64, 33))
    x, y, z = (axis.ravel() for axis in grid.points)
    assert np.allclose((x[33 // 2], y[32], z[2]), (3.0, -2.0, 50.0), atol=1e-5)
    assert np.allclose(grid.last_mm, (z[-1], y[-1], x[-1]), atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    centre=st.tuples(*[st.floats(-25, 25)] * 3),
    reach=st.floats(0.1, 12),
)
def test_window_holds_exactly_the_points_in_reach(centre: tuple[float, float, float], reach: float) -> None:
    near = np.ones(GRID.shape, dtype=bool)
    for axis, place in zip(GRID.points, centre, strict=True):
        near &= np.abs(axis.astype(np.float64) - place) <= reach
    window = GRID.window(np.array(centre), reach)
    chosen = np.zeros(GRID.shape, dtype=bool)
    if window is not None:
        chosen[window] = True
    # Coordinates are float32: a point on the very border may fall on either side.
    borderline = np.zeros(GRID.shape, dtype=bool)
    for axis, place in zip(GRID.points, centre, strict=True):
        borderline |= np.abs(np.abs(axis.astype(np.float64) - place) - reach) < 1e-4
    assert np.array_equal(near | borderline, chosen | borderline)


def test_cut_keeps_the_points_where_they_were() -> None:
    window = GRID.window(np.array([0.0, 1.0, 0.0]), 3.0)
    assert window is not None
    for whole, part, axis in zip(GRID.points, GRID.cut(window).points, (2, 1, 0), strict=True):
        assert np.allclose(whole.ravel()[window[axis]], part.ravel(), atol=1e-5)


def test_distance_to_a_sphere_is_exact_near_its_surface() -> None:
    x, y, z = GRID.points
    true = np.sqrt(x**2 + y**2 + z**2) - 8
    near = np.abs(true) < 0.5
    assert np.abs(ellipsoid_distance(x, y, z, (8, 8, 8)) - true)[near].max() < 0.04


def test_cylinder_does_not_depend_on_the_endless_axis() -> None:
    x, y, z = GRID.points
    tube = ellipsoid_distance(x, y, z, (5, 7, np.inf))
    assert tube.shape == (1, 41, 59)
    assert np.array_equal(tube < 0, ((x / 5) ** 2 + (y / 7) ** 2 < 1))


def test_blend_is_half_of_each_on_the_surface() -> None:
    hu = np.full(3, -1000, dtype=np.float32)
    blend(hu, coverage(np.array([-1, 0, 1], dtype=np.float32), 1.0), 50.0)
    assert np.allclose(hu, [50, -475, -1000])


def test_smooth_union_holds_both_bodies_and_rounds_their_crease() -> None:
    x, y, z = GRID.points
    one, two = ellipsoid_distance(x - 4, y, z, (6, 6, 6)), ellipsoid_distance(x + 4, y, z, (6, 6, 6))
    joined = smooth_union(one, two, 4)
    assert (joined <= np.minimum(one, two) + 1e-5).all()
    assert np.minimum(one, two).min() - joined.min() <= 1.001  # a quarter of the radius
    assert (joined < np.minimum(one, two) - 0.1).any()
