"""What helps a GAN to learn from little data: switches that every method shares, all off unless set.

Augmentation and R1 keep the discriminator from learning the training images by heart, spectral norm bounds its
slope, smoothing its confidence, and its own learning rate its pace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lesionforge.generators.losses import slopes
from lesionforge.settings import Rate, Share

NOTHING = -1.0  # the low end of the window, which stands where an image was moved away or cut out
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# B batch, 1 channel, *shape pixels along two axes or three


@dataclass(frozen=True)
class SmallData:
    """The switches; 0, 1 (of a ratio) or false is off.

    translation, cutout, brightness, contrast
        S. Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020 (published: 0.125,
        0.5, 0.5, 0.5). Everything that the discriminator sees, real and fake, is shifted by up to that share of an
        axis, loses a box of that share of each axis, gains up to ± so much on the scale from −1 to 1, and is spread
        about its mean by 1 ± so much. Hounsfield units are calibrated: on CT the last two should be small.
    r1
        γ of γ/2·E‖∇D(x)‖² over real images (L. Mescheder et al., "Which training methods for GANs do actually
        converge?", ICML 2018, equation 9; published: 10).
    spectral_normalisation
        Divide each of the discriminator's weights by its largest singular value (T. Miyato et al., ICLR 2018).
    label_smoothing
        The discriminator aims at 1 minus this for real images.
    discriminator_rate
        Its learning rate over the generator's (M. Heusel et al., "GANs trained by a two time-scale update rule",
        NeurIPS 2017).
    """

    translation: Share = 0
    cutout: Share = 0
    brightness: Share = 0
    contrast: Share = 0
    r1: Weight = 0
    spectral_normalisation: bool = False
    label_smoothing: Share = 0
    discriminator_rate: Rate = 1

    def augment(self, images: Tensor, rng: torch.Generator, *, beside: Tensor | None = None) -> Tensor:
        """Change [B, 1, *shape] as set, each image by its own random numbers, gradients passing through.

        What the discriminator sees ``beside`` an image, [B, C, *shape], moves and is cut with it, but keeps its greys;
        it is appended to the channels.
        """
        if self.brightness:
            images = images + _between(-self.brightness, self.brightness, images, rng)
        if self.contrast:
            mean = images.flatten(1).mean(1).view(_one_each(images))
            images = mean + (images - mean) * _between(1 - self.contrast, 1 + self.contrast, images, rng)
        if beside is not None:
            images = torch.cat([images, beside], dim=1)
        if self.translation:
            images = _translate(images, self.translation, rng)
        if self.cutout:
            images = _cut_out(images, self.cutout, rng)
        return images

    def penalties(self, score: Callable[[Tensor], Tensor], real: Tensor) -> dict[str, Tensor]:
        """Return what the discriminator's losses gain: R1 if it is on. ``score`` gives [B] for real images."""
        return {"discriminator_r1": self.r1 / 2 * slopes(score, real).square().sum(1).mean()} if self.r1 else {}

    def constrain(self, discriminator: nn.Module) -> None:
        """Put spectral norm on a discriminator, if it is on."""
        if self.spectral_normalisation:
            for module in list(discriminator.modules()):
                if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
                    spectral_norm(module)


def _one_each(images: Tensor) -> tuple[int, ...]:
    return (len(images), *[1] * (images.ndim - 1))


def _between(low: float, high: float, images: Tensor, rng: torch.Generator) -> Tensor:
    """Draw one number for each image, shaped to be combined with them."""
    drawn = torch.rand(_one_each(images), generator=rng, device=rng.device)
    return low + (high - low) * drawn.to(images)


def _translate(images: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Shift along each axis by whole pixels."""
    for axis, side in enumerate(images.shape[2:], start=2):
        most = int(share * side + 0.5)
        shift = torch.randint(-most, most + 1, _one_each(images), generator=rng, device=rng.device)
        source = _positions(images, axis) + shift
        moved = images.gather(axis, source.clamp(0, side - 1).expand_as(images))
        images = torch.where((source >= 0) & (source < side), moved, NOTHING)
    return images


def _cut_out(images: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Blank a box whose middle lies anywhere, so that a part of it may lie outside."""
    inside = torch.ones((), dtype=torch.bool, device=images.device)
    for axis, side in enumerate(images.shape[2:], start=2):
        length = int(share * side + 0.5)
        first = torch.randint(0, side + 1 - length % 2, _one_each(images), generator=rng, device=rng.device)
        first = first - length // 2
        at = _positions(images, axis)
        inside = inside & (at >= first) & (at < first + length)
    return torch.where(inside, NOTHING, images)


def _positions(images: Tensor, axis: int) -> Tensor:
    """0, 1, 2, … along one axis of the images, 1 long along the others."""
    shape = [1] * images.ndim
    shape[axis] = images.shape[axis]
    return torch.arange(images.shape[axis], device=images.device).view(shape)
