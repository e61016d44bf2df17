"""The feed-forward network of paper C, and one epoch of its training.

Ghosal et al. 2020 (CALM), section 5.3: dense 128, leaky ReLU, dense 32, leaky ReLU, dense with a softmax; Adam,
learning rate 0.001, momentum 0.9, weight decay 1e-4. The text prints neither the slope of the leaky ReLU (0.01 here, as
usual) nor a batch (100, as for its autoencoder).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.classifiers.contract import Arrays, FloatArray
from lesionforge.classifiers.search import TunedRate
from lesionforge.errors import TrainingDivergedError
from lesionforge.networks import load_state
from lesionforge.settings import Count, Widths

# N rows, F inputs, K classes.


@dataclass(frozen=True)
class FeedForward:
    """Settings of the network and its optimiser; the published ones are the defaults."""

    widths: Widths = (128, 32)
    batch_size: Count = 100
    learning_rate: TunedRate = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def build(self, inputs: int, outputs: int) -> nn.Sequential:
        """Make the network, [B, inputs] → logits [B, outputs], with its initial weights."""
        layers: list[nn.Module] = []
        for before, after in zip((inputs, *self.widths), self.widths, strict=False):
            layers += [nn.Linear(before, after), nn.LeakyReLU()]
        return nn.Sequential(*layers, nn.Linear(self.widths[-1], outputs))

    def logits(self, learnt: Arrays, inputs: FloatArray) -> FloatArray:
        """[N, K] of inputs [N, F], by a network that was learnt (`weights_of`), in double precision."""
        weights = {name: torch.from_numpy(array) for name, array in learnt.items()}
        outputs, hidden = weights[f"{2 * len(self.widths)}.bias"], weights["0.weight"].shape[1]
        with torch.random.fork_rng():  # the initial weights are drawn for nothing
            network = self.build(hidden, len(outputs))
        load_state(network, weights, of="a feed-forward network")
        with torch.no_grad():
            return np.asarray(network.double()(torch.from_numpy(inputs)).numpy())


class Trainer:
    """A network and its optimiser.

    Parameters
    ----------
    settings
        What they are.
    inputs, outputs
        Width of the network's ends.
    """

    def __init__(self, settings: FeedForward, inputs: int, outputs: int) -> None:
        self.settings = settings
        self.network = settings.build(inputs, outputs)
        self._optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=settings.learning_rate,
            betas=(settings.momentum, 0.999),
            weight_decay=settings.weight_decay,
        )

    def epoch(self, inputs: Tensor, targets: Tensor, weights: Tensor, rng: np.random.Generator) -> None:
        """Show every row once, in an order that ``rng`` draws: inputs [N, F], targets [N], weights [N]."""
        order = torch.from_numpy(rng.permutation(len(inputs)))
        for rows in torch.split(order, self.settings.batch_size):
            self._optimiser.zero_grad(set_to_none=True)
            loss = weighted_loss(self.network(inputs[rows]), targets[rows], weights[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()

    @torch.no_grad()
    def loss(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> float:
        """Weighted cross-entropy; raise TrainingDivergedError if it is no finite number."""
        value = float(weighted_loss(self.network(inputs), targets, weights))
        if not np.isfinite(value):
            raise TrainingDivergedError(
                "the loss of the feed-forward network stopped being finite: lower its learning rate "
                "(--set decision.network.learning_rate=…)."
            )
        return value

    @property
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of all weights, by name."""
        return {name: tensor.numpy().copy() for name, tensor in self.network.state_dict().items()}


def weighted_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy [] in which each row counts as its weight says."""
    return (weights * F.cross_entropy(logits, targets, reduction="none")).sum() / weights.sum()
