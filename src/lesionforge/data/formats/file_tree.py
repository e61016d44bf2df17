"""The files below a folder: each once, in an order that does not change, whatever links lead in circles."""

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from lesionforge.errors import StorageError


def files_below(path: Path) -> Iterator[Path]:
    """Yield the plain files at or below ``path``, sorted by name within each folder.

    Links are followed, as data sets are often put together from them, but no folder is entered twice. Pipes and
    devices, on which reading would wait for ever, are left out, and so are folders that may not be entered.

    Raises
    ------
    StorageError
        There is nothing at ``path``.
    """
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise StorageError(f"{path} must be a file or folder with data, but there is none: check the path.")
    seen = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from filter(_is_file, (Path(folder, name) for name in sorted(names)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may be listed but not entered
        return False


def file_inside(folder: Path, name: str) -> Path | None:
    """Return the path ``name`` in ``folder``; None: it leads out of it, through ``..``, a root, a drive or a link.

    Names that stand in foreign files are followed through here alone.
    """
    path = folder / name
    try:
        path.is_file()  # fails with a name that no file can have
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, or no name
        return None
    return path if is_inside and name and not PureWindowsPath(name).anchor else None
