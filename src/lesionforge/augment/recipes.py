"""The papers' recipes of classic augmentation.

A recipe samples a table: which lesion (``source_row``), and the parameters of its pose. `replay` makes the
pixels, so any augmented row can be made again from the source patches and its own columns.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.augment.affine import Chain, Flip, Rotate, Scale, Translate, WidenMargin
from lesionforge.augment.transform import Shape, known_diameters, transformed
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError


@dataclass(frozen=True)
class FridAdar2018:
    """Classic augmentation of Frid-Adar et al., Neurocomputing 321 (2018), section 3.1.

    Each lesion is rotated N_rot times; each rotated region is kept, flipped N_flip ways, translated N_trans
    times within ±min(4, 0.1 d) pixels and scaled N_scale times, d being the lesion's diameter in pixels:
    N = N_rot (1 + N_flip + N_trans + N_scale) = 480. Nothing is sheared, and the lesion stays centred.

    The paper scales "by changing the amount of tissue around the lesion", s in [0.1 d, 0.4 d]. We read it as
    a region that grows by s on each side: the reading that never cuts into the lesion.
    """

    rotations: int = 30
    max_rotation_deg: float = 180.0
    flips: tuple[str, ...] = ("y", "x", "yx")
    translations: int = 7
    max_translation_px: float = 4.0
    max_translation_diameters: float = 0.1
    scalings: int = 5
    min_margin_diameters: float = 0.1
    max_margin_diameters: float = 0.4
    output_size: int = 64

    @property
    def per_lesion(self) -> int:
        """Augmentations of one lesion when all are made."""
        return self.rotations * (1 + len(self.flips) + self.translations + self.scalings)

    def sample(
        self, diameter_px: NDArray[np.float64], *, count: int | None = None, rng: np.random.Generator
    ) -> pd.DataFrame:
        """Draw the poses of ``count`` augmentations (None: all) of lesions with these diameters [L].

        Groups are nested: a smaller ``count`` gives the first rows of a larger one. Every lesion comes once
        before any comes twice, so a group holds the same number of augmentations of each lesion (±1).

        Raises
        ------
        LesionForgeError
            ``count`` is more than there are, or a diameter is NaN.
        """
        lesions, every = len(diameter_px), len(diameter_px) * self.per_lesion
        count = every if count is None else count
        if not 0 <= count <= every:
            raise LesionForgeError(
                f"count must lie between 0 and {every} ({self.per_lesion} for each of {lesions} lesions), "
                f"but {count} came."
            )
        poses = self._all_poses(known_diameters(diameter_px, by="the recipe of Frid-Adar et al."), rng)
        # Rounds [per_lesion, L]: each takes every lesion, in a random order, at its next unused pose.
        pose_order = rng.permuted(np.tile(np.arange(self.per_lesion), (lesions, 1)), axis=1)
        lesion_order = rng.permuted(np.tile(np.arange(lesions), (self.per_lesion, 1)), axis=1)
        pose = pose_order[lesion_order, np.arange(self.per_lesion)[:, None]]
        chosen = (lesion_order * self.per_lesion + pose).ravel()[:count]
        return poses.take(chosen).reset_index(drop=True)

    def _all_poses(self, diameter_px: NDArray[np.float64], rng: np.random.Generator) -> pd.DataFrame:
        """Every pose of every lesion, ordered by lesion, rotation and what is done to the rotated region."""
        kinds = np.repeat(
            ["kept", "flipped", "translated", "scaled"],
            [1, len(self.flips), self.translations, self.scalings],
        )
        ways = np.repeat("", len(kinds)).astype(object)
        ways[kinds == "flipped"] = self.flips
        regions = np.repeat(diameter_px, self.rotations)  # a rotated region each, [L · N_rot]
        diameters = np.repeat(regions, len(kinds))
        kind = np.tile(kinds, len(regions))

        rotated = Rotate(0, self.max_rotation_deg).sample(regions, rng=rng)
        shift = Translate(self.max_translation_px, self.max_translation_diameters).sample(diameters, rng=rng)
        margin = WidenMargin(self.min_margin_diameters, self.max_margin_diameters, self.output_size)
        scale = margin.sample(diameters, rng=rng)["scale"]
        return pd.DataFrame(
            {
                "source_row": np.repeat(np.arange(len(diameter_px)), self.per_lesion),
                "rotation_deg": np.repeat(rotated["rotation_deg"].to_numpy(), len(kinds)),
                "flip": pd.Series(np.tile(ways, len(regions)), dtype="str"),
                **{name: shift[name].where(kind == "translated", 0.0) for name in shift},
                "scale": scale.where(kind == "scaled", 1.0),
            }
        )


def frid_adar_2018(
    patches: Patches, *, seed: int, count: int | None = None, recipe: FridAdar2018 = FridAdar2018()
) -> Patches:
    """Augment by the recipe of Frid-Adar et al. (2018): ``count`` rows (None: all 480 of each lesion).

    Give patches larger than ``recipe.output_size`` (71 pixels for 64, say) and true tissue fills the corners.
    The result keeps each row's identity and adds its ``source_row`` and pose; the originals are not in it.

    Raises
    ------
    LesionForgeError
        A lesion has neither a diameter nor a mask, or patches are smaller than the result.
    """
    poses = recipe.sample(lesion_diameter_px(patches), count=count, rng=np.random.default_rng(seed))
    in_plane = (recipe.output_size, recipe.output_size)
    return replay(patches, poses, output_size=(*patches.shape[:-2], *in_plane))


def replay(patches: Patches, table: pd.DataFrame, *, output_size: int | Shape) -> Patches:
    """Make the rows of ``table`` from the patches that they were made from.

    ``table`` is a recipe's sample, or (part of) the table of an augmented set.

    Raises
    ------
    LesionForgeError
        ``table`` was made from other patches, or has not the columns of a pose.
    """
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
    rows = table["source_row"].to_numpy(dtype=np.int64)
    _refuse_oblong_pixels(patches)
    pose = Chain((Rotate(), Flip(), Translate(), Scale()), output_size=output_size)
    return transformed(patches, pose, table, rows=rows)


def lesion_diameter_px(patches: Patches) -> NDArray[np.float64]:
    """In-plane diameter of each lesion in pixels, [N]; NaN where it is unknown.

    It is ``diameter_mm`` over the spacing; where either is missing, the diameter of the circle with the area
    of the mask's largest axial slice.
    """
    diameter_px: NDArray[np.float64] = patches.table["diameter_mm"].to_numpy(np.float64) / patches.spacing_mm[:, -1]
    unknown = np.flatnonzero(np.isnan(diameter_px))
    if patches.masks is not None:
        area = patches.masks[unknown].sum(axis=(-2, -1), dtype=np.int64)
        area = area.max(axis=tuple(range(1, area.ndim)))
        diameter_px[unknown] = np.where(area > 0, 2 * np.sqrt(area / np.pi), np.nan)
    return diameter_px


def _refuse_oblong_pixels(patches: Patches) -> None:
    spacing_mm = patches.spacing_mm
    if (np.abs(spacing_mm[:, -2] / spacing_mm[:, -1] - 1) > 1e-3).any():
        raise LesionForgeError(
            "rotation needs square pixels in the axial plane, but spacing_y_mm and spacing_x_mm differ: "
            "resample the patches first."
        )
