import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lesionforge.data.exposure import Exposure
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.synthesis.insertion.outlines import Ball, Covering, Joined, Lobed
from lesionforge.synthesis.insertion.sites import LONGEST, Site

STEP_MM = 0.25


def drawn(outlines, diameter_mm, seed, label=""):
    site = Site((1.0, 2.0, 3.0), diameter_mm)
    return next(outlines.candidates(site, label, np.random.default_rng(seed)))


def offsets(reach_mm, step_mm=STEP_MM):
    steps = np.arange(-np.ceil(reach_mm / step_mm), np.ceil(reach_mm / step_mm) + 1) * step_mm
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)


@settings(max_examples=10, deadline=None)
@given(diameter=st.floats(4, 20), seed=st.integers(0, 10**6))
def test_a_lobed_body_has_the_asked_diameter_in_one_piece_within_its_reach(diameter, seed):
    outline = drawn(Lobed(), diameter, seed)
    places = offsets(LONGEST * diameter / 2 + 1, diameter / 30)
    inside = outline.holds(places)
    middle = inside[len(inside) // 2]
    assert 2 * np.sqrt(middle.sum() * (diameter / 30) ** 2 / np.pi) == pytest.approx(diameter, rel=0.03)
    assert np.linalg.norm(places[inside], axis=-1).max() <= outline.reach_mm <= LONGEST * diameter / 2
    assert ndimage.label(inside)[1] == 1
    assert inside[tuple(n // 2 for n in inside.shape)]


def test_a_body_follows_from_its_seed_and_no_two_are_alike():
    places = offsets(8)
    first, again, other = (drawn(Lobed(), 10.0, seed).holds(places) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert 0.02 < (first != other).sum() / first.sum() < 1


def test_where_bodies_are_too_long_a_ball_is_taken(monkeypatch):
    monkeypatch.setattr(sys.modules[Lobed.__module__], "LONGEST", 1.0)
    assert drawn(Lobed(), 10.0, 0) == Ball(10.0)


def test_a_body_that_is_there_is_covered():
    covering = Covering(Lobed(), Ball(6.0))
    outline = drawn(covering, 8.0, 3)
    places = offsets(7)
    alone = drawn(Lobed(), 8.0, 3).holds(places)
    np.testing.assert_array_equal(outline.holds(places), alone | (np.linalg.norm(places, axis=-1) <= 3))
    assert Joined(Ball(4.0), Ball(6.0)).reach_mm == 3
    assert covering.exposure == Exposure()
    assert covering.id != Lobed().id


def roundness(mask, spacing_mm):
    """Longest radius over that of the circle of its area, and the short axis over the long one."""
    places = np.argwhere(mask) * spacing_mm
    places = places - places.mean(axis=0)
    radius = np.sqrt(mask.sum() * np.prod(spacing_mm) / np.pi)
    axes = np.linalg.eigvalsh(np.cov(places.T))
    return np.linalg.norm(places, axis=1).max() / radius, np.sqrt(axes[0] / axes[1])


@pytest.mark.real_data
def test_lobed_bodies_are_about_as_round_as_real_nodules(lidc, lidc_tasks):
    patches = load_arrays(lidc, mapping=lidc_tasks.NON_SOLID)
    diameters = patches.table["diameter_mm"].to_numpy()
    rows = np.flatnonzero((diameters > 7) & (diameters < 20))[:300]
    real, made = [], []
    for row in rows.tolist():
        spacing, side = patches.spacing_mm[row], patches.shape[0]
        real.append(roundness(patches.masks[row] > 0, spacing))
        y, x = np.meshgrid(*((np.arange(side) - side // 2) * step for step in spacing), indexing="ij")
        places = np.stack([np.zeros_like(y), y, x], axis=-1)
        made.append(roundness(drawn(Lobed(), diameters[row], row).holds(places), spacing))
    np.testing.assert_allclose(np.median(made, axis=0), np.median(real, axis=0), atol=0.08)
    assert np.std(made, axis=0)[0] > 0.04
