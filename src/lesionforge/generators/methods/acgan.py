"""Auxiliary classifier GAN.

M. Frid-Adar et al., Neurocomputing 321 (2018), section 3.3: one GAN for all lesion classes, which follows A. Odena,
C. Olah, J. Shlens, "Conditional image synthesis with auxiliary classifier GANs", ICML 2017, "with minor modifications"
that are not told. The discriminator says whether an image is real and, with a second head, of which class it is; that
head serves as a classifier in its own right (section 4.5).
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import update_bn

from lesionforge.generators.contract import Batch, Condition, Moment, Networks, Prior
from lesionforge.generators.convolutions import Convolution, Flat
from lesionforge.generators.dc_structured import DCGenerator, DCStructured
from lesionforge.generators.dropout import Dropout
from lesionforge.generators.losses import taken_for_fake, taken_for_real
from lesionforge.settings import Count, Odd, Share

# B batch, C classes, Z latent size

STRIDES = (2, 1, 2, 1, 2, 1)  # of the discriminator's convolutions, Odena's appendix A


@dataclass(frozen=True)
class ACGAN(DCStructured):
    """Odena's appendix A is the default; Adam's rate is the middle one of the three that it lists.

    Its generator takes 110 numbers: 100 of noise and one for each of 10 classes. Its widths from 4×4 pixels on are
    those of the smaller model, with a further halving for 64 pixels.
    """

    paper: ClassVar[str] = "Frid-Adar et al. 2018, after Odena et al. 2017"
    conditional: ClassVar[bool] = True
    prior: ClassVar[Prior] = "uniform"

    batch_size: Count = 100
    epochs: Count = 100
    generator_width: Count = 384
    discriminator_width: Count = 16
    discriminator_kernel: Odd = 3
    dropout: Share = 0.5

    def make_generator(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """G(c, z)."""
        return Generator(self, shape, classes)

    def make_discriminator(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Six convolutions whatever the size of the patch, and the two heads."""
        return Discriminator(self, shape[0], classes)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Z uniform in [−1, 1], [count, Z], as the paper's DCGAN; the class comes in when images are made."""
        return torch.rand(count, self.latent_size, generator=rng, device=rng.device) * 2 - 1

    def synthesise(self, generator: nn.Module, latent: Tensor, condition: Condition, _moment: Moment) -> Tensor:
        """G(c, z), each image of the class that its condition says."""
        return generator(latent, condition.labels)  # type: ignore[no-any-return]

    def discriminator_losses(self, networks: Networks, real: Batch, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """L_S + L_C, maximised (equations 2 and 3): the source and the class of real and fake images."""
        tools, discriminator = self.small_data, networks["discriminator"]
        source_real, class_real = discriminator(tools.augment(real.images, moment.rng))
        source_fake, class_fake = discriminator(tools.augment(fake.images, moment.rng))
        return {
            "discriminator_real": taken_for_real(source_real, smoothing=tools.label_smoothing),
            "discriminator_fake": taken_for_fake(source_fake),
            "discriminator_class_real": F.cross_entropy(class_real, real.labels),
            "discriminator_class_fake": F.cross_entropy(class_fake, fake.labels),
        } | tools.penalties(lambda images: discriminator(images)[0], real.images)

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """L_C − L_S, maximised, its second term in the non-saturating form."""
        source, of_class = networks["discriminator"](self.small_data.augment(fake.images, moment.rng))
        return {"generator": taken_for_real(source), "generator_class": F.cross_entropy(of_class, fake.labels)}

    def as_classifier(self, discriminator: nn.Module, real: Iterable[Tensor]) -> nn.Module:
        """Return a copy of a trained discriminator for `class_logits`, its norms set by batches of real images.

        What batch norm averaged during training was of real and fake images alike and under dropout, which changes the
        variance; with that the classes of a patch on its own need not come out as they did in training.
        """
        network = copy.deepcopy(discriminator)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0
        update_bn(real, network)
        return network.eval()

    @torch.no_grad()
    def class_logits(self, classifier: nn.Module, images: Tensor) -> Tensor:
        """What the auxiliary head says of the class, [B, 1, H, W] → [B, C]."""
        return classifier(images)[1]  # type: ignore[no-any-return]


class Generator(nn.Module):
    """[B, Z], class numbers [B] → [B, 1, H, W]: the class, one-hot, is appended to the noise."""

    def __init__(self, method: ACGAN, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.layers = DCGenerator(method, shape, inputs=method.latent_size + classes)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """G(c, z)."""
        one_hot = F.one_hot(labels, self.classes).to(latent)
        return self.layers(torch.cat([latent, one_hot], dim=1))  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """[B, 1, H, W] → logits of being real [B] and of the classes [B, C]."""

    def __init__(self, method: ACGAN, side: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, width = 1, method.discriminator_width
        for number, stride in enumerate(STRIDES):
            first = number == 0
            layers += [
                Convolution(
                    before, width, method.discriminator_kernel, stride, method.discriminator_kernel // 2, bias=first
                ),
                nn.Identity() if first else nn.BatchNorm2d(width),
                nn.LeakyReLU(method.leak, inplace=True),
                Dropout(method.dropout),
            ]
            before, width, side = width, width * 2, -(-side // stride)
        self.trunk = nn.Sequential(*layers, Flat())
        self.source = nn.Linear(before * side**2, 1)
        self.classes = nn.Linear(before * side**2, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, H, W] → [B], [B, C]."""
        features = self.trunk(images)
        return self.source(features).flatten(), self.classes(features)
