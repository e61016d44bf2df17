"""Patches of the phantom: each lesion of each patient, cut out as a source would cut it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lesionforge.data.hounsfield import as_stored
from lesionforge.data.patch_table import POSITION
from lesionforge.data.patches import Patches
from lesionforge.data.phantom.grid import Grid, Point
from lesionforge.data.phantom.population import Lesion, Patient, Population
from lesionforge.data.phantom.scanner import Scanner
from lesionforge.errors import LesionForgeError

SMALLEST_PIXELS = 16


def phantom_patches(
    kind: str = "lung",
    *,
    patients: int = 60,
    seed: int = 0,
    size: int | tuple[int, int, int] = 64,
    difficulty: float = 0.5,
    shares: Mapping[str, float] | None = None,
    lesions_per_patient: tuple[int, int] = (1, 3),
) -> Patches:
    """Compute CT patches of lesions whose class, shape and attenuation are known.

    Their origin is that of measured patches: they are computed from anatomy and physics, and no generator has seen a
    patient to make them.

    Parameters
    ----------
    kind
        ``"lung"`` (labels ``non-solid``, ``solid``; native pixels) or ``"liver"`` (``cyst``, ``hemangioma``,
        ``metastasis``; the picture is scaled to its lesion, as Frid-Adar et al. 2018 cut theirs).
    patients
        Patients 0 … patients − 1 of the seed; a patient is the same whatever this number is.
    seed, difficulty, shares, lesions_per_patient
        See `Population`.
    size
        Pixels along both axes of a 2-D patch, or (z, y, x) voxels of a 3-D one.

    Returns
    -------
    Patches
        Images int16 in HU, masks, and beyond the usual columns all that was drawn for a lesion and its scan.

    Raises
    ------
    LesionForgeError
        An argument is not what is said above.
    """
    if patients < 1:
        raise LesionForgeError(f"a phantom must have 1 or more patients, but {patients} came.")
    shape = (1, size, size) if isinstance(size, int) else tuple(size)
    if len(shape) != 3 or min(shape[1:]) < SMALLEST_PIXELS or shape[0] < 1:
        raise LesionForgeError(
            f"size must be {SMALLEST_PIXELS} or more pixels, or (z, y, x) with as many in y and x, but {size} came."
        )
    population = Population(kind, seed, difficulty, shares, lesions_per_patient)
    drawn = map(population.patient, range(patients))  # one at a time: an anatomy takes megabytes
    cut = [_cut(patient, k, shape) for patient in drawn for k in range(len(patient.labels))]
    images, masks, rows = (list(column) for column in zip(*cut, strict=True))
    axes = slice(1, None) if isinstance(size, int) else slice(None)
    planes = (slice(None), 0) if isinstance(size, int) else slice(None)
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    spacing = np.array(columns.pop("spacing_mm"))[:, axes]
    return Patches.of(np.stack(images)[planes], masks=np.stack(masks)[planes], spacing_mm=spacing, **columns)


def patch_grid(lesion: Lesion, scanner: Scanner, shape: tuple[int, int, int]) -> Grid:
    """Voxels of a patch with the lesion's centre in voxel ``n // 2`` of each axis."""
    spacing: Point = (scanner.slice_thickness_mm, scanner.pixel_mm, scanner.pixel_mm)
    if lesion.roi_share is not None:
        field = lesion.shape.diameter_mm / lesion.roi_share
        spacing = (field / shape[0], field / shape[1], field / shape[2])
    return Grid.centred(lesion.shape.centre_mm, spacing, shape)


def _cut(patient: Patient, k: int, shape: tuple[int, int, int]) -> tuple[Any, Any, dict[str, Any]]:
    """Image and mask [Z, Y, X] of the patient's lesion ``k``, and its row."""
    lesion, scanner = patient.anatomy.lesions[k], patient.scanner
    grid = patch_grid(lesion, scanner, shape)
    image = scanner.reconstruct(patient.anatomy.attenuation, grid) + scanner.noise(grid, patient.noise_rng(k + 1))
    mask = (lesion.shape.distance(grid) <= 0).astype(np.uint8)
    row = {"patient": patient.name, "label": patient.labels[k], "spacing_mm": grid.spacing_mm}
    return as_stored(image), mask, row | lesion_row(lesion, scanner)


def lesion_row(lesion: Lesion, scanner: Scanner) -> dict[str, Any]:
    """All that is known of a lesion and its scan, by table column."""
    return {
        "diameter_mm": lesion.shape.diameter_mm,
        **dict(zip(POSITION, map(float, lesion.shape.centre_mm), strict=True)),
        **lesion.facts,
        "lobulation": lesion.shape.lobulation,
        "spiculation": lesion.shape.spiculation,
        "kernel": scanner.kernel.name,
        "slice_thickness_mm": scanner.slice_thickness_mm,
        "noise_hu": scanner.noise_hu,
    }
