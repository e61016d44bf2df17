"""`Scan`: a CT volume and where it lies in the patient; `Lesion` and `Annotations`: what is known of it.

Every scan that a source gives is canonical (see `Geometry`): array axes (z, y, x) run nearest to head, back and
left, by transposing and flipping alone, never by interpolation. An oblique scan stays oblique.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.geometry import Geometry, Index, Point
from lesionforge.data.synthetic_scans import Synthetic
from lesionforge.errors import LesionForgeError


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume of one patient.

    Parameters
    ----------
    voxels
        [z, y, x] in ``unit``.
    geometry
        Where they lie.
    patient, name
        Identifiers: of the patient, and of this scan among all (a series instance UID, a file's name).
    unit
        ``"HU"``, or the source's own.
    facts
        What else is known, each a column of the patches cut from it: text or numbers. Usual names:
        ``slice_thickness_mm``, ``manufacturer``, ``model``, ``kernel``, ``tube_voltage_kv``.
    synthetic
        How it was made, if a generator has made or changed it.
    """

    voxels: NDArray[Any]
    geometry: Geometry
    patient: str
    name: str
    unit: str = "HU"
    facts: Mapping[str, str | float] = field(default_factory=dict)
    synthetic: Synthetic | None = None

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape:
            raise LesionForgeError(f"voxels of {self.voxels.shape} do not fill a grid of {self.geometry.shape}.")

    def __repr__(self) -> str:
        size = "×".join(map(str, self.geometry.shape))
        return f"Scan({size} at {self.geometry.spacing_mm} mm in {self.unit}, {self.geometry.orientation})"

    def canonical(self) -> "Scan":
        """Return the scan with its axes nearest to head, back and left; no voxel changes its value or place."""
        geometry, order, flipped = self.geometry.reordered()
        return replace(self, voxels=np.flip(self.voxels.transpose(order), flipped), geometry=geometry)


@dataclass(frozen=True, eq=False)
class Lesion:
    """One marked finding of a scan.

    Parameters
    ----------
    name
        Distinguishes it among the scan's.
    position_mm
        Its middle (x, y, z).
    diameter_mm
        As annotated; where only a mask is known, of the circle with the area of its largest axial slice. NaN: unknown.
    mask, start
        [z, y, x] of true and false, and the voxel of the scan at which the mask's first one lies (it may lie outside
        the scan). Where several readers drew, the box holds what any of them marked and the mask their consensus.
        Both None: only a position is known.
    label
        Its class; empty: unlabelled.
    facts
        What else is known, each a column of the patches cut from it: ratings, number of readers, ``kind``.
    """

    name: str
    position_mm: Point
    diameter_mm: float = float("nan")
    mask: NDArray[np.bool_] | None = None
    start: Index | None = None
    label: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mask(
        cls, mask: NDArray[np.bool_], start: Index, geometry: Geometry, *, name: str, **known: Any
    ) -> "Lesion":
        """Lesion of this mask, cut to no smaller box than came; position and diameter are measured unless known."""
        if not mask.any():
            raise LesionForgeError(f"the mask of {name} must hold a voxel at least, but is empty.")
        middle = np.argwhere(mask).mean(axis=0) + start
        x, y, z = map(float, geometry.to_world(middle))
        area_mm2 = mask.sum(axis=(1, 2)).max() * geometry.spacing_mm[1] * geometry.spacing_mm[2]
        measured: dict[str, Any] = {"position_mm": (x, y, z), "diameter_mm": float(2 * np.sqrt(area_mm2 / np.pi))}
        return cls(name=name, mask=mask, start=start, **(measured | known))

    def mask_within(self, start: Sequence[int], shape: Sequence[int]) -> NDArray[np.bool_]:
        """Return the mask in the window of ``shape`` voxels from voxel ``start`` of the scan on; false outside it."""
        window = np.zeros(tuple(shape), dtype=bool)
        if self.mask is None or self.start is None:
            return window
        low = np.maximum(self.start, start)
        high = np.minimum(np.add(self.start, self.mask.shape), np.add(start, shape))
        if (low < high).all():
            inside, own = (
                tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
                for first in (np.asarray(start), np.asarray(self.start))
            )
            window[inside] = self.mask[own]
        return window

    def extent_mm(self, geometry: Geometry) -> Point:
        """Size (z, y, x) of the mask along the scan's axes; of a lesion without one, its diameter."""
        if self.mask is None:
            return (self.diameter_mm,) * 3
        voxels = np.argwhere(self.mask)
        z, y, x = (np.ptp(voxels, axis=0) + 1) * geometry.spacing_mm
        return float(z), float(y), float(x)


@dataclass(frozen=True, eq=False)
class Annotations:
    """All that is known of a scan but its voxels."""

    patient: str
    scan: str
    geometry: Geometry
    lesions: tuple[Lesion, ...]
    facts: Mapping[str, str | float] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Return a row for each lesion, with all that selection rules can ask for."""
        return pd.DataFrame([self.row(lesion) for lesion in self.lesions])

    def row(self, lesion: Lesion) -> dict[str, Any]:
        """Columns of one lesion: identity, size and position in mm, the scan's facts and its own."""
        extent = dict(zip(("z", "y", "x"), lesion.extent_mm(self.geometry), strict=True))
        return {
            "patient": self.patient,
            "scan": self.scan,
            "lesion": lesion.name,
            "label": lesion.label,
            "diameter_mm": lesion.diameter_mm,
            **{f"position_{axis}_mm": value for axis, value in zip("xyz", lesion.position_mm, strict=True)},
            **{f"extent_{axis}_mm": extent[axis] for axis in "xyz"},
            "slice_spacing_mm": self.geometry.spacing_mm[0],
            **self.facts,
            **lesion.facts,
        }
