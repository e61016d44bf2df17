"""Dual-discriminator SRGAN: a whole slice of the lung in, with a blank where a nodule is to be, and the slice out.

Z. Wang et al., "Generation of synthetic ground glass nodules using generative adversarial networks (GANs)", European
Radiology Experimental 6 (2022). The generator is that of C. Ledig et al., "Photo-realistic single image
super-resolution using a generative adversarial network", CVPR 2017 (SRGAN), without its enlargement; one discriminator
sees the whole slice and one the region of interest around the nodule, both ResNets. One network is trained for each
lesion class. A nodule's place, size and shape are asked for by its mask; the paper's masks are those of its nodules.

The paper's slices are of 512×512 pixels, the lung cut out and the rest 0; here the patches' size is the slice's, so
that crops can be learnt from as well. What it leaves open is marked as ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators import holes
from lesionforge.generators.contract import Batch, Condition, Moment, Networks
from lesionforge.generators.convolutions import Convolution
from lesionforge.generators.holes import SMALLEST_SIDE, Hole, InPainter
from lesionforge.generators.losses import taken_for_fake, taken_for_real
from lesionforge.generators.pictures import NOTHING
from lesionforge.generators.similarity import dissimilarity, printed_dissimilarity
from lesionforge.settings import Count, Odd, Rate, Share

# B batch, C channels, H W pixels, Z latent size

LAST_SIDE = 4  # pixels at which a discriminator stops halving
WIDEST = 8  # times its first width, a discriminator's last
SSIM = {"standard": dissimilarity, "printed": printed_dissimilarity}


@dataclass(frozen=True)
class D2SRGAN(InPainter):
    """Published settings are the defaults; widths, depths and batch are SRGAN's, for the paper tells none.

    roi_px
        Side of the region of interest, which is cut out about the middle of the hole.
    ssim
        - ``standard``: structural similarity as it was defined (`similarity.dissimilarity`).
        - ``printed``: the paper's equation 3 as it is printed, which cannot be meant
          (`similarity.printed_dissimilarity`).
    noise_sd
        The paper's blank holds nothing, and so each slice has one answer. Here it holds faint noise, so that samples
        differ; 1 is half the window's width. Ours.
    leak
        Slope of the "leaky PReLU" below 0, from which it learns; ours, as is the reading: PReLU that begins leaky.
    """

    paper: ClassVar[str] = "Wang et al. 2022, after Ledig et al. 2017"

    hole: Hole = field(default_factory=partial(Hole, form="mask", margin_px=2))
    roi_px: Count = 32
    ssim: Literal["standard", "printed"] = "standard"
    ssim_window_px: Odd = 11
    noise_sd: Rate = 0.1
    batch_size: Count = 16
    epochs: Count = 200
    generator_width: Count = 64
    blocks: Count = 16
    discriminator_width: Count = 64
    leak: Share = 0.2
    learning_rate: Rate = 1e-4
    beta1: Share = 0.9
    beta2: Share = 0.999

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and no smaller than the region of interest."""
        least = max(SMALLEST_SIDE, self.roi_px)
        if len(shape) != 2 or min(shape) < least:
            raise LesionForgeError(
                f"{registry.name_of(self)} makes 2-D patches of {least} pixels an axis or more, but "
                f"{'×'.join(map(str, shape))} came: give larger patches, or set a smaller roi_px."
            )
        self.hole.check(shape)

    def build(self, shape: tuple[int, ...], classes: int) -> Networks:
        """Make the generator and both discriminators."""
        del classes
        self.check_shape(shape)
        return nn.ModuleDict({"generator": Generator(self), "discriminator": Discriminators(self, shape)})

    def synthesise(self, generator: nn.Module, latent: Tensor, condition: Condition, _moment: Moment) -> Tensor:
        """G(x): [B, Z] and the condition's picture → [B, 1, H, W]."""
        surroundings, hole = holes.shown(condition)
        noise = holes.noise(latent, surroundings.shape[2:])
        blank = holes.filled(surroundings, hole, NOTHING + self.noise_sd * noise)
        return holes.filled(surroundings, hole, generator(torch.cat([blank, hole], dim=1)))

    def discriminator_losses(self, networks: Networks, real: Batch, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """−log D(x) − log(1 − D(G(x))), of the whole slice and of its region of interest."""
        del moment
        _, hole = holes.shown(real)
        real_whole, real_roi = networks["discriminator"](real.images, hole)
        fake_whole, fake_roi = networks["discriminator"](fake.images, hole)
        return {
            "discriminator_whole_real": taken_for_real(real_whole),
            "discriminator_whole_fake": taken_for_fake(fake_whole),
            "discriminator_roi_real": taken_for_real(real_roi),
            "discriminator_roi_fake": taken_for_fake(fake_roi),
        }

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> Mapping[str, Tensor]:
        """Equations 1 and 2: the SSIM loss and −log D(G(x)), of the whole slice and of its region of interest."""
        del moment
        assert fake.originals is not None  # of all fakes
        _, hole = holes.shown(fake)
        whole, roi = networks["discriminator"](fake.images, hole)
        pairs = [self.region(images, hole) for images in (fake.images, fake.originals)]
        unlike = SSIM[self.ssim]
        return {
            "generator_whole": taken_for_real(whole),
            "generator_whole_ssim": unlike(fake.images, fake.originals, window_px=self.ssim_window_px),
            "generator_roi": taken_for_real(roi),
            "generator_roi_ssim": unlike(*pairs, window_px=self.ssim_window_px),
        }

    def region(self, images: Tensor, hole: Tensor) -> Tensor:
        """Cut the region of interest out, [B, 1, H, W] → [B, 1, h, w]."""
        sides = (self.roi_px, self.roi_px)
        return holes.cut(images, holes.corners(hole, sides), sides)


class Generator(nn.Module):
    """A slice with a blank, and where that is, [B, 2, H, W] → a slice [B, 1, H, W] in [−1, 1].

    SRGAN's residual blocks between two convolutions, all of 3×3 pixels as this paper says (SRGAN's first and last are
    of 9×9), and a connection around them all.
    """

    def __init__(self, method: D2SRGAN) -> None:
        super().__init__()
        width = method.generator_width
        self.first = nn.Sequential(Convolution(2, width, 3, 1, 1), nn.PReLU())
        blocks = (Residual(width, width, nn.PReLU) for _ in range(method.blocks))
        self.blocks = nn.Sequential(*blocks, *_normalised(width, width))
        self.last = nn.Sequential(Convolution(width, 1, 3, 1, 1), nn.Tanh())

    def forward(self, shown: Tensor) -> Tensor:
        """[B, 2, H, W] → [B, 1, H, W]."""
        features = self.first(shown)
        return self.last(features + self.blocks(features))  # type: ignore[no-any-return]


class Discriminators(nn.Module):
    """Slices, and where their holes are, [B, 1, H, W] → logits of the whole and of the region of interest, [B] each."""

    def __init__(self, method: D2SRGAN, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.region = method.region
        self.whole = ResNet(method, min(shape))
        self.roi = ResNet(method, method.roi_px)

    def forward(self, images: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, H, W] twice → [B], [B]."""
        return self.whole(images), self.roi(self.region(images, hole))


class ResNet(nn.Sequential):
    """Images [B, 1, H, W] → logits of being real [B]: a residual block for each halving, down to 4×4 pixels or so.

    As in a ResNet, what a block adds up is bent once more. Without that the logit would be the mean over pixels of what
    batch normalisation has centred, the same for each batch, and tell real batches from fake ones not at all.
    """

    def __init__(self, method: D2SRGAN, side: int) -> None:
        activation, width = partial(nn.PReLU, init=method.leak), method.discriminator_width
        layers: list[nn.Module] = [Convolution(1, width, 3, 1, 1), activation()]
        before = width
        while side > LAST_SIDE:
            after = min(2 * before, WIDEST * width)
            layers += [Residual(before, after, activation, stride=2), activation()]
            before, side = after, side // 2
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1), nn.Flatten(0))


class Residual(nn.Module):
    """[B, C, H, W] → [B, C', H / stride, W / stride]: two convolutions, and a connection around them."""

    def __init__(self, inputs: int, outputs: int, activation: Callable[[], nn.Module], *, stride: int = 1) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_normalised(inputs, outputs, stride), activation(), *_normalised(outputs, outputs))
        # Pixels are averaged and not left out: strided 1×1 convolutions crash in some builds of PyTorch for CPUs.
        fewer = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.around = nn.Sequential(fewer, Convolution(inputs, outputs, 1)) if inputs != outputs else fewer

    def forward(self, features: Tensor) -> Tensor:
        """As said above."""
        return self.around(features) + self.inner(features)  # type: ignore[no-any-return]


def _normalised(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return Convolution(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
