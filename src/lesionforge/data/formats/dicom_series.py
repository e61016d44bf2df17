"""DICOM series: which files make up a CT volume, and the volume.

What counts is what the headers say: slices belong together by their series instance UID and are ordered by their
positions along the normal of their planes, never by file name or instance number.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from lesionforge.data.formats.dicom_header import Plane, read_planes
from lesionforge.data.formats.dicom_pixels import read_hu
from lesionforge.data.formats.dicom_stack import stack
from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Scan
from lesionforge.data.source import Skip
from lesionforge.data.synthetic_scans import Synthetic, made_by
from lesionforge.errors import UnfitDataError
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import digest


@dataclass(frozen=True, eq=False)
class Series:
    """A CT volume in DICOM files, not yet opened.

    Parameters
    ----------
    planes
        Its slices in the order in which ``stored`` counts them: along the canonical axis nearest to their normal.
    stored
        The grid of the slices as stored: stacked along the first axis, rows along the second, columns the third.
    patient
        Patient ID. Where the files have none, a digest of their study instance UID stands in for it (or else of their
        frame of reference, or of the series): one patient's studies then count as several patients.
    uid
        Series instance UID; where the files have none, a digest of their SOP instance UIDs.
    synthetic
        How it was made, if a generator has made or changed it.
    """

    planes: tuple[Plane, ...]
    stored: Geometry
    patient: str
    uid: str
    synthetic: Synthetic | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Files in the order of their slices."""
        return tuple(dict.fromkeys(plane.file for plane in self.planes))

    @property
    def uids(self) -> tuple[str, ...]:
        """SOP instance UID of each canonical slice; empty where slices are not axial, or share one file."""
        _, order, _ = self.stored.reordered()
        return tuple(plane.uid for plane in self.planes) if order[0] == 0 and self.planes[0].frames == 1 else ()

    @property
    def study_uid(self) -> str:
        """Study instance UID; empty where the files have none."""
        return self.planes[0].study_uid

    @property
    def geometry(self) -> Geometry:
        """The grid of the canonical scan."""
        return self.stored.reordered()[0]

    @property
    def facts(self) -> Mapping[str, str | float]:
        """What else the first header says, by the usual names; text that is missing is empty, a number NaN.

        ``slice_thickness_mm``, ``manufacturer``, ``model``, ``kernel``, ``tube_voltage_kv``.
        """
        return self.planes[0].facts

    def scan(self) -> Scan:
        """Read the voxels: int16 where all values stand for whole HU, else float32. Canonical.

        Raises
        ------
        UnfitDataError
            A file cannot be decoded.
        """
        dtype = np.int16 if all(plane.in_whole_hu for plane in self.planes) else np.float32
        voxels = np.empty(self.stored.shape, dtype=dtype)
        done = 0
        for _, planes in groupby(self.planes, key=lambda plane: plane.file):
            of_file = list(planes)
            read_hu(of_file, voxels[done : done + len(of_file)])
            done += len(of_file)
        return Scan(
            voxels, self.stored, patient=self.patient, name=self.uid, facts=self.facts, synthetic=self.synthetic
        ).canonical()


def find_series(path: Path, *, progress: Progress = SILENT) -> tuple[list[Series], list[Skip]]:
    """Find the CT series in the files at or below ``path``, sorted by their UID, and what cannot be used.

    Each header is read once. Files that are no DICOM are passed over; other modalities, localizers and broken files
    are among the skipped, as are series with missing slices, and synthetic ones without a record (`synthetic_scans`).

    Raises
    ------
    StorageError
        There is nothing at ``path``.
    """
    planes, skipped = _read_all(list(files_below(path)), progress)
    series = []
    for uid, members in sorted(_by_series(planes).items()):
        try:
            kept, left_out = _largest_stack(members)
            skipped += left_out
            marked = next((plane.file for plane in members if plane.is_synthetic), None)
            synthetic = None if marked is None else made_by(marked, series_uid=uid)
            series.append(Series(*stack(kept), patient=_patient(members, uid), uid=uid, synthetic=synthetic))
        except UnfitDataError as error:
            skipped.append(Skip.because(uid, error))
    if unnamed := sum(not each.planes[0].patient for each in series):
        progress.say(
            f"{unnamed} of {len(series)} series have no patient ID: their study stands in for the patient, so that "
            "several studies of one patient would count as several patients"
        )
    return series, skipped


def _read_all(files: Sequence[Path], progress: Progress) -> tuple[list[Plane], list[Skip]]:
    planes: list[Plane] = []
    skipped = []
    with progress.work("reading DICOM headers", len(files), unit="files") as advance:
        for file in files:
            try:
                planes += read_planes(file)
            except UnfitDataError as error:
                skipped.append(Skip.because(str(file), error))
            advance(1)
    return planes, skipped


def _by_series(planes: Sequence[Plane]) -> dict[str, list[Plane]]:
    """Planes by series instance UID; those without one by folder, study and frame of reference, named by a digest."""
    named: defaultdict[str, list[Plane]] = defaultdict(list)
    unnamed: defaultdict[tuple[Path, str, str], list[Plane]] = defaultdict(list)
    for plane in planes:
        if plane.series_uid:
            named[plane.series_uid].append(plane)
        else:
            unnamed[plane.file.parent, plane.study_uid, plane.frame_of_reference].append(plane)
    for members in unnamed.values():  # copies of such a series in several folders have one name
        named[f"unnamed-{digest(sorted(plane.uid for plane in members))}"] += members
    return named


def _largest_stack(planes: Sequence[Plane]) -> tuple[list[Plane], list[Skip]]:
    """The planes of the size and direction that most of a series have, and the others."""
    stacks: defaultdict[tuple[object, ...], list[Plane]] = defaultdict(list)
    for plane in planes:
        grid = (*(round(cosine, 3) for cosine in plane.orientation), *(round(mm, 4) for mm in plane.spacing_mm))
        stacks[plane.shape, grid].append(plane)
    largest, *others = sorted(stacks.values(), key=len, reverse=True)
    if others and len(others[0]) == len(largest):
        message = (
            f"the series of {planes[0].file} must be one stack of slices, but is several of {len(largest)} slices that "
            "differ in size or direction: put them into series of their own."
        )
        raise UnfitDataError("several stacks in one series", message)
    reason = "another size or direction than the rest of its series"
    left_out = [Skip(str(plane.file), reason, f"{plane.file} has {reason}.") for stack in others for plane in stack]
    return largest, left_out


def _patient(planes: Sequence[Plane], uid: str) -> str:
    patients = {plane.patient for plane in planes}
    if len(patients) > 1:
        message = (
            f"a series must be of one patient, but the files that share the series instance UID of {planes[0].file} "
            f"name {len(patients)}: take out those of others."
        )
        raise UnfitDataError("one series of several patients", message)
    first = planes[0]
    return first.patient or f"unnamed-{digest(first.study_uid or first.frame_of_reference or uid)}"
