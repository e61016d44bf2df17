import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel

from lesionforge.distances import kernel
from lesionforge.distances.kernel import Estimate, Standardised, kernel_distance, weighted
from lesionforge.errors import LesionForgeError


def by_definition(x, y):
    """Equation 4 of Bińkowski et al. 2018 with scikit-learn's kernel, which is (γ x·y + c)^d."""

    def mean(a, b, *, same):
        matrix = polynomial_kernel(a, b, degree=3, gamma=1 / a.shape[1], coef0=1)
        return matrix[~np.eye(len(a), dtype=bool)].mean() if same else matrix.mean()

    return mean(x, x, same=True) + mean(y, y, same=True) - 2 * mean(x, y, same=False)


def jackknifed(x, y):
    """Each row left out in turn, the long way round."""
    variance = 0
    for values in (
        [by_definition(np.delete(x, row, axis=0), y) for row in range(len(x))],
        [by_definition(x, np.delete(y, row, axis=0)) for row in range(len(y))],
    ):
        variance += (len(values) - 1) * np.var(values)
    return np.sqrt(variance)


@given(st.integers(0, 2**32 - 1), st.integers(3, 12), st.integers(3, 12))
@settings(deadline=None, max_examples=25)
def test_distance_and_error_equal_their_definitions(seed, samples, others):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 1, (samples, 5)), rng.normal(0.3, 1.5, (others, 5))
    found = kernel_distance(x, y)
    assert found.value == pytest.approx(by_definition(x, y), rel=1e-9, abs=1e-9)
    assert found.standard_error == pytest.approx(jackknifed(x, y), rel=1e-8)


def test_large_sets_are_worked_on_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (40, 5)), rng.normal(1, 1, (50, 5))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "CHUNK_CELLS", 7 * 50)
    assert kernel_distance(x, y).value == pytest.approx(whole.value, rel=1e-12)
    assert kernel_distance(x, y).standard_error == pytest.approx(whole.standard_error, rel=1e-9)


def test_between_sets_of_one_kind_it_is_0_on_average_whatever_their_size():
    rng = np.random.default_rng(0)
    for samples, others in ((5, 5), (10, 60)):
        drawn = [kernel_distance(rng.normal(0, 1, (samples, 4)), rng.normal(0, 1, (others, 4))) for _ in range(800)]
        values = np.array([each.value for each in drawn])
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))


def test_its_error_is_how_much_it_varies():
    rng = np.random.default_rng(0)
    drawn = [kernel_distance(rng.normal(0, 1, (60, 4)), rng.normal(0.5, 1.2, (80, 4))) for _ in range(400)]
    spread = np.std([each.value for each in drawn])
    # The jackknife errs to the safe side.
    assert 0.95 < np.mean([each.standard_error for each in drawn]) / spread < 1.2


def test_it_grows_with_the_difference_of_means_and_of_spreads():
    rng = np.random.default_rng(0)
    reference = rng.normal(0, 1, (200, 4))
    moved = [kernel_distance(rng.normal(shift, 1, (200, 4)), reference).value for shift in (0, 0.3, 0.6, 1)]
    widened = [kernel_distance(rng.normal(0, sd, (200, 4)), reference).value for sd in (1, 1.3, 1.6, 2)]
    assert moved == sorted(moved)
    assert widened == sorted(widened)


def test_weighted_means_add_their_variances():
    found = weighted([Estimate(1.0, 0.3), Estimate(3.0, 0.4)], [3, 1])
    assert found.value == pytest.approx(1.5)
    assert found.standard_error == pytest.approx(np.hypot(0.75 * 0.3, 0.25 * 0.4))


def test_features_are_in_units_of_the_reference_and_constant_ones_count_for_nothing():
    rng = np.random.default_rng(0)
    reference = rng.normal([5, -700, 3], [2, 100, 0], (100, 3))
    standardised = Standardised.by(reference)
    np.testing.assert_allclose(standardised(reference).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(standardised(reference).std(axis=0), [1, 1, 0])
    assert standardised(np.array([[7.0, -600.0, 9.0]]))[0, 2] == 0


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((2, 3)), np.zeros((5, 3))),
        (np.zeros((5, 3)), np.zeros((0, 3))),
        (np.zeros((5, 3)), np.zeros((5, 4))),
        (np.full((5, 3), np.nan), np.zeros((5, 3))),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y):
    with pytest.raises(LesionForgeError, match="3 rows or more"):
        kernel_distance(x, y)
