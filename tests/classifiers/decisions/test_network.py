from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.classifiers.decision import Examples
from lesionforge.classifiers.decisions.network import Network
from lesionforge.classifiers.feed_forward import FeedForward, weighted_loss
from lesionforge.errors import StorageError
from lesionforge.networks import parameter_count
from lesionforge.progress import SILENT


def ring(count: int = 200, *, seed: int = 0) -> Examples:
    """No line tells the inside of a ring from the ring."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 2))
    return Examples(features, (np.linalg.norm(features, axis=1) > 1.2).astype(int), np.ones(count))


def test_the_published_network():
    network = FeedForward().build(1250, 2)
    assert [type(layer) for layer in network] == [nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]
    assert parameter_count(network) == 1250 * 128 + 128 + 128 * 32 + 32 + 32 * 2 + 2


def test_it_learns_what_no_line_tells_apart():
    decision = Network(epochs=150)
    learnt, history = decision.fit(ring(), seed=0, progress=SILENT)
    fresh = ring(seed=1)
    assert (decision.probability(learnt, fresh.features).argmax(axis=1) == fresh.codes).mean() > 0.93
    assert history["images_shown"].tolist() == list(range(200, 150 * 200 + 1, 200))


def test_losses_are_those_of_the_weights():
    other = replace(ring(50, seed=2), weights=np.linspace(0.5, 1.5, 50))
    decision = Network(epochs=3)
    learnt, history = decision.fit(replace(ring(), validation=other), seed=0, progress=SILENT)
    for examples, column in ((ring(), "train_loss"), (other, "validation_loss")):
        of_truth = decision.probability(learnt, examples.features)[np.arange(len(examples.codes)), examples.codes]
        expected = np.average(-np.log(of_truth), weights=examples.weights)
        assert history[column].iloc[-1] == pytest.approx(expected, rel=1e-5)


def test_the_loss_weighs_rows_as_torch_weighs_classes():
    logits, targets = torch.randn(30, 3, generator=torch.manual_seed(0)), torch.arange(30) % 3
    of_class = torch.tensor([0.2, 1.0, 3.0])
    expected = nn.functional.cross_entropy(logits, targets, weight=of_class)
    assert weighted_loss(logits, targets, of_class[targets]).item() == pytest.approx(expected.item(), rel=1e-6)


def test_weights_of_another_network_are_refused():
    learnt, _ = Network(epochs=1).fit(ring(), seed=0, progress=SILENT)
    with pytest.raises(StorageError, match="do not fit a feed-forward network"):
        Network(network=FeedForward(widths=(64, 32))).probability(learnt, np.zeros((1, 2)))
