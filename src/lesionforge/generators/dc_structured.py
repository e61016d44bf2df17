"""Deep convolutional GANs: what the methods that are built like Radford's DCGAN have in common.

A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
networks", ICLR 2016: no pooling but strided convolutions, normalisation, no hidden dense layers.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import nn

from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import GenerativeMethod, Networks, Player
from lesionforge.generators.convolutions import Convolution, Flat, Seed, Upconvolution
from lesionforge.generators.small_data import SmallData
from lesionforge.generators.squares import check_doubled, doublings, seed_pixels
from lesionforge.settings import Count, Odd, Rate, Share

# B batch, H W pixels

Norm = Callable[[int], nn.Module]  # of so many channels


@dataclass(frozen=True)
class DCStructured(GenerativeMethod):
    """Hyper-parameters of such GANs; what they do with them differs from paper to paper."""

    latent_size: Count = 100
    generator_width: Count = 1024  # channels at 4×4; halved at each doubling of the resolution
    discriminator_width: Count = 64  # channels after the first convolution
    kernel: Odd = 5
    leak: Share = 0.2
    initial_sd: Rate = 0.02
    learning_rate: Rate = 2e-4
    beta1: Share = 0.5
    beta2: Share = 0.999
    small_data: SmallData = field(default_factory=SmallData)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are square, and 4 to 7 pixels double to their side."""
        check_doubled(self, shape)
        if self.generator_width % 2 ** (doublings(shape) - 1):
            raise LesionForgeError(
                f"generator_width must be divisible by {2 ** (doublings(shape) - 1)} for {shape[0]} pixels, but "
                f"{self.generator_width} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> Networks:
        """Make both networks, weights from N(0, 0.02)."""
        self.check_shape(shape)
        generator = self.make_generator(shape, classes)
        networks = nn.ModuleDict({"generator": generator, "discriminator": self.make_discriminator(shape, classes)})
        networks.apply(self._initialise)
        self.small_data.constrain(networks["discriminator"])
        return networks

    def make_generator(self, shape: tuple[int, ...], _classes: int) -> nn.Module:
        """[B, Z] → [B, 1, H, W]."""
        return DCGenerator(self, shape, inputs=self.latent_size)

    @abstractmethod
    def make_discriminator(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Make the discriminator."""

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0, self.initial_sd)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, self.initial_sd)  # as in Radford's code
            nn.init.zeros_(module.bias)

    def optimiser(self, player: Player, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam, in one fused pass over the weights."""
        rate = self.learning_rate * (self.small_data.discriminator_rate if player == "discriminator" else 1)
        return torch.optim.Adam(parameters, lr=rate, betas=(self.beta1, self.beta2), fused=True)


class DCGenerator(nn.Sequential):
    """[B, inputs] → [B, 1, H, W]: dense to 4×4, fractionally strided convolutions, batch norm, ReLU; tanh at last."""

    def __init__(self, method: DCStructured, shape: tuple[int, ...], *, inputs: int) -> None:
        width, pad, side = method.generator_width, method.kernel // 2, seed_pixels(shape)
        layers: list[nn.Module] = [
            nn.Linear(inputs, width * side**2, bias=False),
            Seed(1, (width, side, side)),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        for _ in range(doublings(shape) - 1):
            layers += [
                Upconvolution(width, width // 2, method.kernel, 2, pad, 1, bias=False),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(inplace=True),
            ]
            width //= 2
        super().__init__(*layers, Upconvolution(width, 1, method.kernel, 2, pad, 1), nn.Tanh())


class DCDiscriminator(nn.Sequential):
    """[B, 1, H, W] → logits [B]: strided convolutions, norm but for the first, leaky ReLU; one dense layer.

    ``offset``: whether that last layer has a bias.
    """

    def __init__(self, method: DCStructured, shape: tuple[int, ...], *, norm: Norm, offset: bool = True) -> None:
        width, pad = method.discriminator_width, method.kernel // 2
        layers: list[nn.Module] = [
            Convolution(1, width, method.kernel, 2, pad),
            nn.LeakyReLU(method.leak, inplace=True),
        ]
        for _ in range(doublings(shape) - 1):
            layers += [
                Convolution(width, width * 2, method.kernel, 2, pad, bias=False),
                norm(width * 2),
                nn.LeakyReLU(method.leak, inplace=True),
            ]
            width *= 2
        super().__init__(*layers, Flat(), nn.Linear(width * seed_pixels(shape) ** 2, 1, bias=offset), nn.Flatten(0))
