import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lesionforge.classifiers.methods.bovw_mi import BoVWMI, relevance
from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.data.splits import stratified_kfold
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT

SMALL = BoVWMI(words=12, kept_words=5, kept_words_of_each=3, window_px=5, step_px=3, components=4)


def patches(classes: int = 3, *, count: int = 30) -> Patches:
    """Stripes whose direction is the class."""
    rng = np.random.default_rng(0)
    codes = np.arange(count) % classes
    y, x = np.indices((16, 16))
    waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)])
    hu = -300 + 400 * waves[codes] + rng.normal(0, 30, (count, 16, 16))
    return Patches.of(hu, patient=[f"p{k}" for k in range(count)], label=[f"class {c}" for c in codes])


def information(table: np.ndarray) -> float:
    """Mutual information of two variables, nats, from their joint counts."""
    p = table / table.sum()
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    return float(sum(a * np.log(a / b) for a, b in zip(p.ravel(), expected.ravel(), strict=True) if a > 0))


def test_relevance_is_mutual_information():
    by_class = np.random.default_rng(0).integers(0, 50, (3, 7)).astype(float)
    rest = by_class.sum(axis=1, keepdims=True) - by_class
    expected = [information(np.stack([by_class[:, w], rest[:, w]])) for w in range(7)]
    np.testing.assert_allclose(relevance(by_class), expected, atol=1e-12)


def test_the_words_kept_are_those_that_say_most(facts_of):
    train = patches()
    facts = facts_of(train)
    counts = {}
    for name in ("single", "multi_binary"):
        method = BoVWMI(**{**vars(SMALL), "representation": name})
        learnt, _ = method.learn(train, facts, seed=0, progress=SILENT)
        whole = method.describe(train, facts, {**learnt, "kept": np.arange(12)[None]}) * 16
        np.testing.assert_allclose(whole.sum(axis=1), 16)  # every window is of one word
        counts[name] = np.stack([whole[facts.codes(train) == code].sum(axis=0) for code in range(3)])
        tasks = [counts[name]]
        if name == "multi_binary":
            tasks = [np.stack([own, counts[name].sum(axis=0) - own]) for own in counts[name]]
        for kept, task in zip(learnt["kept"], tasks, strict=True):
            score = np.array([information(np.stack([task[:, w], task.sum(axis=1) - task[:, w]])) for w in range(12)])
            left = np.setdiff1d(np.arange(12), kept)
            assert score[kept].min() >= score[left].max() - 1e-12
    np.testing.assert_allclose(counts["single"], counts["multi_binary"])


def test_words_are_nearest_centres_of_principal_components(facts_of):
    train = patches()
    facts = facts_of(train)
    learnt, _ = SMALL.learn(train, facts, seed=0, progress=SILENT)
    unit = np.clip((train.images[4] + 1000) / 1400, 0, 1)
    expected = np.zeros(12)
    for top in range(0, 12, 3):
        for left in range(0, 12, 3):
            point = learnt["axes"] @ (unit[top : top + 5, left : left + 5].ravel() - learnt["mean"])
            expected[np.argmin(np.linalg.norm(learnt["words"] - point, axis=1))] += 1 / 16
    found = SMALL.describe(train.rows([4]), facts, learnt)[0]
    np.testing.assert_allclose(found, expected[learnt["kept"].ravel()], atol=1e-9)


def test_sizes_of_both_representations():
    three, two = patches(), patches(2)
    multi = BoVWMI(**{**vars(SMALL), "representation": "multi_binary"})
    assert SMALL.fit(three).features(three, already_seen=True).shape == (30, 5)
    assert multi.fit(three).features(three, already_seen=True).shape == (30, 9)
    assert multi.fit(two).features(two, already_seen=True).shape == (30, 3)  # one task


def test_published_numbers_are_the_defaults():
    method = BoVWMI()
    published = (11, 10, 750, 262, 23)
    found = (method.window_px, method.components, method.words, method.kept_words, method.kept_words_of_each)
    assert found == published


@pytest.mark.parametrize("wrong", [{"words": 100_000}, {"kept_words": 13}, {"components": 26}], ids=str)
def test_more_words_than_windows_and_the_like_are_refused(wrong):
    with pytest.raises(LesionForgeError, match="lower words"):
        BoVWMI(**{**vars(SMALL), **wrong}).fit(patches())


def test_volumes_are_refused():
    with pytest.raises(LesionForgeError, match="2-D patches"):
        SMALL.check_shape((16, 16, 16))


@pytest.mark.real_data
def test_real_texture_says_more_than_chance(lidc, lidc_tasks):
    nodules = load_arrays(lidc, mapping=lidc_tasks.NON_SOLID).centre_crop(48)
    split = stratified_kfold(nodules, folds=3, seed=0)[0]
    test = nodules.rows(split.test)
    fitted = BoVWMI(words=200, kept_words=70).fit(nodules.rows(split.train), scored_on=test)
    assert roc_auc_score(test.labels == "solid", fitted.predict_proba(test)[:, 1]) > 0.6
