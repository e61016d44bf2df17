"""Patches with a nodule and as many without (the patches of the CALM paper, section "Data").

40×40 pixels; positives are "translations of up to 10 pixels in the XY plane", negatives "inputs that did not contain
nodules agreed on by any radiologists". How many translations of each nodule the paper made is not said: its 5422
positives are about five for each nodule that its rules leave in LIDC-IDRI.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.cutter import Cut, SliceCutter
from lesionforge.data.geometry import Geometry
from lesionforge.data.lesion_slices import lesion_slices
from lesionforge.data.lungs import lungs
from lesionforge.data.patch_grid import as_slice, cut_on, grid_about
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.settings import Count, CountOrZero

UNSIZED_MM = 3.0  # a mark without mask or diameter: a small nodule of LIDC is below this


@dataclass(frozen=True)
class Detection(SliceCutter):
    """Nodule and non-nodule patches, equally many of each scan, in its own pixels.

    A non-nodule's middle is drawn evenly from the lungs, where the patch overlaps no finding that anybody marked.

    Parameters
    ----------
    size
        Pixels along y and x.
    slices
        Those of a nodule that are shown: its largest section, or all.
    copies
        Patches of each slice; all but the first are translated.
    max_translation_px
        Along y and x; all whole numbers from − to + are equally likely.
    """

    paper: ClassVar[str] = "CALM"

    size: Count = 40
    slices: Literal["largest", "all"] = "largest"
    copies: Count = 5
    max_translation_px: CountOrZero = 10

    def __post_init__(self) -> None:
        if self.max_translation_px >= self.size // 2:
            raise LesionForgeError(
                f"a nodule's middle must stay in its patch: max_translation_px must be below {self.size // 2}, half of "
                f"the patch, but {self.max_translation_px} came."
            )

    def cut(
        self, scan: Scan, lesions: Sequence[Lesion], *, marks: Sequence[Lesion], rng: np.random.Generator
    ) -> Iterator[Cut]:
        """Yield every nodule, then as many places without; columns ``slice_index``, ``translation_y,x_px``.

        Raises
        ------
        UnfitDataError
            The scan shows no lung, or no place in it without a mark.
        """
        nodules = [cut for lesion in lesions for cut in self._nodule(scan, lesion, rng)]
        yield from nodules
        if nodules:
            for place in self._unmarked(scan, marks, len(nodules), rng):
                yield self._cut(scan, None, place, (0, 0))

    def _nodule(self, scan: Scan, lesion: Lesion, rng: np.random.Generator) -> Iterator[Cut]:
        sections = lesion_slices(lesion, scan.geometry)
        for section in sections[:1] if self.slices == "largest" else sections:
            most = self.max_translation_px
            translations = rng.integers(-most, most, (self.copies, 2), endpoint=True)
            translations[0] = 0
            for y, x in translations.tolist():
                yield self._cut(scan, lesion, section.middle, (y, x))

    def _cut(
        self, scan: Scan, lesion: Lesion | None, middle: tuple[float, float, float], translation: tuple[int, int]
    ) -> Cut:
        z, y, x = middle
        down, right = translation
        # A patch that is moved up shows its nodule further down.
        grid = grid_about(scan.geometry, (z, y - down, x - right), (1, self.size, self.size))
        columns = {
            "label": "non_nodule" if lesion is None else "nodule",
            "slice_index": int(z),
            "translation_y_px": down,
            "translation_x_px": right,
        }
        return as_slice(cut_on(scan, grid, lesion, columns=columns))

    def _unmarked(
        self, scan: Scan, marks: Sequence[Lesion], count: int, rng: np.random.Generator
    ) -> Iterator[tuple[float, float, float]]:
        """Draw voxels of the lungs whose patch overlaps no mark."""
        free = lungs(scan)
        before, behind = self.size // 2, self.size - self.size // 2 - 1  # pixels of a patch on both sides of its middle
        for mark in marks:
            low, high = _mark_box(mark, scan.geometry)
            starts = np.maximum(np.subtract(low, (0, behind, behind)), 0)
            stops = np.maximum(np.add(high, (0, before, before)) + 1, 0)
            z, y, x = (slice(start, stop) for start, stop in zip(starts, stops, strict=True))
            free[z, y, x] = False
        places = np.flatnonzero(free)
        if not len(places):
            raise UnfitDataError(
                "no place without a mark",
                f"the lungs must have room for a patch of {self.size} pixels that overlaps no mark, but have none.",
            )
        for place in rng.choice(places, count, replace=len(places) < count).tolist():
            z, y, x = np.unravel_index(place, free.shape)
            yield float(z), float(y), float(x)


def _mark_box(mark: Lesion, geometry: Geometry) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """First and last voxel (z, y, x) of what any reader marked; it may lie outside the scan."""
    if mark.mask is not None and mark.start is not None:
        low = np.asarray(mark.start)
        return low, low + mark.mask.shape - 1
    diameter_mm = UNSIZED_MM if np.isnan(mark.diameter_mm) else mark.diameter_mm
    reach = diameter_mm / 2 / np.asarray(geometry.spacing_mm)
    middle = geometry.to_index(mark.position_mm)
    return np.floor(middle - reach).astype(int), np.ceil(middle + reach).astype(int)
