"""`Region`: what a DICOM object marks in a CT series, on the series' grid."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.formats.components import connected_parts
from lesionforge.data.geometry import Geometry, Index, Point
from lesionforge.data.scan import Lesion

LONGEST_TEXT = 64  # characters, as DICOM allows for a label


@dataclass(frozen=True, eq=False)
class Region:
    """A segment of a SEG, or a region of interest of an RTSTRUCT.

    Parameters
    ----------
    name
        Its label.
    voxels
        [n, 3]: indices (z, y, x) of the scan's voxels that belong to it.
    points
        Places that are marked without an extent, (x, y, z) in mm.
    facts
        ``segment`` (its label), ``description``, ``algorithm`` (MANUAL, SEMIAUTOMATIC, AUTOMATIC), ``tracking_id``.
    """

    name: str
    voxels: NDArray[np.int32]
    points: tuple[Point, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def lesions(
        self, geometry: Geometry, *, name: str, label: str, split: bool, smallest_voxels: int
    ) -> Iterator[Lesion]:
        """Yield its connected parts as lesions, or the whole as one, then its points."""
        known: dict[str, Any] = {"label": label, "facts": self.facts}
        if len(self.voxels):
            low = self.voxels.min(axis=0)
            mask = np.zeros(self.voxels.max(axis=0) - low + 1, dtype=bool)
            mask[tuple((self.voxels - low).T)] = True
            parts = connected_parts(mask) if split else [(mask, (0, 0, 0))]
            for number, (part, start) in enumerate(parts, start=1):
                z, y, x = (int(n) for n in low + start)
                if part.sum() >= smallest_voxels:
                    yield Lesion.from_mask(part, (z, y, x), geometry, name=f"{name}-{number}", **known)
        for number, point in enumerate(self.points, start=1):
            yield Lesion(name=f"{name}-point-{number}", position_mm=point, **known)


def within(voxels: NDArray[np.int64], shape: Index) -> NDArray[np.int32]:
    """Those of these voxels [n, 3] that lie in a scan of this shape."""
    return voxels[((voxels >= 0) & (voxels < shape)).all(axis=1)].astype(np.int32)


def plain_text(value: object) -> str:
    """A text of a DICOM object, printable and short."""
    text = "" if value is None else str(value)
    return "".join(each for each in text if each.isprintable()).strip()[:LONGEST_TEXT]
