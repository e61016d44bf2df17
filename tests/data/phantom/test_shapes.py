"""A lesion's shape measures what its diameter says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.stats import lognorm

from lesionforge.data.phantom.grid import Grid
from lesionforge.data.phantom.shapes import Shape, Sizes, clearance


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6), diameter=st.floats(4, 100), lobulation=st.floats(0, 0.5), spiculation=st.floats(0, 1)
)
def test_middle_section_has_the_area_of_the_diameter(
    seed: int, diameter: float, lobulation: float, spiculation: float
) -> None:
    centre = np.array([12.0, -30.0, 7.0])
    shape = Shape.drawn(np.random.default_rng(seed), centre, diameter, lobulation=lobulation, spiculation=spiculation)
    pixel = diameter / 100
    grid = Grid.centred(centre, (1.0, pixel, pixel), (1, 400, 400))
    inside = shape.distance(grid) <= 0
    assert 2 * np.sqrt(inside.sum() * pixel**2 / np.pi) == pytest.approx(diameter, rel=0.02)
    x, y, _ = grid.points
    farthest = np.hypot(x - centre[0], y - centre[1])[0][inside[0]].max()
    assert farthest <= shape.reach_mm + pixel


def test_lobulation_makes_dents() -> None:
    grid = Grid.centred(np.zeros(3), (1.0, 0.1, 0.1), (1, 300, 300))

    def solidity(lobulation: float) -> float:
        shares = []
        for seed in range(12):
            shape = Shape.drawn(np.random.default_rng(seed), np.zeros(3), 12.0, lobulation=lobulation, spiculation=0)
            inside = np.argwhere(shape.distance(grid)[0] <= 0)
            shares.append(len(inside) / ConvexHull(inside).volume)
        return float(np.mean(shares))

    assert solidity(0.0) == pytest.approx(1, abs=0.02)  # an ellipse
    assert solidity(0.5) < solidity(0.0) - 0.02


def test_spiculation_sets_the_strands() -> None:
    none, many = (
        Shape.drawn(np.random.default_rng(0), np.zeros(3), 10.0, lobulation=0.1, spiculation=s) for s in (0.0, 1.0)
    )
    assert len(none.spicules) == 0
    assert len(many.spicules) > 20


def test_sizes_are_a_log_normal_cut_to_its_range() -> None:
    sizes = Sizes(median_mm=7.5, spread=0.42, range_mm=(4.0, 30.0))
    whole = lognorm(0.42, scale=7.5)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        expected = whole.ppf(whole.cdf(4.0) + share * (whole.cdf(30.0) - whole.cdf(4.0)))
        assert sizes.quantile(share) == pytest.approx(expected)


def test_clearance_is_the_room_to_the_nearest() -> None:
    other = Shape.drawn(np.random.default_rng(0), np.zeros(3), 10.0, lobulation=0, spiculation=0)
    places = np.array([[0.0, 0, 0], [13.0, 0, 0], [40.0, 0, 0]])
    assert clearance(places, 10.0, [other]) == pytest.approx([-13, 0, 27])
    assert np.isinf(clearance(places, 10.0, [])).all()
