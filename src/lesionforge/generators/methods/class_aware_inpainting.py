"""Class-aware in-painting: a lesion of the class, the size and at the place that are asked for, in real surroundings.

J. Yang, S. Liu, S. Grbic, A. A. A. Setio, Z. Xu, E. Gibson, G. Chabin, B. Georgescu, A. F. Laine, D. Comaniciu,
"Class-aware adversarial lung nodule synthesis in CT images", ISBI 2019. A sphere of noise takes a nodule's place; two
hour-glass networks, coarse and fine, make a nodule of it, and two critics, of the whole patch and of the part around
the hole, say how real it looks and of which class it is. The networks follow J. Yu et al., "Generative image inpainting
with contextual attention", CVPR 2018, on which the paper builds; what neither tells is marked as ours. Slices and
volumes are made by the same code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators import holes
from lesionforge.generators.attention import attend
from lesionforge.generators.blocks import class_maps, convolution, doubled
from lesionforge.generators.contract import Batch, Condition, Moment, Networks, Player
from lesionforge.generators.holes import COARSEST, Hole, InPainter
from lesionforge.generators.losses import slopes
from lesionforge.generators.small_data import Weight
from lesionforge.settings import Count, CountOrZero, Rate, Share, Widths

# B batch, C channels, K classes, *shape pixels along two axes or three, Z latent size

CRITIC_KERNEL, CRITIC_SMALLEST = 4, 4
FAKE = 0  # number of the class of all fakes, to a critic's class head; the others follow
CRITICS = ("whole", "local")
OUTLINED = 2  # channels: a patch, and where its hole is


@dataclass(frozen=True, kw_only=True)
class InPainted(Batch):
    """Fakes, and what both networks gave, [B, 1, *shape], before the known pixels were put back."""

    coarse: Tensor
    refined: Tensor


@dataclass(frozen=True)
class ClassAwareInpainting(InPainter):
    """The paper tells neither widths nor weights: they are Yu et al.'s where those have them, and else ours.

    class_from_images
        "In practice, L_cls is added after the generator G is well-trained to in-paint real-look nodules" (section 2.2):
        here once so many images were shown. Look at the grids of a training to choose it; 0 is from the start.
    local_share
        The local critic sees a box about the middle of the hole with sides of this share of the patch's.
    latent_size
        The noise is a square or a cube of at most so many numbers, repeated over the patch (`holes.noise`).
    critic_rate
        The critics' learning rate over the generator's (M. Heusel et al., "GANs trained by a two time-scale update
        rule", NeurIPS 2017): above 1, fewer steps of the critics keep up with the generator.
    dilations
        Of the convolutions in the middle of an hour-glass. Yu et al. have 2, 4, 8, 16 for a middle of 64 pixels; the
        paper's is of 16, and of 8 along z.
    """

    paper: ClassVar[str] = "Yang et al. 2019, after Yu et al. 2018"
    conditional: ClassVar[bool] = True

    hole: Hole = field(default_factory=Hole)
    batch_size: Count = 16
    epochs: Count = 400
    critic_steps: Count = 5
    class_from_images: CountOrZero = 200_000
    generator_width: Count = 32  # channels of the first convolution; doubled at each halving
    dilations: Widths = (2, 4, 8)
    discriminator_width: Count = 64
    local_share: Rate = 0.5
    reconstruction: Weight = 10.0  # λ_recon of equation 5; L1 of images in [−1, 1]
    everywhere: Weight = 1.0  # λ₁ of equation 1
    penalty: Rate = 10.0  # λ_gp of equation 2
    critic_class: Weight = 1.0  # λ_cls of equation 4
    generator_class: Weight = 1.0  # λ_cls of equation 5
    attention_sharpness: Rate = 10.0
    attention_coherence: CountOrZero = 1
    leak: Share = 0.2
    critic_rate: Rate = 1.0
    learning_rate: Rate = 1e-4
    beta1: Share = 0.5
    beta2: Share = 0.9

    def least_images(self, shape: tuple[int, ...]) -> int:  # noqa: ARG002
        """Before the class loss is on, lesions are not of the class that they should be."""
        return self.class_from_images

    def check_length(self, shape: tuple[int, ...], images: int) -> None:  # noqa: ARG002
        """The class loss must be on before the end."""
        if images <= self.class_from_images:
            raise LesionForgeError(
                f"{registry.name_of(self)} adds the class loss after {self.class_from_images:,} images, but the "
                f"training ends after {images:,}: train longer (--images), or set class_from_images lower."
            )

    def rate_of(self, player: Player) -> float:
        """Critics may learn faster."""
        return self.learning_rate * (self.critic_rate if player == "discriminator" else 1)

    def build(self, shape: tuple[int, ...], classes: int) -> Networks:
        """Make the stacked generator and both critics."""
        self.check_shape(shape)
        networks = nn.ModuleDict(
            {"generator": Stacked(self, len(shape), classes), "discriminator": Critics(self, shape, classes)}
        )
        networks.apply(_initialise)
        return networks

    def fakes(self, generator: nn.Module, latent: Tensor, real: Batch, moment: Moment) -> InPainted:
        """G(x_masked, z, c), with what both networks gave on the way."""
        del moment
        surroundings, hole = holes.shown(real)
        coarse, refined = generator(surroundings, hole, holes.noise(latent, surroundings.shape[2:]), real.labels)
        return InPainted(
            images=holes.filled(surroundings, hole, refined),
            originals=real.images,
            labels=real.labels,
            masks=real.masks,
            picture=real.picture,
            coarse=coarse,
            refined=refined,
        )

    def synthesise(self, generator: nn.Module, latent: Tensor, condition: Condition, _moment: Moment) -> Tensor:
        """G(x_masked, z, c), each lesion of its condition's class: [B, Z] → [B, 1, *shape]."""
        surroundings, hole = holes.shown(condition)
        _, refined = generator(surroundings, hole, holes.noise(latent, surroundings.shape[2:]), condition.labels)
        return holes.filled(surroundings, hole, refined)

    def discriminator_losses(self, networks: Networks, real: Batch, fake: Batch, moment: Moment) -> dict[str, Tensor]:
        """Equation 4: −L_adv (equation 2) and λ·L_cls (equation 3) of both critics."""
        critics = networks["discriminator"]
        assert isinstance(critics, Critics)
        _, hole = holes.shown(real)
        on_real, _ = critics(real.images, hole, real.labels)
        on_fake, _ = critics(fake.images, hole, fake.labels)
        share = torch.rand(len(hole), *[1] * (hole.ndim - 1), generator=moment.rng, device=moment.rng.device)
        between = torch.lerp(fake.images, real.images, share.to(hole))
        losses = self._each("discriminator", (on_fake - on_real).mean(0))
        losses |= self._each("discriminator_penalty", self.penalty * critics.excess(between, hole, real.labels))
        if self.tells_classes(moment):
            as_real = _misjudged(critics(real.images, hole)[1], real.labels + 1)
            as_fake = _misjudged(critics(fake.images, hole)[1], torch.full_like(fake.labels, FAKE))
            losses |= self._each("discriminator_class", self.critic_class * (as_real + as_fake) / 2)
        return losses

    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> Mapping[str, Tensor]:
        """Equation 5: −D(G(x_masked, z, c)), λ·L_cls and λ·L_recon of both networks."""
        assert isinstance(fake, InPainted)
        critics = networks["discriminator"]
        _, hole = holes.shown(fake)
        scores, _ = critics(fake.images, hole, fake.labels)
        losses = self._each("generator", -scores.mean(0)) | {
            "generator_coarse_l1": self.reconstruction * self.difference(fake.coarse, fake),
            "generator_refined_l1": self.reconstruction * self.difference(fake.refined, fake),
        }
        if self.tells_classes(moment):
            misjudged = _misjudged(critics(fake.images, hole)[1], fake.labels + 1)
            losses |= self._each("generator_class", self.generator_class * misjudged)
        return losses

    def _each(self, name: str, of_critics: Tensor) -> dict[str, Tensor]:
        """Name the terms of both critics, [2]."""
        return {f"{name}_{critic}": term for critic, term in zip(CRITICS, of_critics.unbind(), strict=True)}

    def tells_classes(self, moment: Moment) -> bool:
        """Whether the class loss is on."""
        return moment.images_seen >= self.class_from_images

    def difference(self, made: Tensor, fake: InPainted) -> Tensor:
        """Equation 1: L1 in the hole and λ₁·L1 in the whole patch, each over its own number of pixels."""
        assert fake.originals is not None  # of all fakes
        _, hole = holes.shown(fake)
        away = (made - fake.originals).abs().flatten(1)
        in_hole = (away * hole.flatten(1)).sum(1) / hole.flatten(1).sum(1)
        return (in_hole + self.everywhere * away.mean(1)).mean()


class Stacked(nn.Module):
    """G: surroundings, hole and noise [B, 1, *shape] each, class numbers [B] → what G₁ and G₂ gave, [B, 1, *shape]."""

    def __init__(self, method: ClassAwareInpainting, axes: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.coarse = HourGlass(method, axes, classes, attentive=False)
        self.fine = HourGlass(method, axes, classes, attentive=True)

    def forward(self, surroundings: Tensor, hole: Tensor, noise: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """G₁ fills the hole's noise in; G₂ is shown its lesion in the known surroundings."""
        told = torch.cat([hole, class_maps(labels, self.classes, hole)], dim=1)
        coarse = self.coarse(holes.filled(surroundings, hole, noise), told)
        return coarse, self.fine(holes.filled(surroundings, hole, coarse), told)


class HourGlass(nn.Module):
    """A patch [B, 1, *shape], where its hole is and of which class [B, 1 + K, *shape] → a patch in [−1, 1].

    Down to a quarter of the resolution, dilated convolutions there, and up again; the fine one has a second branch from
    top to middle, whose features are rebuilt by contextual attention (Yu et al., section 4.1 and figure 4).
    """

    def __init__(self, method: ClassAwareInpainting, axes: int, classes: int, *, attentive: bool) -> None:
        super().__init__()
        self.sharpness, self.coherence = method.attention_sharpness, method.attention_coherence
        width, channels = method.generator_width, OUTLINED + classes
        middle = COARSEST * width
        self.down = _narrowing(axes, channels, width)
        self.middle = nn.Sequential(*(_layer(axes, middle, middle, dilation=dilation) for dilation in method.dilations))
        self.beside = _narrowing(axes, channels, width) if attentive else None
        self.after = _layer(axes, middle, middle) if attentive else None
        self.up = nn.Sequential(
            _layer(axes, middle * (2 if attentive else 1), middle),
            doubled(axes),
            _layer(axes, middle, 2 * width),
            doubled(axes),
            _layer(axes, 2 * width, width),
            convolution(axes, width, 1),
            nn.Tanh(),
        )

    def forward(self, patch: Tensor, told: Tensor) -> Tensor:
        """[B, 1, *shape], [B, 1 + K, *shape] → [B, 1, *shape]."""
        shown = torch.cat([patch, told], dim=1)
        features = self.middle(self.down(shown))
        if self.beside is not None and self.after is not None:
            beside = self.beside(shown)
            hole = F.interpolate(told[:, :1], size=beside.shape[2:], mode="area")
            beside = attend(beside, hole, sharpness=self.sharpness, coherence=self.coherence)
            features = torch.cat([features, self.after(beside)], dim=1)
        return self.up(features)  # type: ignore[no-any-return]


class Critics(nn.Module):
    """D_global and D_local, in this order: of the whole patch, and of a box about the middle of its hole."""

    def __init__(self, method: ClassAwareInpainting, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.sides = tuple(max(CRITIC_SMALLEST, round(side * method.local_share)) for side in shape)
        self.each = nn.ModuleList(Critic(method, sides, classes) for sides in (shape, self.sides))

    def views(self, images: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """What each sees of images, [B, 1, *shape] and [B, 1, *sides]."""
        return images, holes.cut(images, holes.corners(hole, self.sides), self.sides)

    def forward(self, images: Tensor, hole: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores [B, 2] and class logits [B, 2, 1 + K]; see `Critic`."""
        found = [critic(view, labels) for critic, view in zip(self.each, self.views(images, hole), strict=True)]
        scores, logits = zip(*found, strict=True)
        return torch.stack(scores, dim=1), torch.stack(logits, dim=1)

    def excess(self, images: Tensor, hole: Tensor, labels: Tensor) -> Tensor:
        """(‖∇D‖ − 1)² of each critic, its mean over images, [2]."""
        found = []
        for critic, view in zip(self.each, self.views(images, hole), strict=True):
            steepness = slopes(partial(_score, critic, labels), view).norm(dim=1)
            found.append((steepness - 1).square().mean())
        return torch.stack(found)


class Critic(nn.Module):
    """Images [B, 1, *shape], class numbers [B] → score [B], logits of being fake or of each class [B, 1 + K].

    The class that an image should be of is shown as further channels (section 2.2). For the class head these stay
    empty: of D_cls(c′|x) the condition is the image alone (equation 3), and one that is told the class has nothing to
    tell. Ours: the paper leaves open whether its head sees them.
    """

    def __init__(self, method: ClassAwareInpainting, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = []
        before, width, sides = 1 + classes, method.discriminator_width, shape
        while not layers or min(sides) > CRITIC_SMALLEST:
            layers += [convolution(len(shape), before, width, CRITIC_KERNEL, stride=2), nn.LeakyReLU(method.leak)]
            before, width, sides = width, 2 * width, tuple(side // 2 for side in sides)
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.realness = nn.Linear(before * prod(sides), 1, bias=False)  # an offset of all scores would never learn
        self.told_apart = nn.Linear(before * prod(sides), 1 + classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[B, 1, *shape], [B] → [B], [B, 1 + K]."""
        maps = images.new_zeros(len(images), self.classes, *images.shape[2:])
        if labels is not None:
            maps = class_maps(labels, self.classes, images)
        features = self.trunk(torch.cat([images, maps], dim=1))
        return self.realness(features).flatten(), self.told_apart(features)


def _initialise(module: nn.Module) -> None:
    """Weights that keep variances from layer to layer: with PyTorch's own nothing of the noise would be left."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def _score(critic: nn.Module, labels: Tensor, images: Tensor) -> Tensor:
    return critic(images, labels)[0]  # type: ignore[no-any-return]


def _misjudged(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of what both critics say, [B, 2, 1 + K], to the classes [B], the mean over images: [2]."""
    both = classes.unsqueeze(1).expand(logits.shape[:2])
    return F.cross_entropy(logits.mT, both, reduction="none").mean(0)


def _narrowing(axes: int, channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        _layer(axes, channels, width, kernel=5),
        _layer(axes, width, 2 * width, stride=2),
        _layer(axes, 2 * width, 2 * width),
        _layer(axes, 2 * width, COARSEST * width, stride=2),
        _layer(axes, COARSEST * width, COARSEST * width),
    )


def _layer(axes: int, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> nn.Module:
    return nn.Sequential(
        convolution(axes, inputs, outputs, kernel, stride=stride, dilation=dilation), nn.ELU(inplace=True)
    )
