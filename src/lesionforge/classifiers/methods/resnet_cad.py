"""The classifier with which paper B asks whether synthetic ground-glass nodules help.

Wang et al. 2022 (ground-glass nodules by in-painting): "a basic ResNet as the DL classification network with a
cross-entropy loss function" tells ground-glass nodules from all others. It prints neither depth nor optimiser:
ResNet-18, the smallest of He et al., CVPR 2016, with one channel, and Adam at 1e-4, as for the paper's GAN.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from lesionforge.classifiers.network import NetworkClassifier
from lesionforge.classifiers.resnet import PLANS, ResNet
from lesionforge.classifiers.search import TunedRate
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count

SMALLEST = 16  # pixels along a side


@dataclass(frozen=True)
class ResNetCAD(NetworkClassifier):
    """The published settings, as far as there are any, are the defaults."""

    paper: ClassVar[str] = "Wang et al. 2022"

    batch_size: Count = 32
    epochs: Count = 50
    network: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet18"
    width: Count = 64  # channels after the first convolution
    learning_rate: TunedRate = 1e-4

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and not too small."""
        if len(shape) != 2 or min(shape) < SMALLEST:
            raise LesionForgeError(
                f"resnet_cad takes 2-D patches of {SMALLEST} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, y, x] in [0, 1] → logits [B, K]."""
        self.check_shape(shape)
        return ResNet(PLANS[self.network], classes, inputs=1, width=self.width)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.learning_rate)
