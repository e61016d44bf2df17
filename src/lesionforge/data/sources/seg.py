"""CT series in DICOM, and DICOM Segmentations (SEG) or RT Structure Sets (RTSTRUCT) that refer to them.

Files may lie in any folders and have any names: an object belongs to the series whose instance UID it names, or, where
it names none, to the only one in its frame of reference.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from lesionforge.data.formats.dicom_file import BROKEN, broken_files_refused, is_dicom
from lesionforge.data.formats.dicom_region import Region, plain_text
from lesionforge.data.formats.dicom_rtstruct import read_contours
from lesionforge.data.formats.dicom_seg import read_segments
from lesionforge.data.formats.dicom_series import Series, find_series
from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.scan import Annotations, Lesion, Scan
from lesionforge.data.source import Case, Found, ScanSource, Skip
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import Count

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # Label Map Segmentation Storage, of 2024
OBJECTS = (SegmentationStorage, LABEL_MAP_STORAGE, RTStructureSetStorage)
NOTHING_MARKED = "nothing is marked"
AS_SKIPPED = ("modality SEG, not CT", "modality RTSTRUCT, not CT")  # among what `find_series` could not use
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "PatientID", "FrameOfReferenceUID", "ReferencedSeriesSequence"),
    "ReferencedFrameOfReferenceSequence",
]


@dataclass(frozen=True)
class Seg(ScanSource):
    """Settings.

    Parameters
    ----------
    labels
        Class of each segment or region whose name fits a pattern, the first that fits: ``{"GTV*": "tumour"}``; capitals
        do not count. Others are then no lesions (organs). By default every one is, with its name as its class.
    split
        Each connected component (26 neighbours) of a segment is a lesion. False: a segment is one.
    smallest_voxels
        Lesions with fewer voxels are left out.
    threshold
        Share from which on a pixel of a FRACTIONAL segmentation belongs to the lesion.
    """

    precedence: ClassVar[int] = 5

    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    split: bool = True
    smallest_voxels: Count = 1
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5

    def label_of(self, name: str) -> str | None:
        """Class of a segment or region of this name; None: it is no lesion."""
        if not self.labels:
            return name
        fitting = (label for pattern, label in self.labels.items() if fnmatchcase(name.lower(), pattern.lower()))
        return next(fitting, None)

    def is_wanted(self, name: str) -> bool:
        """Tell whether a segment or region of this name is a lesion."""
        return self.label_of(name) is not None

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Look for a first SEG or RTSTRUCT."""
        return next((f"DICOM {kind} and what else lies there" for kind in map(_kind, files_below(path)) if kind), "")

    def find(self, path: Path, *, progress: Progress = SILENT) -> Found:
        """Pair objects with series.

        Raises
        ------
        LesionForgeError
            No object belongs to a series.
        """
        series, skipped = find_series(path, progress=progress)
        others = [skip for skip in skipped if skip.reason not in AS_SKIPPED]
        files = [Path(skip.what) for skip in skipped if skip.reason in AS_SKIPPED]
        objects: dict[str, list[Path]] = defaultdict(list)
        seen = set[object]()
        for file in files:
            try:
                header = _read(file, header=True)
                owner = _owner(header, series, file)
            except UnfitDataError as error:
                others.append(Skip.because(str(file), error))
                continue
            if header.get("SOPInstanceUID") in seen:
                others.append(Skip(str(file), "SEG or RTSTRUCT that is there twice"))
            else:
                seen.add(header.get("SOPInstanceUID", file))
                objects[owner].append(file)
        cases = [SegCase(each.uid, each, tuple(objects[each.uid]), self) for each in series if each.uid in objects]
        others += [Skip(each.uid, "CT series without SEG or RTSTRUCT") for each in series if each.uid not in objects]
        if not cases:
            raise LesionForgeError(
                f"{path} must hold CT series in DICOM and SEG or RTSTRUCT that name them, but of {len(series)} series "
                f"and {len(files)} objects none belong together: give the folder that holds both."
            )
        progress.say(f"{len(cases)} of {len(series)} CT series with {sum(map(len, objects.values()))} SEG or RTSTRUCT")
        return Found(cases, others)


@dataclass(frozen=True, eq=False)
class SegCase(Case):
    """One series and the objects that refer to it."""

    name: str
    series: Series
    files: tuple[Path, ...]
    settings: Seg

    def annotations(self) -> Annotations:
        """Read the objects, and place what they mark on the series."""
        lesions = tuple(lesion for number, file in enumerate(self.files) for lesion in self._lesions(number + 1, file))
        if not lesions:
            message = f"the SEG or RTSTRUCT of series {self.series.uid} must mark something in it, but mark nothing."
            raise UnfitDataError(NOTHING_MARKED, message)
        return Annotations(self.series.patient, self.series.uid, self.series.geometry, lesions, self.series.facts)

    def scan(self) -> Scan:
        """Read the series."""
        return self.series.scan()

    def _lesions(self, number: int, file: Path) -> Iterator[Lesion]:
        for part, region in enumerate(self._regions(file), start=1):
            yield from region.lesions(
                self.series.geometry,
                name=f"{number}-{part}",
                label=self.settings.label_of(region.name) or "",
                split=self.settings.split,
                smallest_voxels=self.settings.smallest_voxels,
            )

    def _regions(self, file: Path) -> list[Region]:
        dataset = _read(file)
        with _broken_objects(file):
            _check_same_space(dataset, self.series)
            if dataset.SOPClassUID == RTStructureSetStorage:
                return read_contours(dataset, self.series.geometry, wanted=self.settings.is_wanted)
            planes = {plane.uid: plane for plane in self.series.planes}
            return read_segments(
                dataset,
                self.series.geometry,
                planes=planes,
                wanted=self.settings.is_wanted,
                threshold=self.settings.threshold,
            )


def _kind(file: Path) -> str:
    """SEG or RTSTRUCT by the first bytes of a file; empty: neither."""
    if not is_dicom(file):
        return ""
    try:
        uid = read_file_meta_info(file).get("MediaStorageSOPClassUID")
    except BROKEN:
        return ""
    return "" if uid not in OBJECTS else "RTSTRUCT" if uid == RTStructureSetStorage else "SEG"


@contextmanager
def _broken_objects(file: Path) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        with broken_files_refused("broken SEG or RTSTRUCT", "it must be whole, but is not: export it again"):
            yield
    except UnfitDataError as error:
        raise UnfitDataError(error.reason, f"{file}: {error}") from error


def _read(file: Path, *, header: bool = False) -> Dataset:
    with _broken_objects(file):
        dataset = dcmread(file, stop_before_pixels=header, specific_tags=TAGS if header else None)
        if dataset.SOPClassUID not in OBJECTS:
            raise UnfitDataError(
                "neither SEG nor RTSTRUCT", "its modality and its kind of object must fit; they do not."
            )
        return dataset


def _owner(header: Dataset, series: Sequence[Series], file: Path) -> str:
    """UID of the series that an object belongs to."""
    with _broken_objects(file):
        named = {str(item.SeriesInstanceUID) for item in header.get("ReferencedSeriesSequence") or ()}
        frames_of_reference = {str(header.get("FrameOfReferenceUID", ""))}
        for space in header.get("ReferencedFrameOfReferenceSequence") or ():
            frames_of_reference.add(str(space.get("FrameOfReferenceUID", "")))
            for study in space.get("RTReferencedStudySequence") or ():
                named |= {str(item.SeriesInstanceUID) for item in study.get("RTReferencedSeriesSequence") or ()}
        spaces = frames_of_reference - {""}
        fitting = [
            each.uid
            for each in series
            if each.uid in named or (not named and each.planes[0].frame_of_reference in spaces)
        ]
        if len(fitting) != 1:
            reason = "SEG or RTSTRUCT of several series" if fitting else "SEG or RTSTRUCT of a series that is not here"
            raise UnfitDataError(reason, f"it must belong to one CT series, but to {len(fitting)} of those here.")
        return fitting[0]


def _check_same_space(dataset: Dataset, series: Series) -> None:
    """Refuse an object of another patient, or whose millimetres are not the scan's."""
    patient = plain_text(dataset.get("PatientID"))
    if patient and series.planes[0].patient not in {"", patient}:
        raise UnfitDataError("SEG or RTSTRUCT of another patient", "it must be of its scan's patient, but is not.")
    items = [dataset, *(dataset.get("ReferencedFrameOfReferenceSequence") or ())]
    spaces = {str(item.FrameOfReferenceUID) for item in items if item.get("FrameOfReferenceUID")}
    own = series.planes[0].frame_of_reference
    if own and spaces and own not in spaces:
        raise UnfitDataError(
            "another frame of reference than the scan", "its frame of reference must be its scan's, but is another."
        )
