"""Arrays in ``.npz`` and ``.npy`` files that may be hostile: nothing is unpickled or allocated on a header's word."""

import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from lesionforge.errors import StorageError

BROKEN = (OSError, ValueError, OverflowError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
MANY_BYTES = 4 * 2**30


def array_names(file: Path) -> set[str]:
    """Names of the arrays in an ``.npz`` file; none if it is no such file."""
    if not file.is_file():  # a pipe would be waited for
        return set()
    try:
        with zipfile.ZipFile(file) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    except BROKEN:
        return set()


def read_arrays(file: Path, names: Sequence[str], *, most_bytes: int = MANY_BYTES) -> dict[str, NDArray[Any]]:
    """Read these arrays.

    Raises
    ------
    StorageError
        The file is cut short or changed, holds other things than numbers, or its arrays have more than ``most_bytes``.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [archive.getinfo(f"{name}.npy") for name in names]
            size = sum(entry.file_size for entry in entries)
            wrong = [entry.filename for entry in entries if size <= most_bytes and not _is_whole(archive, entry)]
        if not wrong and size <= most_bytes:
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names}
    except BROKEN as error:
        raise StorageError(
            f"{file} must hold NumPy arrays of numbers, but {error}: copy or download it again."
        ) from None
    if wrong:
        raise StorageError(
            f"{file} must hold NumPy arrays of numbers, but {wrong[0]} is none, or not as large as it says."
        )
    raise StorageError(f"{file} must hold at most {most_bytes:,} bytes of arrays, but says {size:,}.")


def read_array(file: Path) -> NDArray[Any]:
    """Read the array in an ``.npy`` file.

    Raises
    ------
    StorageError
        The file is cut short, or holds other things than numbers.
    """
    try:
        return np.array(open_memmap(file, mode="r"))  # which fails where the file is shorter than its header says
    except BROKEN as error:
        raise StorageError(f"{file} must hold NumPy arrays of numbers, but {error}: copy it again.") from None


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Tell whether an array's header agrees with the archive: NumPy allocates what the header says."""
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        return not dtype.hasobject and stream.tell() + math.prod(shape) * dtype.itemsize == entry.file_size
