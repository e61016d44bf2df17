"""Whole axial slices with the lungs cut out (Wang et al., 2022, "Image preprocessing").

"Cropped the lungs from the tissue and background with a seed-filling algorithm", padded to 512×512 pixels; the nodule
is erased for the generator's input (`erased`) and the 32×32 pixels about it go to the second discriminator. The
patches stay in HU, with air for all that is not lung: bringing them to [0, 1] is the network's matter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.cutter import Cut, SliceCutter
from lesionforge.data.hounsfield import AIR_HU, default_window
from lesionforge.data.lesion_slices import LesionSlice, lesion_slices
from lesionforge.data.lungs import lungs
from lesionforge.data.patch_grid import as_slice, cut_on
from lesionforge.data.patches import Patches
from lesionforge.data.resampling import onto
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count

CONTEXT_MM = 15.0  # of lung above and below a nodule: what belongs to a lung is seen from slices together


@dataclass(frozen=True)
class LungSlice(SliceCutter):
    """Slices in the scan's own pixels, about their middle; larger ones are cropped so that the nodule stays.

    A nodule with a mask is always whole, even where the lungs' outline leaves part of it out.

    Parameters
    ----------
    size
        Pixels along y and x.
    slices
        All that show the nodule, or that of its largest section.
    roi_size
        Side of the square about the nodule, in pixels. A nodule may be larger.
    """

    paper: ClassVar[str] = "Wang et al. 2022"

    size: Count = 512
    slices: Literal["all", "largest"] = "all"
    roi_size: Count = 32

    def __post_init__(self) -> None:
        if self.roi_size > self.size:
            raise LesionForgeError(
                f"the nodule's square must fit in a slice of {self.size} pixels, but roi_size is {self.roi_size}."
            )

    def cut(
        self, scan: Scan, lesions: Sequence[Lesion], *, marks: Sequence[Lesion], rng: np.random.Generator
    ) -> Iterator[Cut]:
        """Yield the slices of each lesion.

        Columns: ``slice_index``, ``slice_rank``, and the nodule's square from pixel (``roi_y_px``, ``roi_x_px``) on,
        ``roi_size_px`` wide.

        Raises
        ------
        UnfitDataError
            The scan shows no lung, or a lesion lies outside it.
        """
        del marks, rng
        for lesion in lesions:
            sections = lesion_slices(lesion, scan.geometry)
            lung, first = _lungs_about(scan, sections)
            for section in sections[:1] if self.slices == "largest" else sections:
                yield self._cut(scan, lesion, section, lung[section.index - first])

    def _cut(self, scan: Scan, lesion: Lesion, section: LesionSlice, lung: NDArray[np.bool_]) -> Cut:
        squares = [int(np.ceil(c - 0.5)) - self.roi_size // 2 for c in section.centre]
        starts = [
            _start(pixels, self.size, square, self.roi_size) for pixels, square in zip(lung.shape, squares, strict=True)
        ]
        grid = scan.geometry.cut((section.index, *starts), (1, self.size, self.size))
        # A nodule at the border: its square is moved into the patch.
        roi_y, roi_x = np.clip(np.subtract(squares, starts), 0, self.size - self.roi_size).tolist()
        columns = {
            "slice_index": section.index,
            "slice_rank": section.rank,
            "roi_y_px": roi_y,
            "roi_x_px": roi_x,
            "roi_size_px": self.roi_size,
        }
        cut = cut_on(scan, grid, lesion, columns=columns)
        seen = onto(lung[None], scan.geometry.cut((section.index, 0, 0), (1, *lung.shape)), grid, outside=0)
        seen = seen if cut.mask is None else seen | cut.mask
        return as_slice(replace(cut, image=np.where(seen, cut.image, cut.image.dtype.type(AIR_HU))))


def erased(patches: Patches) -> Patches:
    """Return the patches without their nodules: black in their place, as a generator gets them that fills them in.

    Raises
    ------
    LesionForgeError
        The patches have no masks, so that where the nodules are is not known.
    """
    if patches.masks is None:
        raise LesionForgeError("a nodule can be erased where its mask says it is, but these patches have no masks.")
    black = patches.images.dtype.type(default_window(patches.unit).low)
    return patches.with_images(np.where(patches.masks > 0, black, patches.images), patches.masks)


def _lungs_about(scan: Scan, sections: Sequence[LesionSlice]) -> tuple[NDArray[np.bool_], int]:
    """Return the lungs on a lesion's slices and some around them, and the first slice's index."""
    context = int(CONTEXT_MM / scan.geometry.spacing_mm[0])
    first = max(min(section.index for section in sections) - context, 0)
    voxels = scan.voxels[first : max(section.index for section in sections) + context + 1]
    return lungs(replace(scan, voxels=voxels, geometry=scan.geometry.cut((first, 0, 0), voxels.shape))), first


def _start(pixels: int, size: int, square: int, square_size: int) -> int:
    """Return the first of a slice's pixels that the patch shows, along one axis."""
    start = pixels // 2 - size // 2
    if pixels <= size:
        return start
    start = min(max(start, square + square_size - size), square)
    return min(max(start, 0), pixels - size)
