"""LIDC-IDRI: CT series in DICOM, and XML files with what (usually four) radiologists marked in each.

Files may lie in any folders and have any names: a file belongs to the series whose instance UID it gives, an outline to
the slice whose SOP instance UID it gives. Nodules have masks; small nodules and non-nodules are points, which are kept
because a patch that shows *no* lesion must avoid them, too. Columns of a lesion are those of `facts_of` (``kind`` tells
nodules from the others, ``texture_1`` is the first reader's rating) and

- ``slices``: those of its mask;
- ``slices_missing``: those on which a reader marked it and that are not here. Above 0, its mask is cut short.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lesionforge.data.formats.dicom_series import Series, find_series
from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.formats.lidc_findings import Finding, Region, facts_of, find_findings, region_of, to_pixels
from lesionforge.data.formats.lidc_xml import LARGEST_FILE, NODULE, Mark, Outline, Reading, parse_reading
from lesionforge.data.geometry import Index
from lesionforge.data.scan import Annotations, Lesion, Scan
from lesionforge.data.source import Case, Found, ScanSource, Skip, counted
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.progress import SILENT, Progress

ROOT = b"LidcReadMessage"
LONGEST_PROLOGUE = 1024  # bytes before the root of an XML file
ROUNDING = 1e-9


@dataclass(frozen=True)
class Lidc(ScanSource):
    """Settings.

    Parameters
    ----------
    consensus
        Share of the readers who outlined a nodule that must have a voxel inside their outline for it to be the
        nodule's. Where no voxel has that many, those that most readers have inside.
    """

    precedence: ClassVar[int] = 10
    usual: ClassVar[tuple[str, ...]] = ("nodules",)

    consensus: Annotated[float, Field(gt=0, le=1)] = 0.5

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Count the XML files of LIDC."""
        count = sum(_begins_as_reading(file) for file in _xml_files(path))
        return f"LIDC-IDRI: {count} XML files with readings" if count else ""

    def find(self, path: Path, *, progress: Progress = SILENT) -> Found:
        """Pair readings with series.

        Raises
        ------
        LesionForgeError
            No reading belongs to a series.
        """
        readings, skipped = _readings(list(_xml_files(path)), progress)
        series, unusable = find_series(path, progress=progress)
        cases: list[Case] = []
        for each in series:
            try:
                case, dropped = _paired(each, readings.pop(each.uid, []), self)
            except UnfitDataError as error:
                skipped.append(Skip.because(each.uid, error))
            else:
                cases.append(case)
                skipped += dropped
        skipped += [
            Skip(str(file), "reading of a series that is not here") for of in readings.values() for file, _ in of
        ]
        if not cases:
            raise LesionForgeError(
                f"{path} must hold CT series in DICOM and the XML files that read them, but of {len(series)} series "
                f"none has a usable reading ({_reasons(skipped)}): give the folder that holds both."
            )
        return Found(cases, [*unusable, *skipped])


@dataclass(frozen=True, eq=False)
class LidcCase(Case):
    """One series and what its readers marked."""

    name: str
    series: Series
    reading: Reading
    settings: Lidc

    def annotations(self) -> Annotations:
        """Join the readers' marks to lesions, and place them on the series."""
        placement = _Placement(self.series)
        lesions = tuple(self._lesions(find_findings(self.reading.marks), placement))
        return Annotations(self.series.patient, self.series.uid, self.series.geometry, lesions, self.series.facts)

    def scan(self) -> Scan:
        """Read the series."""
        return self.series.scan()

    def _lesions(self, findings: Iterable[Finding], placement: "_Placement") -> Iterator[Lesion]:
        for finding in findings:
            marks = list(placement.usable(finding.marks))
            if not marks:
                continue  # `find` has counted its outlines
            yield self._lesion(finding, marks, [placement.voxels(region_of(mark)) for mark in marks])

    def _lesion(self, finding: Finding, marks: Sequence[Mark], voxels: Sequence[NDArray[np.int64]]) -> Lesion:
        """Return the lesion of a finding: ``marks`` are those that could be placed, ``voxels`` [n, 3] where."""
        geometry = self.series.geometry
        everywhere = np.concatenate(voxels)
        facts = facts_of(finding, readers=self.reading.readers)
        facts |= {"slices": 0, "slices_missing": len(_slices(finding.marks) - _slices(marks))}
        outlined = [each for mark, each in zip(marks, voxels, strict=True) if mark.kind == NODULE]
        if not outlined:
            x, y, z = map(float, geometry.to_world(everywhere.mean(axis=0)))
            return Lesion(finding.name, (x, y, z), facts=facts)
        needed = self.settings.consensus * len(finding.marked_as(NODULE))
        mask, start = _consensus(outlined, needed, within=everywhere)
        facts["slices"] = int(mask.any(axis=(1, 2)).sum())
        return Lesion.from_mask(mask, start, geometry, name=finding.name, facts=facts)


class _Placement:
    """Where the pixels of an LIDC file lie in the canonical voxels of a series."""

    def __init__(self, series: Series) -> None:
        if not series.uids:
            message = f"the series {series.uid} must be axial, one file for each slice, as LIDC's are, but is not."
            raise UnfitDataError("series not of axial files", message)
        self._series = series
        self._slice_of = {uid: number for number, uid in enumerate(series.uids)}

    def problem(self, outline: Outline) -> str:
        """Say why an outline cannot be placed; empty: it can."""
        if outline.slice_uid not in self._slice_of:
            return "outline on a slice that is not here"
        _, rows, columns = self._series.stored.shape
        return "outline off the image" if (outline.pixels >= (columns, rows)).any() else ""

    def usable(self, marks: Iterable[Mark]) -> Iterator[Mark]:
        """Yield the marks with the outlines that can be placed; a mark of which none includes anything is left out."""
        for mark in marks:
            outlines = tuple(outline for outline in mark.outlines if not self.problem(outline))
            if any(outline.inclusion for outline in outlines):
                yield replace(mark, outlines=outlines)

    def voxels(self, region: Region) -> NDArray[np.int64]:
        """Voxels [n, 3] of a region that can be placed."""
        # The file's pixels are those of the images as stored, whose rows may run otherwise than a canonical array's.
        stored = np.concatenate(
            [
                np.insert(to_pixels(codes)[:, ::-1], 0, self._slice_of[uid], axis=1)  # (x, y) → (slice, y, x)
                for uid, codes in region.items()
            ]
        )
        world_mm = self._series.stored.to_world(stored)
        return np.asarray(np.rint(self._series.geometry.to_index(world_mm)), dtype=np.int64)


def _consensus(
    readers: Sequence[NDArray[np.int64]], needed: float, *, within: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], Index]:
    """Mask of the voxels that so many readers have, in a box that holds all the voxels of ``within``."""
    start = within.min(axis=0)
    votes = np.zeros(within.max(axis=0) - start + 1, dtype=np.int64)
    for voxels in readers:
        votes[tuple((voxels - start).T)] += 1
    z, y, x = map(int, start)
    return votes >= min(needed, votes.max()) - ROUNDING, (z, y, x)


def _reasons(skipped: Sequence[Skip]) -> str:
    return "; ".join(f"{count} × {reason}" for reason, count in counted(skipped).items()) or "there are no XML files"


def _slices(marks: Iterable[Mark]) -> set[str]:
    return {outline.slice_uid for mark in marks for outline in mark.outlines}


def _paired(series: Series, readings: Sequence[tuple[Path, Reading]], settings: Lidc) -> tuple[LidcCase, list[Skip]]:
    """Return a case, and all of its reading that cannot be used."""
    if len(readings) != 1:
        reason = "series with several readings that differ" if readings else "CT series without a reading"
        raise UnfitDataError(reason, f"the series {series.uid} must have one reading, but has {len(readings)}.")
    ((file, reading),) = readings
    placement = _Placement(series)
    problems = [placement.problem(outline) for mark in reading.marks for outline in mark.outlines]
    if problems and all(problems):
        message = f"the marks in {file} must lie on slices of its series, but none of {len(problems)} does."
        raise UnfitDataError("no mark lies on a slice that is here", message)
    case = LidcCase(series.uid, series, reading, settings)
    return case, [Skip(str(file), reason) for reason in (*reading.dropped, *problems) if reason]


def _readings(files: Sequence[Path], progress: Progress) -> tuple[dict[str, list[tuple[Path, Reading]]], list[Skip]]:
    """Read the XML files: those of each series, and those that cannot be used."""
    readings: dict[str, list[tuple[Path, Reading]]] = {}
    skipped = []
    with progress.work("reading XML", len(files), unit="files") as advance:
        for file in files:
            try:
                with file.open("rb") as stream:
                    reading = parse_reading(stream.read(LARGEST_FILE + 1))
            except UnfitDataError as error:
                skipped.append(Skip.because(str(file), error))
            except OSError:
                skipped.append(Skip(str(file), "file that cannot be opened"))
            else:
                known = readings.setdefault(reading.series_uid, [])
                if any(reading.digest == other.digest for _, other in known):
                    skipped.append(Skip(str(file), "reading that another file holds, too"))
                else:
                    known.append((file, reading))
            advance(1)
    return readings, skipped


def _xml_files(path: Path) -> Iterator[Path]:
    return (file for file in files_below(path) if file.suffix.lower() == ".xml")


def _begins_as_reading(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return ROOT in stream.read(LONGEST_PROLOGUE)
    except OSError:
        return False
