"""DCGAN for lesion patches.

M. Frid-Adar, I. Diamant, E. Klang, M. Amitai, J. Goldberger, H. Greenspan, "GAN-based synthetic medical image
augmentation for increased CNN performance in liver lesion classification", Neurocomputing 321 (2018), section 3.2,
after Radford's DCGAN (see `dc_structured`). One GAN is trained for each lesion class.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lesionforge.generators.contract import Batch, Moment, Networks, Prior
from lesionforge.generators.dc_structured import DCDiscriminator, DCStructured
from lesionforge.generators.losses import taken_for_fake, taken_for_real
from lesionforge.settings import Count


@dataclass(frozen=True)
class DCGAN(DCStructured):
    """Published settings are the defaults; the paper does not print the discriminator's width (Radford's is used)."""

    paper: ClassVar[str] = "Frid-Adar et al. 2018"
    prior: ClassVar[Prior] = "uniform"

    epochs: Count = 70

    def make_discriminator(self, shape: tuple[int, ...], _classes: int) -> nn.Module:
        """The paper's figure 4a; its generator is figure 5."""
        return DCDiscriminator(self, shape, norm=nn.BatchNorm2d)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Z uniform in [−1, 1], [count, Z]."""
        return torch.rand(count, self.latent_size, generator=rng, device=rng.device) * 2 - 1

    def discriminator_losses(self, networks: Networks, real: Batch, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """Equation 1, maximised: −log D(x) and −log(1 − D(G(z))), each over a batch of its own (batch statistics)."""
        tools, discriminator = self.small_data, networks["discriminator"]
        logits_real = discriminator(tools.augment(real.images, moment.rng))
        logits_fake = discriminator(tools.augment(fake.images, moment.rng))
        return {
            "discriminator_real": taken_for_real(logits_real, smoothing=tools.label_smoothing),
            "discriminator_fake": taken_for_fake(logits_fake),
        } | tools.penalties(discriminator, real.images)

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """−log D(G(z)): "the generator is trained to maximise D(G(z))" (section 3.2), the non-saturating form."""
        logits = networks["discriminator"](self.small_data.augment(fake.images, moment.rng))
        return {"generator": taken_for_real(logits)}
