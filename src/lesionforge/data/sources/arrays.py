"""Arrays with a table: ``.npz`` or ``.npy`` files and a CSV whose row i describes image i.

What is where is said by an `ArraysMapping`: in Python, in a JSON file (``arrays.json`` beside the data is
found by itself), or as ``key=value`` settings on the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.formats.csv_table import numbers, read_cells
from lesionforge.data.formats.file_tree import file_inside
from lesionforge.data.formats.npz_file import array_names, read_array, read_arrays
from lesionforge.data.hounsfield import LOWEST_STORED_HU, as_stored
from lesionforge.data.patch_table import AXES, IDENTITY, POSITION
from lesionforge.data.patches import Patches
from lesionforge.data.patches_file import MANIFEST
from lesionforge.data.rules import class_of
from lesionforge.data.source import PatchSource
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import from_json, nearest
from lesionforge.storage import read_json

MAPPING_FILE = "arrays.json"
RESERVED = {
    *("images", "masks", "unit", "scan", "label", "diameter_mm", "spacing_mm", *POSITION, *IDENTITY),
    *(f"spacing_{axis}_mm" for axis in AXES[3]),
}


@dataclass(frozen=True)
class ArraysMapping(PatchSource):
    """Where a folder keeps images, masks and each column of the table. Empty: there is none.

    Columns of the CSV that are not named here are carried along under their own names.

    Parameters
    ----------
    images, masks
        A ``.npy`` file, or an ``.npz`` file and the key in it, as ``images.npz:hu``.
    table
        The CSV file, in UTF-8.
    index
        Column with each row's image number, checked and followed; by default row i is image i.
    patient, scan, diameter_mm
        Columns. A scan that is not given is its patient's.
    label
        Column with the classes; or else
    labels
        Class and rule (see `lesionforge.data.rules`). Rows that meet no rule are left out.
    spacing_mm
        One column for all axes, or one for each (slowest axis first: z, y, x).
    position_mm
        Columns for x, y and z.
    unit
        ``HU``, or the images' own.
    """

    images: str = "images.npy"
    masks: str = ""
    table: str = "table.csv"
    index: str = ""
    patient: str = "patient"
    scan: str = ""
    label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    diameter_mm: str = ""
    spacing_mm: tuple[str, ...] = ()
    position_mm: tuple[str, ...] = ()
    unit: str = "HU"

    def __post_init__(self) -> None:
        if self.label and self.labels:
            raise LesionForgeError("a mapping has either `label`, a column, or `labels`, rules; both came.")
        if len(self.position_mm) not in (0, len(POSITION)):
            raise LesionForgeError(f"position_mm must name columns for x, y and z, but {self.position_mm} came.")

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Recognise a mapping, or a folder with arrays and a table."""
        if _mapping_at(path).is_file():
            return f"arrays with a mapping, {_mapping_at(path).name}"
        holds = [bool(list(path.glob(pattern))) for pattern in ("*.np[yz]", "*.csv")] if path.is_dir() else [False]
        return "arrays with a table" if all(holds) and not (path / MANIFEST).exists() else ""

    @classmethod
    def at(cls, path: Path) -> "ArraysMapping":
        """Return the mapping that lies beside the arrays, or an empty one."""
        return read_mapping(_mapping_at(path)) if _mapping_at(path).is_file() else cls()

    def patches(self, path: Path, *, progress: Progress = SILENT) -> Patches:
        """Read them: `load_arrays`."""
        return load_arrays(path, mapping=self, progress=progress)


def load_arrays(path: Path | str, *, mapping: ArraysMapping | None = None, progress: Progress = SILENT) -> Patches:
    """Read patches from arrays and a CSV.

    Parameters
    ----------
    path
        The folder, or a JSON file with the mapping in it.
    mapping
        By default the folder's ``arrays.json``.
    progress
        Told how many rows were read, left out and clipped.

    Raises
    ------
    LesionForgeError
        A file, key, column or rule is missing or does not fit the others.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".json" else path
    if not folder.is_dir():
        raise StorageError(f"{path} must be a folder of arrays, or a JSON mapping inside one, but is neither.")
    if (folder / MANIFEST).exists():
        raise LesionForgeError(f"{folder} holds patches that LesionForge wrote: use them as they are.")
    mapping = mapping or read_mapping(_mapping_at(path))
    table = _read_table(folder, mapping)
    images = _read_array(folder, mapping.images)
    masks = _read_array(folder, mapping.masks) if mapping.masks else None
    order = _order(table, mapping, images, masks)
    labels = _labels(table, mapping)
    kept = np.flatnonzero(labels != "") if mapping.labels else np.arange(len(table))
    if not len(kept):
        raise LesionForgeError(f"none of the {len(table)} rows of {mapping.table} is left: no row meets a rule.")
    progress.say(_flow(labels, kept))
    columns = _columns(table.iloc[kept], mapping, axes=images.ndim - 1)
    images = _stored(images[order[kept]], mapping.unit, progress)
    masks = None if masks is None else masks[order[kept]]
    return Patches.of(images, label=labels[kept].tolist(), masks=masks, unit=mapping.unit, **columns)


def read_mapping(file: Path) -> ArraysMapping:
    """Read a mapping from JSON: an object with fields of `ArraysMapping`."""
    if not file.is_file():
        raise StorageError(
            f"{file} is missing: write into it what is where, such as "
            '{"images": "images.npz:hu", "table": "table.csv", "patient": "patient_id"}, or say it in settings.'
        )
    return from_json(ArraysMapping, read_json(file, of="a mapping of arrays"))


def _mapping_at(path: Path) -> Path:
    return path if path.suffix == ".json" else path / MAPPING_FILE


def _inside(folder: Path, name: str) -> Path:
    """Refuse a name that leads out of the folder: a mapping may come with somebody else's data."""
    file = file_inside(folder, name)
    if file is None:
        raise LesionForgeError(f"a mapping must name files inside its folder, but {name!r} came.")
    if file.name.startswith("synthetic_"):
        raise LesionForgeError(
            f"{file} holds synthetic patches, which must not come back as real ones: use the folder of "
            "patches that it belongs to, which says whom their generator has seen."
        )
    if not file.is_file():
        raise StorageError(f"{file} is missing{nearest(name, (each.name for each in folder.iterdir()))}")
    return file


def _read_table(folder: Path, mapping: ArraysMapping) -> pd.DataFrame:
    file = _inside(folder, mapping.table)
    texts = {mapping.patient, mapping.scan, mapping.label}
    named = {mapping.index, mapping.diameter_mm, *mapping.spacing_mm, *mapping.position_mm, *texts} - {""}
    cells = read_cells(file, needed=named)
    table = pd.DataFrame({name: cells[name] if name in texts else numbers(cells[name]) for name in map(str, cells)})
    for name in sorted(named - texts):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise LesionForgeError(f"column {name!r} of {file} must hold numbers, but some are text.")
    return table


def _read_array(folder: Path, source: str) -> NDArray[Any]:
    name, _, key = source.partition(":")
    file = _inside(folder, name)
    known = array_names(file)
    alone = None if known else read_array(file)
    if alone is not None and not key:
        return alone
    if key not in known:
        raise LesionForgeError(f"{file} has no array {key!r}: name one as {name}:key{nearest(key, known)}")
    return read_arrays(file, [key])[key]


def _order(
    table: pd.DataFrame, mapping: ArraysMapping, images: NDArray[Any], masks: NDArray[Any] | None
) -> NDArray[np.int64]:
    """Return the image of each row, [N]."""
    for source, array in ((mapping.images, images), (mapping.masks, masks)):
        if array is not None and array.shape[:1] != (len(table),):
            raise LesionForgeError(
                f"{source} must hold one for each of {len(table)} rows of {mapping.table}, but has shape {array.shape}."
            )
    if not mapping.index:
        return np.arange(len(table))
    order = table[mapping.index].to_numpy()
    if sorted(order.tolist()) != list(range(len(table))):
        raise LesionForgeError(
            f"column {mapping.index!r} must hold each number from 0 to {len(table) - 1} once, but "
            f"{len(set(order.tolist()) & set(range(len(table))))} of them are there."
        )
    return order.astype(np.int64)


def _labels(table: pd.DataFrame, mapping: ArraysMapping) -> NDArray[np.str_]:
    return table[mapping.label].to_numpy(dtype=str) if mapping.label else class_of(mapping.labels, table)


def _flow(labels: NDArray[np.str_], kept: NDArray[np.int64]) -> str:
    names, counts = np.unique(labels[kept], return_counts=True)
    parts = [f"{count} {name or 'unlabelled'}" for name, count in zip(names, counts, strict=True)]
    return f"{len(labels)} rows → {len(kept)}: {', '.join(parts)}"


def _columns(table: pd.DataFrame, mapping: ArraysMapping, *, axes: int) -> dict[str, Any]:
    """Return the columns for `Patches.of`: those with a meaning, then all others under their own names."""
    if len(mapping.spacing_mm) not in (0, 1, axes):
        raise LesionForgeError(f"spacing_mm must name 1 or {axes} columns, but {mapping.spacing_mm} came.")
    known = {"patient": mapping.patient, "scan": mapping.scan or mapping.patient}
    known |= {"diameter_mm": mapping.diameter_mm} if mapping.diameter_mm else {}
    known |= dict(zip(POSITION, mapping.position_mm, strict=False))
    columns: dict[str, Any] = {name: table[source].to_numpy() for name, source in known.items()}
    if mapping.spacing_mm:
        spacing = table[list(mapping.spacing_mm)].to_numpy(dtype=np.float64)
        columns["spacing_mm"] = np.broadcast_to(spacing, (len(table), axes))
    others = [name for name in map(str, table) if name not in {*known.values(), mapping.label, *mapping.spacing_mm}]
    if clash := sorted(set(others) & RESERVED):
        raise LesionForgeError(
            f"{mapping.table} has columns with a meaning of their own ({', '.join(clash)}) that the mapping "
            "does not name: name them in the mapping, or rename them."
        )
    return columns | {name: table[name].to_numpy() for name in others}


def _stored(images: NDArray[Any], unit: str, progress: Progress) -> NDArray[Any]:
    """Bring HU to the range that scanners store; leave other units, and what `Patches` will refuse."""
    if unit != "HU" or images.dtype.kind not in "iuf" or not np.isfinite(images).all():
        return images
    low, high = images.min(), images.max()
    if -1 <= low < high <= 1:
        raise LesionForgeError(
            f"images in HU cannot lie between {low} and {high}: scale them back to HU, or to 0 to 255 with the unit u8."
        )
    if padded := int((images < LOWEST_STORED_HU).reshape(len(images), -1).any(axis=1).sum()):
        progress.say(f"padding below {LOWEST_STORED_HU:.0f} HU was made air in {padded} of {len(images)} images")
    return as_stored(images)
