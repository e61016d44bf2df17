"""Transfer learning from ImageNet, as paper A compares itself with.

Wang et al., QIMS 10 (2020), section "Comparison with transfer learning" and table 1: VGG16, ResNet50 and MobileNet,
their dense layers replaced by global average pooling and one dense layer; Adam; training stops when the validation
loss has not fallen for 10 epochs. The table's parameters tell which networks: with three classes, in Keras' count and
cut off at a thousand, VGG16 has 14 716 k, ResNet50 23 593 k, and MobileNet*V2* 2 261 k (the first MobileNet has
3 231 k). Ours have as many, save that torchvision's ResNet50 does without the 26 560 offsets that Keras adds before its
norms.

Not printed: learning rate and batch (Keras' Adam at 0.001 and 32 here), the greatest number of epochs (200), whether
weights are frozen (no: the text calls the networks fine-tuned) and the scaling (ImageNet's means and deviations).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from lesionforge.classifiers.layers import Colours
from lesionforge.classifiers.mobilenet import MobileNetV2
from lesionforge.classifiers.network import NetworkClassifier
from lesionforge.classifiers.pretrained import NONE, imagenet_weights, put_in, read_weights
from lesionforge.classifiers.resnet import PLANS, ResNet
from lesionforge.classifiers.search import TunedRate
from lesionforge.classifiers.vgg import VGG16
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, CountOrZero

IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BACKBONES: dict[str, Callable[[int], nn.Module]] = {
    "vgg16": VGG16,
    "resnet50": lambda classes: ResNet(PLANS["resnet50"], classes, inputs=3),
    "mobilenet": MobileNetV2,
}
IMAGENET_FILES = {
    "vgg16": "vgg16-397923af.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "mobilenet": "mobilenet_v2-b0353104.pth",
}
SMALLEST = 32  # pixels along a side: what all three halve five times


@dataclass(frozen=True)
class Transfer(NetworkClassifier):
    """Published settings are the defaults."""

    paper: ClassVar[str] = "Wang et al. 2020"

    batch_size: Count = 32
    epochs: Count = 200
    patience_epochs: CountOrZero = 10
    backbone: Literal["vgg16", "resnet50", "mobilenet"] = "vgg16"
    pretrained: str = "imagenet"  # downloaded if it is not in torch's cache; or a file of weights; or "none"
    partly: bool = False  # take what fits of a file
    frozen_images: CountOrZero = 0  # shown before anything but the new dense layer learns
    learning_rate: TunedRate = 1e-3

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and large enough for five halvings."""
        if len(shape) != 2 or min(shape) < SMALLEST:
            raise LesionForgeError(
                f"transfer takes 2-D patches of {SMALLEST} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """[B, 1, y, x] in [0, 1] → logits [B, K]; weights are drawn."""
        self.check_shape(shape)
        colours, backbone = Colours(IMAGENET_MEAN, IMAGENET_SD, axes=2), BACKBONES[self.backbone](classes)
        return nn.Sequential(OrderedDict(colours=colours, backbone=backbone))

    def before_fitting(self, network: nn.Module) -> None:
        """Put in what was learnt from ImageNet."""
        if self.pretrained == NONE:
            return
        if self.pretrained == "imagenet":
            weights = imagenet_weights(IMAGENET_FILES[self.backbone])
        else:
            weights = read_weights(self.pretrained)
        put_in(network.get_submodule("backbone"), weights, of=self.backbone, partly=self.partly)

    def before_step(self, network: nn.Module, images_shown: int) -> None:
        """Until enough images were shown only the dense layer learns, and norms keep their averages."""
        frozen = images_shown < self.frozen_images
        network.requires_grad_(not frozen)
        if frozen:
            network.eval()
            network.get_submodule("backbone.fc").requires_grad_(True)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.learning_rate)
