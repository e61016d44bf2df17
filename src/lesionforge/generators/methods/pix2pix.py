"""pix2pix: from a picture of a lesion to the lesion.

P. Isola, J.-Y. Zhu, T. Zhou, A. A. Efros, "Image-to-image translation with conditional adversarial networks", CVPR
2017; compared in Wang et al. 2020 ("pix2pix captured the vascular characteristics but failed to mimic the lung wall";
what it was shown there is not told). One network is trained for each lesion class.

A lesion that is wanted has to be described by a picture, which `Pix2Pix.condition` chooses; see there. Without noise
each picture has one answer; the noise is dropout in the decoder, "at both training and test time" (section 3.2). Here
the latent vector decides what is dropped, so that a sample follows from its own random numbers and nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators import pictures
from lesionforge.generators.contract import Batch, Condition, GenerativeMethod, Moment, Networks, Player, Prior
from lesionforge.generators.losses import taken_for_fake, taken_for_real
from lesionforge.generators.small_data import SmallData, Weight
from lesionforge.generators.squares import check_square
from lesionforge.settings import Count, CountOrZero, Rate, Share

# B batch, C channels of the picture, H W pixels, Z latent size

KERNEL, MOST_DOUBLINGS = 4, 3
DROPPED_PIXELS = (4, 16, 64)  # of the first three stages of the decoder, 2×2 to 8×8, where the paper has dropout


@dataclass(frozen=True)
class Pix2Pix(GenerativeMethod):
    """Published settings (section 3.3 and appendix) are the defaults.

    condition
        What the generator and the discriminator are shown of a lesion, and so what a user must bring to get one:

        - ``mask``: its outline. Size and shape are asked for, all else is made up, surroundings included. Needs masks.
        - ``edges``: the edges in the whole patch (`pictures.edges`), which fix its vessels, the pleura and the
          lesion's outline, but no intensities. Needs no masks.
        - ``erased``: the patch without the lesion, and where it was: the mask widened by ``margin_px``. A lesion is
          put into real surroundings, which are drawn again, close to what was shown. Needs masks.
    batch_size
        1, as for the paper's small data sets; every batch is normalised image by image, which is what its batch
        normalisation does with 1. Larger batches train faster by the image and need a few more epochs.
    receptive_field
        Of an output of the discriminator, at most, in pixels; see `discriminator_strides`.
    edge_slope
        The least slope of an edge, a pixel, in half widths of the window.
    """

    paper: ClassVar[str] = "Isola et al. 2017, in Wang et al. 2020"
    pictured: ClassVar[bool] = True
    prior: ClassVar[Prior] = "dropout"
    # Its small batches cost a CPU less than its weights, which would be put into that order and back at each step.
    channels_last: ClassVar[bool] = False

    condition: Literal["mask", "edges", "erased"] = "mask"
    batch_size: Count = 1
    epochs: Count = 200
    generator_width: Count = 64  # channels after the first convolution; doubled thrice at most
    discriminator_width: Count = 64
    receptive_field: Count = 70
    l1: Weight = 100
    dropout: Share = 0.5
    leak: Share = 0.2
    initial_sd: Rate = 0.02
    learning_rate: Rate = 2e-4
    beta1: Share = 0.5
    beta2: Share = 0.999
    edge_smoothing_px: Rate = 1.0
    edge_slope: Rate = 0.1
    margin_px: CountOrZero = 2
    small_data: SmallData = field(default_factory=SmallData)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are square, 8 pixels or more, a power of two: the generator halves them down to one pixel."""
        check_square(self, shape)
        if self.receptive_field < receptive_field(0):
            raise LesionForgeError(
                f"receptive_field must be {receptive_field(0)} or more, that of two convolutions, but "
                f"{self.receptive_field} came."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> Networks:
        """Make the U-Net and the PatchGAN, weights from N(0, 0.02)."""
        del classes
        self.check_shape(shape)
        channels = 2 if self.condition == "erased" else 1
        networks = nn.ModuleDict(
            {
                "generator": UNet(self, channels, halvings=shape[0].bit_length() - 1),
                "discriminator": PatchGAN(self, channels + 1, strides=self.discriminator_strides(shape[0])),
            }
        )
        networks.apply(self._initialise)
        self.small_data.constrain(networks["discriminator"])
        return networks

    def discriminator_strides(self, side: int) -> int:
        """How many of the discriminator's convolutions halve the patch: 3 in the paper, which sees 70 of 256 pixels.

        Each output sees 7, 16, 34, 70, 142, … pixels with 0, 1, 2, 3, 4, … of them; here it is the largest that is
        neither above the published one nor larger than the patch: 34 of 64 pixels, 70 of 128 and of 256.
        """
        strides = 0
        while receptive_field(strides + 1) <= min(self.receptive_field, side):
            strides += 1
        return strides

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0, self.initial_sd)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1, self.initial_sd)
            nn.init.zeros_(module.bias)

    def optimiser(self, player: Player, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam, in one fused pass over the weights."""
        rate = self.learning_rate * (self.small_data.discriminator_rate if player == "discriminator" else 1)
        return torch.optim.Adam(parameters, lr=rate, betas=(self.beta1, self.beta2), fused=True)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """One number from N(0, 1) for each unit that may be dropped, [count, Z]; narrower networks need the first."""
        units = self.generator_width * 2**MOST_DOUBLINGS * sum(DROPPED_PIXELS)
        return torch.randn(count, units, generator=rng, device=rng.device)

    def picture(self, batch: Batch) -> Tensor:
        """Return what `condition` says, [B, C, H, W]."""
        if self.condition == "edges":
            return pictures.edges(batch.images, smoothing_px=self.edge_smoothing_px, least_slope=self.edge_slope)
        if batch.masks is None:
            raise LesionForgeError(
                f"{registry.name_of(self)} with condition={self.condition} is shown where each lesion is, but these "
                "patches have no masks: ingest them with masks, or set condition=edges."
            )
        if self.condition == "mask":
            return pictures.outline(batch.masks)
        return pictures.erased(batch.images, batch.masks, margin_px=self.margin_px)

    def synthesise(self, generator: nn.Module, latent: Tensor, condition: Condition, _moment: Moment) -> Tensor:
        """G(x, z): [B, Z] and the condition's picture [B, C, H, W] → [B, 1, H, W]."""
        return generator(shown(condition), latent)  # type: ignore[no-any-return]

    def discriminator_losses(self, networks: Networks, real: Batch, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """Equation 1, maximised, and halved "while optimising D, which slows down [its] rate" (section 3.3)."""
        tools, discriminator = self.small_data, networks["discriminator"]
        on_real, on_fake = (discriminator(self._augmented_pairs(batch, moment)) for batch in (real, fake))

        def mean_score(images: Tensor) -> Tensor:
            return discriminator(torch.cat([images, shown(real)], dim=1)).flatten(1).mean(1)  # type: ignore[no-any-return]

        return {
            "discriminator_real": taken_for_real(on_real, smoothing=tools.label_smoothing) / 2,
            "discriminator_fake": taken_for_fake(on_fake) / 2,
        } | tools.penalties(mean_score, real.images)

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> Mapping[str, Tensor]:
        """Equation 4: −log D(x, G(x, z)) "instead of log(1 − D)" (section 3.3), and λ·L1 (equation 3)."""
        assert fake.originals is not None  # of all fakes
        return {
            "generator": taken_for_real(networks["discriminator"](self._augmented_pairs(fake, moment))),
            "generator_l1": self.l1 * F.l1_loss(fake.images, fake.originals),
        }

    def _augmented_pairs(self, batch: Batch, moment: Moment) -> Tensor:
        return self.small_data.augment(batch.images, moment.rng, beside=shown(batch))


def receptive_field(strides: int) -> int:
    """Side of what an output of a `PatchGAN` sees, in pixels: 4×4 kernels, so many of stride 2 and two of stride 1."""
    side = 1 + 2 * (KERNEL - 1)
    for _ in range(strides):
        side = 2 * side + KERNEL - 2
    return side


def shown(condition: Condition) -> Tensor:
    """Return the picture, which whoever makes a condition for a pictured method has put there."""
    assert condition.picture is not None
    return condition.picture


class UNet(nn.Module):
    """Picture [B, C, H, W] and noise [B, Z] → [B, 1, H, W]: down to one pixel and up again, with skip connections.

    The encoder's innermost layer is not normalised: of one pixel nothing would be left (as in the authors' code).
    """

    def __init__(self, method: Pix2Pix, channels: int, halvings: int) -> None:
        super().__init__()
        self.leak, self.dropout = method.leak, method.dropout
        widths = [method.generator_width * 2 ** min(level, MOST_DOUBLINGS) for level in range(halvings)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            bare = level in (0, halvings - 1)
            convolution = nn.Conv2d(widths[level - 1] if level else channels, width, KERNEL, 2, 1, bias=bare)
            self.down.append(nn.Sequential(convolution, nn.Identity() if bare else _norm(width)))
        for level in reversed(range(halvings)):
            width = widths[level - 1] if level else 1
            inputs = widths[level] * (1 if level == halvings - 1 else 2)
            widening = nn.ConvTranspose2d(inputs, width, KERNEL, 2, 1, bias=not level)
            self.up.append(nn.Sequential(widening, _norm(width) if level else nn.Tanh()))

    def forward(self, picture: Tensor, noise: Tensor) -> Tensor:
        """G(x, z)."""
        features, seen = picture, list[Tensor]()
        for level, down in enumerate(self.down):
            features = down(F.leaky_relu(features, self.leak) if level else features)
            seen.append(features)
        features = seen.pop()
        for stage, up in enumerate(self.up):
            features = up(F.relu(features))
            if seen and stage < len(DROPPED_PIXELS):
                own, noise = noise.tensor_split([features[0].numel()], dim=1)
                features = self._dropped(features, own)
            if seen:
                features = torch.cat([features, seen.pop()], dim=1)
        return features

    def _dropped(self, features: Tensor, noise: Tensor) -> Tensor:
        """Keep a unit where its noise, from N(0, 1), lies above the share to be dropped, as `nn.Dropout` scales it."""
        kept = noise.view_as(features) >= torch.special.ndtri(noise.new_tensor(self.dropout))
        return torch.where(kept, features / (1 - self.dropout), 0)


class PatchGAN(nn.Sequential):
    """[B, 1 + C, H, W] → logits [B, 1, h, w], each of whether its part of the patch is real."""

    def __init__(self, method: Pix2Pix, channels: int, *, strides: int) -> None:
        layers: list[nn.Module] = []
        before = channels
        for number in range(strides + 1):
            width = method.discriminator_width * 2 ** min(number, MOST_DOUBLINGS)
            layers += [
                nn.Conv2d(before, width, KERNEL, 2 if number < strides else 1, 1, bias=not number),
                _norm(width) if number else nn.Identity(),
                nn.LeakyReLU(method.leak, inplace=True),
            ]
            before = width
        super().__init__(*layers, nn.Conv2d(before, 1, KERNEL, 1, 1))


def _norm(width: int) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=True)
