"""What fills lesions into neighbourhoods: the narrow door between what makes lesions and what puts them into scans.

A *neighbourhood* is a patch of a scan about the place where a lesion is to grow, at the painter's own size and spacing;
its mask says where the lesion is to lie. A painter returns the same neighbourhoods with lesions in them. A checkpoint
of an in-painting method is one (`CheckpointPainter`), copies of real lesions another (`CopyPaste`).

A painter of 2-D patches may be given several slices of one lesion; they have one number in the column ``lesion`` of the
table, and what a painter draws at random is drawn once for each number. So a lesion does not change its character from
slice to slice, and does not depend on which others are painted beside it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from lesionforge import registry
from lesionforge.data.exposure import Exposure
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LesionForgeError
from lesionforge.generators.checkpoint import Checkpoint
from lesionforge.generators.contract import Batch
from lesionforge.generators.holes import InPainter, spheres
from lesionforge.settings import nearest
from lesionforge.synthesis.sampler import Sampler

LESION = "lesion"  # the column that numbers lesions


class Painter(ABC):
    """Paints lesions into neighbourhoods.

    Attributes
    ----------
    follows_masks
        The lesion fills the mask that it is given, whatever it looks like inside: neighbouring slices then fit.
    """

    follows_masks: ClassVar[bool] = True

    @property
    @abstractmethod
    def id(self) -> str:
        """What the lesions' origin is called; it differs where the lesions may."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis of a neighbourhood, [y, x] or [z, y, x]."""

    @property
    @abstractmethod
    def spacing_mm(self) -> tuple[float, ...]:
        """Of a neighbourhood's pixels, for each axis."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """Of intensities."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Classes that can be asked for; none: lesions of any class."""

    @property
    @abstractmethod
    def exposure(self) -> Exposure:
        """All that the painter has learnt from or copies."""

    def checked_label(self, label: str | None) -> str:
        """Return the class that is meant; raise LesionForgeError if this painter cannot paint it, or is not told."""
        if label is None and len(self.labels) <= 1:
            return self.labels[0] if self.labels else ""
        if label not in self.labels:
            asked = "none was named" if label is None else f"{label!r} was asked for"
            raise LesionForgeError(
                f"a class must be named that {self.id} can paint, but {asked}{nearest(label or '', self.labels)}"
            )
        return label

    @abstractmethod
    def paint(self, hosts: Patches, *, label: str, seed: int) -> Patches:
        """Return the neighbourhoods with lesions in them; the masks say where those are.

        Parameters
        ----------
        hosts
            Neighbourhoods with masks; column ``lesion``: a number for each lesion, ``diameter_mm``: as asked for.
        label
            One of ``labels``.
        """


@dataclass(frozen=True)
class CheckpointPainter(Painter):
    """A trained in-painting method.

    Raises
    ------
    LesionForgeError
        The method is not shown a lesion's surroundings, or is shown the lesion; or the checkpoint does not know how
        far apart its pixels are.
    """

    checkpoint: Checkpoint

    def __post_init__(self) -> None:
        subject, method = self.checkpoint.subject, self.checkpoint.method
        if not method.pictured or not self._sees_surroundings_alone():
            raise LesionForgeError(
                "a lesion is put into a scan by a method that is shown its surroundings and nothing of the lesion, but "
                f"{registry.name_of(method)} with these settings is not: train one that fills in what was erased "
                "(pix2pix with condition=erased, for one)."
            )
        if None in subject.spacing_mm:
            raise LesionForgeError(
                "a checkpoint must know how far apart its pixels are, but the patches that this one was trained on did "
                "not say it: ingest them with their spacing and train again."
            )

    @property
    def id(self) -> str:
        """The checkpoint's."""
        return self.checkpoint.id

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the training patches."""
        return self.checkpoint.subject.shape

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """The median of the training patches."""
        return tuple(spacing for spacing in self.checkpoint.subject.spacing_mm if spacing is not None)

    @property
    def unit(self) -> str:
        """Of the training patches."""
        return self.checkpoint.subject.window.unit

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the training patches."""
        return self.checkpoint.subject.labels

    @property
    def exposure(self) -> Exposure:
        """What the generator was trained on."""
        return self.checkpoint.subject.exposure

    def paint(self, hosts: Patches, *, label: str, seed: int) -> Patches:
        """Sample the checkpoint with the neighbourhoods as conditions, lesion by lesion."""
        numbers = hosts.table[LESION].to_numpy()
        painted = [self._lesion(hosts.rows(numbers == number), label, seed) for number in dict.fromkeys(numbers)]
        order = np.concatenate([np.flatnonzero(numbers == number) for number in dict.fromkeys(numbers)])
        return concatenate(painted).rows(np.argsort(order))

    def _lesion(self, hosts: Patches, label: str, seed: int) -> Patches:
        # A batch of its own: of a larger one a lesion would take over the last bits of its neighbours' sums.
        method = replace(self.checkpoint.method, batch_size=len(hosts))
        alone = replace(self.checkpoint, method=method)
        sampler = Sampler(alone, seed=seed, label=label or None, conditions=hosts)
        number = int(hosts.table[LESION].iloc[0])
        latent = sampler.latent(np.full(len(hosts), number))
        return hosts.with_images(sampler.images(latent, np.arange(len(hosts)), LESION, number), self._filled(hosts))

    def _filled(self, hosts: Patches) -> Array | None:
        """Where lesions may have come to lie: the masks, or the spheres about them where those are erased."""
        method = self.checkpoint.method
        if hosts.masks is None or not isinstance(method, InPainter) or method.hole.form == "mask":
            return hosts.masks
        masks = torch.from_numpy(np.array(hosts.masks)).unsqueeze(1).float()
        about = spheres(masks, voxel_sides=method.hole.voxel_sides)
        return about.squeeze(1).numpy().astype(np.uint8)

    def _sees_surroundings_alone(self) -> bool:
        """Look whether the picture changes with what is around a lesion, and not with the lesion."""
        method, (*_, height, width) = self.checkpoint.method, self.shape
        mask = torch.zeros(1, 1, *self.shape)
        mask[..., height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1] = 1
        checks = 0.5 * (torch.arange(mask.numel()).view_as(mask) % 2)  # edges wherever it is not erased
        labels = torch.zeros(1, dtype=torch.int64)
        empty, inside, around = (
            method.picture(Batch(images=images, labels=labels, masks=mask))
            for images in (torch.zeros_like(mask), checks * mask, checks * (1 - mask))
        )
        assert empty is not None
        assert inside is not None
        assert around is not None
        return torch.equal(empty, inside) and not torch.equal(empty, around)
