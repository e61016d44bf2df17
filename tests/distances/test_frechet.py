import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from lesionforge.distances.frechet import extrapolated, frechet_distance
from lesionforge.errors import LesionForgeError


def by_definition(x, y):
    covariances = np.cov(x.T), np.cov(y.T)
    between = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return between + np.trace(covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real)


@given(st.integers(0, 2**32 - 1), st.integers(20, 60), st.integers(20, 60))
@settings(deadline=None, max_examples=25)
def test_it_equals_its_definition_by_a_matrix_root(seed, samples, others):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 1, (samples, 6)) @ rng.normal(size=(6, 6)), rng.normal(0.3, 1.5, (others, 6))
    assert frechet_distance(x, y) == pytest.approx(by_definition(x, y), rel=1e-6)


def test_it_equals_what_torchmetrics_gave():
    """torchmetrics 1.9.0, ``image.fid._compute_fid`` on the means and covariances of these sets, float64."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 20)), rng.normal(0.3, 1.3, size=(300, 20))
    assert frechet_distance(x, y) == pytest.approx(4.4916192310694, abs=1e-9)


def test_of_gaussians_in_one_dimension_it_is_known():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (200_000, 1)), rng.normal(2, 3, (200_000, 1))
    assert frechet_distance(x, y) == pytest.approx(2**2 + (3 - 1) ** 2, rel=0.01)


def test_fewer_samples_than_features_are_no_obstacle():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 40)), rng.normal(size=(11, 40))
    distance = frechet_distance(x, y)
    assert distance > 10  # mostly bias, and so it says
    # Both sets lie in the same 20 dimensions at most: turned there, nothing is lost.
    basis = np.linalg.svd(np.concatenate([x, y]))[2][:20]
    assert frechet_distance(x @ basis.T, y @ basis.T) == pytest.approx(distance, rel=1e-9)


def test_a_set_is_at_no_distance_from_itself():
    x = np.random.default_rng(0).normal(size=(30, 5))
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)
    constant = np.ones((5, 3))
    assert frechet_distance(constant, constant + 2) == pytest.approx(12)


def test_extrapolation_takes_the_bias_of_few_samples_away():
    rng = np.random.default_rng(0)
    plain, corrected = [], []
    for seed in range(12):
        found = extrapolated(rng.normal(size=(150, 20)), rng.normal(size=(150, 20)), seed=seed)
        assert found.bias == pytest.approx(found.distances[0] - found.at_infinity)
        assert np.all(np.diff(found.distances) > 0)  # fewer samples, further apart
        plain.append(found.distances[0])
        corrected.append(found.at_infinity)
    assert np.mean(plain) > 1
    assert abs(np.mean(corrected)) < 0.1 * np.mean(plain)


def test_a_shift_is_what_is_left_of_extrapolation():
    rng = np.random.default_rng(1)
    found = extrapolated(rng.normal(size=(400, 10)), rng.normal(size=(300, 10)) + 1, seed=0)
    assert found.at_infinity == pytest.approx(10, rel=0.15)
    assert found.sizes[0] == 300


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((1, 3)), np.ones((5, 3)), "2 samples or more"),
        (np.ones((5, 3)), np.ones((5, 4)), "as many features"),
        (np.full((5, 3), np.nan), np.ones((5, 3)), "NaN"),
        (np.ones(5), np.ones((5, 3)), "2 samples or more"),
    ],
)
def test_what_has_no_distance_is_refused(x, y, message):
    with pytest.raises(LesionForgeError, match=message):
        frechet_distance(x, y)


def test_too_few_to_extrapolate_are_refused():
    with pytest.raises(LesionForgeError, match="ten samples"):
        extrapolated(np.ones((4, 2)), np.ones((50, 2)))
