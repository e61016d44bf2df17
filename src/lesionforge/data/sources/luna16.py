"""LUNA16 (Setio et al. 2017): MetaImage scans named by their series instance UID, and CSVs of world coordinates.

``annotations.csv`` has the nodules of 3 mm or more that three or four readers marked, ``candidates.csv`` (or
``candidates_V2.csv``) what detectors found, with class 1 for a nodule and 0 for none. LUNA16 does not name patients:
each scan counts as another patient's, which holds for all but a few of its 888 scans.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.formats.points import Mark, PointsMapping, read_points
from lesionforge.data.formats.volume_file import read_geometry, read_volume, suffix_of
from lesionforge.data.scan import Annotations, Lesion, Scan
from lesionforge.data.source import Case, Found, ScanSource, Skip
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress

NODULES = "annotations.csv"
CANDIDATES = ("candidates_V2.csv", "candidates.csv")  # the second version replaced the first
LUNGS = "seg-lungs"  # folder of the lungs' masks, named like the scans
WORLD = ("coordX", "coordY", "coordZ")
CLASSES = {"0": "non-nodule", "1": "nodule"}


@dataclass(frozen=True)
class Luna16(ScanSource):
    """Settings.

    Parameters
    ----------
    show
        ``nodules``, ``candidates``, or ``both``: then a candidate that lies within a nodule's radius is not shown
        again, but counted in the nodule's column ``candidates``. The column ``kind`` says which a lesion is.
    """

    show: Literal["nodules", "candidates", "both"] = "nodules"

    precedence: ClassVar[int] = 10

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Count the scans beside a table of LUNA16's."""
        tables = [name for name in (NODULES, *CANDIDATES) if (path / name).is_file()]
        if not tables or not all(_has_columns(path / name) for name in tables):
            return ""
        scans, _ = _scans(path)
        return f"{len(scans)} LUNA16 scans with {' and '.join(tables)}" if scans else ""

    def find(self, path: Path, *, progress: Progress = SILENT) -> Found:
        """Find the scans and the rows of each."""
        if not path.is_dir():
            raise LesionForgeError(f"{path} must be the folder of LUNA16's scans and tables, but is no folder.")
        nodules = _read(path, (NODULES,)) if self.show != "candidates" else {}
        candidates = _read(path, CANDIDATES) if self.show != "nodules" else {}
        scans, skipped = _scans(path)
        if not scans:
            raise LesionForgeError(f"{path} must hold LUNA16's scans (.mhd with .raw), but has none.")
        absent = len((nodules.keys() | candidates.keys()) - scans.keys())
        progress.say(f"{len(scans)} scans; the tables speak of {absent} more that are not there")
        cases = [
            LunaCase(uid, file, nodules.get(uid, ()), candidates.get(uid, ())) for uid, file in sorted(scans.items())
        ]
        return Found(cases, skipped)


@dataclass(frozen=True, eq=False)
class LunaCase(Case):
    """One scan with its rows."""

    name: str
    file: Path
    nodules: tuple[Mark, ...]
    candidates: tuple[Mark, ...]

    def annotations(self) -> Annotations:
        """Read the scan's header."""
        geometry = read_geometry(self.file)
        nodules = [_lesion("nodule", mark.lesion(geometry), label=CLASSES["1"]) for mark in self.nodules]
        candidates = [_lesion("candidate", mark.lesion(geometry), label=mark.label) for mark in self.candidates]
        lesions = _merged(nodules, candidates) if nodules and candidates else nodules + candidates
        return Annotations(self.name, self.name, geometry, tuple(lesions))

    def scan(self) -> Scan:
        """Read the voxels."""
        return read_volume(self.file, patient=self.name, name=self.name)


def _lesion(kind: str, lesion: Lesion, *, label: str) -> Lesion:
    return replace(lesion, name=f"{kind}-{lesion.name}", label=label, facts={**lesion.facts, "kind": kind})


def _merged(nodules: Sequence[Lesion], candidates: Sequence[Lesion]) -> list[Lesion]:
    """Nodules, each with the number of candidates that lie within its radius, and all other candidates."""
    places = np.array([candidate.position_mm for candidate in candidates])
    centres = np.array([nodule.position_mm for nodule in nodules])
    radii = np.array([nodule.diameter_mm for nodule in nodules]) / 2
    distance = np.linalg.norm(places[:, None] - centres, axis=-1)
    nearest = distance.argmin(axis=1)
    hit = distance.min(axis=1) <= radii[nearest]
    counts = Counter(nearest[hit].tolist())
    told = [replace(n, facts={**n.facts, "candidates": counts[k]}) for k, n in enumerate(nodules)]
    return told + [candidate for candidate, known in zip(candidates, hit, strict=True) if not known]


def _scans(path: Path) -> tuple[dict[str, Path], list[Skip]]:
    """File of each series, and what has a name that was there already."""
    scans: dict[str, Path] = {}
    skipped = []
    for file in files_below(path):
        if suffix_of(file) not in (".mhd", ".mha") or LUNGS in str(file.relative_to(path)):
            continue
        if file.stem in scans:
            skipped.append(Skip(str(file), "two scans of one name"))
        else:
            scans[file.stem] = file
    return scans, skipped


def _has_columns(file: Path) -> bool:
    with file.open("rb") as stream:
        return b"seriesuid" in stream.read(4096).split(b"\n")[0]


def _read(folder: Path, names: Sequence[str]) -> dict[str, tuple[Mark, ...]]:
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise LesionForgeError(f"{folder} must hold {' or '.join(names)} beside the scans, but does not.")
    if file.name == NODULES:
        return read_points(file, PointsMapping(scan="seriesuid", position=WORLD, diameter_mm="diameter_mm"))
    rows = read_points(file, PointsMapping(scan="seriesuid", position=WORLD, label="class"))
    if unknown := {mark.label for marks in rows.values() for mark in marks} - CLASSES.keys():
        raise LesionForgeError(f"column 'class' of {file} must hold 0 and 1, but {min(unknown)!r} is there.")
    return {scan: tuple(replace(mark, label=CLASSES[mark.label]) for mark in marks) for scan, marks in rows.items()}
