"""The 3-D residual networks of paper E, which have learnt from video.

J. Yang et al., "Class-aware adversarial lung nodule synthesis in CT images", ISBI 2019, sections 2.3 and 3: ResNet-50,
-101, -152 and ResNeXt-101, started from weights that have learnt from Kinetics videos (Hara et al., CVPR 2018; time is
taken for depth), with plain (``class_weights=false``) and class-weighted cross-entropy, random crops and scales, and
the epoch of the best validation result (by AUC there; by loss here, as for every network). Patches are 64×64 pixels and
32 slices of 2 mm.

Not printed, and Hara's where he says: SGD with momentum 0.9 and weight decay 0.001, here at a rate of 0.001 for
fine-tuning; batches of 16; crops that take up to a fifth of each axis away, scaled back to the patch.

Weights come from a file alone: Hara's (three channels, means of video subtracted) or MedicalNet's (S. Chen et al.,
"Med3D", 2019: one channel, each volume standardised). Say ``channels=1`` for the latter. Weights are drawn unless a
file is named, because neither publisher offers them where a program could fetch and check them.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.classifiers.layers import Colours
from lesionforge.classifiers.network import LabelledBatch, NetworkClassifier
from lesionforge.classifiers.pretrained import NONE, put_in, read_weights
from lesionforge.classifiers.resnet import PLANS, ResNet
from lesionforge.classifiers.search import TunedDecay, TunedRate
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Share

VIDEO_MEAN, VIDEO_SD = (114.7748 / 255, 107.7354 / 255, 99.4750 / 255), (1 / 255, 1 / 255, 1 / 255)
SMALLEST = 8  # pixels along each axis


@dataclass(frozen=True)
class ResNet3D(NetworkClassifier):
    """Published settings are the defaults."""

    paper: ClassVar[str] = "Yang et al. 2019, after Hara et al. 2018"

    batch_size: Count = 16
    epochs: Count = 100
    class_weights: bool = False
    network: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext101"] = "resnet50"
    pretrained: str = NONE  # or a file of weights
    partly: bool = False  # take what fits of a file
    channels: Literal[1, 3] = 3  # that the network is shown: 3 as for video, 1 as for MedicalNet
    width: Count = 64  # after the first convolution; of the published weights, 64
    crop: Share = 0.2  # the most that a random crop takes away of each axis; 0: none
    learning_rate: TunedRate = 1e-3
    momentum: Share = 0.9
    weight_decay: TunedDecay = 1e-3

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 3-D, and not too small."""
        if len(shape) != 3 or min(shape) < SMALLEST:
            raise LesionForgeError(
                f"resnet_3d takes 3-D patches of {SMALLEST} voxels or more along each axis, but "
                f"{'×'.join(map(str, shape))} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, z, y, x] in [0, 1] → logits [B, K]; weights are drawn."""
        self.check_shape(shape)
        # Hara strides the first convolution in the picture alone, MedicalNet in depth as well.
        stride = (1, 2, 2) if self.channels == 3 else (2, 2, 2)
        backbone = ResNet(PLANS[self.network], classes, inputs=self.channels, stem_stride=stride, width=self.width)
        shown = Colours(VIDEO_MEAN, VIDEO_SD, axes=3) if self.channels == 3 else Standardised()
        return nn.Sequential(OrderedDict(shown=shown, backbone=backbone))

    def before_fitting(self, network: nn.Module) -> None:
        """Put in what was learnt from video, or from other volumes."""
        if self.pretrained == NONE:
            return
        weights = read_weights(self.pretrained)
        came = weights["conv1.weight"].shape[1] if "conv1.weight" in weights else self.channels
        if came != self.channels:
            raise LesionForgeError(
                f"the weights must be for {self.channels} channels, as this network is shown, but they are for {came}: "
                f"set channels={came} (video: 3, MedicalNet: 1)."
            )
        put_in(network.get_submodule("backbone"), weights, of=f"3-D {self.network}", partly=self.partly)

    def losses(self, network: nn.Module, batch: LabelledBatch) -> Mapping[str, Tensor]:
        """Cross-entropy of randomly cropped and scaled volumes."""
        return super().losses(network, replace(batch, images=random_crops(batch.images, most=self.crop)))

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Stochastic gradient descent."""
        return torch.optim.SGD(
            parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay
        )


class Standardised(nn.Module):
    """[B, 1, *axes] → the same, each volume with mean 0 and deviation 1."""

    def forward(self, images: Tensor) -> Tensor:
        """[B, 1, *axes] → the same."""
        values = images.flatten(1)
        return nn.functional.layer_norm(values, values.shape[1:]).reshape(images.shape)


def random_crops(images: Tensor, *, most: float) -> Tensor:
    """Crop up to ``most`` of each axis away from each volume [B, 1, z, y, x], somewhere, and scale it back.

    Drawn from torch's own generator, which fitting has seeded.
    """
    size = 1 - most * torch.rand(len(images), 3)
    offset = (1 - size) * (2 * torch.rand(len(images), 3) - 1)
    # An affine map of x, y, z in [−1, 1]: a crop's centre and half its side.
    maps = torch.cat([torch.diag_embed(size), offset.unsqueeze(2)], dim=2).to(images)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
