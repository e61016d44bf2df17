from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.classifiers import network
from lesionforge.classifiers.methods.lesion_cnn import LesionCNN
from lesionforge.classifiers.methods.resnet_cad import ResNetCAD
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.classifiers.network import MeanImage
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, TrainingDivergedError

SMALL = SmallCNN(channels=(4, 4), dropout=0.0, batch_size=16, epochs=1000, max_images=640, check_every_images=64)


def noise(count: int, *, rare: int, prefix: str, seed: int) -> Patches:
    """Images that say nothing of their class; ``rare`` of them are of class b."""
    rng = np.random.default_rng(seed)
    return Patches.of(
        rng.integers(-1000, 400, (count, 16, 16)).astype(np.int16),
        patient=[f"{prefix}-{k}" for k in range(count)],
        label=["b" if k < rare else "a" for k in range(count)],
    )


@pytest.fixture(scope="module")
def train():
    return noise(60, rare=10, prefix="train", seed=0)


@pytest.fixture(scope="module")
def validation():
    return noise(40, rare=20, prefix="validation", seed=1)


def balanced_loss(probability, labels, training_labels):
    """Cross-entropy in which each class of the training set weighs the same, in double precision."""
    classes, counts = np.unique(training_labels, return_counts=True)
    code = np.searchsorted(classes, labels)
    weight = (len(training_labels) / (len(classes) * counts))[code]
    of_truth = probability[np.arange(len(labels)), code]
    return float(-(weight * np.log(of_truth)).sum() / weight.sum())


@pytest.mark.parametrize("weighted", [True, False])
def test_the_weights_of_the_best_validation_loss_are_kept(train, validation, weighted):
    method = replace(SMALL, class_weights=weighted, learning_rate=1e-2)
    fitted = method.fit(train, validation=validation)
    losses = fitted.history["validation_loss"]
    assert losses.idxmin() < len(losses) - 1  # noise is learnt by heart: the last weights are not the best
    weights_from = train.labels if weighted else np.array(["a", "b"])
    found = balanced_loss(fitted.predict_proba(validation, already_seen=True), validation.labels, weights_from)
    assert found == pytest.approx(losses.min(), rel=1e-5)


def test_fitting_stops_when_validation_does_not_improve_for_the_patience(train, validation):
    method = replace(SMALL, learning_rate=1e-2, max_images=100_000, patience_images=300)
    history = method.fit(train, validation=validation).history
    best = history.loc[history["validation_loss"].idxmin(), "images_shown"]
    assert 300 <= history["images_shown"].iloc[-1] - best < 300 + 64 + 2 * 16
    assert history["images_shown"].iloc[-1] < 20_000


def test_without_validation_it_trains_for_all_its_images_and_keeps_the_last_weights(train):
    history = SMALL.fit(train).history
    assert list(history) == ["images_shown", "train_loss"]
    assert 640 <= history["images_shown"].iloc[-1] < 640 + 16


def test_epochs_count_the_training_set(train):
    assert replace(SMALL, epochs=3, max_images=0).fit(train).history["images_shown"].iloc[-1] == 3 * len(train)


def test_the_number_of_images_bounds_the_epochs_whatever_the_size_of_the_set(train):
    for rows in (range(8, 20), range(60)):
        shown = SMALL.fit(train.rows(rows)).history["images_shown"].iloc[-1]
        assert 640 <= shown < 640 + 16


def test_class_weights_make_a_rare_class_count_as_much():
    rare = noise(100, rare=10, prefix="train", seed=0)
    fresh = noise(200, rare=100, prefix="fresh", seed=2)
    method = replace(SMALL, max_images=1_600, learning_rate=3e-3, channels=(2,))
    chance = {w: replace(method, class_weights=w).fit(rare).predict_proba(fresh)[:, 1].mean() for w in (True, False)}
    assert chance[False] < 0.25
    assert 0.35 < chance[True] < 0.65


def test_the_first_loss_equals_torchs_weighted_cross_entropy(train):
    """One batch holds the whole set, and nothing is dropped: the first loss is that of the initial weights."""
    method = replace(SMALL, batch_size=60, max_images=60, learning_rate=0.0)
    fitted = method.fit(train)
    found = fitted.history["train_loss"].item()
    log_probability = torch.from_numpy(np.log(fitted.predict_proba(train, already_seen=True)))
    weight = torch.tensor([60 / (2 * 50), 60 / (2 * 10)], dtype=torch.float64)
    targets = torch.from_numpy((train.labels == "b").astype(int))
    assert found == pytest.approx(float(nn.NLLLoss(weight)(log_probability, targets)), rel=1e-6)


def test_the_mean_training_image_is_subtracted(train):
    fitted = LesionCNN(channels=(4,), dense=4, epochs=1).fit(train)
    (layer,) = [module for module in fitted.network.modules() if isinstance(module, MeanImage)]
    scaled = (train.images.astype(np.float64) - WINDOWS["lung"].low) / 1400
    np.testing.assert_allclose(layer.mean[0].numpy(), scaled.mean(axis=0), atol=1e-6)
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(layer(images), images - layer.mean)
    assert not list(layer.parameters())


def test_a_loss_that_is_no_number_stops_fitting(train):
    with pytest.raises(TrainingDivergedError, match="lower its learning rate"):
        LesionCNN(channels=(4,), dense=4, epochs=50, learning_rate=1e12, dropout=0.0).fit(train)


def test_progress_counts_images(train, stop_after):
    watch = stop_after()
    replace(SMALL, epochs=2, max_images=0).fit(train, progress=watch)
    assert watch.seen == 8  # 60 images in batches of 15


def test_patience_can_be_counted_in_epochs(train, validation):
    method = replace(SMALL, learning_rate=1e-2, max_images=100_000, patience_epochs=5)
    history = method.fit(train, validation=validation).history
    best = history.loc[history["validation_loss"].idxmin(), "images_shown"]
    assert 5 * len(train) <= history["images_shown"].iloc[-1] - best < 5 * len(train) + 64 + 2 * 16


@pytest.mark.parametrize(("batch_size", "rows"), [(1, 60), (2, 13)])
def test_a_batch_of_one_is_refused_where_batches_are_standardised(train, batch_size, rows):
    few = train.rows(range(rows)).with_columns(label=["ab"[k % 2] for k in range(rows)])
    with pytest.raises(LesionForgeError, match="another batch_size"):
        ResNetCAD(width=2, batch_size=batch_size, max_images=8).fit(few)
    ResNetCAD(width=2, batch_size=4, max_images=8).fit(few)
    replace(SMALL, batch_size=batch_size, max_images=8).fit(few)


def test_large_sets_are_predicted_in_parts_that_memory_holds(train, monkeypatch):
    fitted = SMALL.fit(train)
    whole = fitted.predict_proba(train, already_seen=True)
    together = []
    fitted.network.register_forward_pre_hook(lambda _module, inputs: together.append(len(inputs[0])))
    monkeypatch.setattr(network, "PREDICT_PIXELS", 7 * 16 * 16 + 3)
    np.testing.assert_allclose(fitted.predict_proba(train, already_seen=True), whole, atol=1e-6)
    assert together == [7] * 8 + [4]
