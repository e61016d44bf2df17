"""The phantom's scans as files that other programs read: what the source ``volume`` takes in again.

A folder has ``image/NAME.nii.gz``, ``mask/NAME.nii.gz`` (k in lesion k) and ``lesions.csv`` with a row for each lesion.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from lesionforge.data.formats.volume_file import write_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.phantom.grid import Point
from lesionforge.data.phantom.scans import PhantomScan, phantom_scan
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import read_json, write_json, write_text

MADE_WITH, TABLE = "phantom.json", "lesions.csv"


def save_phantom_scans(
    folder: Path,
    kind: str = "lung",
    *,
    patients: int = 10,
    seed: int = 0,
    spacing_mm: Point = (2.5, 1.4, 1.4),
    difficulty: float = 0.5,
    progress: Progress = SILENT,
) -> Path:
    """Compute whole scans of the phantom and write them; return the folder.

    A run that was ended goes on where it was, and with more patients a folder grows: each file is whole or not there,
    and the table is written last.

    Parameters
    ----------
    kind, seed, spacing_mm, difficulty
        As in `phantom_scan`.
    patients
        Patients 0 … patients − 1.
    progress
        Told of each scan.

    Raises
    ------
    LesionForgeError
        An argument is not what is said above.
    StorageError
        The folder holds something else, or the disk refuses.
    """
    if patients < 1:
        raise LesionForgeError(f"a phantom must have 1 or more patients, but {patients} came.")
    folder = Path(folder)
    compute = partial(phantom_scan, kind, seed=seed, difficulty=difficulty, spacing_mm=spacing_mm)
    # One voxel is enough to know a patient's lesions, and refuses what does not fit before anything is written.
    known = [compute(patient=number, shape=(1, 1, 1)) for number in range(patients)]
    _claim(folder, {"kind": kind, "seed": seed, "difficulty": difficulty, "spacing_mm": list(spacing_mm)})
    with progress.work("phantom scans", patients, unit="scans") as advance:
        for number, patient in enumerate(known):
            image, mask = (folder / part / f"{patient.patient}.nii.gz" for part in ("image", "mask"))
            if not (image.exists() and mask.exists()):
                scan = compute(patient=number)
                geometry = Geometry(scan.hu.shape, scan.spacing_mm, scan.origin_mm)
                write_volume(mask, scan.mask, geometry)
                write_volume(image, scan.hu, geometry)
            advance(1)
    table = pd.concat([_rows(patient) for patient in known])
    write_text(folder / TABLE, table.to_csv(index=False))
    return folder


def _claim(folder: Path, made_with: dict[str, object]) -> None:
    """Note how the scans are made; refuse a folder with others, or with anything else."""
    if (folder / MADE_WITH).exists():
        if read_json(folder / MADE_WITH, of="scans of the phantom") != made_with:
            raise StorageError(f"{folder} holds scans of another phantom: choose another folder, or the same settings.")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} must be new or empty, but holds something else: choose another folder.")
    write_json(folder / MADE_WITH, made_with)


def _rows(scan: PhantomScan) -> pd.DataFrame:
    return scan.lesions.assign(scan=scan.patient, patient=scan.patient)
