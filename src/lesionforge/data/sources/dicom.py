"""CT series in DICOM files, with or without a CSV of lesions.

Series that LIDC's readings, SEG or RTSTRUCT describe have sources of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lesionforge.data.formats.dicom_file import is_dicom
from lesionforge.data.formats.dicom_series import Series, find_series
from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.formats.points import Mark, PointsMapping, read_points
from lesionforge.data.scan import Annotations, Scan
from lesionforge.data.source import Case, Found, ScanSource, Skip, counted
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress


@dataclass(frozen=True)
class Dicom(ScanSource):
    """Settings.

    Parameters
    ----------
    table
        CSV of lesions in the folder, whose rows name their series instance UID. Without it, scans have no lesions.
    columns
        What its columns mean.
    """

    table: str = ""
    columns: PointsMapping = field(default_factory=PointsMapping)

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Look for a first DICOM file."""
        return "DICOM files" if any(map(is_dicom, files_below(path))) else ""

    def find(self, path: Path, *, progress: Progress = SILENT) -> Found:
        """Find the series, and the rows of each.

        Raises
        ------
        LesionForgeError
            There is no CT series that can be used, or the table names none of them.
        """
        series, skipped = find_series(path, progress=progress)
        if not series:
            reasons = ", ".join(f"{count} with {reason}" for reason, count in counted(skipped).items())
            raise LesionForgeError(
                f"{path} must hold CT series in DICOM, but none can be used ({reasons or 'there are no DICOM files'})."
            )
        marks = self._marks(path if path.is_dir() else path.parent, series)
        known = {each.uid for each in series}
        skipped += [Skip(uid, "rows without a series") for uid in marks if uid not in known]
        progress.say(f"{len(series)} CT series of {len({each.patient for each in series})} patients")
        return Found([DicomCase(each.uid, each, marks.get(each.uid, ())) for each in series], skipped)

    def _marks(self, folder: Path, series: Sequence[Series]) -> dict[str, tuple[Mark, ...]]:
        if not self.table:
            return {}
        file = folder / self.table
        if not file.is_file():
            raise LesionForgeError(f"{file}, named in the setting `table`, must be a file, but is not there.")
        uids = {each.uid for each in series}
        marks = read_points(file, self.columns, scans=uids)
        if not uids & set(marks):
            raise LesionForgeError(
                f"{file} must name series by their series instance UID ({series[0].uid}), but no row does: name the "
                "column in the setting `columns.scan`."
            )
        return marks


@dataclass(frozen=True, eq=False)
class DicomCase(Case):
    """One series with its rows."""

    name: str
    series: Series
    marks: tuple[Mark, ...]

    def annotations(self) -> Annotations:
        """Place what the rows mark on the series."""
        geometry = self.series.geometry
        lesions = tuple(mark.lesion(geometry, self.series.stored) for mark in self.marks)
        return Annotations(self.series.patient, self.name, geometry, lesions, self.series.facts)

    def scan(self) -> Scan:
        """Read the series."""
        return self.series.scan()
