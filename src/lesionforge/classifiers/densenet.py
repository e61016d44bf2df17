"""Densely connected networks: what the three of paper A's table 3 have in common.

G. Huang et al., "Densely connected convolutional networks", CVPR 2017: each layer of a block is shown the outputs of
all before it. Wang et al., QIMS 10 (2020), take the hyper-parameters of the public code of W. Zhao et al., "3D deep
learning from CT scans predicts tumor invasiveness of subcentimeter pulmonary adenocarcinomas", Cancer Research 78
(2018): growth 16, bottleneck 4, compression 2, 32 channels at first, He's uniform weights, Adam at Keras' 0.001.

The published numbers of parameters are Keras' totals, running means and variances of the norms included, and cut off
at a thousand: three blocks of four layers on volumes, 405 171; two on pictures, 116 867; with the segmentation head of
DenseSharp 599 012. Neither text prints batch and length; 40 and 300 are those of the code's other training.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lesionforge import registry
from lesionforge.classifiers.layers import LAYERS, global_average
from lesionforge.classifiers.network import NetworkClassifier
from lesionforge.classifiers.search import TunedRate
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Widths

# B batch, C channels, K classes

SMALLEST = (3, 8, 8)  # pixels an axis: fewer slices are no volume


@dataclass(frozen=True)
class DenseNetClassifier(NetworkClassifier):
    """Hyper-parameters of such networks; published settings are the defaults."""

    axes: ClassVar[int]

    batch_size: Count = 40
    epochs: Count = 300
    blocks: Widths = (4, 4, 4)  # layers in each
    growth: Count = 16  # channels that a layer adds
    bottleneck: Count = 4  # times growth: channels between a layer's two convolutions
    compression: Count = 2  # of the channels from block to block
    first_channels: Count = 32
    learning_rate: TunedRate = 1e-3

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches have the method's number of axes, and are not too small."""
        smallest = SMALLEST[-self.axes :]
        if len(shape) != self.axes or any(came < least for came, least in zip(shape, smallest, strict=True)):
            raise LesionForgeError(
                f"{registry.name_of(self)} takes {self.axes}-D patches of {'×'.join(map(str, smallest))} pixels or "
                f"more, but {'×'.join(map(str, shape))} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, *shape] in [0, 1] → logits [B, K]; the number of parameters does not depend on the shape."""
        self.check_shape(shape)
        return DenseNet(self, classes).apply(initialise)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.learning_rate)


class DenseNet(nn.Module):
    """[B, 1, *shape] in [0, 1] → logits [B, K]."""

    def __init__(self, method: DenseNetClassifier, classes: int) -> None:
        super().__init__()
        layers = LAYERS[method.axes]
        channels = method.first_channels
        self.first = layers.convolution(1, channels, 3, padding=1)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        self.block_channels: list[int] = []
        for number, depth in enumerate(method.blocks):
            if number:
                self.transitions.append(_transition(method, channels))
                channels //= method.compression
            self.blocks.append(
                nn.Sequential(*(_DenseLayer(method, channels + k * method.growth) for k in range(depth)))
            )
            channels += depth * method.growth
            self.block_channels.append(channels)
        self.last = nn.Sequential(layers.norm(channels), nn.ReLU(inplace=True))
        self.head = nn.Linear(channels, classes)

    def block_outputs(self, images: Tensor) -> list[Tensor]:
        """[B, 1, *shape] → [B, C, *axes] of each block, ever coarser."""
        maps = self.first(2 * images - 1)
        outputs = []
        for number, block in enumerate(self.blocks):
            maps = block(self.transitions[number - 1](maps) if number else maps)
            outputs.append(maps)
        return outputs

    def logits(self, coarsest: Tensor) -> Tensor:
        """The last block's [B, C, *axes] → [B, K]."""
        return self.head(global_average(self.last(coarsest)))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """[B, 1, *shape] → [B, K]."""
        return self.logits(self.block_outputs(images)[-1])


class _DenseLayer(nn.Module):
    """[B, C, *axes] → [B, C + growth, *axes]: what came, and what was made of it."""

    def __init__(self, method: DenseNetClassifier, channels: int) -> None:
        super().__init__()
        layers, between = LAYERS[method.axes], method.bottleneck * method.growth
        self.layers = nn.Sequential(
            layers.norm(channels),
            nn.ReLU(inplace=True),
            layers.convolution(channels, between, 1, bias=False),
            layers.norm(between),
            nn.ReLU(inplace=True),
            layers.convolution(between, method.growth, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, self.layers(maps)], dim=1)


def _transition(method: DenseNetClassifier, channels: int) -> nn.Sequential:
    """Fewer channels and half the resolution. An odd end makes a pixel of its own, so that three slices become two."""
    layers = LAYERS[method.axes]
    return nn.Sequential(
        layers.norm(channels),
        nn.ReLU(inplace=True),
        layers.convolution(channels, channels // method.compression, 1),
        layers.average(2, ceil_mode=True),
    )


def initialise(module: nn.Module) -> None:
    """Draw a layer's weights as He does for ReLU, uniformly; offsets are zero."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
