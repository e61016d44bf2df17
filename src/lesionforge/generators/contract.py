"""What a generative method is: a frozen dataclass that makes networks and names losses.

A method holds hyper-parameters and no weights, so that it can be compared, hashed and written to JSON. It knows
nothing of loops, devices, files or averaging: `generators.training` does all that, the same for every method.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lesionforge.settings import Count

# B batch, Z latent size, H W pixels. Images are [B, 1, H, W] in [−1, 1].

Networks = nn.ModuleDict


@dataclass(frozen=True)
class GenerativeMethod(ABC):
    """Base of every method in ``generators/methods``; the fields of a subclass are its hyper-parameters."""

    paper: ClassVar[str]
    batch_size: Count = 64
    epochs: Count = 1

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise LesionForgeError if patches of this shape (pixels an axis) cannot be made."""

    @abstractmethod
    def build(self, shape: tuple[int, ...]) -> Networks:
        """Make the ``generator`` and the ``discriminator``, with their initial weights."""

    @abstractmethod
    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser of one player."""

    @abstractmethod
    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ``count`` latent vectors, [count, Z], on the device of ``rng``."""

    @abstractmethod
    def discriminator_losses(self, networks: Networks, real: Tensor, fake: Tensor) -> Mapping[str, Tensor]:
        """Return the terms that the discriminator's step minimises the sum of. ``fake`` is detached."""

    @abstractmethod
    def generator_losses(self, networks: Networks, fake: Tensor) -> Mapping[str, Tensor]:
        """Return the terms that the generator's step minimises the sum of."""
