"""The small CNN of paper A.

Wang et al., "Combination of generative adversarial network and convolutional neural network for automatic
subcentimeter pulmonary adenocarcinoma classification", QIMS 10 (2020), section "CNN
classification" and figure 3: four convolution and max-pooling layers, one fully connected layer, ReLU, dropout 0.25
after each pooling, softmax; 55 000 parameters; Adam, cross-entropy, 500 epochs, batch 128. The text prints no
channel numbers; 32-32-48-64 with 3×3 kernels gives 54 227 parameters for three classes at 64×64.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from lesionforge.classifiers.network import NetworkClassifier
from lesionforge.classifiers.search import TunedDropout, TunedRate
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Widths


@dataclass(frozen=True)
class SmallCNN(NetworkClassifier):
    """Published settings are the defaults (the learning rate, not printed, is Keras' default of Adam)."""

    paper: ClassVar[str] = "Wang et al. 2020"

    batch_size: Count = 128
    epochs: Count = 500
    channels: Widths = (32, 32, 48, 64)
    dropout: TunedDropout = 0.25
    learning_rate: TunedRate = 1e-3

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and large enough for every pooling."""
        shrink = 2 ** len(self.channels)
        if len(shape) != 2 or min(shape) < shrink:
            raise LesionForgeError(
                f"small_cnn takes 2-D patches of {shrink} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, y, x] in [0, 1] → logits [B, K]."""
        self.check_shape(shape)
        shrink = 2 ** len(self.channels)
        layers: list[nn.Module] = []
        for before, after in zip((1, *self.channels), self.channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            layers.append(nn.Dropout(self.dropout))
        pixels = (shape[0] // shrink) * (shape[1] // shrink)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.channels[-1] * pixels, classes))

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
