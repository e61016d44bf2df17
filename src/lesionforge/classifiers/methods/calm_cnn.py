"""The convolutional network that paper C compares its autoencoder with.

S. S. Ghosal, I. Sarkar, I. El Hallaoui, "Lung nodule classification using convolutional autoencoder and clustering
augmented learning method (CALM)", Health Search and Data Mining Workshop 2020, table 1, row "CNN": it learns "the
network parameters between each layer from the input layer to the output layer" from labels. The text prints none of it.
Here it is the autoencoder's encoder (40×40 → 50 kernels of 5×5, 50 of 3×3, 50 of 3×3, each with ReLU and pooled by 2)
and a dense layer, with the optimiser of the paper's other network (Adam at 0.001, weight decay 1e-4), so that what
differs from the rows beside it is how the features were learnt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from lesionforge.classifiers.network import NetworkClassifier
from lesionforge.classifiers.search import TunedDecay, TunedRate
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Odd


@dataclass(frozen=True)
class CalmCNN(NetworkClassifier):
    """The settings of the paper's autoencoder and of its other network are the defaults."""

    paper: ClassVar[str] = "Ghosal et al. 2020 (CALM)"

    batch_size: Count = 100
    epochs: Count = 150
    channels: Count = 50
    kernels: tuple[Odd, ...] = (5, 3, 3)
    learning_rate: TunedRate = 1e-3
    weight_decay: TunedDecay = 1e-4

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and large enough for every pooling."""
        shrink = 2 ** len(self.kernels)
        if len(shape) != 2 or min(shape) < shrink:
            raise LesionForgeError(
                f"calm_cnn takes 2-D patches of {shrink} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, y, x] in [0, 1] → logits [B, K]."""
        self.check_shape(shape)
        layers: list[nn.Module] = []
        before = 1
        for kernel in self.kernels:
            layers += [nn.Conv2d(before, self.channels, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
            before = self.channels
        shrink = 2 ** len(self.kernels)
        pixels = (shape[0] // shrink) * (shape[1] // shrink)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * pixels, classes))

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
