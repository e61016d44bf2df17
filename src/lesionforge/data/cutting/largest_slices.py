"""The axial slices with the largest section of a lesion (Wang et al., 2020, "Data processing").

Three slices of 64×64 pixels centred on the nodule, "not consecutive because our selection criteria were only based on
the nodule area". A lesion that is on fewer slices gives fewer patches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lesionforge.data.cutter import Cut, SliceCutter
from lesionforge.data.lesion_slices import lesion_slices
from lesionforge.data.patch_grid import as_slice, cut_on, grid_about
from lesionforge.data.scan import Lesion, Scan
from lesionforge.settings import Count, Rate


@dataclass(frozen=True)
class LargestSlices(SliceCutter):
    """Square patches about the middle of a lesion's bounding box on each slice.

    In the scan's own pixels the middle, rounded down, is pixel ``size // 2``.

    Parameters
    ----------
    size
        Pixels along y and x.
    slices
        Patches of each lesion, at most.
    spacing_mm
        Of pixels (y, x); None: the scan's own.
    """

    paper: ClassVar[str] = "Wang et al. 2020"

    size: Count = 64
    slices: Count = 3
    spacing_mm: tuple[Rate, Rate] | None = None

    def cut(
        self, scan: Scan, lesions: Sequence[Lesion], *, marks: Sequence[Lesion], rng: np.random.Generator
    ) -> Iterator[Cut]:
        """Yield the slices of each lesion, the largest section first; columns ``slice_index`` and ``slice_rank``."""
        del marks, rng
        spacing = None if self.spacing_mm is None else (scan.geometry.spacing_mm[0], *self.spacing_mm)
        for lesion in lesions:
            for section in lesion_slices(lesion, scan.geometry)[: self.slices]:
                grid = grid_about(scan.geometry, section.middle, (1, self.size, self.size), spacing)
                columns = {"slice_index": section.index, "slice_rank": section.rank}
                yield as_slice(cut_on(scan, grid, lesion, columns=columns))
