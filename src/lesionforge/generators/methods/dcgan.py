"""DCGAN for lesion patches.

M. Frid-Adar, I. Diamant, E. Klang, M. Amitai, J. Goldberger, H. Greenspan, "GAN-based synthetic medical image
augmentation for increased CNN performance in liver lesion classification", Neurocomputing 321 (2018), section 3.2,
after A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", ICLR 2016. One GAN is trained for each lesion class.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import GenerativeMethod, Networks
from lesionforge.settings import Count, Odd, Rate, Share

SEED_PIXELS = 4  # both networks meet at 4×4 pixels


@dataclass(frozen=True)
class DCGAN(GenerativeMethod):
    """Published settings are the defaults; the paper does not print the discriminator's width (Radford's is used)."""

    paper: ClassVar[str] = "Frid-Adar et al. 2018"

    batch_size: Count = 64
    epochs: Count = 70
    latent_size: Count = 100
    generator_width: Count = 1024  # channels at 4×4; halved at each doubling of the resolution
    discriminator_width: Count = 64  # channels after the first convolution; doubled at each halving
    kernel: Odd = 5
    leak: Share = 0.2
    initial_sd: Rate = 0.02
    learning_rate: Rate = 2e-4
    beta1: Share = 0.5
    beta2: Share = 0.999

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are square, 8 pixels or more, a power of two."""
        side = shape[0]
        if len(shape) != 2 or shape != (side, side) or side < 2 * SEED_PIXELS or side & (side - 1):
            raise LesionForgeError(
                f"dcgan makes square 2-D patches of 8, 16, 32, 64, … pixels, but {'×'.join(map(str, shape))} came: "
                "crop or resize the patches (`lesionforge ingest --size 64`)."
            )
        if self.generator_width % 2 ** (doublings(shape) - 1):
            raise LesionForgeError(
                f"generator_width must be divisible by {2 ** (doublings(shape) - 1)} for {side} pixels, but "
                f"{self.generator_width} came."
            )

    def build(self, shape: tuple[int, ...]) -> Networks:
        """Make both networks (the paper's figures 4a and 5), weights from N(0, 0.02)."""
        self.check_shape(shape)
        networks = nn.ModuleDict(
            {
                "generator": Generator(self, doublings(shape)),
                "discriminator": Discriminator(self, doublings(shape)),
            }
        )
        networks.apply(self._initialise)
        return networks

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0, self.initial_sd)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.weight, 1, self.initial_sd)  # as in Radford's code
            nn.init.zeros_(module.bias)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam, in one fused pass over the weights."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, betas=(self.beta1, self.beta2), fused=True)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Z uniform in [−1, 1], [count, Z]."""
        return torch.rand(count, self.latent_size, generator=rng, device=rng.device) * 2 - 1

    def discriminator_losses(self, networks: Networks, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Equation 1, maximised: −log D(x) and −log(1 − D(G(z))), each over a batch of its own (batch statistics)."""
        discriminator = networks["discriminator"]
        return {
            "discriminator_real": F.softplus(-discriminator(real)).mean(),
            "discriminator_fake": F.softplus(discriminator(fake)).mean(),
        }

    def generator_losses(self, networks: Networks, fake: Tensor) -> dict[str, Tensor]:
        """−log D(G(z)): "the generator is trained to maximise D(G(z))" (section 3.2), the non-saturating form."""
        return {"generator": F.softplus(-networks["discriminator"](fake)).mean()}


def doublings(shape: tuple[int, ...]) -> int:
    """How often 4 pixels double to reach the patch."""
    return (shape[0] // SEED_PIXELS).bit_length() - 1


class Generator(nn.Sequential):
    """[B, Z] → [B, 1, H, W]: dense to 4×4, fractionally strided convolutions, batch norm, ReLU; tanh at the end."""

    def __init__(self, method: DCGAN, stages: int) -> None:
        width, pad = method.generator_width, method.kernel // 2
        layers: list[nn.Module] = [
            nn.Linear(method.latent_size, width * SEED_PIXELS**2, bias=False),
            nn.Unflatten(1, (width, SEED_PIXELS, SEED_PIXELS)),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        for _ in range(stages - 1):
            layers += [
                nn.ConvTranspose2d(width, width // 2, method.kernel, 2, pad, 1, bias=False),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(inplace=True),
            ]
            width //= 2
        super().__init__(*layers, nn.ConvTranspose2d(width, 1, method.kernel, 2, pad, 1), nn.Tanh())


class Discriminator(nn.Sequential):
    """[B, 1, H, W] → logits [B]: strided convolutions, batch norm but for the first, leaky ReLU; one dense layer."""

    def __init__(self, method: DCGAN, stages: int) -> None:
        width, pad = method.discriminator_width, method.kernel // 2
        layers: list[nn.Module] = [
            nn.Conv2d(1, width, method.kernel, 2, pad),
            nn.LeakyReLU(method.leak, inplace=True),
        ]
        for _ in range(stages - 1):
            layers += [
                nn.Conv2d(width, width * 2, method.kernel, 2, pad, bias=False),
                nn.BatchNorm2d(width * 2),
                nn.LeakyReLU(method.leak, inplace=True),
            ]
            width *= 2
        super().__init__(*layers, nn.Flatten(), nn.Linear(width * SEED_PIXELS**2, 1), nn.Flatten(0))
