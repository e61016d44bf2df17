"""Wasserstein GAN with gradient penalty.

I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved training of Wasserstein GANs", NeurIPS 2017,
with the deep convolutional networks of its 64×64 experiments; Y. Wang et al., "Using generative adversarial networks to
synthesise pulmonary nodules …", 2020 (paper A), compares with it. One GAN is trained for each lesion class.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import Batch, Moment, Networks
from lesionforge.generators.dc_structured import DCDiscriminator, DCStructured
from lesionforge.generators.losses import slopes
from lesionforge.settings import Count, Rate, Share


@dataclass(frozen=True)
class WGANGP(DCStructured):
    """Published settings are the defaults (Gulrajani's algorithm 1; widths and latent size of the published code).

    Neither paper says for how long: 200 000 generator steps on ImageNet are no guide for a few hundred lesions, so
    ``epochs`` is ours.
    """

    paper: ClassVar[str] = "Wang et al. 2020, after Gulrajani et al. 2017"

    epochs: Count = 70
    critic_steps: Count = 5
    penalty: Rate = 10.0  # λ
    critic_normalisation: Literal["layer", "none"] = "layer"  # never batch: the penalty is of each image by itself
    latent_size: Count = 128
    generator_width: Count = 512
    learning_rate: Rate = 1e-4
    beta1: Share = 0.0
    beta2: Share = 0.9

    def __post_init__(self) -> None:
        if self.small_data.label_smoothing:
            raise LesionForgeError(
                "label_smoothing is of no use to wgan_gp, whose critic aims at no label: leave it 0."
            )

    def make_discriminator(self, shape: tuple[int, ...], _classes: int) -> nn.Module:
        """Make the critic, whose output is a score. Layer norm: over channels and pixels of an image.

        Only differences of scores count, so that an offset of them all would never learn: there is none.
        """
        norm = partial(nn.GroupNorm, 1) if self.critic_normalisation == "layer" else _no_norm
        return DCDiscriminator(self, shape, norm=norm, offset=False)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Z from N(0, 1), [count, Z]."""
        return torch.randn(count, self.latent_size, generator=rng, device=rng.device)

    def discriminator_losses(self, networks: Networks, real: Batch, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """Equation 3: D(G(z)) − D(x) + λ·(‖∇D(x̂)‖ − 1)², x̂ anywhere on the line from a fake to a real image.

        The lines join what the critic sees, so augmented images if there are any.
        """
        tools, critic = self.small_data, networks["discriminator"]
        shown_real = tools.augment(real.images, moment.rng)
        shown_fake = tools.augment(fake.images, moment.rng)
        share = torch.rand(len(shown_real), 1, 1, 1, generator=moment.rng, device=moment.rng.device).to(shown_real)
        between = torch.lerp(shown_fake, shown_real, share)
        return {
            "discriminator_real": -critic(shown_real).mean(),
            "discriminator_fake": critic(shown_fake).mean(),
            "discriminator_penalty": self.penalty * (slopes(critic, between).norm(dim=1) - 1).square().mean(),
        } | tools.penalties(critic, real.images)

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """−D(G(z)), algorithm 1, line 12."""
        return {"generator": -networks["discriminator"](self.small_data.augment(fake.images, moment.rng)).mean()}


def _no_norm(_channels: int) -> nn.Module:
    return nn.Identity()
