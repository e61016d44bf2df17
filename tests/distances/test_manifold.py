import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from lesionforge.distances import manifold as file
from lesionforge.distances.manifold import Manifold, manifold
from lesionforge.errors import LesionForgeError


def by_definition(real, samples, k):
    reach = [NearestNeighbors(n_neighbors=k + 1).fit(each).kneighbors(each)[0][:, k] for each in (real, samples)]
    apart = pairwise_distances(real, samples)
    inside = apart < reach[0][:, None]
    return Manifold(
        precision=inside.any(axis=0).mean(),
        recall=(apart < reach[1]).any(axis=1).mean(),
        density=inside.sum(axis=0).mean() / k,
        coverage=inside.any(axis=1).mean(),
    )


@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40), st.integers(1, 6))
@settings(deadline=None, max_examples=25)
def test_it_equals_its_definition(seed, reals, samples, k):
    rng = np.random.default_rng(seed)
    real, made = 1e3 + rng.normal(0, 1, (reals, 4)), 1e3 + rng.normal(0.5, 1.3, (samples, 4))
    found, expected = manifold(real, made, neighbours=k), by_definition(real, made, k)
    assert vars(found) == pytest.approx(vars(expected))


def test_it_equals_what_prdc_gave():
    """prdc 0.2 (Naeem et al.'s own code), ``compute_prdc(real, fake, nearest_k=5)`` on these sets."""
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(400, 20)), rng.normal(0.3, 1.3, size=(300, 20))
    expected = {"precision": 0.36333333333333334, "recall": 0.9975, "density": 0.158, "coverage": 0.3825}
    assert vars(manifold(real, made)) == pytest.approx(expected, abs=1e-9)


def test_large_sets_are_worked_on_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(70, 5)), rng.normal(size=(50, 5))
    whole = manifold(real, made)
    monkeypatch.setattr(file, "CHUNK_CELLS", 7 * 50)
    assert manifold(real, made) == whole


def test_collapse_is_precise_and_covers_little():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 4))
    few = real[:4].repeat(50, axis=0) + rng.normal(0, 0.01, (200, 4))
    found = manifold(real, few)
    assert found.precision > 0.95
    assert found.coverage < 0.2
    assert found.recall < 0.2


def test_what_lies_elsewhere_has_no_precision():
    real = np.random.default_rng(0).normal(size=(50, 4))
    assert manifold(real, real + 100) == Manifold(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("real", "made", "message"),
    [
        (np.ones((5, 3)), np.ones((9, 3)), "more than 5 rows"),
        (np.ones((9, 3)), np.ones((9, 2)), "as many features"),
        (np.full((9, 3), np.inf), np.ones((9, 3)), "NaN or infinity"),
    ],
)
def test_what_has_no_neighbours_is_refused(real, made, message):
    with pytest.raises(LesionForgeError, match=message):
        manifold(real, made)
