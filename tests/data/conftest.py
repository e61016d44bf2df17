"""Small DICOM and LIDC files for the tests of whatever reads them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from lesionforge.data.formats.lidc_xml import NON_NODULE, Mark, Outline
from lesionforge.data.geometry import Geometry


def write_series(
    folder: Path,
    hu: NDArray[Any],
    geometry: Geometry | None = None,
    *,
    edit: Callable[[int, Dataset], object] = lambda _number, _dataset: None,
    syntax: str = ExplicitVRLittleEndian,
    seed: int = 0,
    **tags: Any,
) -> list[Path]:
    """Write a series of CT, one file for each slice of ``hu`` [slice, row, column], and return them in that order.

    Parameters
    ----------
    geometry
        Of the stack: slices along its first axis, rows along its second, columns along its third. Any direction.
    edit
        Called with the number of each slice and its dataset, pixels included, before it is written.
    syntax
        Transfer syntax.
    seed
        UIDs follow from it: equal seeds give equal UIDs.
    tags
        Of every slice: ``PatientID``, ``SliceThickness``, ``RescaleSlope`` … None leaves a tag out.

    Notes
    -----
    Instance numbers and file names run backwards, so that a reader that sorts by them is found out.
    """
    geometry = geometry or Geometry(hu.shape, (2.5, 0.75, 0.75), (-20.0, -30.0, -40.0))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, pixels in enumerate(hu):
        written = ExplicitVRLittleEndian if UID(syntax).is_compressed else UID(syntax)
        dataset = _slice(pixels, geometry, number, syntax=written, seed=seed, tags=tags)
        edit(number, dataset)
        files.append(folder / f"{len(hu) - number:04}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
        if UID(syntax).is_compressed:
            _compress(files[-1], syntax)
    return files


def write_enhanced(
    file: Path, hu: NDArray[Any], geometry: Geometry, *, order: list[int] | None = None, **tags: Any
) -> Path:
    """Write all slices of ``hu`` as frames of one enhanced CT file, in ``order``."""
    order = order or list(range(len(hu)))
    dataset = _slice(hu[0], geometry, 0, syntax=ExplicitVRLittleEndian, seed=0, tags=tags)
    stored = np.stack([_stored(hu[number], dataset) for number in order])
    orientation, spacing = dataset.ImageOrientationPatient, dataset.PixelSpacing
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames, dataset.PixelData = len(hu), stored.tobytes()
    shared = Dataset()
    shared.PixelMeasuresSequence = [_of(PixelSpacing=spacing, SliceThickness=dataset.SliceThickness)]
    shared.PlaneOrientationSequence = [_of(ImageOrientationPatient=orientation)]
    rescale = {name: dataset[name].value for name in ("RescaleSlope", "RescaleIntercept")}
    shared.PixelValueTransformationSequence = [_of(**rescale, RescaleType="HU")]
    shared.CTReconstructionSequence = [_of(ConvolutionKernel=dataset.ConvolutionKernel)]
    for name in (*rescale, "PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ConvolutionKernel"):
        del dataset[name]
    del dataset.ImagePositionPatient
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(geometry, number) for number in order]
    dataset.save_as(file, enforce_file_format=True)
    return file


def _of(**values: Any) -> Dataset:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def _frame(geometry: Geometry, number: int) -> Dataset:
    frame = Dataset()
    frame.PlanePositionSequence = [_of(ImagePositionPatient=_printed(geometry.to_world((number, 0, 0))))]
    frame.CTImageFrameTypeSequence = [_of(FrameType=["ORIGINAL", "PRIMARY", "AXIAL", "NONE"])]
    return frame


def _slice(
    pixels: NDArray[Any], geometry: Geometry, number: int, *, syntax: UID, seed: int, tags: dict[str, Any]
) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, syntax
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(seed), "slice", str(number)])
    known: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": generate_uid(entropy_srcs=[str(seed), "series"]),
        "StudyInstanceUID": generate_uid(entropy_srcs=[str(seed), "study"]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[str(seed), "frame"]),
        "PatientID": "patient-1",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Manufacturer": "Maker",
        "ManufacturerModelName": "Model",
        "ConvolutionKernel": "B30f",
        "KVP": 120,
        "SliceThickness": geometry.spacing_mm[0],
        "InstanceNumber": geometry.shape[0] - number,
        "ImagePositionPatient": _printed(geometry.to_world((number, 0, 0))),
        "ImageOrientationPatient": _printed([*geometry.direction[2], *geometry.direction[1]]),
        "PixelSpacing": _printed(geometry.spacing_mm[1:]),
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
    }
    dataset = Dataset()
    dataset.file_meta = meta
    for name, value in (known | tags).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = _stored(pixels, dataset).tobytes()
    return dataset


def _printed(numbers: Any) -> list[str]:
    """As DICOM's decimal strings: at most 16 characters."""
    return [
        next(text for digits in range(17, 0, -1) if len(text := f"{n:.{digits}g}") <= 16) for n in map(float, numbers)
    ]


def _stored(hu: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    dtype = f"{'ui'[dataset.PixelRepresentation]}{dataset.BitsAllocated // 8}"
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    return np.rint((hu - intercept) / slope).astype(np.int64).astype(dtype).astype(f"{order}{dtype}")


def _compress(file: Path, syntax: str) -> None:
    """Store the pixels of a file in a compressed transfer syntax."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(file))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(file))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.fixture(scope="session")
def dicom_series_writer() -> Callable[..., list[Path]]:
    """Writes a series of CT: `write_series`."""
    return write_series


@pytest.fixture(scope="session")
def enhanced_ct_writer() -> Callable[..., Path]:
    """Writes an enhanced CT file: `write_enhanced`."""
    return write_enhanced


def write_reading(marks: Sequence[Mark], *, series_uid: str, identities: Sequence[str] = ("anon",) * 4) -> bytes:
    """Write an LIDC file: a session for each of ``identities``, whose marks are those of its number as a reader."""
    sessions = "".join(
        f"<readingSession><servicingRadiologistID>{identity}</servicingRadiologistID>"
        f"{''.join(_marked(mark) for mark in marks if mark.reader == reader)}</readingSession>"
        for reader, identity in enumerate(identities, start=1)
    )
    header = f"<ResponseHeader><SeriesInstanceUid>{series_uid}</SeriesInstanceUid></ResponseHeader>"
    return f'<LidcReadMessage xmlns="http://www.nih.gov">{header}{sessions}</LidcReadMessage>'.encode()


def _marked(mark: Mark) -> str:
    if mark.kind == NON_NODULE:
        (outline,) = mark.outlines
        return f"<nonNodule>{_outline(outline, 'locus')}</nonNodule>"
    rois = "".join(f"<roi>{_outline(outline, 'edgeMap')}</roi>" for outline in mark.outlines)
    tags = {name: name.replace("_s", "S") for name in mark.ratings}
    rated = "".join(f"<{tags[name]}>{rating}</{tags[name]}>" for name, rating in mark.ratings.items())
    return f"<unblindedReadNodule><characteristics>{rated}</characteristics>{rois}</unblindedReadNodule>"


def _outline(outline: Outline, point: str) -> str:
    points = "".join(f"<{point}><xCoord>{x}</xCoord><yCoord>{y}</yCoord></{point}>" for x, y in outline.pixels)
    return (
        f"<imageZposition>{outline.z_mm}</imageZposition><imageSOP_UID>{outline.slice_uid}</imageSOP_UID>"
        f"<inclusion>{str(outline.inclusion).upper()}</inclusion>{points}"
    )


@pytest.fixture(scope="session")
def lidc_writer() -> Callable[..., bytes]:
    """Writes what LIDC's readers marked as they do: `write_reading`."""
    return write_reading
