"""Scans that lesions are put into, with what is known of them: where lesions are already, and how the files lie."""

from dataclasses import dataclass, replace
from pathlib import Path

from lesionforge.data.formats.dicom_series import Series
from lesionforge.data.formats.volume_file import read_voxels, stored_geometry
from lesionforge.data.geometry import Geometry
from lesionforge.data.lungs import lungs
from lesionforge.data.recognition import AUTO, source_at
from lesionforge.data.scan import Lesion, Scan
from lesionforge.data.source import Case, Found, ScanSource
from lesionforge.data.sources.luna16 import LunaCase
from lesionforge.data.sources.volume import Volume, VolumeCase
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress
from lesionforge.synthesis.sites import Mask, Site


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
    """

    scan: Scan
    known: tuple[Lesion, ...]
    series: Series | None
    stored: Geometry


def find_hosts(path: Path, *, format_: str = AUTO, progress: Progress = SILENT) -> Found:
    """Find the scans at ``path``, not yet opened.

    Raises
    ------
    LesionForgeError
        What lies there are no scans.
    """
    source, what = source_at(path, format_, progress=progress)
    if not isinstance(source, ScanSource):
        raise LesionForgeError(f"lesions are put into scans, but {path} holds {what}: give DICOM series or volumes.")
    source = replace(source, unmarked=True) if isinstance(source, Volume) else source
    return source.find(path, progress=progress)


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
    scan, known = case.scan(), case.annotations().lesions
    if isinstance(series, Series):
        return Host(scan, known, series, series.stored)
    file = case.image if isinstance(case, VolumeCase) else case.file if isinstance(case, LunaCase) else None
    return Host(scan, known, None, stored_geometry(file) if file else scan.geometry)


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
