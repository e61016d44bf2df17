"""Copies of real lesions, pasted into other surroundings: what every in-painting method has to beat.

D. Dwibedi, I. Misra, M. Hebert, "Cut, paste and learn: surprisingly easy synthesis for instance detection", ICCV 2017:
detectors see where a picture was cut and pasted. Inserted with a hard edge and without noise of its own (`Blending` of
a rim of 0 mm) it is the baseline of the test for seams; faded in, it is a painter that needs no training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.exposure import Exposure
from lesionforge.data.geometry import Geometry
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.data.resampling import Interpolation, onto
from lesionforge.errors import LesionForgeError
from lesionforge.networks import derived_seed
from lesionforge.synthesis.insertion.painter import LESION, Painter


@dataclass(frozen=True, eq=False)
class CopyPaste(Painter):
    """Real lesions, each with its mask, to be copied.

    Parameters
    ----------
    lesions
        With masks and spacing.
    choice
        A lesion is drawn from so many of the wanted class whose diameter is nearest to the wanted one.

    Raises
    ------
    LesionForgeError
        They lack masks, diameters or spacing, or are synthetic.
    """

    lesions: Patches
    choice: int = 8

    follows_masks = False

    def __post_init__(self) -> None:
        lacking = self.lesions.masks is None or np.isnan(self.lesions.spacing_mm).any()
        if lacking or self.lesions.table["diameter_mm"].isna().any() or self.lesions.is_synthetic.any():
            raise LesionForgeError(
                "lesions to be copied must be real and have masks, diameters and a spacing, but these have not: ingest "
                "them from scans with masks."
            )

    @property
    def id(self) -> str:
        """Name and digest of the lesions."""
        return f"copy_paste-{self.lesions.digest}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the lesions' patches."""
        return self.lesions.shape

    @cached_property
    def spacing_mm(self) -> tuple[float, ...]:
        """The median of the lesions' patches."""
        return tuple(np.median(self.lesions.spacing_mm, axis=0).tolist())

    @property
    def unit(self) -> str:
        """Of the lesions."""
        return self.lesions.unit

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the lesions."""
        return self.lesions.classes

    @property
    def exposure(self) -> Exposure:
        """The lesions' patients."""
        return self.lesions.exposure

    def paint(self, hosts: Patches, *, label: str, seed: int) -> Patches:
        """Paste a lesion into each neighbourhood, with what is about it as far as its patch goes, for a rim to fade in.

        The masks are the lesions', whatever shape was asked for.
        """
        sources = [self._on_grid(row) for row in self._chosen(hosts, label, seed)]
        images, masks, known = (np.stack(arrays) for arrays in zip(*sources, strict=True))
        return hosts.with_images(np.where(known, images, hosts.images), masks)

    def _chosen(self, hosts: Patches, label: str, seed: int) -> Iterator[int]:
        of_class = np.flatnonzero(self.lesions.labels == label)
        diameters = self.lesions.table["diameter_mm"].to_numpy()[of_class]
        for number, wanted in zip(hosts.table[LESION], hosts.table["diameter_mm"], strict=True):
            near = of_class[np.argsort(np.abs(diameters - wanted), kind="stable")[: self.choice]]
            yield int(np.random.default_rng(derived_seed(seed, "copy", number)).choice(near))

    def _on_grid(self, row: int) -> tuple[Array, NDArray[np.uint8], NDArray[np.bool_]]:
        """Image and mask of a lesion at the painter's spacing, and where its patch is; its middle in the middle."""
        assert self.lesions.masks is not None
        own, wanted = (_grid(self.shape, spacing) for spacing in (self.lesions.spacing_mm[row], self.spacing_mm))
        image, mask = np.asarray(self.lesions.images[row], np.float32), self.lesions.masks[row]
        looked_up: list[tuple[Array, Interpolation]] = [
            (image, "linear"),
            (mask, "nearest"),
            (np.ones_like(mask), "nearest"),
        ]
        moved, marked, known = (
            onto(array.reshape(own.shape), own, wanted, outside=0, interpolation=how).reshape(self.shape)
            for array, how in looked_up
        )
        return moved, marked.astype(np.uint8), known > 0


def _grid(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Geometry:
    """Grid of a patch whose voxel ``n // 2`` lies at 0; a 2-D one is one slice thick."""
    slices, rows, columns = (1,) * (3 - len(shape)) + tuple(shape)
    z, y, x = (1.0,) * (3 - len(shape)) + tuple(spacing_mm)
    return Geometry((slices, rows, columns), (z, y, x), (-(columns // 2) * x, -(rows // 2) * y, -(slices // 2) * z))
