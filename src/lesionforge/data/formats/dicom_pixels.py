"""Pixels of CT slices in DICOM files, in HU.

pydicom reads them. What is compressed goes to the decoder that refuses broken pixels rather than ending the process
with a fault of memory: Pillow for JPEG and JPEG 2000, pyjpegls for JPEG-LS. Lossless JPEG only GDCM decodes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.tag import Tag

from lesionforge.data.formats.dicom_file import broken_files_refused
from lesionforge.data.formats.dicom_header import Plane
from lesionforge.data.formats.jpeg_frame import check_lossless_jpeg
from lesionforge.data.hounsfield import HIGHEST_STORED_HU, LOWEST_STORED_HU
from lesionforge.errors import UnfitDataError

TAGS = [
    Tag(keyword)
    for keyword in (
        *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelPaddingValue", "PixelPaddingRangeLimit"),
        *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
    )
]

DECODERS = {
    **dict.fromkeys((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit), "pillow"),
    **dict.fromkeys(uid.JPEGLSTransferSyntaxes, "pyjpegls"),
    **dict.fromkeys(uid.JPEG2000TransferSyntaxes, "pillow"),
}
LOSSLESS_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1)


def read_hu(planes: Sequence[Plane], out: NDArray[Any]) -> None:
    """Read the slices of ``planes``, which lie in one file, in HU within those that scanners store.

    Parameters
    ----------
    out
        Is filled, [planes, y, x]: int16 where all `Plane.in_whole_hu`, else of floating point, not rounded.

    Raises
    ------
    UnfitDataError
        The pixels are missing, cut short, of another size than the header said, or cannot be decoded.
    """
    for slice_, (stored, plane, dataset) in zip(out, _decoded(planes), strict=True):
        slice_[:] = _in_hu(stored, plane, dataset)


def read_stored(planes: Sequence[Plane]) -> list[NDArray[Any]]:
    """Read the slices of ``planes``, which lie in one file, as they are stored, [y, x] each; raises as `read_hu`."""
    return [np.array(stored) for stored, _, _ in _decoded(planes)]


def _decoded(planes: Sequence[Plane]) -> Iterator[tuple[NDArray[Any], Plane, Dataset]]:
    """Yield the stored values of each slice, the slice, and what the file says of its pixels."""
    file = planes[0].file
    frames = [plane.frame for plane in planes] if planes[0].frames > 1 else None
    message = f"the pixels of {file} cannot be decoded: copy it again, or decompress it with gdcmconv --raw"
    with broken_files_refused("pixels cannot be decoded", message):
        dataset = dcmread(file, specific_tags=TAGS)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax in LOSSLESS_JPEG:
            for frame in generate_frames(dataset.PixelData, number_of_frames=planes[0].frames):
                check_lossless_jpeg(frame, planes[0].shape, bits=dataset.BitsAllocated)
        decoded = iter_pixels(dataset, indices=frames, raw=True, decoding_plugin=DECODERS.get(syntax, ""))
        for stored, plane in zip(decoded, planes, strict=True):
            if stored.shape != plane.shape:
                message = f"{plane.file} must hold {plane.shape} pixels, as its header says, but holds {stored.shape}."
                raise UnfitDataError("pixels of another size than the header says", message)
            yield stored, plane, dataset


def _in_hu(stored: NDArray[Any], plane: Plane, dataset: Dataset) -> NDArray[Any]:
    hu: NDArray[Any]
    if plane.in_whole_hu and stored.dtype.itemsize <= 2:  # in int32 nothing overflows, and it is four times as fast
        hu = stored.astype(np.int32) * int(plane.slope) + int(plane.intercept)
    else:
        hu = stored * plane.slope + plane.intercept
    if dataset.get("PixelPaddingValue") is not None and hu.max() > HIGHEST_STORED_HU:
        _make_air_of_padding(hu, stored, dataset)
    return np.clip(hu, hu.dtype.type(LOWEST_STORED_HU), hu.dtype.type(HIGHEST_STORED_HU), out=hu)


def _make_air_of_padding(hu: NDArray[Any], stored: NDArray[Any], dataset: Dataset) -> None:
    """Make air of padding that is higher than any measurement, lest it be taken for metal.

    Padding that is lower than any (−3024 HU) becomes air with all that is as low. A padding value that could be
    measured is taken for a measurement: water would get holes where a header names such a value by mistake.
    """
    value = int(dataset.PixelPaddingValue)
    # Some writers give the value with the wrong sign: 63536 for −2000.
    ends = np.array([value, int(dataset.get("PixelPaddingRangeLimit", value))]).astype(stored.dtype)
    hu[(stored >= ends.min()) & (stored <= ends.max()) & (hu > HIGHEST_STORED_HU)] = LOWEST_STORED_HU
