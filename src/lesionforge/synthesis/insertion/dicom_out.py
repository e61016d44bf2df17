"""The host's DICOM series again, with lesions in it: new instances that say of themselves that they are synthetic.

Pixels keep the host's bits, rescale and geometry; where nothing was inserted, every stored value is the host's. Of the
header nothing is taken over that is not on a list (`KEPT`): what a patient could be known by cannot slip through. The
patient is called by a digest of theirs, the same for all that is made from them, so that what comes from one patient
can be kept together. UIDs follow from the host's and from the request: the same request gives the same bytes, and
what is made from one study shares a study and a frame of reference. Dates are none: `NO_DATE`, where one is needed.

DICOM PS3.3 C.12.1 (SOP common: Synthetic Data, contributing equipment), C.7.6.1 (derivation), C.8.2 (CT image).
"""

import uuid
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DS

from lesionforge import __version__
from lesionforge.data.exposure import patient_digest
from lesionforge.data.formats.dicom_file import broken_files_refused
from lesionforge.data.formats.dicom_header import Plane
from lesionforge.data.formats.dicom_pixels import read_stored
from lesionforge.data.formats.dicom_series import Series
from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Scan

# What is known of pixels, planes and the acquisition; no names, numbers, dates, comments, or UIDs.
KEPT = (
    *("Modality", "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "PatientPosition"),
    *("SliceThickness", "SpacingBetweenSlices", "KVP", "DataCollectionDiameter", "ReconstructionDiameter"),
    *("DistanceSourceToDetector", "DistanceSourceToPatient", "GantryDetectorTilt", "TableHeight", "RotationDirection"),
    *("ExposureTime", "XRayTubeCurrent", "Exposure", "FilterType", "GeneratorPower", "FocalSpots", "ConvolutionKernel"),
    *("ScanOptions", "SpiralPitchFactor", "SingleCollimationWidth", "TotalCollimationWidth", "CTDIvol"),
    *("InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PixelSpacing", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
KEPT_TAGS = frozenset(map(Tag, KEPT))  # looked up once, not for each file
EMPTY = (
    *("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyID", "PositionReferenceIndicator", "AcquisitionNumber"),
)
NEEDED = ("Manufacturer", "KVP", "InstanceNumber", "SliceThickness", "PatientPosition")  # empty where the host has none
NO_DATE, NO_TIME = "19000101", "000000"
SERIES_NUMBER = 9001
LONGEST_NAME = 64  # LO
LONGEST_TEXT = 1024  # ST


@dataclass(frozen=True)
class Provenance:
    """What files say of how they were made.

    Parameters
    ----------
    request
        Digest of all that decides the result.
    painter
        Id of what painted.
    lesions
        In words.
    """

    request: str
    painter: str
    lesions: str

    @property
    def text(self) -> str:
        """For whoever looks at the file."""
        about = f"SYNTHETIC: {self.lesions}, painted by {self.painter} with LesionForge {__version__} into a CT scan."
        return f"{about} Not for diagnosis."[:LONGEST_TEXT]


def uid_of(*parts: object) -> UID:
    """UID that follows from ``parts``, under the root 2.25 that DICOM PS3.5 B.2 has for UUIDs."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(map(str, ('lesionforge', *parts)))).int}")


def synthetic_series_uid(host: Series, made: Provenance) -> UID:
    """Series instance UID of what is made from a series by a request."""
    return uid_of("series", host.uid, made.request)


def synthetic_patient(patient: str) -> str:
    """Patient ID of what is made from a patient's scans."""
    return f"SYNTHETIC-{patient_digest(patient)}"


def stored_order(voxels: NDArray[Any], stored: Geometry) -> NDArray[Any]:
    """View canonical voxels in the order in which they are stored."""
    _, order, flipped = stored.reordered()
    return np.flip(voxels, flipped).transpose(np.argsort(order))


def write_series(series: Series, before: Scan, after: Scan, folder: Path, made: Provenance) -> list[Path]:
    """Write a file for each slice of a series; those of enhanced files become classic ones.

    Parameters
    ----------
    before, after
        The series as read, and with lesions in it.
    folder
        It exists.

    Returns
    -------
    files
        In the order of ``series.planes``.

    Raises
    ------
    UnfitDataError
        A file of the host can no longer be decoded.
    """
    shared = _shared(series, made)
    slices = zip(stored_order(before.voxels, series.stored), stored_order(after.voxels, series.stored), strict=True)
    written: list[Path] = []
    for file, members in groupby(series.planes, key=lambda plane: plane.file):
        planes = list(members)
        with broken_files_refused("broken DICOM header", f"the DICOM header of {file} cannot be read: copy it again"):
            header = dcmread(file, specific_tags=list(KEPT_TAGS))
        for plane, pixels in zip(planes, read_stored(planes), strict=True):
            old, new = next(slices)
            _change(pixels, plane, header, old != new, new)
            path = folder / f"synthetic_{len(written) + 1:04}.dcm"
            instance = _instance(plane, header, pixels, number=len(written) + 1)
            instance.update(shared)
            instance.SOPInstanceUID = uid_of("image", series.uid, made.request, len(written) + 1)
            instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
            instance.save_as(path, enforce_file_format=True)
            written.append(path)
    return written


def _change(
    pixels: NDArray[Any], plane: Plane, header: Dataset, changed: NDArray[np.bool_], values: NDArray[Any]
) -> None:
    """Store new values where they have changed, within the bits that the host stores."""
    bits, signed = int(header.BitsStored), int(header.PixelRepresentation)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    stored = np.rint((values[changed].astype(np.float64) - plane.intercept) / plane.slope)
    pixels[changed] = np.clip(stored, low, high).astype(pixels.dtype)


def _shared(series: Series, made: Provenance) -> Dataset:
    """What all slices say alike."""
    ds = Dataset()
    for keyword in EMPTY:
        setattr(ds, keyword, None)
    ds.PatientID = synthetic_patient(series.patient)
    ds.PatientName = f"SYNTHETIC^{patient_digest(series.patient)}"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "LesionForge: kept a list of technical attributes, nothing else"
    ds.BurnedInAnnotation = "NO"
    ds.SOPClassUID, ds.SyntheticData = CTImageStorage, "YES"
    ds.StudyInstanceUID = uid_of("study", series.patient, series.study_uid)
    frame_of_reference = series.planes[0].frame_of_reference
    ds.FrameOfReferenceUID = uid_of("frame of reference", series.patient, frame_of_reference, series.uid)
    ds.SeriesInstanceUID = synthetic_series_uid(series, made)
    ds.SeriesNumber, ds.SeriesDescription = SERIES_NUMBER, "SYNTHETIC lesions inserted"
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    ds.DerivationDescription = made.text
    ds.ContributingEquipmentSequence = [equipment(made)]
    return ds


def _instance(plane: Plane, header: Dataset, pixels: NDArray[Any], *, number: int) -> Dataset:
    """One slice with what is its own."""
    ds = Dataset()
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = (
        [DS(value, auto_format=True) for value in values]
        for values in (plane.position_mm, plane.orientation, plane.spacing_mm)
    )
    ds.RescaleSlope, ds.RescaleIntercept = DS(plane.slope, auto_format=True), DS(plane.intercept, auto_format=True)
    ds.InstanceNumber = number
    for element in header:  # as the host writes it, digit for digit
        if element.tag in KEPT_TAGS:
            ds[element.tag] = element
    if plane.frames > 1:
        ds.InstanceNumber = number
    for keyword in (each for each in NEEDED if each not in ds):
        setattr(ds, keyword, None)
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    return ds


def equipment(made: Provenance) -> Dataset:
    """Item of the contributing equipment sequence: the software and what painted, and that this is synthetic."""
    item, purpose = Dataset(), Dataset()
    code = codes.DCM.SynthesizingEquipment
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code.value, "DCM", code.meaning
    item.PurposeOfReferenceCodeSequence = [purpose]
    item.Manufacturer, item.SoftwareVersions = "LesionForge", __version__
    item.ManufacturerModelName = made.painter[:LONGEST_NAME]
    item.ContributionDescription = made.text
    return item
