"""Flow-matching in-painting: noise in a hole flows, along nearly straight lines, to a lesion of the asked class.

Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel, M. Le, "Flow matching for generative modeling", ICLR 2023; X. Liu,
C. Gong, Q. Liu, "Flow straight and fast: learning to generate and transfer data with rectified flow", ICLR 2023. One
network learns by least squares, against nobody: from any point of the line between noise and a real lesion, which way
along the line. What it answers is the lesion at the line's end, from which the way follows: a narrow network can draw a
lesion, but it cannot copy noise, which the way is full of (T. Li, K. He, "Back to basics: let denoising generative
models denoise", 2025). To make a lesion the way is followed from the noise in a few steps. The network is shown the
surroundings, the hole (by default of the lesion's own shape) and the class. Slices and volumes are made by the same
code; networks and settings are ours, small enough for a few hundred lesions and a CPU.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.generators import holes
from lesionforge.generators.blocks import class_maps, convolution, doubled
from lesionforge.generators.contract import Batch, Condition, Moment, Networks
from lesionforge.generators.holes import COARSEST, Hole, InPainter
from lesionforge.settings import Count, Rate, Share

# B batch, C channels, K classes, *shape pixels along two axes or three, Z latent size

LONGEST_WAVE = 100.0  # of the waves that tell the network the time
MIDDLE_TIME_LOGIT = -0.8  # of the times that training looks at
LEAST_TIME_LEFT = 0.05  # by which what is left of the way is divided in training
GROUPS = 4  # of channels that are normalised together


@dataclass(frozen=True, kw_only=True)
class OnTheWay(Batch):
    """Where a training step looks: somewhere between noise and real lesions. ``images`` is where that leads to."""

    velocity: Tensor  # [B, 1, *shape], as the network says
    straight: Tensor  # [B, 1, *shape], from the noise to the real image


@dataclass(frozen=True)
class FlowMatchingInpainting(InPainter):
    """Hyper-parameters.

    steps
        In which the flow is followed when lesions are made; training does not depend on them.
    solver
        ``euler`` asks the network once a step; ``heun``, of second order, twice.
    latent_size
        The noise is a square or a cube of at most so many numbers, repeated over the patch (`holes.noise`).
    """

    paper: ClassVar[str] = "Lipman et al. 2023, Liu et al. 2023"
    conditional: ClassVar[bool] = True

    hole: Hole = field(default_factory=partial(Hole, form="mask", margin_px=2))
    steps: Count = 8
    solver: Literal["euler", "heun"] = "heun"
    batch_size: Count = 16
    epochs: Count = 400
    width: Count = 32  # channels at full resolution; doubled at each halving
    learning_rate: Rate = 5e-4
    beta1: Share = 0.9
    beta2: Share = 0.99

    def build(self, shape: tuple[int, ...], classes: int) -> Networks:
        """Make the one network."""
        self.check_shape(shape)
        return nn.ModuleDict({"generator": Denoiser(self.width, len(shape), classes)})

    def fakes(self, generator: nn.Module, latent: Tensor, real: Batch, moment: Moment) -> OnTheWay:
        """Look at the line from noise x₀ to a real image x₁ at a time t: x_t = (1 − t)·x₀ + t·x₁.

        The first half of the way, where most is decided, is looked at more often: t is the sigmoid of N(−0.8, 1) (P.
        Esser et al., "Scaling rectified flow transformers for high-resolution image synthesis", ICML 2024, section 3.1;
        Li and He's mean).
        """
        surroundings, hole = holes.shown(real)
        noise = holes.noise(latent, surroundings.shape[2:])
        logit = torch.randn(len(latent), generator=moment.rng, device=moment.rng.device) + MIDDLE_TIME_LOGIT
        time = logit.to(noise).sigmoid()
        at = time.view(-1, *[1] * (noise.ndim - 1))
        place = torch.lerp(noise, real.images, at)
        clean = generator(holes.filled(surroundings, hole, place), hole, real.labels, time)
        return OnTheWay(
            images=holes.filled(surroundings, hole, clean),
            originals=real.images,
            labels=real.labels,
            masks=real.masks,
            picture=real.picture,
            velocity=(clean - place) / (1 - at).clamp(min=LEAST_TIME_LEFT),
            straight=real.images - noise,
        )

    def synthesise(self, generator: nn.Module, latent: Tensor, condition: Condition, _moment: Moment) -> Tensor:
        """Follow the flow from the noise: [B, Z] → [B, 1, *shape]."""
        surroundings, hole = holes.shown(condition)

        def velocity(place: Tensor, time: float) -> Tensor:
            at = torch.full((len(latent),), time).to(place)
            clean = generator(holes.filled(surroundings, hole, place), hole, condition.labels, at)
            return (clean - place) / (1 - time)  # type: ignore[no-any-return]

        place, length = holes.noise(latent, surroundings.shape[2:]), 1 / self.steps
        for step in range(self.steps):
            here = velocity(place, step * length)
            if self.solver == "heun" and step + 1 < self.steps:  # at the end there is no way left to look along
                here = (here + velocity(place + length * here, (step + 1) * length)) / 2
            place = place + length * here
        return holes.filled(surroundings, hole, place.clamp(-1, 1))

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> Mapping[str, Tensor]:
        """‖v − (x₁ − x₀)‖² in the hole (Liu et al., equation 1), its mean over each hole's pixels."""
        del networks, moment
        assert isinstance(fake, OnTheWay)
        _, hole = holes.shown(fake)
        away = (fake.velocity - fake.straight).square() * hole
        return {"generator": (away.flatten(1).sum(1) / hole.flatten(1).sum(1)).mean()}


class Denoiser(nn.Module):
    """x̂₁(x_t, t): a U-Net of residual blocks, three resolutions, two blocks each way.

    Patches and holes [B, 1, *shape], class numbers [B], times [B] → patches without noise, [B, 1, *shape].
    """

    def __init__(self, width: int, axes: int, classes: int) -> None:
        super().__init__()
        self.classes, self.waves = classes, width
        told = 4 * width
        self.told = nn.Sequential(nn.Linear(2 * width + classes, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.first = convolution(axes, 2 + classes, width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for before, after in ((width, width), (width, 2 * width), (2 * width, COARSEST * width)):
            self.down.append(Block(axes, before, after, told))
        self.middle = Block(axes, COARSEST * width, COARSEST * width, told)
        for before, after in ((8 * width, 2 * width), (COARSEST * width, width), (2 * width, width)):
            self.up.append(Block(axes, before, after, told))
        self.last = nn.Sequential(_norm(width), nn.SiLU(), convolution(axes, width, 1))
        self.shrink = nn.AvgPool2d(2) if axes == 2 else nn.AvgPool3d(2)
        self.enlarge = doubled(axes)

    def forward(self, patch: Tensor, hole: Tensor, labels: Tensor, time: Tensor) -> Tensor:
        """[B, 1, *shape] twice, [B], [B] → [B, 1, *shape]."""
        maps = class_maps(labels, self.classes, patch)
        told = self.told(torch.cat([self._waves(time), F.one_hot(labels, self.classes).to(patch)], dim=1))
        features, seen = self.first(torch.cat([patch, hole, maps], dim=1)), list[Tensor]()
        for level, down in enumerate(self.down):
            features = down(self.shrink(features) if level else features, told)
            seen.append(features)
        features = self.middle(features, told)
        for level, up in enumerate(self.up):
            features = up(torch.cat([self.enlarge(features) if level else features, seen.pop()], dim=1), told)
        return self.last(features)  # type: ignore[no-any-return]

    def _waves(self, time: Tensor) -> Tensor:
        """Tell the time by waves of many lengths, [B] → [B, 2 · width]."""
        lengths = torch.logspace(0, math.log10(LONGEST_WAVE), self.waves).to(time)
        turns = time[:, None] * lengths
        return torch.cat([turns.cos(), turns.sin()], dim=1)


class Block(nn.Module):
    """A residual block, scaled and shifted by what is told: features [B, C, *shape], told [B, T] → features."""

    def __init__(self, axes: int, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.before = nn.Sequential(_norm(inputs), nn.SiLU(), convolution(axes, inputs, outputs))
        self.told = nn.Linear(told, 2 * outputs)
        self.norm = _norm(outputs)
        self.after = nn.Sequential(nn.SiLU(), convolution(axes, outputs, outputs))
        self.along = nn.Identity() if inputs == outputs else convolution(axes, inputs, outputs, 1)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """[B, C, *shape], [B, T] → [B, C, *shape]."""
        inner = self.norm(self.before(features))
        scale, shift = self.told(told).view(len(told), -1, *[1] * (inner.ndim - 2)).chunk(2, dim=1)
        return self.along(features) + self.after(inner * (1 + scale) + shift)  # type: ignore[no-any-return]


def _norm(width: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(GROUPS, width), width)
