import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, rotate
from scipy.spatial.distance import cdist

from lesionforge.distances import neighbours
from lesionforge.distances.neighbours import copying, halved, nearest
from lesionforge.errors import LesionForgeError


def noise(count, shape=(10, 12), seed=0):
    return np.random.default_rng(seed).normal(-700, 150, (count, *shape))


def by_hand(queries, references, moves, flips):
    """Every variant of every query, one by one."""
    shift = max(moves)
    inner = tuple(slice(shift, side - shift) for side in references.shape[1:])
    best = np.full((len(queries), len(references)), np.inf)
    for flip in flips:
        for down in moves:
            for right in moves:
                # Moved by rolling: what comes in at the other side lies in the border that is left out.
                moved = np.roll(np.flip(queries, flip), (down, right), axis=(1, 2))
                ours, theirs = (a[(slice(None), *inner)].reshape(len(a), -1) for a in (moved, references))
                best = np.minimum(best, cdist(ours, theirs) / np.sqrt(ours.shape[1]))
    return best


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("flips", [False, True])
def test_it_finds_what_trying_everything_finds(monkeypatch, shift, flips):
    monkeypatch.setattr(neighbours, "CHUNK_QUERIES", 4)
    monkeypatch.setattr(neighbours, "CHUNK_REFERENCES", 5)
    queries, references = noise(9), noise(13, seed=1)
    moves = sorted({-shift, 0, shift})
    best = by_hand(queries, references, moves, [(), (1,), (2,), (1, 2)] if flips else [()])
    found = nearest(queries, references, flips=flips, shift=shift)
    np.testing.assert_allclose(found.distance, best.min(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found.index, best.argmin(axis=1))


@given(st.integers(0, 7), st.sampled_from([(), (1,), (2,), (1, 2)]), st.tuples(*[st.sampled_from([-2, 0, 2])] * 2))
@settings(deadline=None, max_examples=25)
def test_a_copy_is_found_exactly_however_it_was_turned_and_moved(row, flip, move):
    references = noise(8)
    copy = np.roll(np.flip(references[[row]], flip), move, axis=(1, 2)).astype(np.float32)
    found = nearest(copy, references.astype(np.float32), flips=True, shift=2)
    assert found.distance[0] == 0
    assert found.index[0] == row
    if flip or any(move):
        assert nearest(copy, references, shift=0).distance[0] > 50


def test_features_have_neighbours_too():
    rng = np.random.default_rng(0)
    queries, references = rng.normal(0, 1, (30, 6)), rng.normal(0, 1, (50, 6))
    found = nearest(queries, references)
    expected = cdist(queries, references)
    np.testing.assert_allclose(found.distance, expected.min(axis=1) / np.sqrt(6), rtol=1e-5)
    np.testing.assert_array_equal(found.index, expected.argmin(axis=1))


def test_volumes_have_eight_flips_and_copies_are_found():
    references = noise(6, (6, 6, 6))
    copies = np.flip(references, (1, 3))
    found = nearest(copies, references, flips=True, shift=1)
    np.testing.assert_allclose(found.distance, 0, atol=1e-3)
    np.testing.assert_array_equal(found.index, range(6))


def test_whole_numbers_are_compared_without_overflow():
    references = np.full((2, 4, 4), -32_000, dtype=np.int16)
    references[1] = 32_000
    found = nearest(np.full((1, 4, 4), 32_767, dtype=np.int16), references)
    assert found.index[0] == 1
    assert found.distance[0] == pytest.approx(767)


def test_halving_takes_means_and_leaves_out_an_odd_border():
    images = noise(3, (5, 8))
    expected = images[:, :4].reshape(3, 2, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(halved(images), expected, rtol=1e-6)
    assert halved(noise(2, (4, 6, 8))).shape == (2, 2, 3, 4)


def test_copying_is_told_from_fresh_samples():
    rng = np.random.default_rng(0)
    held_out = rng.normal(100, 10, 10_000)
    fresh = copying(rng.normal(100, 10, 10_000), held_out, nearest_share=0.05)
    assert fresh.ratio == pytest.approx(1, abs=0.01)
    assert fresh.share == pytest.approx(0.05, abs=0.01)
    tenth = np.where(np.arange(10_000) % 10, rng.normal(100, 10, 10_000), 3)
    assert copying(tenth, held_out, nearest_share=0.05).share == pytest.approx(0.145, abs=0.01)
    every = copying(np.full(50, 2.0), held_out, nearest_share=0.05)
    assert (every.ratio, every.share) == (pytest.approx(0.02, abs=1e-3), 1.0)
    assert copying(held_out, held_out * 0, nearest_share=0.05).ratio > 1e6  # patients who are in the training set


@pytest.mark.parametrize(
    ("queries", "references", "shift"),
    [(noise(2), noise(0), 0), (noise(2, (4, 4)), noise(2), 0), (noise(2, (4, 4)), noise(2, (4, 4)), 2)],
)
def test_what_has_no_neighbours_is_refused(queries, references, shift):
    with pytest.raises(LesionForgeError, match="neighbours need references"):
        nearest(queries, references, shift=shift)


@given(st.integers(0, 5), st.sampled_from([0, 90, 180, 270]), st.booleans())
@settings(deadline=None, max_examples=20)
def test_a_copy_is_found_however_it_was_turned(row, angle, mirrored):
    references = noise(6, shape=(11, 11)).astype(np.float32)
    copy = np.rot90(references[[row]], angle // 90, axes=(1, 2))
    copy = np.flip(copy, 2) if mirrored else copy
    found = nearest(copy, references, flips=True, angles=(0.0, 90.0))
    assert found.index[0] == row
    assert found.distance[0] == 0


def test_a_copy_turned_by_any_angle_is_nearer_than_others_are():
    smooth = gaussian_filter(noise(12, shape=(40, 40)), (0, 3, 3))
    copies = rotate(smooth[:4], 35, axes=(1, 2), reshape=False, order=1)
    found = nearest(copies, smooth, flips=True, shift=1, angles=tuple(15.0 * k for k in range(12)))
    straight = nearest(copies, smooth, flips=True, shift=1)
    np.testing.assert_array_equal(found.index, range(4))
    assert (found.distance < straight.distance / 2).all()


def test_between_quarter_turns_only_the_largest_circle_is_compared():
    references = noise(3, shape=(12, 12))
    corners = references.copy()
    corners[:, :2, :2] += 1000
    assert (nearest(corners, references, angles=(0.0, 45.0)).distance < 1e-3).all()
    assert (nearest(corners, references).distance > 100).all()


def test_one_of_the_own_group_is_never_the_nearest(monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK_QUERIES", 4)
    monkeypatch.setattr(neighbours, "CHUNK_REFERENCES", 5)
    images = noise(13)
    owners = np.repeat(["a", "b", "c", "d"], [1, 5, 4, 3])
    found = nearest(images, images, unlike=(owners, owners))
    assert (owners[found.index] != owners).all()
    apart = cdist(images.reshape(13, -1), images.reshape(13, -1)) / np.sqrt(120)
    apart[owners[:, None] == owners] = np.inf
    np.testing.assert_allclose(found.distance, apart.min(axis=1), rtol=1e-5)
    alone = np.full(13, "a")
    assert np.isinf(nearest(images, images, unlike=(alone, alone)).distance).all()
