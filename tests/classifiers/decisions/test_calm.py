"""Algorithm 2, and each choice that its text leaves (see the module)."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from lesionforge.classifiers.decision import Examples
from lesionforge.classifiers.decisions.calm import CALM, CALMClassifier, _Algorithm
from lesionforge.classifiers.feed_forward import FeedForward
from lesionforge.errors import TrainingDivergedError
from lesionforge.progress import SILENT

QUICK = CALM(max_iterations=12, trees=30)

NOT_MET = {
    "check_sample_weight_equivalence_on_dense_data": "mini-batches are drawn from rows: a row that counts twice is not "
    "drawn as two rows are (as with scikit-learn's MLPClassifier)",
}


@parametrize_with_checks([CALMClassifier(QUICK, random_state=0)], expected_failed_checks=lambda _: NOT_MET)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def two_kinds(count: int = 120, *, seed: int = 0) -> Examples:
    """Two clouds of rows, each with both classes, which only the first feature tells apart, the other way round."""
    rng = np.random.default_rng(seed)
    cloud, codes = np.arange(count) % 2, np.arange(count) // 2 % 2
    features = rng.normal(0, 0.3, (count, 3))
    features[:, 0] += (2 * codes - 1) * (2 * cloud - 1)
    features[:, 1] += 6 * cloud
    return Examples(features, codes, np.ones(count))


def algorithm(settings: CALM = QUICK, examples: Examples | None = None, seed: int = 0) -> _Algorithm:
    return _Algorithm(settings, examples or two_kinds(), seed)


def test_it_learns_what_is_told_apart_within_clusters():
    examples = two_kinds()
    settings = replace(QUICK, max_iterations=80)
    learnt, history = settings.fit(examples, seed=0, progress=SILENT)
    fresh = two_kinds(seed=1)
    assert (settings.probability(learnt, fresh.features).argmax(axis=1) == fresh.codes).mean() > 0.97
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert history["images_shown"].tolist() == [120 * k for k in range(1, len(history) + 1)]


def test_the_distance_sums_weighted_differences():
    """Against the equation, written out."""
    rng = np.random.default_rng(0)
    features, centres, weights = rng.normal(size=(5, 4)), rng.normal(size=(2, 4)), rng.normal(size=(7, 6))
    for kind, of in (("absolute", abs), ("signed", float)):
        found = CALM(distance=kind).distances(features, centres, weights)
        for i in range(5):
            for cluster in range(2):
                expected = sum(
                    sum(of(weights[j, n]) for j in range(7)) / 7 * abs(features[i, n] - centres[cluster, n])
                    for n in range(4)  # the two columns of the clusters take no part
                )
                assert found[i, cluster] == pytest.approx(expected, rel=1e-12)


def test_the_absolute_distance_is_one_and_the_printed_one_is_not():
    rng = np.random.default_rng(1)
    rows, weights = rng.normal(size=(30, 4)), rng.normal(size=(128, 6))
    absolute = CALM().distances(rows, rows, weights)
    np.testing.assert_array_equal(absolute, absolute.T)
    assert (np.diag(absolute) == 0).all()
    assert (absolute + np.eye(30) > 0).all()
    through = absolute[:, :, None] + absolute[None]
    assert (absolute[:, None] <= through + 1e-12).all()
    signed = CALM(distance="signed").distances(rows, rows, weights - weights[:, :1].mean() - 0.1)
    assert (signed < 0).any()


def test_a_centre_is_the_member_whose_cluster_the_forest_is_most_sure_of_without_having_seen_it():
    examples = two_kinds()
    clusters = (examples.features[:, 1] > 3).astype(int)
    clusters[:6] = 1 - clusters[:6]  # members that do not belong
    centres = algorithm()._centres(clusters, np.zeros((120, 2)))
    forest = RandomForestClassifier(QUICK.trees, oob_score=True, random_state=0).fit(examples.features, clusters)
    for cluster, centre in enumerate(centres):
        members = np.flatnonzero(clusters == cluster)
        share = forest.oob_decision_function_[members, cluster]
        surest = members[share == share.max()]
        assert centre in surest
        assert centre >= 6
        mean = examples.features[members].mean(axis=0)
        distance = np.linalg.norm(examples.features - mean, axis=1)
        assert distance[centre] == distance[surest].min()


def test_unchanged_clusters_have_unchanged_centres():
    examples = two_kinds()
    clusters = (examples.features[:, 1] > 3).astype(int)
    distances = np.zeros((120, 2))
    first, again = (algorithm()._centres(clusters, distances) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_an_empty_cluster_starts_again_where_rows_are_farthest_from_their_centre():
    distances = np.zeros((120, 3))
    distances[[17, 40], 0] = 5, 4
    centres = algorithm(replace(QUICK, clusters=3))._centres(np.zeros(120, dtype=int), distances)
    assert centres[1:].tolist() == [17, 40]


def test_with_one_cluster_the_centre_is_the_row_nearest_to_the_mean():
    examples = two_kinds()
    centre = algorithm(replace(QUICK, clusters=1))._centres(np.zeros(120, dtype=int), np.zeros((120, 1)))
    distance = np.linalg.norm(examples.features - examples.features.mean(axis=0), axis=1)
    assert centre == [distance.argmin()]


def test_rows_that_are_all_alike_leave_clusters_empty_and_end():
    examples = Examples(np.ones((20, 3)), np.arange(20) % 2, np.ones(20))
    learnt, history = QUICK.fit(examples, seed=0, progress=SILENT)
    assert history["smallest_cluster"].max() == 0
    assert len(history) == QUICK.patience
    np.testing.assert_allclose(QUICK.probability(learnt, examples.features), 0.5, atol=0.1)


def test_a_cluster_of_one_class_is_trained_as_any_other():
    rng = np.random.default_rng(0)
    codes = np.arange(90) % 3 // 2
    features = rng.normal(0, 0.3, (90, 2))
    features[:, 0] += 8 * codes  # one cloud of class 0, one of class 1
    settings = replace(QUICK, max_iterations=60)
    learnt, history = settings.fit(Examples(features, codes, np.ones(90)), seed=1, progress=SILENT)
    clusters = settings.assigned(learnt, features)
    assert {frozenset(codes[clusters == c].tolist()) for c in (0, 1)} == {frozenset({0}), frozenset({1})}
    assert (settings.probability(learnt, features).argmax(axis=1) == codes).all()
    assert np.isfinite(history).all(axis=None)


def test_it_stops_when_no_row_has_moved_for_the_patience():
    _, history = replace(QUICK, patience=4, max_iterations=100).fit(two_kinds(), seed=0, progress=SILENT)
    moved = history["moved"].tolist()
    assert len(moved) < 100
    assert moved[-4:] == [0] * 4
    assert all(any(moved[k : k + 4]) for k in range(len(moved) - 4))


def test_it_stops_at_the_bound_all_the_same():
    _, history = replace(QUICK, patience=10, max_iterations=3).fit(two_kinds(), seed=0, progress=SILENT)
    assert len(history) == 3


def test_an_unseen_row_gets_the_cluster_of_the_nearest_centre():
    learnt, _ = QUICK.fit(two_kinds(), seed=0, progress=SILENT)
    fresh = two_kinds(seed=3).features
    importance = np.abs(learnt["0.weight"][:, :3].astype(np.float64)).mean(axis=0)
    expected = [np.argmin([importance @ np.abs(row - centre) for centre in learnt["centres"]]) for row in fresh]
    np.testing.assert_array_equal(QUICK.assigned(learnt, fresh), expected)


def test_the_appended_columns_are_what_the_network_sees():
    """Rows at the same place in another cluster get another probability: by hand, with the weights."""
    settings = replace(QUICK, network=FeedForward(widths=(5,)))
    learnt, _ = settings.fit(two_kinds(), seed=0, progress=SILENT)
    fresh = two_kinds(seed=3).features
    inputs = np.hstack([fresh, np.eye(2)[settings.assigned(learnt, fresh)]])
    hidden = inputs @ learnt["0.weight"].astype(np.float64).T + learnt["0.bias"]
    logits = np.where(hidden > 0, hidden, 0.01 * hidden) @ learnt["2.weight"].astype(np.float64).T + learnt["2.bias"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(settings.probability(learnt, fresh), expected, atol=1e-12)


def test_the_variance_noted_is_that_about_the_clusters_means():
    examples = two_kinds()
    settings = replace(QUICK, max_iterations=2)
    learnt, history = settings.fit(examples, seed=0, progress=SILENT)
    clusters = settings.assigned(learnt, examples.features)
    expected = sum(
        np.linalg.norm(row - examples.features[clusters == cluster].mean(axis=0)) ** 2
        for row, cluster in zip(examples.features, clusters, strict=True)
    )
    assert history["intra_cluster_variance"].iloc[-1] == pytest.approx(expected / 120, rel=1e-9)


def test_the_validation_loss_is_of_the_other_rows():
    other = two_kinds(40, seed=5)
    learnt, history = QUICK.fit(replace(two_kinds(), validation=other), seed=0, progress=SILENT)
    of_truth = QUICK.probability(learnt, other.features)[np.arange(40), other.codes]
    assert history["validation_loss"].iloc[-1] == pytest.approx(-np.log(of_truth).mean(), rel=1e-4)


def test_weights_count():
    examples = two_kinds()
    heavy = replace(examples, weights=np.where(examples.codes == 1, 50.0, 1.0), features=np.zeros((120, 3)))
    learnt, _ = replace(QUICK, max_iterations=60, patience=60).fit(heavy, seed=0, progress=SILENT)
    assert QUICK.probability(learnt, np.zeros((1, 3)))[0, 1] > 0.9


def test_a_rate_that_is_too_high_is_named():
    with pytest.raises(TrainingDivergedError, match=r"decision\.network\.learning_rate"):
        replace(QUICK, network=FeedForward(learning_rate=1e30)).fit(two_kinds(), seed=0, progress=SILENT)


def test_more_clusters_than_rows_are_refused():
    with pytest.raises(ValueError, match="n_samples=4"):
        CALMClassifier(CALM(clusters=5)).fit(np.eye(4), [0, 1, 0, 1])
