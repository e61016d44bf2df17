"""A region of interest as large as its lesion asks for (Frid-Adar et al., 2018, section 2.1).

Regions were "extracted to capture the lesion and its surrounding tissue relative to its size", which "resulted in
varying size ROIs", and resized to 64×64 pixels with bicubic interpolation. How much tissue is not said: ``margin`` is
ours. The slice is that of the lesion's largest section.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from lesionforge.data.cutter import Cut, SliceCutter
from lesionforge.data.lesion_slices import lesion_slices
from lesionforge.data.patch_grid import as_slice, cut_on, grid_about
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import UnfitDataError
from lesionforge.settings import Count


@dataclass(frozen=True)
class LesionRoi(SliceCutter):
    """Square regions that show every lesion equally large; a patch's spacing says how large it is.

    The image is interpolated with a cubic spline, smoothed first where it is made smaller.

    Parameters
    ----------
    roi_size
        Pixels that a region's side becomes.
    margin
        Tissue on each side of the lesion's bounding box, as a share of the box's longer side.
    size
        Pixels of the patch. More than ``roi_size``: what lies around the region comes along, as augmentation that turns
        it or widens its margin needs.
    """

    paper: ClassVar[str] = "Frid-Adar et al. 2018"

    roi_size: Count = 64
    margin: Annotated[float, Field(ge=0, le=10)] = 0.25
    size: Count = 64

    def cut(
        self, scan: Scan, lesions: Sequence[Lesion], *, marks: Sequence[Lesion], rng: np.random.Generator
    ) -> Iterator[Cut]:
        """Yield a patch for each lesion; columns ``slice_index`` and ``roi_mm``, the side of the region.

        Raises
        ------
        UnfitDataError
            A lesion has neither a mask nor a diameter, or lies outside the scan.
        """
        del marks, rng
        for lesion in lesions:
            largest = lesion_slices(lesion, scan.geometry)[0]
            extent_mm = max(largest.extent_mm)
            if not extent_mm > 0:
                raise UnfitDataError(
                    "size of a lesion unknown",
                    "a region that follows the lesion's size needs its mask or its diameter, but a lesion has neither: "
                    "leave it out, or cut patches of a fixed size.",
                )
            roi_mm = extent_mm * (1 + 2 * self.margin)
            spacing = scan.geometry.spacing_mm[0], roi_mm / self.roi_size, roi_mm / self.roi_size
            grid = grid_about(scan.geometry, largest.middle, (1, self.size, self.size), spacing)
            columns = {"slice_index": largest.index, "roi_mm": roi_mm}
            yield as_slice(cut_on(scan, grid, lesion, interpolation="bspline", columns=columns))
