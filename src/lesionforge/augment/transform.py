"""The contract of a transform: it samples its parameters in one method and applies them in another.

What was sampled is a table of plain numbers, a row per patch, so it can be stored beside the patches and
replayed: the same parameters give the same pixels. N counts patches.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

CHUNK_VOXELS = 2**19  # 128 patches of 64×64: enough to batch, few enough to stay in the processor's cache

Array = NDArray[Any]
Pixels = tuple[Array, Array | None]  # images and their masks
Shape = tuple[int, ...]
Axes = tuple[str, ...]


@dataclass(frozen=True)
class Transform(ABC):
    """A family of changes to patches; its fields are the ranges that parameters are drawn from."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the parameters that `sample` draws and `apply` needs."""

    @abstractmethod
    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw parameters for N lesions: a row for each, with `columns`.

        ``diameter_px`` [N] is the lesion's diameter in pixels; only transforms whose ranges follow it read
        it, and raise LesionForgeError where it is NaN.
        """

    @abstractmethod
    def apply(self, images: Array, masks: Array | None, parameters: pd.DataFrame) -> Pixels:
        """Change ``images`` [N, (z,) y, x] and ``masks`` by N rows of parameters.

        Types are kept and the inputs untouched. Memory grows with N: `transformed` works through sets of
        any length.
        """

    @property
    def square_axes(self) -> Axes:
        """Axes along which pixels must have one spacing, or `apply` would distort the tissue."""
        return ()

    def output_shape(self, shape: Shape) -> Shape:
        """Pixels along each axis after `apply`, from those before it."""
        return shape

    def magnification(self, parameters: pd.DataFrame) -> NDArray[np.float64]:
        """How many times larger each patch shows its tissue, [N]: pixel spacing is divided by it."""
        return np.ones(len(parameters))

    def check(self, parameters: pd.DataFrame, count: int) -> None:
        """Raise LesionForgeError unless each of ``count`` images has a row of parameters."""
        if missing := [name for name in self.columns if name not in parameters]:
            raise LesionForgeError(
                f"parameters must have the columns {', '.join(self.columns)}, but {', '.join(missing)} are "
                "missing: take them from `sample`, or from the table of a set that it made."
            )
        if len(parameters) != count:
            raise LesionForgeError(
                f"parameters must have a row for each of {count} images, but have {len(parameters)}."
            )


def transformed(
    patches: Patches, transform: Transform, parameters: pd.DataFrame, *, rows: NDArray[np.int64] | None = None
) -> Patches:
    """Return patches whose row i is row ``rows[i]`` of ``patches`` changed by row i of ``parameters``.

    Rows keep their identity, their spacing follows the magnification, and ``source_row`` and the parameters
    become columns. Apart from the result, memory stays small whatever the number of rows.

    Raises
    ------
    LesionForgeError
        ``parameters`` and ``rows`` differ in length, pixels are oblong where the transform needs square ones, or
        `Transform.apply` refuses.
    """
    rows = np.arange(len(patches)) if rows is None else rows
    transform.check(parameters, len(rows))
    _refuse_oblong_pixels(patches, transform.square_axes)
    shape = transform.output_shape(patches.shape)
    images = np.empty((len(rows), *shape), patches.images.dtype)
    masks = None if patches.masks is None else np.empty(images.shape, patches.masks.dtype)
    step = max(1, CHUNK_VOXELS // int(np.prod(patches.shape)))
    for chunk in (slice(start, start + step) for start in range(0, len(rows), step)):
        changed, changed_masks = transform.apply(
            patches.images[rows[chunk]],
            None if patches.masks is None else patches.masks[rows[chunk]],
            parameters.iloc[chunk],
        )
        images[chunk] = changed
        if masks is not None and changed_masks is not None:
            masks[chunk] = changed_masks
    return Patches(
        images,
        _described(patches, transform, parameters, rows),
        masks=masks,
        unit=patches.unit,
        generators=patches.generators,
    )


def _described(
    patches: Patches, transform: Transform, parameters: pd.DataFrame, rows: NDArray[np.int64]
) -> pd.DataFrame:
    """Table of the changed rows. Of ``parameters`` the transform's own columns alone go in: none names a patient."""
    table = patches.table.iloc[rows].reset_index(drop=True)
    magnification = transform.magnification(parameters)
    spacing_mm = {name: table[name] / magnification for name in (f"spacing_{axis}_mm" for axis in patches.axes)}
    drawn = {name: parameters[name].to_numpy() for name in transform.columns}
    return table.assign(**spacing_mm, source_row=rows, **drawn)


def _refuse_oblong_pixels(patches: Patches, axes: Axes) -> None:
    spacing_mm = patches.spacing_mm[:, [i for i, axis in enumerate(patches.axes) if axis in axes]]
    if (np.abs(spacing_mm[:, :-1] / spacing_mm[:, -1:] - 1) > 1e-3).any():
        raise LesionForgeError(
            f"a turn needs square pixels along {' and '.join(axes)}, but their spacings differ: resample the patches "
            "first."
        )


def check_order(*limits: float, of: str) -> None:
    """Raise LesionForgeError unless ``limits`` are finite and none is below the one before; ``of`` names them."""
    if not np.isfinite(limits).all() or any(low > high for low, high in pairwise(limits)):
        raise LesionForgeError(
            f"{of} must run from lower to higher finite numbers, but {' to '.join(map(str, limits))} came."
        )


def known_diameters(diameter_px: NDArray[np.float64], *, by: str) -> NDArray[np.float64]:
    """Return ``diameter_px`` [N], or raise LesionForgeError where one is NaN; ``by`` names what needs them."""
    if (unknown := np.isnan(diameter_px)).any():
        raise LesionForgeError(
            f"{by} follows the lesion's diameter in pixels, but {unknown.sum()} of {len(diameter_px)} lesions "
            "have none: give diameter_mm and spacing_mm, or masks, or leave those rows out."
        )
    return diameter_px
