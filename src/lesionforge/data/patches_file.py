"""`Patches` on disk: a folder that any tool can read.

``patches.json`` names the format, its version, the unit, the columns' types, the generators' exposures and the
size and SHA-256 of the other files, and ends in a checksum of all that. Beside it lie ``images.npy`` and
``masks.npy`` (NumPy's own format, opened memory-mapped) and ``table.csv`` (UTF-8). Where a row is synthetic the
files' names begin with ``synthetic_``.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.exposure import Exposure
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.storage import check_files, describe_files, digest, new_folder, read_manifest, write_json

FORMAT = "lesionforge-patches"
VERSION = 1
MANIFEST = "patches.json"


def save(
    patches: Patches,
    path: Path | str,
    *,
    overwrite: bool = False,
    beside: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """Write ``patches`` to the folder ``path``, whole or not at all.

    ``beside`` are further JSON files, by name: how the patches were made.

    Raises
    ------
    StorageError
        ``path`` exists and ``overwrite`` is false, or it is no folder of patches, or the disk refuses.
    """
    path = Path(path)
    if path.exists() and overwrite and not (path / MANIFEST).is_file():
        raise StorageError(f"{path} is not a folder of patches, so it will not be replaced: choose another name.")
    mark = "synthetic_" if patches.is_synthetic.any() else ""
    with new_folder(path, overwrite=overwrite) as folder:
        np.save(folder / f"{mark}images.npy", patches.images, allow_pickle=False)
        if patches.masks is not None:
            np.save(folder / f"{mark}masks.npy", patches.masks.astype(np.uint8, copy=False), allow_pickle=False)
        table = patches.table
        # Quoted, a carriage return inside a text is not taken for the end of its row.
        table.to_csv(
            folder / f"{mark}table.csv",
            index=False,
            encoding="utf-8",
            lineterminator="\n",
            quoting=csv.QUOTE_NONNUMERIC,
        )
        for name, value in beside.items():
            write_json(folder / name, value)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "unit": patches.unit,
            "count": len(patches),
            "shape": list(patches.shape),
            "columns": {name: _column_type(table[name]) for name in table},
            "generators": {origin: seen.to_json() for origin, seen in patches.generators.items()},
            "files": describe_files(folder),
        }
        write_json(folder / MANIFEST, manifest | {"digest": digest(manifest)})
    return path


def load(path: Path | str, *, checksums: bool = True) -> Patches:
    """Open a folder that `save` wrote. Images and masks stay on disk until they are used.

    ``checksums=False`` skips reading every byte once; lengths are compared all the same.

    Raises
    ------
    StorageError
        The folder is missing, foreign, of a newer version, cut short or changed.
    """
    path = Path(path)
    if not path.is_dir():
        raise StorageError(f"{path} must be a folder of patches, but there is none: `lesionforge ingest` makes one.")
    manifest = read_manifest(path / MANIFEST, of="a folder of patches", format_=FORMAT, version=VERSION)
    if manifest.pop("digest", None) != digest(manifest):
        raise StorageError(f"{path / MANIFEST} does not match its checksum: it was changed, copy or make it again.")
    try:
        return _read(path, manifest, checksums=checksums)
    except LesionForgeError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StorageError(f"{path} does not hold what its {MANIFEST} says: make the patches again.") from error


def _read(path: Path, manifest: dict[str, Any], *, checksums: bool) -> Patches:
    files = manifest["files"]
    check_files(path, files, checksums=checksums)
    named = {name.removeprefix("synthetic_"): path / name for name in files}
    cells = pd.read_csv(named["table.csv"], dtype=str, keep_default_na=False, encoding="utf-8")
    table = pd.DataFrame({name: _typed(cells[name], manifest["columns"][name]) for name in cells})
    return Patches(
        _map(named["images.npy"]),
        table,
        masks=_map(named["masks.npy"]) if "masks.npy" in named else None,
        unit=manifest["unit"],
        generators={origin: Exposure.from_json(seen) for origin, seen in manifest["generators"].items()},
    )


def _typed(cells: "pd.Series[str]", kind: str) -> "pd.Series[Any] | NDArray[Any]":
    """Read a column's text as what it was; every bit of a number comes back."""
    if kind == "text":
        return cells
    if kind == "bool":
        return cells == "True"
    numbers = cells.mask(cells == "", "nan").to_numpy(dtype=str)
    return numbers.astype({"number": np.float64, "int64": np.int64}[kind])


def _map(file: Path) -> NDArray[Any]:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (ValueError, OSError, EOFError) as error:
        raise StorageError(f"{file} must be a NumPy array, but {error}.") from error


def _column_type(column: "pd.Series[Any]") -> str:
    if pd.api.types.is_bool_dtype(column):
        return "bool"
    if pd.api.types.is_integer_dtype(column):
        return "int64"
    return "number" if pd.api.types.is_float_dtype(column) else "text"
