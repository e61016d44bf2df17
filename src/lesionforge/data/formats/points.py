"""Lesions listed in a CSV: a row for each, with its scan, and where known its place, diameter and class.

The table may stand alone, or beside label volumes, whose components its rows then describe. World coordinates are
LPS, as in DICOM, SimpleITK and LUNA16, unless the settings say RAS (3D Slicer, NIfTI). Voxel coordinates (i, j, k)
count from 0 along x, y and z of the array as its file stores it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lesionforge.data.formats.csv_table import numbers, read_cells
from lesionforge.data.formats.volume_file import suffix_of
from lesionforge.data.geometry import Geometry, Point
from lesionforge.data.patch_table import IDENTITY, POSITION
from lesionforge.data.scan import Lesion
from lesionforge.errors import LesionForgeError, UnfitDataError

Space = Literal["LPS", "RAS", "voxel"]

# Columns that are recognised by their names, the likeliest first.
SCAN = ("seriesuid", "scan", "SeriesInstanceUID", "series_uid", "scan_id")
LESION = ("lesion",)
PATIENT = ("patient", "patient_id", "PatientID")
DIAMETER = ("diameter_mm",)
LABEL = ("label",)
TEXTS = ("scan", "lesion", "patient", "label")
WORLD = (("coordX", "coordY", "coordZ"), ("x_mm", "y_mm", "z_mm"), POSITION)
VOXEL = (("i", "j", "k"), ("index_x", "index_y", "index_z"))
RESERVED = {
    *(*IDENTITY, "scan", "lesion", "label", "diameter_mm", "slice_spacing_mm", *POSITION),
    *(f"{quantity}_{axis}_mm" for quantity in ("extent", "spacing") for axis in "xyz"),
}


@dataclass(frozen=True)
class PointsMapping:
    """Which column of a table holds what. Empty: found by the usual names, or not there.

    Columns that mean none of these become facts of the lesion under their own names.

    Parameters
    ----------
    scan
        What the scan is called: its series instance UID, or its file's name without the ending.
    lesion
        Number or name of the lesion among its scan's; beside a label volume, the label's value.
    patient, diameter_mm, label
        Identity, size and class.
    position
        Three columns, for x, y and z.
    space
        What their numbers are: mm towards left, back and head (LPS), towards right, front and head (RAS), or voxels.
    """

    scan: str = ""
    lesion: str = ""
    patient: str = ""
    position: tuple[str, ...] = ()
    space: Space = "LPS"
    diameter_mm: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        if len(self.position) not in (0, 3):
            raise LesionForgeError(f"position must name columns for x, y and z, but {self.position} came.")


@dataclass(frozen=True)
class Mark:
    """One row: what somebody noted of a lesion.

    Parameters
    ----------
    number
        Of the row among its scan's, from 1.
    name
        Of the lesion; empty: the table names none.
    position
        (x, y, z) in ``space``; None: not noted.
    """

    number: int
    name: str = ""
    position: Point | None = None
    space: Space = "LPS"
    diameter_mm: float = float("nan")
    label: str = ""
    patient: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def position_mm(self, geometry: Geometry, stored: Geometry | None = None) -> Point:
        """Return the place in the patient.

        Parameters
        ----------
        geometry
            Of the scan.
        stored
            Of the scan as its file stores it, to which voxel coordinates belong; None: as ``geometry``.

        Raises
        ------
        UnfitDataError
            It has no place, or one outside the scan.
        """
        if self.position is None:
            raise UnfitDataError(
                "lesion without position",
                f"a lesion without a mask must have a position, but row {self.number} has none.",
            )
        x, y, z = self.position
        if self.space == "RAS":
            x, y = -x, -y
        elif self.space == "voxel":
            x, y, z = map(float, (stored or geometry).to_world((z, y, x)))
        if not geometry.contains((x, y, z)):
            place = ", ".join(f"{value:g}" for value in self.position)
            raise UnfitDataError(
                "lesion outside its scan",
                f"a lesion must lie inside its scan, but ({place}) in {self.space} coordinates lies outside: check "
                "that the table belongs to the scan, and in the settings whether its `space` is LPS, RAS or voxel.",
            )
        return x, y, z

    def lesion(self, geometry: Geometry, stored: Geometry | None = None) -> Lesion:
        """Lesion without a mask; parameters and errors as of `position_mm`."""
        return Lesion(
            name=self.name or f"row-{self.number}",
            position_mm=self.position_mm(geometry, stored),
            diameter_mm=self.diameter_mm,
            label=self.label,
            facts=self.facts,
        )


def read_points(
    file: Path, mapping: PointsMapping | None = None, *, scans: Collection[str] = ()
) -> dict[str, tuple[Mark, ...]]:
    """Read a table: for each scan the marks in the order of their rows.

    Parameters
    ----------
    scans
        Names of the scans there are: the column that holds most of them is the scan's unless the mapping names it.

    Raises
    ------
    LesionForgeError
        A column is missing or does not hold what it should.
    """
    mapping = mapping or PointsMapping()
    named = {mapping.scan, mapping.lesion, mapping.patient, mapping.diameter_mm, mapping.label, *mapping.position} - {
        ""
    }
    cells = read_cells(file, needed=named)
    columns, space = _columns(file, cells, mapping, scans)
    taken = {name for names in columns.values() for name in names}
    facts = {name: numbers(cells[name]).tolist() for name in map(str, cells) if name not in taken}
    if clash := sorted(set(facts) & RESERVED):
        raise LesionForgeError(
            f"{file} has columns with a meaning of their own ({', '.join(clash)}): say in the settings what they are, "
            "or rename them."
        )
    texts = {name: cells[column].tolist() for name in TEXTS for column in columns[name]}
    places = [_floats(file, cells, column) for column in columns["position"]]
    diameters = [_floats(file, cells, column) for column in columns["diameter_mm"]]
    marks: dict[str, list[Mark]] = {}
    for row, scan in enumerate(texts.pop("scan")):
        of_scan = marks.setdefault(_without_suffix(scan), [])
        of_scan.append(
            Mark(
                number=len(of_scan) + 1,
                position=_place(file, row, [values[row] for values in places]),
                space=space,
                diameter_mm=_diameter(file, row, [values[row] for values in diameters]),
                facts={name: values[row] for name, values in facts.items()},
                **{"name" if text == "lesion" else text: values[row] for text, values in texts.items()},
            )
        )
    _check_marks(file, marks)
    return {scan: tuple(rows) for scan, rows in marks.items()}


def _columns(
    file: Path, cells: pd.DataFrame, mapping: PointsMapping, scans: Collection[str]
) -> tuple[dict[str, tuple[str, ...]], Space]:
    """Columns of each thing, none where it is not there, and what the position's numbers are."""
    usual: dict[str, tuple[str, ...]] = {"lesion": LESION, "patient": PATIENT, "diameter_mm": DIAMETER, "label": LABEL}
    usual["scan"] = (*_holding(cells, scans), *SCAN)
    found = {
        thing: (getattr(mapping, thing),) if getattr(mapping, thing) else tuple(n for n in names if n in cells)[:1]
        for thing, names in usual.items()
    }
    if not found["scan"]:
        raise LesionForgeError(
            f"{file} must say in a column which scan a row belongs to ({', '.join(SCAN)}), but has only "
            f"{', '.join(map(str, cells))}: name it in the settings."
        )
    space = mapping.space
    found["position"] = mapping.position or next((names for names in WORLD if set(names) <= set(cells)), ())
    if not found["position"]:
        found["position"] = next((names for names in VOXEL if set(names) <= set(cells)), ())
        space = "voxel" if found["position"] else space
    return found, space


def _holding(cells: pd.DataFrame, scans: Collection[str]) -> tuple[str, ...]:
    """Column that holds most of the names of scans."""
    known = set(scans)
    held = {str(name): len(known & set(map(_without_suffix, cells[name]))) for name in cells}
    best = max(held, key=lambda name: held[name])
    return (best,) if held[best] else ()


def _without_suffix(name: str) -> str:
    suffix = suffix_of(Path(name))
    return name[: len(name) - len(suffix)]


def _floats(file: Path, cells: pd.DataFrame, name: str) -> list[float]:
    values = numbers(cells[name])
    if not pd.api.types.is_numeric_dtype(values):
        raise LesionForgeError(f"column {name!r} of {file} must hold numbers, but some are text.")
    return values.astype(np.float64).tolist()


def _place(file: Path, row: int, values: list[float]) -> Point | None:
    if np.isnan(values).all():
        return None
    if np.isnan(values).any():
        raise LesionForgeError(f"a position must have numbers for x, y and z, but row {row + 1} of {file} has not.")
    x, y, z = values
    return x, y, z


def _diameter(file: Path, row: int, values: list[float]) -> float:
    (diameter,) = values or (float("nan"),)
    if diameter <= 0:
        raise LesionForgeError(f"a diameter must be above 0 mm or missing, but row {row + 1} of {file} has {diameter}.")
    return diameter


def _check_marks(file: Path, marks: Mapping[str, Sequence[Mark]]) -> None:
    if not marks:
        raise LesionForgeError(f"{file} must have a row for each lesion, but has none.")
    if "" in marks:
        raise LesionForgeError(f"each row of {file} must name its scan, but {len(marks[''])} do not.")
    names = [Counter(mark.name for mark in of_scan if mark.name) for of_scan in marks.values()]
    if twice := sum(count > 1 for counted in names for count in counted.values()):
        raise LesionForgeError(f"{file} must have one row for each lesion of a scan, but {twice} lesions have several.")
