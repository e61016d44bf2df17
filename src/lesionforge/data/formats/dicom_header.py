"""`Plane`: what a DICOM file says of one slice of CT, read from its header and checked.

A classic CT file holds one slice. An enhanced one holds many, and says of each in *functional groups*, shared by all
or one for each frame, what a classic file says at its top. Read without pixels, and of all tags only those needed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lesionforge.data.formats.dicom_file import broken_files_refused, open_header
from lesionforge.data.geometry import ORTHONORMAL_WITHIN
from lesionforge.errors import UnfitDataError

LARGEST_SIDE = 8192  # pixels: four times the finest CT
LONGEST_FACT = 64  # characters
CODE = re.compile("[A-Z0-9_ ]{1,16}")  # what may be repeated in messages
BITS = (8, 16, 32)
LARGEST_SLOPE, LARGEST_INTERCEPT = 2**8, 2**16
HU_TYPES = ("", "HU", "US")  # US: unspecified, which for CT is HU

TEXT_FACTS = {"manufacturer": "Manufacturer", "model": "ManufacturerModelName", "kernel": "ConvolutionKernel"}
NUMBER_FACTS = {"slice_thickness_mm": "SliceThickness", "tube_voltage_kv": "KVP"}
SYNTHESIZING = "DCM", codes.DCM.SynthesizingEquipment.value  # purpose of a contributing equipment
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
TAGS = [  # looked up once, not for each file
    Tag(keyword)
    for keyword in (
        *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID"),
        *("Modality", "ImageType", "FrameType", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
        *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "ImageOrientationPatient"),
        *("ImagePositionPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "RescaleType"),
        *("SyntheticData", "ContributingEquipmentSequence"),
        *(*TEXT_FACTS.values(), *NUMBER_FACTS.values(), *GROUPS),
    )
]


@dataclass(frozen=True)
class Plane:
    """One slice.

    Parameters
    ----------
    file, frame, frames
        Where its pixels are: frame ``frame`` of ``frames``.
    uid, series_uid, study_uid, frame_of_reference, patient
        Identifiers; empty where the file has none. Frames of one file share their ``uid``.
    shape
        Rows and columns.
    orientation
        Unit vectors (x, y, z) along a row and along a column.
    position_mm
        Middle of the first pixel (x, y, z).
    spacing_mm
        Between rows and between columns.
    slope, intercept
        HU = slope · stored value + intercept.
    facts
        As of `Scan`.
    is_synthetic
        Whether it says of itself that a generator has made or changed it.
    """

    file: Path
    frame: int
    frames: int
    uid: str
    series_uid: str
    study_uid: str
    frame_of_reference: str
    patient: str
    shape: tuple[int, int]
    orientation: tuple[float, ...]
    position_mm: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    slope: float
    intercept: float
    facts: Mapping[str, str | float]
    is_synthetic: bool = False

    @property
    def in_whole_hu(self) -> bool:
        """Whether every stored value stands for a whole number of HU."""
        return self.slope.is_integer() and self.intercept.is_integer()


def read_planes(file: Path) -> list[Plane]:
    """Read the slices that a file holds; none: it is no DICOM file, or a directory of others (DICOMDIR).

    Raises
    ------
    UnfitDataError
        It is a DICOM file but not a CT image in HU, a localizer, or broken.
    """
    with broken_files_refused("broken DICOM header", f"the DICOM header of {file} cannot be read: copy it again"):
        opened = open_header(file, TAGS)
        return _planes(file, *opened) if opened else []


def _planes(file: Path, dataset: Dataset, pixel_bytes: int) -> list[Plane]:
    top = _Header(file, [dataset], pixel_bytes)
    top.check_modality()
    frames = max(1, int(dataset.get("NumberOfFrames") or 1))
    shared, each = ([_flat(item) for item in dataset.get(group) or ()] for group in GROUPS)
    if frames == 1 and not each:
        return [top.plane(0, 1)]
    if len(each) != frames or len(shared) > 1:
        message = f"{file} must say of each of its {frames} frames where it lies, but says it of {len(each)}"
        raise UnfitDataError("frames without positions", f"{message}: export it as one file for each slice.")
    return [
        _Header(file, [*own, *(item for group in shared for item in group), dataset], pixel_bytes).plane(frame, frames)
        for frame, own in enumerate(each)
    ]


def _flat(groups: Dataset) -> list[Dataset]:
    """The items of an item of functional groups, each of which is a sequence of one."""
    return [element.value[0] for element in groups if element.VR == "SQ" and element.value]


class _Header:
    """Values of the first of several datasets that has them, checked."""

    def __init__(self, file: Path, datasets: Sequence[Dataset], pixel_bytes: int) -> None:
        self._file = file
        self._datasets = datasets
        self._pixel_bytes = pixel_bytes

    def plane(self, frame: int, frames: int) -> Plane:
        """Return the slice that the datasets describe."""
        image_type = self._value("FrameType") or self._value("ImageType") or ()
        if "LOCALIZER" in image_type:
            raise self._unfit("localizer", "must be a slice, but is a localizer: it is not used")
        shape = self._shape(frames)
        slope, intercept = self._rescale()
        # Some tools empty the identifiers of the dataset, but not the copy in the file's meta information.
        uid = self._text("SOPInstanceUID") or str(self._datasets[-1].file_meta.get("MediaStorageSOPInstanceUID", ""))
        if not uid:
            raise self._unfit("no SOPInstanceUID", "must have a SOPInstanceUID, but has none")
        return Plane(
            file=self._file,
            frame=frame,
            frames=frames,
            uid=uid,
            series_uid=self._text("SeriesInstanceUID"),
            study_uid=self._text("StudyInstanceUID"),
            frame_of_reference=self._text("FrameOfReferenceUID"),
            patient=self._text("PatientID"),
            shape=shape,
            orientation=self._orientation(),
            position_mm=self._numbers("ImagePositionPatient", 3),
            spacing_mm=self._spacing(),
            slope=slope,
            intercept=intercept,
            facts=self._facts(),
            is_synthetic=self._is_synthetic(),
        )

    def check_modality(self) -> None:
        """Refuse what is not CT."""
        modality = self._code("Modality")
        if modality != "CT":
            why = f"must be of modality CT, but is of modality {modality}: it is not used"
            raise self._unfit(f"modality {modality}, not CT", why)

    def _shape(self, frames: int) -> tuple[int, int]:
        """Rows and columns, checked against the bytes that there are before anybody makes room for them."""
        rows, columns, bits = (int(self._value(name) or 0) for name in ("Rows", "Columns", "BitsAllocated"))
        colours = self._code("PhotometricInterpretation")
        if colours != "MONOCHROME2" or self._value("SamplesPerPixel") not in (None, 1):
            why = f"must hold grey values (MONOCHROME2), but holds {colours}: its values are no HU"
            raise self._unfit("not MONOCHROME2", why)
        if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
            why = f"must have 1 to {LARGEST_SIDE} rows and columns, but has {rows} × {columns}"
            raise self._unfit("impossible number of rows or columns", why)
        stored = int(self._value("BitsStored") or 0)
        if bits not in BITS or not 0 < stored <= bits or self._value("HighBit") not in (None, stored - 1):
            why = f"must store {BITS} bits a pixel, the used ones lowest, but stores {stored} in {bits}"
            raise self._unfit("impossible number of bits", why)
        syntax = self._datasets[-1].file_meta.get("TransferSyntaxUID")
        if not syntax:
            raise self._unfit("no transfer syntax", "must say how its pixels are stored, but does not")
        is_native = not syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian
        if is_native and self._pixel_bytes < rows * columns * frames * bits // 8:
            raise self._unfit("file cut short", "must hold all pixels, but is cut short: copy it again")
        return rows, columns

    def _rescale(self) -> tuple[float, float]:
        if self._text("RescaleType") not in HU_TYPES:
            why = f"must hold HU, but its rescale type is {self._code('RescaleType')}: use the series in HU"
            raise self._unfit("values not in HU", why)
        (slope,), (intercept,) = self._numbers("RescaleSlope", 1), self._numbers("RescaleIntercept", 1)
        if not (0 < abs(slope) <= LARGEST_SLOPE and abs(intercept) <= LARGEST_INTERCEPT):
            why = f"must have a possible rescale slope and intercept, but has {slope} and {intercept}"
            raise self._unfit("impossible rescale", why)
        return slope, intercept

    def _orientation(self) -> tuple[float, ...]:
        orientation = self._numbers("ImageOrientationPatient", 6)
        axes = np.reshape(orientation, (2, 3))
        if np.abs(axes @ axes.T - np.eye(2)).max() > ORTHONORMAL_WITHIN:
            why = "must give the directions of rows and columns as unit vectors at right angles, but does not"
            raise self._unfit("impossible orientation", why)
        return orientation

    def _spacing(self) -> tuple[float, ...]:
        spacing = self._numbers("PixelSpacing", 2)
        if min(spacing) <= 0:
            raise self._unfit("impossible pixel spacing", f"must have a pixel spacing above 0, but has {spacing} mm")
        return spacing

    def _facts(self) -> dict[str, str | float]:
        text = {name: self._text(keyword)[:LONGEST_FACT] for name, keyword in TEXT_FACTS.items()}
        return text | {name: self._number_or_nan(keyword) for name, keyword in NUMBER_FACTS.items()}

    def _is_synthetic(self) -> bool:
        equipment = self._value("ContributingEquipmentSequence") or ()
        purposes = [code for item in equipment for code in item.get("PurposeOfReferenceCodeSequence") or ()]
        return self._code("SyntheticData") == "YES" or any(
            (code.get("CodingSchemeDesignator"), code.get("CodeValue")) == SYNTHESIZING for code in purposes
        )

    def _number_or_nan(self, keyword: str) -> float:
        try:
            return self._numbers(keyword, 1)[0]
        except UnfitDataError:
            return float("nan")

    def _numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        value = self._value(keyword)
        try:
            numbers = tuple(map(float, value if isinstance(value, MultiValue) else [value]))
        except (ValueError, TypeError):
            numbers = ()
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise self._unfit(f"no {keyword}", f"must have {count} finite numbers as {keyword}, but has not")
        return numbers

    def _text(self, keyword: str) -> str:
        value = self._value(keyword)
        text = "" if value is None else str(value) if isinstance(value, str) else "/".join(map(str, value))
        return "".join(character for character in text if character.isprintable()).strip()

    def _code(self, keyword: str) -> str:
        text = self._text(keyword)
        return text if CODE.fullmatch(text) else "unknown"

    def _value(self, keyword: str) -> Any:
        values = (dataset.get(keyword) for dataset in self._datasets)
        return next((value for value in values if value is not None), None)

    def _unfit(self, reason: str, why: str) -> UnfitDataError:
        return UnfitDataError(reason, f"{self._file} {why}.")
