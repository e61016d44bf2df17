"""A plain neural network: paper C's "NN", the network of its CALM without the clusters."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import torch
from scipy import special
from torch import Tensor

from lesionforge.classifiers.contract import Arrays, FloatArray
from lesionforge.classifiers.decision import Decision, Examples
from lesionforge.classifiers.feed_forward import FeedForward, Trainer
from lesionforge.networks import seeded
from lesionforge.progress import Progress
from lesionforge.settings import Count


@dataclass(frozen=True)
class Network(Decision):
    """Trained for a number of epochs (paper C's figure 5 shows about 150)."""

    name: Literal["network"] = "network"
    epochs: Count = 150
    network: FeedForward = field(default_factory=FeedForward)

    def fit(self, examples: Examples, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Learn the network's weights; the losses are noted after every epoch."""
        inputs, targets, weights = _tensors(examples)
        rng, rows, count = np.random.default_rng(seed), [], len(targets)
        with (
            seeded("feed-forward", seed),
            progress.work("fitting network", self.epochs * count, unit="rows") as advance,
        ):
            trainer = Trainer(self.network, inputs.shape[1], int(targets.max()) + 1)
            for epoch in range(1, self.epochs + 1):
                trainer.epoch(inputs, targets, weights, rng)
                row = {"images_shown": epoch * count, "train_loss": trainer.loss(inputs, targets, weights)}
                if examples.validation is not None:
                    row["validation_loss"] = trainer.loss(*_tensors(examples.validation))
                rows.append(row)
                advance(count, loss=row["train_loss"])
        return trainer.weights, pd.DataFrame(rows)

    def probability(self, learnt: Arrays, features: FloatArray) -> FloatArray:
        """Softmax of the network's logits."""
        return np.asarray(special.softmax(self.network.logits(learnt, features), axis=1))


def _tensors(examples: Examples) -> tuple[Tensor, Tensor, Tensor]:
    features, codes, weights = map(torch.from_numpy, (examples.features, examples.codes, examples.weights))
    return features.float(), codes, weights.float()
