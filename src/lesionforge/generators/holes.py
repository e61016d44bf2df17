"""What is erased of a patch for a lesion to be put there, and how the patch is put together again.

A method that in-paints is shown real surroundings with a hole, and where the hole is. Noise fills the hole, and is what
makes one lesion differ from the next in the same place. Whatever a network makes of that, a patch keeps its known
pixels as they are: the hole alone is made up.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators import pictures
from lesionforge.generators.contract import Batch, Condition, GenerativeMethod, Player
from lesionforge.settings import Count, CountOrZero, Rate, Share

# B batch, A axes, *shape pixels along them, Z latent size

COARSEST = 4  # pixels of a patch that become one at the bottom of a network: two halvings
SMALLEST_SIDE = 8

VoxelSides = Annotated[tuple[Rate, ...], Field(min_length=1, max_length=3)]


@dataclass(frozen=True)
class Hole:
    """What is erased for a lesion.

    form
        - ``sphere``: the smallest sphere (of a slice: disc) about the lesion's centre of mass that holds all of it, so
          that nothing is left to see. A lesion is asked for by its longest diameter alone.
        - ``mask``: the lesion's own outline, widened. Its shape is asked for as well.
    margin_px
        The hole is so many pixels wider than that all around, for the lesion's rim, which blurs into its surroundings.
    voxel_sides
        Lengths of a voxel's sides along z, y, x (of a slice: y, x) to one another, or 1 for all, so that a sphere is
        one in millimetres: 2, 1, 1 for slices twice as far apart as their pixels.
    """

    form: Literal["sphere", "mask"] = "sphere"
    margin_px: CountOrZero = 1
    voxel_sides: VoxelSides = (1.0,)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise LesionForgeError if ``voxel_sides`` does not fit patches of this shape."""
        if len(self.voxel_sides) not in {1, len(shape)}:
            raise LesionForgeError(
                f"voxel_sides must be one number, or one for each axis of patches of {'×'.join(map(str, shape))}, but "
                f"{len(self.voxel_sides)} came."
            )

    def picture(self, method: GenerativeMethod, batch: Batch) -> Tensor:
        """Return the batch's surroundings, and 1 where the hole is, −1 elsewhere: [B, 2, *shape].

        Raises
        ------
        LesionForgeError
            There are no masks, or one marks no lesion.
        """
        if batch.masks is None or not batch.masks.flatten(1).any(1).all():
            missing = "have no masks" if batch.masks is None else "have masks that mark nothing"
            raise LesionForgeError(
                f"{registry.name_of(method)} fills holes and is shown where each lesion is to be, but these patches "
                f"{missing}: ingest them with masks, or leave those patches out."
            )
        if self.form == "mask":
            return pictures.erased(batch.images, batch.masks, margin_px=self.margin_px)
        around = spheres(batch.masks, margin_px=self.margin_px, voxel_sides=self.voxel_sides)
        return pictures.erased(batch.images, around, margin_px=0)


@dataclass(frozen=True)
class InPainter(GenerativeMethod):
    """What methods that fill a hole have in common: they are shown it, noise is laid out over it, and Adam steps."""

    pictured: ClassVar[bool] = True

    hole: Hole = field(default_factory=Hole)
    latent_size: Count = 32_768  # a square or a cube of at most so many numbers, repeated over the patch (`noise`)
    learning_rate: Rate = 1e-4
    beta1: Share = 0.9
    beta2: Share = 0.999

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches have two axes or three, of 8, 12, 16, 20, … pixels each."""
        if len(shape) not in {2, 3} or any(side < SMALLEST_SIDE or side % COARSEST for side in shape):
            raise LesionForgeError(
                f"{registry.name_of(self)} makes 2-D and 3-D patches of 8, 12, 16, 20, … pixels an axis, but "
                f"{'×'.join(map(str, shape))} came: crop or resize the patches (`lesionforge ingest --size 64`)."
            )
        self.hole.check(shape)

    def optimiser(self, player: Player, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam, in one fused pass over the weights."""
        return torch.optim.Adam(parameters, lr=self.rate_of(player), betas=(self.beta1, self.beta2), fused=True)

    def rate_of(self, player: Player) -> float:  # noqa: ARG002
        """Learning rate of a player."""
        return self.learning_rate

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Z from N(0, 1), [count, Z]."""
        return torch.randn(count, self.latent_size, generator=rng, device=rng.device)

    def picture(self, batch: Batch) -> Tensor:
        """The surroundings of each lesion, and where the hole is, [B, 2, *shape]."""
        return self.hole.picture(self, batch)


def spheres(masks: Tensor, *, margin_px: float = 0, voxel_sides: Sequence[float] = (1.0,)) -> Tensor:
    """1 in the sphere about each mask, 0 around it, [B, 1, *shape] → [B, 1, *shape]; see `Hole`."""
    sides = torch.tensor(tuple(voxel_sides) * (masks.ndim - 2 if len(voxel_sides) == 1 else 1)).to(masks)
    lengths = [torch.arange(size, device=masks.device) for size in masks.shape[2:]]
    places = torch.stack(torch.meshgrid(*lengths, indexing="ij"), -1).flatten(0, -2).to(masks) * sides  # [pixels, A]
    inside = masks.flatten(1).to(places)
    centres = inside @ places / inside.sum(1, keepdim=True)
    away = torch.cdist(centres, places, compute_mode="donot_use_mm_for_euclid_dist")
    radii = torch.where(inside > 0, away, 0).amax(1, keepdim=True) + margin_px * sides.min()
    return (away <= radii + 1e-4).to(masks).view_as(masks)


def shown(condition: Condition) -> tuple[Tensor, Tensor]:
    """Take apart the picture that `Hole.picture` made: the surroundings, and the hole as 0 and 1, [B, 1, *shape] each.

    Whoever makes a condition for a pictured method has put it there.
    """
    assert condition.picture is not None
    return condition.picture[:, :1], (condition.picture[:, 1:] + 1) / 2


def noise(latent: Tensor, shape: Sequence[int]) -> Tensor:
    """Lay latent vectors out as squares or cubes, and those side by side until they cover a patch.

    [B, Z] → [B, 1, *shape]. Of 32 768 numbers, 181² make a square and 32³ a cube; the rest is left over.
    """
    axes = len(shape)
    side = next(side for side in range(math.isqrt(latent.shape[1]) + 1, 0, -1) if side**axes <= latent.shape[1])
    cube = latent[:, : side**axes].reshape(len(latent), 1, *(side,) * axes)
    for axis, size in enumerate(shape, start=2):
        repeats = [-(-size // side) if at == axis else 1 for at in range(cube.ndim)]
        cube = cube.repeat(repeats).narrow(axis, 0, size)
    return cube


def filled(surroundings: Tensor, hole: Tensor, inside: Tensor) -> Tensor:
    """The known pixels as they are, and ``inside`` in the hole; any shapes that fit each other."""
    return torch.where(hole > 0, inside, surroundings)


def corners(hole: Tensor, sides: Sequence[int]) -> Tensor:
    """First pixels of boxes of these sides about the middle of each hole, moved to lie in the patch, [B, A]."""
    found = []
    for axis, side in enumerate(sides):
        along = hole.movedim(2 + axis, 1).flatten(2).amax(2)
        places = torch.arange(along.shape[1], device=hole.device).to(hole)
        middle = (along * places).sum(1) / along.sum(1).clamp(min=1)
        found.append((middle.round().long() - side // 2).clamp(0, along.shape[1] - side))
    return torch.stack(found, dim=1)


def cut(images: Tensor, corners: Tensor, sides: Sequence[int]) -> Tensor:
    """Cut a box out of each image, [B, C, *shape] and first pixels [B, A] → [B, C, *sides]."""
    boxes = zip(images, corners.tolist(), strict=True)
    return torch.stack(
        [
            image[(..., *(slice(first, first + side) for first, side in zip(start, sides, strict=True)))]
            for image, start in boxes
        ]
    )
