"""The liver-lesion CNN of paper D.

M. Frid-Adar, I. Diamant, E. Klang, M. Amitai, J. Goldberger, H. Greenspan, "GAN-based synthetic medical image
augmentation for increased CNN performance in liver lesion classification", Neurocomputing 321 (2018), section 2.2
and figure 2: three pairs of convolution and max-pooling, two dense layers, dropout 0.5, ReLU, softmax, about 1.3 M
parameters; the training images' mean is subtracted; SGD with Nesterov momentum, learning rate 0.001, batch 64, 150
epochs. The text prints no channel numbers; three times 64 channels of 5×5 and 256 dense units give 1 256 195
parameters for three classes at 64×64.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from lesionforge.classifiers.network import MeanImage, NetworkClassifier
from lesionforge.classifiers.search import TunedDropout, TunedRate
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Odd, Share, Widths


@dataclass(frozen=True)
class LesionCNN(NetworkClassifier):
    """Published settings are the defaults (the momentum, not printed, is the usual 0.9)."""

    paper: ClassVar[str] = "Frid-Adar et al. 2018"

    batch_size: Count = 64
    epochs: Count = 150
    channels: Widths = (64, 64, 64)
    kernel: Odd = 5
    dense: Count = 256
    dropout: TunedDropout = 0.5
    learning_rate: TunedRate = 1e-3
    momentum: Share = 0.9

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and large enough for every pooling."""
        shrink = 2 ** len(self.channels)
        if len(shape) != 2 or min(shape) < shrink:
            raise LesionForgeError(
                f"lesion_cnn takes 2-D patches of {shrink} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, y, x] in [0, 1] → logits [B, K]."""
        self.check_shape(shape)
        shrink = 2 ** len(self.channels)
        layers: list[nn.Module] = [MeanImage(shape)]
        for before, after in zip((1, *self.channels), self.channels, strict=False):
            layers += [
                nn.Conv2d(before, after, self.kernel, padding=self.kernel // 2),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        pixels = (shape[0] // shrink) * (shape[1] // shrink)
        return nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(self.channels[-1] * pixels, self.dense),
            nn.ReLU(inplace=True),
            nn.Dropout(self.dropout),
            nn.Linear(self.dense, classes),
        )

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Stochastic gradient descent with Nesterov momentum."""
        return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum, nesterov=True)
