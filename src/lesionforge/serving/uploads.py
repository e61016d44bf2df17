"""What strangers send: arrays and zipped DICOM series, read without trusting a word that they say of themselves.

Nothing is unpickled, no name from a request becomes a path, and nothing is allocated because a header says so. What is
wrong is answered in words of our own: a library's message may hold a path, and a DICOM file's an identifier.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.geometry import Point
from lesionforge.data.patch_at import patch_at
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Rate

MIB = 2**20
HEADER_BYTES = 12_000  # NumPy refuses longer headers
END = struct.Struct("<4s4H2LH")  # the end of a zip archive's directory: signature, …, entries, bytes, offset, comment
LONGEST_COMMENT = 2**16
DIRECTORY_BYTES_A_FILE = 1024
PART = 64 * 1024
UNKNOWN = "unknown"  # whose patch it is


@dataclass(frozen=True)
class Limits:
    """What a request may cost. Memory and disk are bounded by these, whoever asks how often."""

    patches: Count = 64  # in one array
    archive_bytes: Count = 512 * MIB
    unpacked_bytes: Count = 1024 * MIB
    files: Count = 3000
    voxels: Count = 400_000_000
    read_s: Rate = 60.0  # for the whole upload
    answer_s: Rate = 60.0
    at_once: Count = 2  # worked on
    waiting: Count = 8  # for those


class UploadError(LesionForgeError):
    """A request that gets no answer; the message is for whoever asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def most_array_bytes(shape: Sequence[int], limits: Limits) -> int:
    """Size of the largest ``.npy`` file that can hold patches of ``shape``."""
    return HEADER_BYTES + 8 * limits.patches * math.prod(shape)


def read_array(content: bytes, shape: tuple[int, ...], limits: Limits) -> NDArray[np.float32]:
    """Read patches of ``shape`` from a ``.npy`` file: [*shape] or [N, *shape] → [N, *shape]."""
    wanted = "×".join(map(str, shape))
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        said, by_column, dtype = read(stream)
    except Exception:  # noqa: BLE001 (NumPy reads the header as Python and lets out whatever that leads to)
        raise UploadError(422, "the body must be an array as numpy.save writes it, but its header is none.") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UploadError(422, "the array must hold whole or floating-point numbers of at most 64 bits.")
    batch = said if len(said) == len(shape) + 1 else (1, *said)
    if batch[1:] != shape or not 1 <= batch[0] <= limits.patches:
        raise UploadError(422, f"the array must be one patch of {wanted}, or 1 to {limits.patches} of them.")
    if len(content) - stream.tell() != math.prod(batch) * dtype.itemsize:
        raise UploadError(422, "the array must be as long as its header says, but is not.")
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    images: NDArray[Any] = flat.reshape(said, order="F" if by_column else "C").reshape(batch)
    with np.errstate(over="ignore"):
        single = images.astype(np.float32)
    if not np.isfinite(single).all():
        raise UploadError(422, "the array must hold finite numbers, but some are NaN or infinite.")
    return single


def read_patch(archive: BinaryIO, folder: Path, point_mm: Point, limits: Limits, **wanted: Any) -> Patches:
    """Cut the patch at a point of the one CT series in a zip archive, unpacked into the empty ``folder``.

    ``wanted`` is as for `patch_at`.
    """
    unpack(archive, folder, limits)
    series, _ = find_series(folder)
    if len(series) != 1:
        raise UploadError(422, f"the archive must hold one CT series that can be read, but {len(series)} came.")
    if math.prod(series[0].stored.shape) > limits.voxels:
        raise UploadError(413, f"the series must have at most {limits.voxels} voxels.")
    try:
        scan = series[0].scan()
    except LesionForgeError:
        raise UploadError(422, "the series must hold slices that can be decoded, but some cannot.") from None
    found = patch_at(scan, point_mm, **wanted)
    return Patches.of(found.images, patient=[UNKNOWN], spacing_mm=found.spacing_mm, unit=found.unit)


def unpack(archive: BinaryIO, folder: Path, limits: Limits) -> None:
    """Write the files of a zip archive into ``folder`` under numbers; what they are called in it is not looked at."""
    _check_directory(archive, limits)
    left = limits.unpacked_bytes
    try:
        with zipfile.ZipFile(archive) as opened:
            files = [entry for entry in opened.infolist() if not entry.is_dir()]
            if len(files) > limits.files:
                raise UploadError(413, f"the archive must hold at most {limits.files} files.")
            for number, entry in enumerate(files):
                if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or entry.flag_bits & 1:
                    raise UploadError(422, "the archive must be stored or deflated, and not encrypted.")
                with opened.open(entry) as source, (folder / f"{number}.dcm").open("wb") as target:
                    while part := source.read(PART):
                        left -= len(part)
                        if left < 0:
                            raise UploadError(413, f"the archive must unpack to at most {limits.unpacked_bytes} bytes.")
                        target.write(part)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        struct.error,
    ) as error:
        if isinstance(error, UploadError):
            raise
        raise UploadError(422, "the body must be a zip archive, but it is none, or damaged.") from None


def _check_directory(archive: BinaryIO, limits: Limits) -> None:
    """Look at the end of the archive before Python's zipfile takes its whole directory into memory."""
    size = archive.seek(0, io.SEEK_END)
    archive.seek(max(0, size - LONGEST_COMMENT - END.size - 20))
    tail = archive.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or place + END.size > len(tail):
        raise UploadError(422, "the body must be a zip archive, but it is none, or damaged.")
    _, _, _, _, entries, directory_bytes, _, _ = END.unpack_from(tail, place)
    in_two_sizes = tail[max(0, place - 20) : place].startswith(b"PK\x06\x07")  # zip64 tells other sizes elsewhere
    if in_two_sizes or entries > limits.files or directory_bytes > limits.files * DIRECTORY_BYTES_A_FILE:
        raise UploadError(413, f"the archive must hold at most {limits.files} files.")
