"""Lesions in a label volume, and what the rows of a table say of them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.formats.components import connected_parts
from lesionforge.data.formats.points import Mark
from lesionforge.data.formats.volume_file import read_voxels
from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError, UnfitDataError

HIGHEST_VALUE = 2**16 - 1
SAME_GRID_WITHIN_VOXELS = 0.1


@dataclass(frozen=True)
class LabelVolume:
    """How a label volume is read.

    Parameters
    ----------
    labels
        Class of each value; values that are not named are then no lesions (organs). By default every value above 0 is
        one, without a class.
    split
        Each connected component (26 neighbours) of a value is a lesion, but one value is one lesion where a row of the
        table names it. False: a value is always one lesion.
    smallest_voxels
        Lesions with fewer voxels are left out.
    """

    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    split: bool = True
    smallest_voxels: int = 1

    def __post_init__(self) -> None:
        if bad := [value for value in self.labels if not value.isdigit() or int(value) < 1]:
            raise LesionForgeError(f"labels must give whole numbers above 0 a class, but {bad[0]!r} came.")

    def read(self, file: Path, geometry: Geometry, *, whole: Collection[str] = ()) -> tuple[list[Lesion], int]:
        """Read the lesions, and how many were left out as too small.

        A lesion's name is its value, or value-1, value-2 … where the value has several.

        Parameters
        ----------
        geometry
            Of the image, canonical.
        whole
            Values that are one lesion each.

        Raises
        ------
        UnfitDataError
            The file is not whole, holds other than labels, or lies on another grid than its image.
        """
        found = list(self._lesions(_labels(file, geometry), geometry, whole))
        kept = [lesion for voxels, lesion in found if voxels >= self.smallest_voxels]
        return kept, len(found) - len(kept)

    def _lesions(
        self, values: NDArray[np.uint16], geometry: Geometry, whole: Collection[str]
    ) -> Iterator[tuple[int, Lesion]]:
        """Yield the lesions, each after its number of voxels."""
        for value, window in enumerate(ndimage.find_objects(values), start=1):
            if window is None or (self.labels and str(value) not in self.labels):
                continue
            mask = values[window] == value
            pieces = connected_parts(mask) if self.split and str(value) not in whole else [(mask, (0, 0, 0))]
            for number, (piece, start) in enumerate(pieces, start=1):
                z, y, x = (int(part.start) + offset for part, offset in zip(window, start, strict=True))
                name = f"{value}" if len(pieces) == 1 else f"{value}-{number}"
                label, facts = self.labels.get(str(value), ""), {"label_value": value}
                known: dict[str, Any] = {"name": name, "label": label, "facts": facts}
                yield int(piece.sum()), Lesion.from_mask(piece, (z, y, x), geometry, **known)


def described(
    lesions: Sequence[Lesion], marks: Sequence[Mark], geometry: Geometry, stored: Geometry | None = None
) -> list[Lesion]:
    """Join lesions with the rows of a table: by name, by place, or all with the only row if it has neither.

    A row that meets no lesion is one without a mask.

    Parameters
    ----------
    geometry, stored
        As in `Mark.position_mm`.

    Raises
    ------
    UnfitDataError
        Two rows meet one lesion, or a row without a place meets none.
    """
    result = {lesion.name: lesion for lesion in lesions}
    met: Counter[str] = Counter()
    for mark in marks:
        own = _meant(mark, lesions, geometry, stored)
        if not own and mark.position is None and len(marks) == 1:
            own = lesions
        met.update(lesion.name for lesion in own)
        result |= {lesion.name: _with(lesion, mark, alone=len(own) == 1) for lesion in own}
        if not own:
            result[f"row {mark.number}"] = mark.lesion(geometry, stored)
    if any(count > 1 for count in met.values()):
        raise UnfitDataError(
            "two rows for one lesion", "rows of a table must each mean another lesion, but two lie in one of the mask."
        )
    return list(result.values())


def _labels(file: Path, geometry: Geometry) -> NDArray[np.uint16]:
    scan = Scan(*read_voxels(file), patient="", name=file.name, unit="label").canonical()
    grid = scan.geometry
    corners = np.array([grid.to_world((0, 0, 0)), grid.to_world(np.subtract(grid.shape, 1))])
    expected = np.array([(0, 0, 0), np.subtract(geometry.shape, 1)])
    if grid.shape != geometry.shape or np.abs(geometry.to_index(corners) - expected).max() > SAME_GRID_WITHIN_VOXELS:
        raise UnfitDataError(
            "mask on another grid",
            f"{file} must lie on its image's grid ({geometry.shape} voxels), but lies on another ({grid.shape}): "
            "resample it to the image with nearest-neighbour interpolation.",
        )
    low, high = scan.voxels.min(), scan.voxels.max()
    if low < 0 or high > HIGHEST_VALUE or not np.array_equal(scan.voxels, np.rint(scan.voxels)):
        raise UnfitDataError(
            "mask without labels",
            f"{file} must hold whole numbers from 0 to {HIGHEST_VALUE}, but holds {low:g} to {high:g}: is it a mask?",
        )
    return scan.voxels.astype(np.uint16)


def _meant(mark: Mark, lesions: Sequence[Lesion], geometry: Geometry, stored: Geometry | None) -> Sequence[Lesion]:
    """Return the lesion of the mark's name, or the one at its place, or one so near that it means no other."""
    named = [lesion for lesion in lesions if lesion.name == mark.name]
    if named or mark.position is None or not lesions:
        return named
    place = mark.position_mm(geometry, stored)
    voxel = np.rint(geometry.to_index(place)).astype(int).tolist()
    if inside := [lesion for lesion in lesions if lesion.mask_within(voxel, (1, 1, 1)).any()]:
        return inside
    distance_mm = [float(np.linalg.norm(np.subtract(lesion.position_mm, place))) for lesion in lesions]
    nearest = int(np.argmin(distance_mm))
    return [lesions[nearest]] if distance_mm[nearest] <= lesions[nearest].diameter_mm / 2 else []


def _with(lesion: Lesion, mark: Mark, *, alone: bool) -> Lesion:
    """Return the lesion with what the row says. A diameter is one lesion's."""
    diameter = mark.diameter_mm if alone and np.isfinite(mark.diameter_mm) else lesion.diameter_mm
    facts: dict[str, Any] = {**lesion.facts, **mark.facts}
    return replace(lesion, diameter_mm=diameter, label=mark.label or lesion.label, facts=facts)
