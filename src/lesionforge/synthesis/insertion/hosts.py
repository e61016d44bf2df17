"""Scans that lesions are put into, with what is known of them: where lesions are already, and how the files lie.

Scans that nobody has annotated are hosts, too, also beside annotated ones. So are patches: small scans of their own.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from lesionforge.data import patches_file
from lesionforge.data.exposure import Exposure
from lesionforge.data.formats.dicom_series import Series
from lesionforge.data.formats.volume_file import read_voxels, stored_geometry
from lesionforge.data.geometry import Geometry
from lesionforge.data.lungs import lungs
from lesionforge.data.recognition import AUTO, source_at
from lesionforge.data.scan import Lesion, Scan
from lesionforge.data.source import Case, Found, ScanSource
from lesionforge.data.sources.dicom import Dicom
from lesionforge.data.sources.lidc import Lidc
from lesionforge.data.sources.luna16 import LunaCase
from lesionforge.data.sources.seg import NOTHING_MARKED, Seg
from lesionforge.data.sources.volume import Volume, VolumeCase
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.progress import SILENT, Progress
from lesionforge.synthesis.insertion.patch_hosts import PatchCase, patch_cases
from lesionforge.synthesis.insertion.sites import Mask, Site


@dataclass(frozen=True, eq=False)
class Host:
    """A scan to put lesions into.

    Parameters
    ----------
    scan
        Canonical.
    known
        Lesions that it has already.
    series
        Its DICOM files; None: it came as one file.
    stored
        The grid in the order in which its file, or its series, has the voxels.
    exposure
        Whose it is.
    is_patch
        Whether it is a patch, and no scan.
    """

    scan: Scan
    known: tuple[Lesion, ...]
    series: Series | None
    stored: Geometry
    exposure: Exposure
    is_patch: bool = False


def find_hosts(path: Path, *, format_: str = AUTO, progress: Progress = SILENT) -> Found:
    """Find the scans at ``path``, or its patches, not yet opened.

    Raises
    ------
    LesionForgeError
        What lies there are no scans.
    """
    if (path / patches_file.MANIFEST).exists():
        return Found(patch_cases(patches_file.load(path)))
    source, what = source_at(path, format_, progress=progress)
    if not isinstance(source, ScanSource):
        raise LesionForgeError(f"lesions are put into scans, but {path} holds {what}: give DICOM series or volumes.")
    if isinstance(source, Lidc | Seg):
        return _annotated_or_not(source, path, progress)
    source = replace(source, unmarked=True) if isinstance(source, Volume) else source
    return source.find(path, progress=progress)


def _annotated_or_not(source: Lidc | Seg, path: Path, progress: Progress) -> Found:
    """All CT series, those with the annotations that the source reads and those without."""
    every = Dicom().find(path, progress=progress)
    try:
        annotated = {case.name: case for case in source.find(path).cases}
    except LesionForgeError:  # none belongs to a series
        annotated = {}
    return Found([annotated.get(case.name, case) for case in every.cases], every.skipped)


def find_host(path: Path, *, series: str = "", format_: str = AUTO, progress: Progress = SILENT) -> Host:
    """Open the one scan at ``path``; ``series``: how its name ends, where there are several.

    Raises
    ------
    LesionForgeError
        There is none, or there are several.
    """
    found = [case for case in find_hosts(path, format_=format_, progress=progress).cases if case.name.endswith(series)]
    if len(found) != 1:
        raise LesionForgeError(
            f"{path} must hold one scan{f' whose name ends in {series}' if series else ''}, but holds {len(found)}: "
            "choose one with --series, or put lesions into all with `lesionforge populate`."
        )
    case = found[0]
    # Of one file that is named nothing else is meant; what lies beside it may be of other scans.
    return open_host(replace(case, mask=None, marks=()) if isinstance(case, VolumeCase) and path.is_file() else case)


def open_host(case: Case) -> Host:
    """Read a scan and what is known of it.

    Raises
    ------
    UnfitDataError
        It cannot be used.
    """
    series = getattr(case, "series", None)  # of cases that are DICOM series, whoever has annotated them
    scan, known = case.scan(), _known(case)
    if isinstance(case, PatchCase):
        return Host(scan, known, None, scan.geometry, case.exposure, is_patch=True)
    exposure = Exposure.to([scan.patient], []) | (scan.synthetic.exposure if scan.synthetic else Exposure())
    if isinstance(series, Series):
        return Host(scan, known, series, series.stored, exposure)
    file = case.image if isinstance(case, VolumeCase) else case.file if isinstance(case, LunaCase) else None
    return Host(scan, known, None, stored_geometry(file) if file else scan.geometry, exposure)


def _known(case: Case) -> tuple[Lesion, ...]:
    try:
        return case.annotations().lesions
    except UnfitDataError as error:
        if error.reason == NOTHING_MARKED:
            return ()
        raise


def read_organ(file: Path, scan: Scan) -> Mask:
    """Read an organ's mask, which must lie on the scan's grid.

    Raises
    ------
    LesionForgeError
        It does not, or marks nothing.
    """
    voxels, geometry = read_voxels(file)
    canonical = Scan(voxels, geometry, patient="-", name=file.name, unit="mask").canonical()
    apart = max(
        abs(canonical.geometry.to_world(corner) - scan.geometry.to_world(corner)).max()
        for corner in ((0, 0, 0), scan.geometry.shape)
    )
    if canonical.geometry.shape != scan.geometry.shape or apart > min(scan.geometry.spacing_mm):
        raise LesionForgeError(f"{file} must lie on the grid of the scan, voxel on voxel, but does not: resample it.")
    organ: Mask = canonical.voxels > 0
    return organ


def check_inside(scan: Scan, sites: tuple[Site, ...], organ: Mask | None) -> None:
    """Raise LesionForgeError unless the sites lie in the organ; without one, in the lungs about them."""
    for number, site in enumerate(sites, 1):
        if not scan.geometry.contains(site.position_mm):
            continue  # `insert` says so
        z, y, x = (int(index) for index in scan.geometry.to_index(site.position_mm).round())
        section = lungs(_slice(scan, z))[0] if organ is None else organ[z]
        if not section[y, x]:
            raise LesionForgeError(
                f"a lesion must grow in the {'lungs' if organ is None else 'organ that is marked'}, but site {number} "
                f"lies outside: {'name the mask of another organ with --within, ' if organ is None else ''}look where "
                "it lies with `lesionforge annotate` or a viewer, or let places be found with --sites."
            )


def _slice(scan: Scan, number: int) -> Scan:
    geometry = scan.geometry.cut((number, 0, 0), (1, *scan.geometry.shape[1:]))
    return Scan(scan.voxels[number : number + 1], geometry, scan.patient, scan.name, scan.unit)
