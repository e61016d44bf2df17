"""`Patches` on disk: a folder that any tool can read.

``patches.json`` names the format, its version, the unit, the columns' types, the generators' exposures and the
size and SHA-256 of the other files, and ends in a checksum of all that. Beside it lie ``images.npy`` and
``masks.npy`` (NumPy's own format, opened memory-mapped) and ``table.csv`` (UTF-8). Where a row is synthetic the
files' names begin with ``synthetic_``.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.exposure import Exposure
from lesionforge.data.growing_array import GrowingArray
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.storage import check_files, describe_files, digest, new_folder, read_manifest, write_json

FORMAT = "lesionforge-patches"
VERSION = 1
MANIFEST = "patches.json"
IMAGES, MASKS, TABLE = "images.npy", "masks.npy", "table.csv"
SYNTHETIC = "synthetic_"  # before the files' names, where a row is


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
    with writing(path, overwrite=overwrite) as writer:
        writer.add(patches)
        for name, value in beside.items():
            write_json(writer.folder / name, value)
    return Path(path)


@contextmanager
def writing(path: Path | str, *, overwrite: bool = False) -> Iterator["PatchesWriter"]:
    """Yield what writes a set part by part to the folder ``path``, which is there when the block ends without an error.

    The parts together may be larger than memory.

    Raises
    ------
    LesionForgeError
        A part has another size, unit or other columns than the first.
    StorageError
        As of `save`.
    """
    path = Path(path)
    if path.exists() and overwrite and not (path / MANIFEST).is_file():
        raise StorageError(f"{path} is not a folder of patches, so it will not be replaced: choose another name.")
    with new_folder(path, overwrite=overwrite) as folder:
        with ExitStack() as opened:
            writer = PatchesWriter(folder, opened)
            yield writer
        writer.finish()


class PatchesWriter:
    """A set that is written part by part, by `writing`. Whatever else is put into ``folder`` belongs to it."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.folder = folder
        self._opened = opened
        self._described: dict[str, Any] = {}
        self._count, self._is_synthetic = 0, False
        self._generators: dict[str, Exposure] = {}

    def add(self, part: Patches) -> None:
        """Write further rows."""
        described = _description(part)
        if not self._described:
            self._described = described
            self._open(part)
        elif unlike := [name for name, fact in described.items() if fact != self._described[name]]:
            raise LesionForgeError(f"parts of one set must be alike, but their {' and '.join(unlike)} differ.")
        self._images.add(part.images)
        if part.masks is not None:
            self._masks.add(part.masks)
        self._write_rows(part.table)
        self._count += len(part)
        self._is_synthetic |= bool(part.is_synthetic.any())
        for origin, seen in part.generators.items():
            self._generators[origin] = self._generators.get(origin, Exposure()) | seen

    def _open(self, first: Patches) -> None:
        files = {name: self.folder / name for name in (IMAGES, MASKS, TABLE)}
        self._images = self._opened.enter_context(GrowingArray(files[IMAGES], first.images.dtype, first.shape))
        if first.masks is not None:
            self._masks = self._opened.enter_context(GrowingArray(files[MASKS], np.uint8, first.shape))
        self._rows = self._opened.enter_context(files[TABLE].open("w", encoding="utf-8", newline=""))
        self._write_rows(first.table[:0], header=True)

    def _write_rows(self, table: pd.DataFrame, *, header: bool = False) -> None:
        # Quoted, a carriage return inside a text is not taken for the end of its row.
        table.to_csv(self._rows, index=False, header=header, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)

    def finish(self) -> None:
        """Say in the manifest what was written; `writing` calls it."""
        if self._is_synthetic:
            for name in (IMAGES, MASKS, TABLE):
                file = self.folder / name
                if file.exists():
                    file.rename(self.folder / f"{SYNTHETIC}{name}")
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            **self._described,
            "count": self._count,
            "generators": {origin: seen.to_json() for origin, seen in self._generators.items()},
            "files": describe_files(self.folder),
        }
        write_json(self.folder / MANIFEST, manifest | {"digest": digest(manifest)})


def _description(patches: Patches) -> dict[str, Any]:
    """What all parts of a set share."""
    table = patches.table
    return {
        "unit": patches.unit,
        "shape": list(patches.shape),
        "dtype": patches.images.dtype.str,
        "masks": patches.masks is not None,
        "columns": {name: _column_type(table[name]) for name in table},
    }


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
    named = {name.removeprefix(SYNTHETIC): path / name for name in files}
    cells = pd.read_csv(named[TABLE], dtype=str, keep_default_na=False, encoding="utf-8")
    table = pd.DataFrame({name: _typed(cells[name], manifest["columns"][name]) for name in cells})
    return Patches(
        _map(named[IMAGES]),
        table,
        masks=_map(named[MASKS]) if MASKS in named else None,
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
