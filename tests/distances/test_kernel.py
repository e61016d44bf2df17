import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import polynomial_kernel

from lesionforge.distances import kernel
from lesionforge.distances.kernel import (
    Estimate,
    Standardised,
    Whitened,
    kernel_distance,
    less_distance,
    polynomial,
    weighted,
)
from lesionforge.errors import LesionForgeError


def cubed(a, b):
    """scikit-learn's kernel, which is (γ x·y + c)^d."""
    return polynomial_kernel(a, b, degree=3, gamma=1 / a.shape[1], coef0=1)


def minus_euclidean(a, b):
    return -pairwise_distances(a, b)


KERNELS = [(polynomial, cubed), (less_distance, minus_euclidean)]


def by_definition(x, y, kernel):
    """Equation 4 of Bińkowski et al. 2018."""

    def mean(a, b, *, same):
        matrix = kernel(a, b)
        return matrix[~np.eye(len(a), dtype=bool)].mean() if same else matrix.mean()

    return mean(x, x, same=True) + mean(y, y, same=True) - 2 * mean(x, y, same=False)


def jackknifed(x, y, kernel):
    """Each row left out in turn, the long way round."""
    variance = 0
    for values in (
        [by_definition(np.delete(x, row, axis=0), y, kernel) for row in range(len(x))],
        [by_definition(x, np.delete(y, row, axis=0), kernel) for row in range(len(y))],
    ):
        variance += (len(values) - 1) * np.var(values)
    return np.sqrt(variance)


@given(st.integers(0, 2**32 - 1), st.integers(3, 12), st.integers(3, 12), st.sampled_from(KERNELS))
@settings(deadline=None, max_examples=40)
def test_distance_and_error_equal_their_definitions(seed, samples, others, kernels):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 1, (samples, 5)), rng.normal(0.3, 1.5, (others, 5))
    ours, theirs = kernels
    found = kernel_distance(x, y, kernel=ours)
    assert found.value == pytest.approx(by_definition(x, y, theirs), rel=1e-9, abs=1e-9)
    assert found.standard_error == pytest.approx(jackknifed(x, y, theirs), rel=1e-8)


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


def test_one_sample_far_out_outweighs_the_others_by_the_cube_and_not_by_the_distance():
    rng = np.random.default_rng(0)
    reference, good, worse = rng.normal(0, 1, (200, 4)), rng.normal(0, 1, (200, 4)), rng.normal(0.7, 1, (200, 4))
    good[0] = 30
    by = {
        kernel: [kernel_distance(each, reference, kernel=kernel).value for each in (good, worse)]
        for kernel, _ in KERNELS
    }
    assert by[polynomial][0] > by[polynomial][1]
    assert by[less_distance][0] < by[less_distance][1]


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


def test_whitened_features_are_decorrelated_as_far_as_the_set_is_large():
    rng = np.random.default_rng(0)
    mixed = rng.normal(0, 1, (8, 8))

    def spread(count):
        return np.cov(Whitened.by(rng.normal(0, 1, (count, 8)) @ mixed + 5)(rng.normal(0, 1, (5_000, 8)) @ mixed + 5).T)

    np.testing.assert_allclose(spread(200_000), np.eye(8), atol=0.1)
    few = np.linalg.eigvalsh(spread(6))  # of some directions six know nothing
    assert few.max() < 100


def test_what_is_told_twice_counts_once():
    rng = np.random.default_rng(0)
    reference, moved = rng.normal(0, 1, (2, 300, 2))
    moved[:, 0] += 1
    twice = [np.concatenate([each, each[:, :1] + rng.normal(0, 1e-3, (300, 1))], axis=1) for each in (reference, moved)]

    def distance(kind, features, others):
        return kernel_distance(*(kind.by(features)(each) for each in (features, others)), kernel=less_distance).value

    once = distance(Whitened, reference, moved)
    assert distance(Whitened, *twice) == pytest.approx(once, rel=0.1)
    assert distance(Standardised, *twice) > 1.15 * distance(Standardised, reference, moved)


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


def test_pairs_within_a_group_are_left_out():
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (9, 5)), rng.normal(0.3, 1.5, (7, 5))
    groups, other_groups = np.array(list("aabbbcddd")), np.array([1, 1, 2, 3, 3, 4, 4])

    def by_pairs(x, y, groups, other_groups):
        def mean(a, b, kept):
            return polynomial_kernel(a, b, degree=3, gamma=1 / 5, coef0=1)[kept].mean()

        own = [groups[:, None] != groups, other_groups[:, None] != other_groups]
        return mean(x, x, own[0]) + mean(y, y, own[1]) - 2 * mean(x, y, np.ones((len(x), len(y)), bool))

    found = kernel_distance(x, y, groups=groups, other_groups=other_groups)
    assert found.value == pytest.approx(by_pairs(x, y, groups, other_groups), rel=1e-9)
    variance = 0
    for names, left_out in (
        (groups, lambda keep: by_pairs(x[keep], y, groups[keep], other_groups)),
        (other_groups, lambda keep: by_pairs(x, y[keep], groups, other_groups[keep])),
    ):
        values = [left_out(names != name) for name in np.unique(names)]
        variance += (len(values) - 1) * np.var(values)
    assert found.standard_error == pytest.approx(np.sqrt(variance), rel=1e-8)


def test_clustered_sets_of_one_kind_are_at_0_on_average_only_with_groups():
    rng = np.random.default_rng(0)
    values = {True: [], False: []}
    for _ in range(300):
        x, y = (np.repeat(rng.normal(size=(10, 3)), 3, axis=0) + rng.normal(0, 0.3, (30, 3)) for _ in range(2))
        owners = np.repeat(np.arange(10), 3)
        for grouped, drawn in values.items():
            groups = {"groups": owners, "other_groups": owners} if grouped else {}
            drawn.append(kernel_distance(x, y, **groups).value)
    means = {grouped: np.mean(drawn) / (np.std(drawn) / np.sqrt(300)) for grouped, drawn in values.items()}
    assert abs(means[True]) < 4
    assert means[False] > 8


def test_two_groups_give_no_error():
    with pytest.raises(LesionForgeError, match="3 groups"):
        kernel_distance(np.ones((6, 2)), np.ones((6, 2)), groups=np.repeat([0, 1], 3))
