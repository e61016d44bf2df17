"""The contract of a recipe: a paper's classic augmentation, so many poses of every lesion.

A recipe samples a table: which lesion (``source_row``), and the parameters of its pose. `Recipe.replay` makes the
pixels, so any augmented row can be made again from the source patches and its own columns. Volumes [z, y, x] are
treated as their papers treat slices: turned, flipped and shifted in the axial plane unless a recipe says otherwise,
and magnified alike along all axes, which suits any slice spacing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.augment.affine import Affine, Chain
from lesionforge.augment.transform import Axes, transformed
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count


@dataclass(frozen=True)
class Recipe(ABC):
    """Base of every recipe in ``augment/recipes``; the fields of a subclass are the paper's numbers.

    ``output_size`` is the result's pixels along y and x (None: the patches' own); slices are all kept. Give patches
    larger than the result and true tissue, not its mirror image, fills what turning and shifting bring in.
    """

    paper: ClassVar[str]
    output_size: Count | None = None

    @property
    @abstractmethod
    def per_lesion(self) -> int:
        """Augmentations of one lesion when all are made."""

    @abstractmethod
    def steps(self, axes: Axes) -> tuple[Affine, ...]:
        """Return the transforms that make a pose of patches with these axes, in their order."""

    @abstractmethod
    def poses(self, patches: Patches, rng: np.random.Generator) -> pd.DataFrame:
        """Draw every pose of every lesion, ordered by lesion: a row each, with the columns of `steps`."""

    def chain(self, patches: Patches) -> Chain:
        """Return `steps` as one transform of ``patches``."""
        in_plane = patches.shape[-2:] if self.output_size is None else (self.output_size, self.output_size)
        return Chain(self.steps(patches.axes), output_size=(*patches.shape[:-2], *in_plane))

    def sample(self, patches: Patches, *, count: int | None = None, rng: np.random.Generator) -> pd.DataFrame:
        """Draw the poses of ``count`` augmentations (None: all).

        Groups are nested: a smaller ``count`` gives the first rows of a larger one. Every lesion comes once
        before any comes twice, so a group holds the same number of augmentations of each lesion (±1).

        Raises
        ------
        LesionForgeError
            ``count`` is more than there are, or the recipe needs what a lesion has not.
        """
        lesions, every = len(patches), len(patches) * self.per_lesion
        count = every if count is None else count
        if not 0 <= count <= every:
            raise LesionForgeError(
                f"count must lie between 0 and {every} ({self.per_lesion} for each of {lesions} lesions), "
                f"but {count} came."
            )
        poses = self.poses(patches, rng)
        poses.insert(0, "source_row", np.repeat(np.arange(lesions), self.per_lesion))
        # Rounds [per_lesion, L]: each takes every lesion, in a random order, at its next unused pose.
        pose_order = rng.permuted(np.tile(np.arange(self.per_lesion), (lesions, 1)), axis=1)
        lesion_order = rng.permuted(np.tile(np.arange(lesions), (self.per_lesion, 1)), axis=1)
        pose = pose_order[lesion_order, np.arange(self.per_lesion)[:, None]]
        chosen = (lesion_order * self.per_lesion + pose).ravel()[:count]
        return poses.take(chosen).reset_index(drop=True)

    def augment(self, patches: Patches, *, seed: int, count: int | None = None) -> Patches:
        """Augment ``patches``: ``count`` rows (None: all `per_lesion` of each).

        The result keeps each row's identity and adds its ``source_row`` and pose; the originals are not in it.

        Raises
        ------
        LesionForgeError
            As for `sample`, or patches are smaller than the result, or a turn needs square pixels.
        """
        return self.replay(patches, self.sample(patches, count=count, rng=np.random.default_rng(seed)))

    def replay(self, patches: Patches, table: pd.DataFrame) -> Patches:
        """Make the rows of ``table`` from the patches that they were made from.

        ``table`` is this recipe's sample, or (part of) the table of a set that it augmented.

        Raises
        ------
        LesionForgeError
            ``table`` was made from other patches, or has not the columns of a pose.
        """
        return transformed(patches, self.chain(patches), table, rows=_source_rows(patches, table))


def _source_rows(patches: Patches, table: pd.DataFrame) -> NDArray[np.int64]:
    if "source_row" not in table:
        raise LesionForgeError("the table must have the column source_row: take the table of an augmented set.")
    pixels = patches.table["source_pixels"]
    fits = table["source_row"].isin(pixels.index)
    if fits.all() and "source_pixels" in table:
        fits &= table["source_pixels"].to_numpy() == pixels.loc[table["source_row"]].to_numpy()
    if not fits.all():
        raise LesionForgeError(
            "the table must have been made from these patches, in this order, but its source rows are not: "
            "give the set that was augmented."
        )
    return table["source_row"].to_numpy(dtype=np.int64)
