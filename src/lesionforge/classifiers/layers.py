"""Layers that networks on pictures [B, C, y, x] and on volumes [B, C, z, y, x] are built of alike."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Layers(NamedTuple):
    """Kinds of layer for one number of axes."""

    convolution: type[nn.Conv2d] | type[nn.Conv3d]
    transposed: type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]
    norm: type[nn.BatchNorm2d] | type[nn.BatchNorm3d]
    maximum: type[nn.MaxPool2d] | type[nn.MaxPool3d]
    average: type[nn.AvgPool2d] | type[nn.AvgPool3d]


LAYERS = {
    2: Layers(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d),
    3: Layers(nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AvgPool3d),
}


def draw_weights(network: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. do for ReLU (ICCV 2015), by the number of their inputs.

    What they make then has a variance of about 1, where the running averages of norms begin. By their outputs, as is
    usual, that of a grouped convolution is 32 times smaller, and of a channel-wise one a hundred times: until those
    averages have come down, for hundreds of steps, a network says the same of everything once it is asked.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def global_average(maps: Tensor) -> Tensor:
    """[B, C, *axes] → [B, C]."""
    return maps.flatten(2).mean(dim=2)


class Colours(nn.Module):
    """[B, 1, *axes] in [0, 1] → [B, 3, *axes]: the same picture in each channel, standardised by each channel's own.

    What a network that has learnt from coloured pictures was shown.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: tuple[float, ...], sd: tuple[float, ...], *, axes: int) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("sd", sd)):
            self.register_buffer(name, torch.tensor(values).reshape(-1, *[1] * axes), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 1, *axes] → [B, 3, *axes]."""
        return (images - self.mean) / self.sd
