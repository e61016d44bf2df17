"""One scan, whatever its format: a volume file, or a folder (or file) of one DICOM series."""

from pathlib import Path

from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.formats.volume_file import read_volume, suffix_of
from lesionforge.data.scan import Scan
from lesionforge.data.source import counted
from lesionforge.errors import LesionForgeError, StorageError

ANONYMOUS = "unknown"  # a volume file names no patient


def open_scan(path: Path, *, series: str = "") -> Scan:
    """Read the one scan at ``path``.

    Parameters
    ----------
    series
        Series instance UID, or how it ends, where a folder holds several.

    Raises
    ------
    LesionForgeError
        There is no scan, or there are several.
    """
    if not path.exists():
        raise StorageError(f"{path} must be a volume file or a folder with a DICOM series, but there is none.")
    if path.is_file() and suffix_of(path):
        return read_volume(path, patient=ANONYMOUS, name=path.name)
    found, skipped = find_series(path)
    chosen = [each for each in found if each.uid.endswith(series)]
    if len(chosen) == 1:
        return chosen[0].scan()
    if not chosen:
        reasons = "; ".join(f"{count} {reason}" for reason, count in counted(skipped).items())
        raise LesionForgeError(
            f"{path} must hold a CT series{f' whose UID ends in {series}' if series else ''}, but none can be used"
            f"{f' ({reasons})' if reasons else ''}."
        )
    uids = ", ".join(each.uid for each in chosen[:5])
    raise LesionForgeError(
        f"{path} holds {len(chosen)} series ({uids}): choose one by how its UID ends, with --series."
    )
