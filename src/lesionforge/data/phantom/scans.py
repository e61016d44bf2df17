"""Whole scans of the phantom, with every lesion known."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.hounsfield import as_stored
from lesionforge.data.phantom.grid import Grid, Point
from lesionforge.data.phantom.patches import lesion_row
from lesionforge.data.phantom.population import Patient, Population
from lesionforge.errors import LesionForgeError

FIELD_MM: Mapping[str, Point] = {"lung": (260.0, 300.0, 390.0), "liver": (180.0, 300.0, 390.0)}  # z, y, x
SPACINGS_MM = 0.1, 20.0  # the finest and the coarsest: a lesion is to be seen, and a scan to fit into memory


@dataclass(frozen=True)
class PhantomScan:
    """A scan whose lesions are known. Voxel [k, j, i] lies at ``origin_mm`` + (i·x, j·y, k·z spacing)."""

    patient: str
    hu: NDArray[np.int16]  # [Z, Y, X]
    mask: NDArray[np.uint8]  # [Z, Y, X], 0 where there is no lesion, k in lesion k of the table
    spacing_mm: Point  # z, y, x
    origin_mm: Point  # x, y, z of voxel [0, 0, 0] in the patient's coordinates
    lesions: pd.DataFrame  # a row for each: lesion, label, diameter_mm, position_x,y,z_mm and all that was drawn


def phantom_scan(
    kind: str = "lung",
    *,
    patient: int = 0,
    seed: int = 0,
    spacing_mm: Point = (2.5, 1.4, 1.4),
    shape: tuple[int, int, int] | None = None,
    difficulty: float = 0.5,
    shares: Mapping[str, float] | None = None,
    lesions_per_patient: tuple[int, int] = (1, 3),
) -> PhantomScan:
    """Compute the whole scan that the patches of one patient are cut from.

    With the same arguments, patient ``patient`` has the lesions that `phantom_patches` shows, in the same body; only
    the noise is another, as in a repeated scan.

    Parameters
    ----------
    kind, seed, difficulty, shares, lesions_per_patient
        As in `phantom_patches`.
    spacing_mm
        Of voxels, (z, y, x). Slices have the patient's own thickness whatever their distance.
    shape
        Voxels (z, y, x) about the body's middle; None: enough for the whole chest or upper abdomen.

    Raises
    ------
    LesionForgeError
        An argument is not what is said above.
    """
    if patient < 0:
        raise LesionForgeError(f"patient must be a number from 0 up, but {patient} came.")
    finest, coarsest = SPACINGS_MM
    if len(spacing_mm) != 3 or not all(finest <= step <= coarsest for step in spacing_mm):
        raise LesionForgeError(
            f"spacing_mm must be three numbers from {finest} to {coarsest} (z, y, x), but {spacing_mm} came."
        )
    if shape is not None and (len(shape) != 3 or min(shape) < 1):
        raise LesionForgeError(f"shape must be three numbers from 1 up (z, y, x), but {shape} came.")
    drawn = Population(kind, seed, difficulty, shares, lesions_per_patient).patient(patient)
    if shape is None:
        slices, rows, columns = (int(np.ceil(f / s)) for f, s in zip(FIELD_MM[kind], spacing_mm, strict=True))
        shape = (slices, rows, columns)
    grid = Grid.centred(np.zeros(3), spacing_mm, shape)
    image = drawn.scanner.reconstruct(drawn.anatomy.attenuation, grid) + drawn.scanner.noise(grid, drawn.noise_rng(0))
    z, y, x = grid.first_mm
    return PhantomScan(drawn.name, as_stored(image), _lesion_map(drawn, grid), spacing_mm, (x, y, z), _table(drawn))


def _lesion_map(patient: Patient, grid: Grid) -> NDArray[np.uint8]:
    numbers = np.zeros(grid.shape, dtype=np.uint8)
    for number, lesion in enumerate(patient.anatomy.lesions, start=1):
        window = grid.window(lesion.shape.centre_mm, lesion.shape.reach_mm)
        if window is not None:
            numbers[window][lesion.shape.distance(grid.cut(window)) <= 0] = number
    return numbers


def _table(patient: Patient) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"lesion": number, "label": label, **lesion_row(lesion, patient.scanner)}
            for number, (label, lesion) in enumerate(zip(patient.labels, patient.anatomy.lesions, strict=True), start=1)
        ]
    )
