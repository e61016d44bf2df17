"""A DICOM file opened with care: what is broken, misnamed or a trap ends in a refusal, whoever reads it.

pydicom reads a file that is not what it says as far as it goes, and then raises one of many errors.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pydicom
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from lesionforge.errors import UnfitDataError

# What pydicom raises on files that are not what they say; a broken file must not end the work on others.
BROKEN = (
    *(ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RuntimeError),
    *(ArithmeticError, MemoryError, OSError, EOFError, struct.error, zlib.error),
    *(InvalidDicomError, BytesLengthException, Image.DecompressionBombError),
)
SUFFIXES = (".dcm", ".dicom", ".ima")
MARKER_AT, MARKER = 128, b"DICM"
META_AT = 144  # the file's meta information follows the marker and its own length (12 bytes)
LONGEST_META = 2**16
MOST_INFLATED = 2**30  # of a deflated file: a thousand slices of 512 × 512


@contextmanager
def broken_files_refused(reason: str, message: str) -> Iterator[None]:
    """Turn what pydicom raises on a broken file into an error of the user's, and keep its warnings silent.

    They quote the file, which may name a patient; what matters of them is checked.

    Raises
    ------
    UnfitDataError
        With this reason, the message and the kind of error.
    """
    silenced = pydicom.config.logger.disabled
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pydicom.config.logger.disabled = True
            yield
    except UnfitDataError:
        raise
    except BROKEN as error:
        raise UnfitDataError(reason, f"{message} ({type(error).__name__}).") from error
    finally:
        pydicom.config.logger.disabled = silenced


def is_dicom(file: Path) -> bool:
    """Tell whether a file begins as DICOM does."""
    try:
        with file.open("rb") as stream:
            return stream.read(META_AT)[MARKER_AT : MARKER_AT + len(MARKER)] == MARKER
    except OSError:
        return False


def open_header(file: Path, tags: list[BaseTag]) -> tuple[Dataset, int] | None:
    """Read these tags of a file's header; None: it is no DICOM file, or a directory of others (DICOMDIR).

    Returns
    -------
    header, bytes
        And how many bytes follow it: those of the pixels.

    Raises
    ------
    UnfitDataError
        Its name says that it is DICOM, but it is not; or it would inflate to too much.
    """
    with file.open("rb") as stream:
        start = stream.read(META_AT)
        if start[MARKER_AT : MARKER_AT + len(MARKER)] != MARKER:
            if file.suffix.lower() in SUFFIXES:
                message = f"{file} must have DICM at byte {MARKER_AT}, as DICOM files do, but has not: copy it again."
                raise UnfitDataError("no DICOM in a file named so", message)
            return None
        _check_inflated(file, stream, start)
        stream.seek(0)
        dataset = dcmread(stream, stop_before_pixels=True, specific_tags=tags)
        left = file.stat().st_size - stream.tell()
    directory = dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage
    return None if directory else (dataset, left)


def _check_inflated(file: Path, stream: BinaryIO, start: bytes) -> None:
    """Refuse a deflated file that would fill the memory, before anything inflates it as a whole."""
    length = int.from_bytes(start[META_AT - 4 : META_AT], "little")
    if DeflatedExplicitVRLittleEndian.encode() not in stream.read(min(length, LONGEST_META)):
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated, grew = 0, True
    while grew and not inflater.eof:
        piece = inflater.decompress(inflater.unconsumed_tail or stream.read(2**16), 2**20)
        inflated, grew = inflated + len(piece), bool(piece)
        if inflated > MOST_INFLATED:
            message = f"{file} must inflate to {MOST_INFLATED >> 20} MiB at most, but to more: store it uncompressed."
            raise UnfitDataError("too large when inflated", message)
