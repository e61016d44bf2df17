"""A block of voxels about a lesion (Yang et al., 2019, section 3: 64×64×32 voxels at 1×1×2 mm)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lesionforge.data.cutter import Cut, Cutter
from lesionforge.data.lesion_slices import lesion_slices
from lesionforge.data.patch_grid import cut_on, grid_about
from lesionforge.data.scan import Lesion, Scan
from lesionforge.settings import Count, Rate


@dataclass(frozen=True)
class Block(Cutter):
    """Blocks whose voxel ``n // 2`` lies at the lesion's position.

    Parameters
    ----------
    size
        Voxels along z, y and x.
    spacing_mm
        Of voxels (z, y, x); None: the scan's own, the middle one being nearest to the position.
    """

    paper: ClassVar[str] = "Yang et al. 2019"

    size: tuple[Count, Count, Count] = (32, 64, 64)
    spacing_mm: tuple[Rate, Rate, Rate] | None = (2.0, 1.0, 1.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of every patch."""
        return self.size

    def cut(
        self, scan: Scan, lesions: Sequence[Lesion], *, marks: Sequence[Lesion], rng: np.random.Generator
    ) -> Iterator[Cut]:
        """Yield a block for each lesion."""
        del marks, rng
        for lesion in lesions:
            lesion_slices(lesion, scan.geometry)  # it lies inside the scan
            centre = scan.geometry.to_index(lesion.position_mm)
            yield cut_on(scan, grid_about(scan.geometry, centre.tolist(), self.size, self.spacing_mm), lesion)
