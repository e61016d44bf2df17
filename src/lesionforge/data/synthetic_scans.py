"""Scans that a generator has made or changed: recognised, so that they do not pass for a real patient's.

Whoever learns from such a scan learns from the patients of its generator and of its host; so what is cut out of it must
carry both. Lesions that LesionForge inserted lie beside a record that says it, `RECORD`: in the folder of the file, or
in the one above. Without it nobody knows, and the scan is refused: it would pass the leak guard unseen.

What says of itself that it is synthetic: DICOM by Synthetic Data (0008,001C), or by a contributing equipment whose
purpose is synthesising; a NIfTI file by its header's description, if LesionForge wrote it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.exposure import Exposure
from lesionforge.data.geometry import Point
from lesionforge.data.patches import Patches
from lesionforge.errors import StorageError, UnfitDataError
from lesionforge.storage import read_manifest

RECORD, FORMAT, VERSION = "synthetic_lesions.json", "lesionforge-insertion", 1
NEAR_MM = 5.0  # between what was asked for and what a reader of the scan finds
REASON = f"synthetic, without a {RECORD} that says whom it has seen"


@dataclass(frozen=True)
class Synthetic:
    """What is known of how a scan was made.

    Parameters
    ----------
    origin
        Id of what made it.
    exposure
        All that it has seen: the generator's patients, and the host's.
    lesions
        Where lesions were put, and of which class.
    """

    origin: str
    exposure: Exposure
    lesions: tuple[tuple[Point, str], ...] = ()

    def mark(self, patches: Patches) -> Patches:
        """Return patches cut out of the scan as what they are: synthetic ones, that carry its exposure.

        A patch without a label gets that of the lesion that was put where it lies.
        """
        places = patches.table[[f"position_{axis}_mm" for axis in "xyz"]].to_numpy(dtype=np.float64)
        labels = [label or self._put_at(place) for label, place in zip(patches.labels.tolist(), places, strict=True)]
        table = patches.table.assign(origin=self.origin, patient=f"synthetic:{self.origin}", label=labels)
        return Patches(
            patches.images, table, masks=patches.masks, unit=patches.unit, generators={self.origin: self.exposure}
        )

    def _put_at(self, place: NDArray[np.float64]) -> str:
        """Class of the lesion that was put there; empty if none was."""
        near = [(float(np.linalg.norm(place - put)), label) for put, label in self.lesions]
        distance, label = min(near, default=(np.inf, ""))
        return label if distance <= NEAR_MM else ""


def made_by(file: Path, *, series_uid: str | None = None) -> Synthetic:
    """Read what the record beside a synthetic file says.

    Parameters
    ----------
    series_uid
        Of the DICOM series that the file belongs to, which must be the record's.

    Raises
    ------
    UnfitDataError
        There is no record, or it is of another scan.
    """
    for folder in (file.parent, file.parent.parent):
        try:
            record = read_manifest(folder / RECORD, of="a scan with inserted lesions", format_=FORMAT, version=VERSION)
            if series_uid is None or record["series_uid"] == series_uid:
                return _read(record)
        except (StorageError, KeyError, TypeError):
            continue
    raise UnfitDataError(
        REASON,
        f"{file} says that it is synthetic, so whatever learns from it must not be scored on those whom its generator "
        f"or its host were taken from, but no {RECORD} of it lies in its folder or the one above: put it back there, "
        "or leave the scan out.",
    )


def _read(record: dict[str, Any]) -> Synthetic:
    lesions: list[tuple[Point, str]] = []
    for each in record.get("lesions", []):
        x, y, z = map(float, each["position_mm"])
        lesions.append(((x, y, z), str(each["label"])))
    return Synthetic(str(record["request"]["painter"]), Exposure.from_json(record["exposure"]), tuple(lesions))
