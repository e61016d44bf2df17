"""DenseSharp, the 3-D DenseNet that has to outline the lesion as well.

W. Zhao et al., "3D deep learning from CT scans predicts tumor invasiveness of subcentimeter pulmonary adenocarcinomas",
Cancer Research 78 (2018), with the settings of paper A (Wang et al., QIMS 10 (2020), table 3): about 599 k parameters,
λ = 0.2, patches of 32×32 pixels and 3 slices. From the coarsest block on, each block's maps are doubled in resolution
by a transposed convolution and added to the maps of the block before; a 1×1×1 convolution makes the outline of the sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.classifiers.densenet import DenseNet, DenseNetClassifier, initialise
from lesionforge.classifiers.network import LabelledBatch
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Share


@dataclass(frozen=True)
class DenseSharp(DenseNetClassifier):
    """Published settings are the defaults. Masks are needed to learn, not to predict."""

    paper: ClassVar[str] = "Wang et al. 2020, after Zhao et al. 2018"
    axes: ClassVar[int] = 3

    segmentation_weight: Share = 0.2  # λ

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, z, y, x] in [0, 1] → logits [B, K]."""
        self.check_shape(shape)
        return DenseSharpNetwork(self, classes).apply(initialise)

    def losses(self, network: nn.Module, batch: LabelledBatch) -> Mapping[str, Tensor]:
        """L_class + λ · L_segmentation, the latter 1 − the Dice coefficient of probabilities."""
        if batch.masks is None:
            raise LesionForgeError(
                "densesharp learns to outline lesions, so every training patch needs a mask, but not all have one: "
                "take patches with masks, leave out synthetic ones that have none, or choose densenet_3d."
            )
        assert isinstance(network, DenseSharpNetwork)
        logits, outline = network.logits_and_outline(batch.images)
        return {
            "class": F.cross_entropy(logits, batch.targets, weight=batch.class_weights),
            "segmentation": self.segmentation_weight * dice_loss(outline.sigmoid(), batch.masks),
        }


class DenseSharpNetwork(DenseNet):
    """A DenseNet with a second head."""

    def __init__(self, method: DenseSharp, classes: int) -> None:
        super().__init__(method, classes)
        self.doublings = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, 2, stride=2) for coarse, fine in pairwise(self.block_channels[::-1])
        )
        self.outline = nn.Conv3d(self.block_channels[0], 1, 1)

    def logits_and_outline(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, z, y, x] → logits of the classes [B, K], and of each voxel's being lesion [B, 1, z, y, x]."""
        *finer, coarsest = self.block_outputs(images)
        maps = coarsest
        for doubling, fine in zip(self.doublings, reversed(finer), strict=True):
            z, y, x = fine.shape[2:]  # what an odd end doubles to is one too many
            maps = fine + doubling(maps)[:, :, :z, :y, :x]
        return self.logits(coarsest), self.outline(maps)


def dice_loss(probability: Tensor, mask: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 − (2 Σ p·m + 1) / (Σ p + Σ m + 1) of each image [B, …], their mean []; an empty mask is no division by zero."""
    overlap = (probability * mask).flatten(1).sum(dim=1)
    total = (probability + mask).flatten(1).sum(dim=1)
    return torch.mean(1 - (2 * overlap + smooth) / (total + smooth))
