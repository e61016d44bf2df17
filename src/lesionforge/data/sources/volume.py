"""Volumes in one file each (NIfTI, NRRD, MetaImage), with label volumes, a CSV of lesions, or both.

An image finds its mask by name: ``image/NAME`` and ``mask/NAME`` (folders may also be called images, labels, seg …),
``NAME`` and ``NAME_mask`` (_seg, _label …) in one folder, or a folder for each scan with ``image`` and ``mask``. A
table (``lesions.csv``, ``metadata.csv`` …) says more of the lesions in the masks, or where those without a mask are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lesionforge.data.formats.label_volume import LabelVolume, described
from lesionforge.data.formats.points import Mark, PointsMapping, read_points
from lesionforge.data.formats.volume_file import read_geometry, read_volume, stored_geometry
from lesionforge.data.formats.volume_pairs import find_pairs
from lesionforge.data.scan import Annotations, Lesion, Scan
from lesionforge.data.source import Case, Found, ScanSource, Skip
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress

TABLES = ("lesions.csv", "points.csv", "annotations.csv", "metadata.csv")


@dataclass(frozen=True)
class Volume(ScanSource):
    """Settings.

    Parameters
    ----------
    masks
        How label volumes are read. A lesion's value is in the column ``label_value``, and in ``lesions_dropped`` how
        many of its scan were too small.
    mask
        File of the mask, where the path is one image and the names do not say that they belong together.
    table
        The CSV. By default the one in the folder that is called lesions, points, annotations or metadata.
    columns
        What its columns mean.
    patient
        Pattern (regular expression) whose first group is the patient in a scan's name. By default the table's column
        ``patient`` or ``patient_id``; or else the first folder of the name, or what comes before its first ``_``.
    unmarked
        Whether scans without mask and rows count, too: lesions may be put into them.
    unit
        ``HU``, or the images' own.
    """

    masks: LabelVolume = field(default_factory=LabelVolume)
    mask: str = ""
    table: str = ""
    columns: PointsMapping = field(default_factory=PointsMapping)
    patient: str = ""
    unmarked: bool = False
    unit: str = "HU"

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Count the images, and those with a mask."""
        pairs, _ = find_pairs(path)
        masks = sum(mask is not None for _, mask in pairs.values())
        return f"{len(pairs)} volumes, {masks} with a mask" if pairs else ""

    def find(self, path: Path, *, progress: Progress = SILENT) -> Found:
        """Find images, their masks and their rows.

        Raises
        ------
        LesionForgeError
            There are no images, none has a mask or row, or by their names all are of one patient.
        """
        pairs, skipped = find_pairs(path)
        if not pairs:
            raise LesionForgeError(f"{path} must hold volumes (NIfTI, NRRD, MetaImage), but has none beside masks.")
        if self.mask:
            pairs = {name: (image, _beside(path, self.mask)) for name, (image, _) in pairs.items()}
        table = _table(path if path.is_dir() else path.parent, self.table)
        marks = read_points(table, self.columns, scans=pairs) if table else {}
        if marks and not set(marks) & set(pairs):
            raise LesionForgeError(
                f"{table} must name scans as their files are called ({next(iter(pairs))}), but no row does: name the "
                "column in the setting `columns.scan`."
            )
        if path.is_dir():
            skipped += [Skip(scan, "rows without a scan") for scan in marks if scan not in pairs]
        usable = {name: pair for name, pair in pairs.items() if pair[1] or table or self.unmarked}
        skipped += [Skip(str(pairs[name][0]), "neither mask nor table") for name in pairs if name not in usable]
        if not usable:
            raise LesionForgeError(
                f"{path} has {len(pairs)} volumes but neither masks (mask/NAME, NAME_mask) nor a table "
                f"({', '.join(TABLES)}): name them in the settings `mask` or `table`."
            )
        patients = self._patients({name: marks.get(name, ()) for name in usable})
        progress.say(f"{len(usable)} scans of {len(set(patients.values()) - {''})} patients")
        skipped += [Skip(str(usable[name][0]), "patient unknown") for name in usable if not patients[name]]
        cases = [
            VolumeCase(name, image, mask, patients[name], marks.get(name, ()), self)
            for name, (image, mask) in usable.items()
            if patients[name]
        ]
        return Found(cases, skipped)

    def _patients(self, marks: Mapping[str, Sequence[Mark]]) -> dict[str, str]:
        """Patient of each scan; empty: unknown."""
        if self.patient:
            matches = {name: _pattern(self.patient).search(name) for name in marks}
            return {name: (match[1] or "") if match else "" for name, match in matches.items()}
        stated = {name: {mark.patient for mark in of_scan} for name, of_scan in marks.items()}
        if any(patient for patients in stated.values() for patient in patients):
            return {name: next(iter(patients)) if len(patients) == 1 else "" for name, patients in stated.items()}
        guessed = {name: re.split("/" if "/" in name else "_", name)[0] for name in marks}
        if len(marks) > 1 and len(set(guessed.values())) == 1:
            raise LesionForgeError(
                f"whose scan each is must be known, but by their names all {len(marks)} would be of one patient: say "
                "it in the setting `patient`, such as patient='(.*)' where each scan is another patient's."
            )
        return guessed


@dataclass(frozen=True, eq=False)
class VolumeCase(Case):
    """One image with its mask and rows."""

    name: str
    image: Path
    mask: Path | None
    patient: str
    marks: tuple[Mark, ...]
    settings: Volume

    def annotations(self) -> Annotations:
        """Read the image's header, and the mask."""
        geometry = read_geometry(self.image)
        lesions: list[Lesion] = []
        facts: dict[str, str | float] = {}
        if self.mask:
            named = {mark.name for mark in self.marks}
            lesions, facts["lesions_dropped"] = self.settings.masks.read(self.mask, geometry, whole=named)
        lesions = described(lesions, self.marks, geometry, stored_geometry(self.image))
        return Annotations(self.patient, self.name, geometry, tuple(lesions), facts)

    def scan(self) -> Scan:
        """Read the image."""
        return read_volume(self.image, patient=self.patient, name=self.name, unit=self.settings.unit)


def _pattern(text: str) -> "re.Pattern[str]":
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise LesionForgeError(f"patient must be a regular expression, but {text!r}: {error}.") from None
    if not pattern.groups:
        raise LesionForgeError(f"patient must have a group in parentheses, but {text!r} has none.")
    return pattern


def _beside(image: Path, mask: str) -> Path:
    if not image.is_file():
        raise LesionForgeError("the setting `mask` is for a path that is one image: masks of many are found by name.")
    if not (image.parent / mask).is_file():
        raise LesionForgeError(f"{image.parent / mask}, named in the setting `mask`, must be a file, but is not there.")
    return image.parent / mask


def _table(folder: Path, name: str) -> Path | None:
    there = [folder / known for known in ([name] if name else TABLES) if (folder / known).is_file()]
    if name and not there:
        raise LesionForgeError(f"{folder / name}, named in the setting `table`, must be a file, but is not there.")
    if len(there) > 1:
        raise LesionForgeError(
            f"{folder} must have one table, but has {' and '.join(file.name for file in there)}: name one in the "
            "setting `table`."
        )
    return there[0] if there else None
