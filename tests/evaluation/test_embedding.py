import importlib.util

import numpy as np
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.embedding import FEWEST, embed, neighbours_kept

UMAP_IS_THERE = importlib.util.find_spec("umap") is not None
LAYOUTS = [
    "t-sne",
    pytest.param("umap", marks=pytest.mark.skipif(not UMAP_IS_THERE, reason="the extra umap is not installed")),
]


def islands(count=30, features=6):
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(count, features)), rng.normal(size=(count, features)) + 8])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:Tensorflow:ImportWarning")
def test_islands_stay_apart_and_the_same_seed_gives_the_same_places(layout):
    found = embed(islands(), layout=layout, seed=1)
    assert found.places.shape == (60, 2)
    nearest = [np.argsort(np.linalg.norm(found.places - place, axis=1))[1] for place in found.places]
    assert all((near < 30) == (row < 30) for row, near in enumerate(nearest))
    assert 0.8 < found.trustworthiness <= 1
    assert found.neighbours_kept == neighbours_kept_by_counting(islands(), found.places)
    np.testing.assert_array_equal(found.places, embed(islands(), layout=layout, seed=1).places)


def neighbours_kept_by_counting(features, places, count=10):
    """Of features as `embed` scales them."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    nearest = [
        np.argsort(np.linalg.norm(of[:, None] - of[None], axis=-1) + np.diag([np.inf] * len(of)), axis=1)[:, :count]
        for of in (scaled, places)
    ]
    return np.mean([len(set(before) & set(after)) / count for before, after in zip(*nearest, strict=True)])


def test_a_picture_of_the_plane_itself_keeps_everything_and_one_by_chance_next_to_nothing():
    plane = np.random.default_rng(0).normal(size=(400, 2))
    assert neighbours_kept(plane, plane) == 1
    assert neighbours_kept(plane, np.random.default_rng(1).normal(size=(400, 2))) < 0.06


def test_a_feature_that_never_changes_changes_nothing():
    with_constant = np.hstack([islands(), np.full((60, 1), 7.0)])
    np.testing.assert_array_equal(embed(with_constant).places, embed(islands()).places)
    assert embed(islands(features=1)).places.shape == (60, 2)


@pytest.mark.parametrize(
    ("features", "why"),
    [
        (islands()[: FEWEST - 1], "22 feature vectors or more"),
        (np.zeros(30), "feature vectors or more"),
        (np.full((30, 2), np.nan), "must be finite"),
        (np.ones((30, 2)), "all 30 vectors are alike"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(features, why):
    with pytest.raises(LesionForgeError, match=why):
        embed(features)


def test_an_unknown_layout_is_answered_by_the_nearest():
    with pytest.raises(LesionForgeError, match="did you mean 't-sne'"):
        embed(islands(), layout="tsne")


@pytest.mark.skipif(UMAP_IS_THERE, reason="the extra umap is installed")
def test_umap_that_is_not_installed_is_named_with_the_way_out():
    with pytest.raises(LesionForgeError, match=r"lesionforge\[umap\]"):
        embed(islands(), layout="umap")
