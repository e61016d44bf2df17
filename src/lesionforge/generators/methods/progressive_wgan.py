"""Progressive-growing Wasserstein GAN.

Y. Wang et al., "Combination of generative adversarial network and convolutional neural network for automatic
subcentimeter pulmonary adenocarcinoma classification", Quantitative Imaging in Medicine and Surgery 10 (2020), section
"GAN architecture". What it leaves open is taken from what it is built on: T. Karras, T. Aila, S. Laine, J. Lehtinen,
"Progressive growing of GANs for improved quality, stability, and variation", ICLR 2018, and its code. One GAN is
trained for each lesion class, in the paper on images that its common augmentation made many of.

How far the networks have grown is one number, a function of the images shown alone: 2 says that the images of 4 pixels
have doubled twice, to 16×16; 2.3, that three tenths of the next doubling, to 32×32, are faded in. A generator's images
have the size of the patches at all times, the pixels of a lower resolution repeated; the critic sees these once.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import Batch, Condition, GenerativeMethod, Moment, Networks, Player, Prior
from lesionforge.generators.convolutions import convolve, spread
from lesionforge.generators.losses import slopes
from lesionforge.generators.small_data import SmallData, Weight
from lesionforge.generators.squares import SEED_PIXELS, check_square, doublings
from lesionforge.settings import Count, Rate, Share, Widths

# B batch, W width (channels), Z latent size, H×H pixels of the patch, h×h of some resolution

FULL_WIDTH_PIXELS = 32  # up to here every resolution has the full width; then each doubling halves it
EPSILON = 1e-8  # lest a root be taken, or a division made, of nothing


@dataclass(frozen=True)
class ProgressiveWGAN(GenerativeMethod):
    """Published settings are the defaults.

    Wang et al. show 5 000 000 images in all and do not print the phases: with the 600 000 of Karras's code 64×64 is
    reached after 4 800 000 of them (with the 800 000 of his paper it never would be). Train with ``images=5000000``, or
    shorten both phases with the training: with 6000 each, 64×64 is reached after 48 000 images, and ``images=60000`` is
    a sensible length. ``epochs`` is ours.
    """

    paper: ClassVar[str] = "Wang et al. 2020, after Karras et al. 2018"
    prior: ClassVar[Prior] = "sphere"

    batch_size: Count = 128  # at most
    batch_sizes: Widths = (128, 128, 128, 64, 32)  # at 4, 8, 16, … pixels; the last also beyond
    stable_images: Count = 600_000  # shown at each resolution once it is there
    fade_images: Count = 600_000  # shown while the next one is faded in
    latent_size: Count = 512
    width: Count = 512  # channels up to 32×32
    leak: Share = 0.2
    deviation_group: Count = 4  # images whose spread the critic is told, in Karras's code
    penalty: Rate = 10.0  # λ
    drift: Weight = 1e-3
    learning_rate: Rate = 1e-3
    beta1: Share = 0.0
    beta2: Share = 0.99
    small_data: SmallData = field(default_factory=SmallData)

    def __post_init__(self) -> None:
        if self.small_data.label_smoothing or self.small_data.spectral_normalisation:
            raise LesionForgeError(
                "label_smoothing and spectral_normalisation are of no use to progressive_wgan, whose critic aims at "
                "no label and has scaled weights: leave them off."
            )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are square, 8 pixels or more, a power of two."""
        check_square(self, shape)

    def least_images(self, shape: tuple[int, ...]) -> int:
        """After so many the networks have grown to the size of the patches."""
        return doublings(shape) * (self.stable_images + self.fade_images)

    def check_length(self, shape: tuple[int, ...], images: int) -> None:
        """Images suffice for the networks to grow to the size of the patches."""
        side, least = shape[0], self.least_images(shape)
        if images < least:
            fitting = max(1, images // (2 * doublings(shape) + 1))
            raise LesionForgeError(
                f"{registry.name_of(self)} reaches {side}×{side} pixels once {least:,} images were shown, but "
                f"{images:,} are planned: show more (--images), or shorten its phases (--set "
                f"stable_images={fitting} --set fade_images={fitting})."
            )

    def build(self, shape: tuple[int, ...], _classes: int) -> Networks:
        """Make both networks for all resolutions up to that of the patches, weights from N(0, 1), biases 0."""
        self.check_shape(shape)
        levels = doublings(shape)
        return nn.ModuleDict({"generator": Generator(self, levels), "discriminator": Critic(self, levels)})

    def optimiser(self, player: Player, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam, in one fused pass over the weights; it passes over those of resolutions that are not shown."""
        rate = self.learning_rate * (self.small_data.discriminator_rate if player == "discriminator" else 1)
        return torch.optim.Adam(parameters, lr=rate, betas=(self.beta1, self.beta2), fused=True)

    def grown(self, images_seen: int) -> float:
        """How often 4 pixels have doubled, the fraction being what is faded in; networks stop at their own size."""
        times, rest = divmod(images_seen, self.stable_images + self.fade_images)
        return times + max(0, rest - self.stable_images) / self.fade_images

    def batch_size_at(self, images_seen: int) -> int:
        """The published table, or ``batch_size`` where that is smaller."""
        level = min(math.ceil(self.grown(images_seen)), len(self.batch_sizes) - 1)
        return min(self.batch_size, self.batch_sizes[level])

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Z from N(0, 1), [count, Z]; the generator puts them on a sphere."""
        return torch.randn(count, self.latent_size, generator=rng, device=rng.device)

    def synthesise(self, generator: nn.Module, latent: Tensor, _condition: Condition, moment: Moment) -> Tensor:
        """[B, Z] → [B, 1, H, H]."""
        return generator(latent, self.grown(moment.images_seen))  # type: ignore[no-any-return]

    def discriminator_losses(self, networks: Networks, real: Batch, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """WGAN-GP's D(G(z)) − D(x) + λ·(‖∇D(x̂)‖ − 1)², and ε·D(x)² lest scores drift (Karras, appendix A.1).

        The slope is by the pixels of the resolution that is reached. Karras's code takes it by those of the patch, on
        which a critic of 4×4 pixels must be 16 times as steep as here; in trainings of some ten thousand images it does
        not get there, and the penalty is all that it minimises.
        """
        tools, grown = self.small_data, self.grown(moment.images_seen)

        def critic(images: Tensor) -> Tensor:
            return networks["discriminator"](images, grown)  # type: ignore[no-any-return]

        unaugmented = half_faded(real.images, grown)
        shown_real = tools.augment(unaugmented, moment.rng)
        shown_fake = tools.augment(at_resolution(fake.images, grown), moment.rng)
        share = torch.rand(len(shown_real), 1, 1, 1, generator=moment.rng, device=moment.rng.device).to(shown_real)
        between = torch.lerp(shown_fake, shown_real, share)
        score_real = critic(shown_real)
        return {
            "discriminator_real": -score_real.mean(),
            "discriminator_fake": critic(shown_fake).mean(),
            "discriminator_penalty": self.penalty * (slopes(critic, between).norm(dim=1) - 1).square().mean(),
            "discriminator_drift": self.drift * score_real.square().mean(),
        } | tools.penalties(critic, unaugmented)

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """−D(G(z))."""
        grown = self.grown(moment.images_seen)
        shown = self.small_data.augment(at_resolution(fake.images, grown), moment.rng)
        return {"generator": -networks["discriminator"](shown, grown).mean()}

    def width_at(self, level: int) -> int:
        """Channels of the features that have doubled so often."""
        return max(1, self.width * FULL_WIDTH_PIXELS // max(FULL_WIDTH_PIXELS, SEED_PIXELS << level))


def reached(grown: float, levels: int) -> tuple[int, float]:
    """Return the last doubling, out of so many, that is there or being faded in, and how much of it is there."""
    level = min(math.ceil(grown), levels)
    return level, 1 - max(0, level - grown)


def at_resolution(images: Tensor, grown: float) -> Tensor:
    """Average [B, 1, H, H] over squares of pixels, to [B, 1, h, h]; fakes, whose pixels are repeated, are as made."""
    levels = doublings(images.shape[2:])
    return F.avg_pool2d(images, 2 ** (levels - reached(grown, levels)[0]))


def half_faded(images: Tensor, grown: float) -> Tensor:
    """Show real images [B, 1, H, H] as networks that have grown so far could make them, [B, 1, h, h].

    While a resolution is faded in, they are blended with their own half resolution, as fakes are (Karras's code).
    """
    _, share = reached(grown, doublings(images.shape[2:]))
    fine = at_resolution(images, grown)
    return torch.lerp(repeated(F.avg_pool2d(fine, 2), 2), fine, share) if share < 1 else fine


def repeated(images: Tensor, factor: int) -> Tensor:
    """Repeat each pixel of [B, 1, h, h] along both axes."""
    return F.interpolate(images, scale_factor=factor) if factor > 1 else images


class Generator(nn.Module):
    """[B, Z] → [B, 1, H, H], pixel-wise normalisation after every layer but those that make images.

    These are linear: what lies outside [−1, 1] is clipped where a generator is used, not while it learns.
    """

    def __init__(self, method: ProgressiveWGAN, levels: int) -> None:
        super().__init__()
        widths = [method.width_at(level) for level in range(levels + 1)]

        def normalised(layer: nn.Module) -> list[nn.Module]:
            return [layer, nn.LeakyReLU(method.leak, inplace=True), PixelNorm()]

        # A quarter of the usual gain, as in Karras's code: this layer's weights learn four times as slowly.
        seed = ScaledLinear(method.latent_size, widths[0] * SEED_PIXELS**2, gain=math.sqrt(2) / 4)
        first = [
            PixelNorm(),
            *normalised(nn.Sequential(seed, nn.Unflatten(1, (widths[0], SEED_PIXELS, SEED_PIXELS)))),
            *normalised(ScaledConv(widths[0], widths[0], 3)),
        ]
        self.blocks = nn.ModuleList([nn.Sequential(*first)])
        for before, width in itertools.pairwise(widths):
            doubling = normalised(DoublingConv(before, width, 3)) + normalised(ScaledConv(width, width, 3))
            self.blocks.append(nn.Sequential(*doubling))
        self.to_image = nn.ModuleList(ScaledConv(width, 1, 1, gain=1) for width in widths)

    def forward(self, latent: Tensor, grown: float) -> Tensor:
        """G(z) at the resolution that is reached, its pixels repeated."""
        levels = len(self.blocks) - 1
        level, share = reached(grown, levels)
        before = features = self.blocks[0](latent)
        for block in self.blocks[1 : level + 1]:
            before, features = features, block(features)
        images = self.to_image[level](features)
        if share < 1:
            images = torch.lerp(repeated(self.to_image[level - 1](before), 2), images, share)
        images = repeated(images, 2 ** (levels - level))
        return images if self.training else images.clamp(-1, 1)


class Critic(nn.Module):
    """[B, 1, h, h] → scores [B]: the generator mirrored, without normalisation."""

    def __init__(self, method: ProgressiveWGAN, levels: int) -> None:
        super().__init__()
        widths = [method.width_at(level) for level in range(levels + 1)]

        def activated(layer: nn.Module) -> list[nn.Module]:
            return [layer, nn.LeakyReLU(method.leak, inplace=True)]

        last = [
            MinibatchDeviation(method.deviation_group),
            *activated(ScaledConv(widths[0] + 1, widths[0], 3)),
            nn.Flatten(),
            *activated(ScaledLinear(widths[0] * SEED_PIXELS**2, method.width)),
            ScaledLinear(method.width, 1, gain=1),
            nn.Flatten(0),
        ]
        self.blocks = nn.ModuleList([nn.Sequential(*last)])
        for after, width in itertools.pairwise(widths):
            halving = activated(ScaledConv(width, width, 3)) + activated(HalvingConv(width, after, 3))
            self.blocks.append(nn.Sequential(*halving))
        self.from_image = nn.ModuleList(nn.Sequential(*activated(ScaledConv(1, width, 1))) for width in widths)

    def forward(self, images: Tensor, grown: float) -> Tensor:
        """D(x), with x at the resolution that is reached."""
        level, share = reached(grown, len(self.blocks) - 1)
        features = self.from_image[level](images)
        for number in range(level, -1, -1):
            features = self.blocks[number](features)
            if number == level and share < 1:
                coarse = self.from_image[level - 1](F.avg_pool2d(images, 2))
                features = torch.lerp(coarse, features, share)
        return features  # type: ignore[no-any-return]


class ScaledConv(nn.Conv2d):
    """Convolution with equalised learning rate, Karras's section 4.1.

    Weights are kept as if from N(0, 1) and scaled by He's constant when used: then steps of Adam, whose size does not
    follow the gradient's, change every layer as fast.
    """

    def __init__(self, before: int, width: int, kernel: int, *, gain: float = math.sqrt(2)) -> None:
        super().__init__(before, width, kernel, padding=kernel // 2)
        self.scale = gain / math.sqrt(before * kernel**2)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """[B, W, h, h] → [B, W', h, h]."""
        return convolve(features, self.weight * self.scale, self.bias, padding=int(self.padding[0]))


class DoublingConv(ScaledConv):
    """Repeats pixels, then convolves; both in one, which spares more than half of the multiplications."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, W, h, h] → [B, W', 2h, 2h]."""
        weight = over_two_by_two(self.weight.flip(2, 3).transpose(0, 1) * self.scale)
        return spread(features, weight, self.bias, stride=2, padding=int(self.padding[0]))


class HalvingConv(ScaledConv):
    """Convolves, then averages two by two pixels; both in one, so before the nonlinearity (as Karras's code)."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, W, h, h] → [B, W', h/2, h/2]."""
        weight = over_two_by_two(self.weight * (self.scale / 4))
        return convolve(features, weight, self.bias, stride=2, padding=int(self.padding[0]))


def over_two_by_two(weight: Tensor) -> Tensor:
    """Sum of a kernel [W', W, k, k] at the four places that two by two pixels give it, [W', W, k + 1, k + 1]."""
    padded = F.pad(weight, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


class ScaledLinear(nn.Linear):
    """Dense layer with equalised learning rate, as `ScaledConv`."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = math.sqrt(2)) -> None:
        super().__init__(inputs, outputs)
        self.scale = gain / math.sqrt(inputs)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs] → [B, outputs]."""
        return F.linear(features, self.weight * self.scale, self.bias)


class PixelNorm(nn.Module):
    """a ↦ a / √(mean of a² over the channels + 10⁻⁸), section "Pixel-wise normalization" of both papers."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, W, …], normalised along W."""
        return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + EPSILON)


class MinibatchDeviation(nn.Module):
    """Tells the critic how much the images of a batch differ, so that fakes must differ as well (Karras, section 3).

    The paper has minibatch discrimination "in the final convolution layer": one more channel, which holds the standard
    deviation over a group of images, averaged over channels and pixels. The group is as large as divides the batch.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, features: Tensor) -> Tensor:
        """[B, W, h, h] → [B, W + 1, h, h]."""
        group = next(size for size in range(self.most, 0, -1) if len(features) % size == 0)
        variance = features.reshape(group, -1, *features.shape[1:]).var(dim=0, correction=0)
        deviation = (variance + EPSILON).sqrt().mean(dim=(1, 2, 3))
        channel = deviation.repeat(group).view(-1, 1, 1, 1).expand(-1, 1, *features.shape[2:])
        return torch.cat([features, channel], dim=1)
