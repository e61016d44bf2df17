"""Vessels: the tubes' cross-section, and how trees grow."""

import numpy as np
import pytest

from lesionforge.data.phantom.grid import Grid
from lesionforge.data.phantom.tubes import Tubes, grow_tree


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.5])
def test_tube_fills_its_cross_section(radius: float) -> None:
    tube = Tubes(np.array([[0.0, 0, -9]]), np.array([[0.0, 0, 9]]), np.array([radius]), np.array([radius]))
    grid = Grid((0.0, -5.0, -5.0), (1.0, 0.25, 0.25), (1, 41, 41))
    area = tube.coverage(grid).sum() * 0.25**2
    assert area == pytest.approx(np.pi * radius**2, rel=0.06)


def test_tubes_far_away_are_not_painted() -> None:
    grid = Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (4, 4, 4))
    tube = Tubes(np.array([[50.0, 0, 0]]), np.array([[60.0, 0, 0]]), np.array([2.0]), np.array([2.0]))
    assert len(tube.near(grid)) == 0
    assert not tube.coverage(grid).any()


@pytest.fixture(scope="module")
def leaves() -> np.ndarray:
    return np.random.default_rng(0).uniform(-40, 40, (300, 3))


def test_tree_reaches_every_leaf_and_hangs_together(leaves: np.ndarray) -> None:
    root = np.array([-60.0, 0, 0])
    tree = grow_tree(root, leaves, leaf_radius_mm=0.4, rng=np.random.default_rng(1))
    ends = {tuple(end) for end in tree.end_mm.round(6)}
    assert {tuple(leaf) for leaf in leaves.round(6)} <= ends
    assert all(tuple(start) in ends | {tuple(root)} for start in tree.start_mm.round(6))


def test_radii_follow_murray(leaves: np.ndarray) -> None:
    tree = grow_tree(np.array([-60.0, 0, 0]), leaves, leaf_radius_mm=0.4, rng=np.random.default_rng(1))
    from_root = tree.start_mm[:, 0] == -60
    assert (tree.start_radius_mm[from_root] ** 3).sum() == pytest.approx(300 * 0.4**3)
    first_halves = tree.rows(np.arange(len(tree) // 2))
    for k in range(20):
        children = np.flatnonzero(
            np.isclose(first_halves.start_mm, tree.end_mm[len(tree) // 2 + k], atol=1e-9).all(axis=1)
        )
        if len(children):
            cubes = (first_halves.start_radius_mm[children] ** 3).sum()
            assert cubes == pytest.approx(first_halves.start_radius_mm[k] ** 3)


def test_same_seed_grows_the_same_tree(leaves: np.ndarray) -> None:
    one, two = (grow_tree(np.zeros(3), leaves, leaf_radius_mm=0.4, rng=np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.end_mm, two.end_mm)
