"""Residual networks on pictures and on volumes, plain and grouped.

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, with the stride in the
middle convolution of a bottleneck, as in torchvision; on volumes K. Hara, H. Kataoka, Y. Satoh, "Can spatiotemporal 3D
CNNs retrace the history of 2D CNNs and ImageNet?", CVPR 2018; grouped (ResNeXt) S. Xie et al., CVPR 2017. Modules are
named as in torchvision, whose names Hara's and MedicalNet's files use as well, so that weights from all three fit.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from lesionforge.classifiers.layers import LAYERS, draw_weights, global_average

# B batch, C channels, K classes


@dataclass(frozen=True)
class Plan:
    """What tells residual networks apart."""

    blocks: tuple[int, int, int, int]  # of each stage
    bottleneck: bool = True  # three convolutions a block, the middle one narrow; else two
    groups: int = 1  # of the middle convolution; more than one (ResNeXt) makes it twice as wide


PLANS = {
    "resnet18": Plan((2, 2, 2, 2), bottleneck=False),
    "resnet34": Plan((3, 4, 6, 3), bottleneck=False),
    "resnet50": Plan((3, 4, 6, 3)),
    "resnet101": Plan((3, 4, 23, 3)),
    "resnet152": Plan((3, 8, 36, 3)),
    "resnext101": Plan((3, 4, 23, 3), groups=32),
}


class ResNet(nn.Module):
    """[B, C, *shape] → logits [B, K].

    Parameters
    ----------
    stem_stride
        Of the first convolution, an axis; the pooling after it and three of the stages halve each axis again.
    width
        Channels after the first convolution; doubled from stage to stage.
    """

    def __init__(
        self, plan: Plan, classes: int, *, inputs: int, stem_stride: tuple[int, ...] = (2, 2), width: int = 64
    ) -> None:
        super().__init__()
        axes = len(stem_stride)
        layers = LAYERS[axes]
        self.conv1 = layers.convolution(inputs, width, 7, stem_stride, 3, bias=False)  # type: ignore[arg-type]
        self.bn1 = layers.norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = layers.maximum(3, 2, 1)
        channels, stages = width, []
        for stage, blocks in enumerate(plan.blocks):
            made: list[nn.Module] = []
            for number in range(blocks):
                stride = 2 if stage and not number else 1
                made.append(Block(plan, channels, width * 2**stage, stride=stride, axes=axes))
                channels = width * 2**stage * (4 if plan.bottleneck else 1)
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, *shape] → [B, K]."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return self.fc(global_average(maps))  # type: ignore[no-any-return]


class Block(nn.Module):
    """[B, C, *axes] → [B, out, *axes / stride]: what came, plus what was made of it."""

    def __init__(self, plan: Plan, channels: int, width: int, *, stride: int, axes: int) -> None:
        super().__init__()
        layers = LAYERS[axes]
        out = 4 * width if plan.bottleneck else width
        between = width if plan.groups == 1 else 2 * width
        widths = [channels, between, between, out] if plan.bottleneck else [channels, width, out]
        self.convolutions = len(widths) - 1
        for number, (before, after) in enumerate(pairwise(widths), 1):
            kernel = 3 if number == 2 or not plan.bottleneck else 1
            strided = number == self.convolutions - 1
            groups = plan.groups if number == 2 else 1
            self.add_module(
                f"conv{number}",
                layers.convolution(
                    before, after, kernel, stride if strided else 1, kernel // 2, groups=groups, bias=False
                ),
            )
            self.add_module(f"bn{number}", layers.norm(after))
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and channels == out
        # Pixels are left out before a convolution of one pixel and not by it: the same, but PyTorch's CPU build crashes
        # in the gradient of a strided one with fewer than 16 channels.
        self.kept = (slice(None), slice(None), *[slice(None, None, stride)] * axes)
        self.downsample = (
            None if same else nn.Sequential(layers.convolution(channels, out, 1, bias=False), layers.norm(out))
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, *axes] → [B, out, *axes / stride]."""
        made = maps
        for number in range(1, self.convolutions + 1):
            made = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(made))
            if number < self.convolutions:
                made = self.relu(made)
        return self.relu(made + (maps if self.downsample is None else self.downsample(maps[self.kept])))  # type: ignore[no-any-return]
