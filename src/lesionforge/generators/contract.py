"""What a generative method is: a frozen dataclass that makes networks and names losses.

A method holds hyper-parameters and no weights, so that it can be compared, hashed and written to JSON. It knows
nothing of loops, devices, files or averaging: `generators.training` does all that, the same for every method.

What differs between GANs beyond networks and losses is said here, so that the loop need not ask which method it
trains: how often the discriminator steps, how many images a batch holds as training goes on, which classes there
are, and how a generator turns random numbers and a condition into images at a given moment of the training.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from lesionforge.networks import channels_last
from lesionforge.settings import Count

# B batch, Z latent size, H W pixels. Images are [B, 1, H, W] in [−1, 1].

Networks = nn.ModuleDict
N = TypeVar("N", bound=nn.Module)
Player = Literal["generator", "discriminator"]
# What latent vectors are drawn from: N(0, 1); uniform in [−1, 1]; N(0, 1), of which the direction alone counts;
# N(0, 1), of which each number only decides whether a unit is dropped.
Prior = Literal["normal", "uniform", "sphere", "dropout"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is settled about images before they are made."""

    labels: Tensor  # [B] int64: number of the class among the method's classes; −1 where it tells none apart
    masks: Tensor | None = None  # [B, 1, *shape], 1 in the lesion; None where the patches have none
    picture: Tensor | None = None  # [B, C, *shape], what a method is shown of each lesion beforehand; see `picture`


@dataclass(frozen=True, kw_only=True)
class Batch(Condition):
    """Images, and what they fulfil. Fakes fulfil what the real images of their step do."""

    images: Tensor
    originals: Tensor | None = None  # of fakes: those real images, for methods that compare each fake with its own


@dataclass(frozen=True)
class Moment:
    """When something happens."""

    images_seen: int  # by the discriminator, before this batch; of a finished training: all
    rng: torch.Generator  # of this batch alone, on its device: points of a gradient penalty, augmentation, noise


@dataclass(frozen=True)
class GenerativeMethod(ABC):
    """Base of every method in ``generators/methods``; the fields of a subclass are its hyper-parameters."""

    paper: ClassVar[str]
    conditional: ClassVar[bool] = False  # makes the class it is asked for, and learns from several at once
    pictured: ClassVar[bool] = False  # is shown a picture of each image that it makes
    prior: ClassVar[Prior] = "normal"
    channels_last: ClassVar[bool] = True  # its weights, also on a CPU, are laid out so; on GPUs all methods' are
    batch_size: Count = 64
    epochs: Count = 1
    critic_steps: Count = 1  # steps of the discriminator, each on its own real and fake batch, to one of the generator

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise LesionForgeError if patches of this shape (pixels an axis) cannot be made."""

    def least_images(self, shape: tuple[int, ...]) -> int:  # noqa: ARG002 (for methods that grow)
        """Images after which a training makes what it is to make: before that, its samples are not to be judged."""
        return 0

    def check_length(self, shape: tuple[int, ...], images: int) -> None:  # noqa: B027 (most methods take any)
        """Raise LesionForgeError if a training that shows so many images in all would end before its method is done."""

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int) -> Networks:
        """Make the ``generator`` and, for a method that has one, the ``discriminator``, with their initial weights.

        ``classes`` counts those that a conditional method tells apart; the others need not look at it.
        """

    def place(self, network: N, device: torch.device) -> N:
        """Move a network of this method to a device, its weights laid out as they are multiplied fastest there."""
        network = network.to(device)
        return channels_last(network) if self.channels_last or device.type != "cpu" else network

    @abstractmethod
    def optimiser(self, player: Player, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser of one player."""

    @abstractmethod
    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ``count`` latent vectors, [count, Z], on the device of ``rng``."""

    def discriminator_losses(
        self,
        networks: Networks,  # noqa: ARG002 (for methods that have a discriminator)
        real: Batch,  # noqa: ARG002
        fake: Batch,  # noqa: ARG002
        moment: Moment,  # noqa: ARG002
    ) -> Mapping[str, Tensor]:
        """Return the terms that the discriminator's step minimises the sum of. ``fake`` is detached."""
        return {}

    @abstractmethod
    def generator_losses(self, networks: Networks, fake: Batch, moment: Moment) -> Mapping[str, Tensor]:
        """Return the terms that the generator's step minimises the sum of."""

    def synthesise(
        self,
        generator: nn.Module,
        latent: Tensor,
        condition: Condition,  # noqa: ARG002 (for methods that have conditions)
        moment: Moment,  # noqa: ARG002 (for methods that change as training goes on, or draw further noise)
    ) -> Tensor:
        """[B, Z] → [B, 1, *shape] in [−1, 1], whatever resolution the training has reached by ``moment``."""
        return generator(latent)  # type: ignore[no-any-return]

    def fakes(self, generator: nn.Module, latent: Tensor, real: Batch, moment: Moment) -> Batch:
        """Make the fakes of a training step, which fulfil what ``real`` does.

        A method whose losses look at more than the finished images returns a kind of batch that holds it.
        """
        given = {field.name: getattr(real, field.name) for field in fields(Condition)}
        return Batch(**given, images=self.synthesise(generator, latent, real, moment), originals=real.images)

    def picture(self, batch: Batch) -> Tensor | None:  # noqa: ARG002 (for methods that are shown something)
        """Derive from real images, and their masks, what the method is shown of them, [B, C, *shape].

        Raises
        ------
        LesionForgeError
            The images lack something that the picture is made of, such as masks.
        """
        return None

    def batch_size_at(self, images_seen: int) -> int:  # noqa: ARG002 (for methods whose batches change)
        """Images in a batch of the discriminator once so many were shown to it."""
        return self.batch_size
