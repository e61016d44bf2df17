"""Broken inputs of every format, read from end to end as the command line reads them.

Each ends in one clear error, or is left out under a reason that is counted in ``ingest.json`` while the sound scans
beside it come through with their Hounsfield units; none in a traceback, a hang, a full memory, a folder under the final
name, or a patient's name in a message.
"""

import gzip
import io
import json
import os
import re
import resource
import shutil
import signal
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    RTStructureSetStorage,
    generate_uid,
)

from lesionforge.data import patches_file
from lesionforge.data.formats.lidc_xml import NODULE, Mark, Outline
from lesionforge.data.formats.volume_file import write_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.ingestion import Request, ingest
from lesionforge.data.source import Skip, counted
from lesionforge.errors import LesionForgeError
from lesionforge.progress import Progress

SECRET = "Zuckermann"  # stands in every patient's identifier
SHAPE = (6, 24, 20)
GRID = Geometry(SHAPE, (2.5, 0.75, 0.75), (-20.0, -30.0, -40.0))
LESION = (slice(2, 4), slice(8, 12), slice(6, 10))
MIDDLE = (2, 9, 7)  # voxel, rounded down
SHOWN = (slice(5, 13), slice(3, 11))  # of a slice, by a patch of 8 pixels about the middle
GOOD = {"a": 1, "b": 2}
BAD = 3
ONE_SLICE = Request(size=(8,), settings=("slices=1",))
SECONDS, MORE_KIB = 10, 400 * 1024
NOTHING = "nothing that a format recognises"
NO_LESION = "a cohort must have a marked lesion at least"


def hu(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 400, SHAPE).astype(np.int16)


def mask() -> np.ndarray:
    inside = np.zeros(SHAPE, dtype=np.uint8)
    inside[LESION] = 1
    return inside


class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class TookTooLong(BaseException):
    """Nothing that reads files may catch it."""


@contextmanager
def limits() -> Iterator[None]:
    """Fail on what hangs, or fills the memory."""

    def too_long(_signal: int, _frame: object) -> None:
        raise TookTooLong

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    known = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, known)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_KIB


@dataclass
class Folder:
    """Where a test writes its files, and what writes them."""

    path: Path
    write_series: Callable[..., list[Path]]
    write_reading: Callable[..., bytes]

    def __truediv__(self, name: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def ct(self, seed: int, **options: Any) -> list[Path]:
        """A CT series in the folder ``ct-SEED``."""
        tags: dict[str, Any] = {
            "PatientID": f"{SECRET}-{seed}",
            "PatientName": f"{SECRET}^{seed}",
            "PatientBirthDate": "19010101",
            "PatientSex": "",
            "StudyID": "",
            "StudyDate": "",
            "StudyTime": "",
            "AccessionNumber": "",
            "ReferringPhysicianName": SECRET,
            "SeriesNumber": 1,
            "PositionReferenceIndicator": "",
        }
        return self.write_series(self / f"ct-{seed}", hu(seed), GRID, seed=seed, **(tags | options))

    def row(self, scan: object, place: tuple[float, ...] = MIDDLE, *more: object, file: str = "lesions.csv") -> None:
        """A row of a table of lesions."""
        table = self / file
        if not table.exists():
            table.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
        with table.open("a") as stream:
            stream.write(",".join(map(str, (scan, *GRID.to_world(place), *(more or (5,))))) + "\n")


def series_uid(seed: int) -> str:
    return generate_uid(entropy_srcs=[str(seed), "series"])


def slice_uid(seed: int, number: int) -> str:
    return generate_uid(entropy_srcs=[str(seed), "slice", str(number)])


# What is sound: one scan with its lesion, as each format tells of it.


def dicom(at: Folder, seed: int, **options: Any) -> list[Path]:
    at.row(series_uid(seed))
    return at.ct(seed, **options)


def outline(seed: int, number: int, shift: int = 0) -> Outline:
    corners = [(5, 7), (10, 7), (10, 12), (5, 12)]  # the first pixels outside
    return Outline(slice_uid(seed, number), 0.0, np.array(corners, dtype=np.int32) + shift)


def marks(seed: int, *outlines: Outline) -> list[Mark]:
    outlines = outlines or tuple(outline(seed, number) for number in (2, 3))
    return [Mark(reader, NODULE, outlines, {"malignancy": 3}) for reader in (1, 2, 3, 4)]


def lidc(at: Folder, seed: int, *outlines: Outline, edit: Callable[[bytes], bytes] = lambda xml: xml) -> None:
    at.ct(seed)
    (at / f"{seed}.xml").write_bytes(edit(at.write_reading(marks(seed, *outlines), series_uid=series_uid(seed))))


def seg(at: Folder, seed: int, edit: Callable[[Dataset], object] = lambda _: None, pixels: Any = None) -> Path:
    slices = [dcmread(file) for file in at.ct(seed)]
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="nodule",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = hd.seg.Segmentation(
            source_images=slices,
            pixel_array=mask() if pixels is None else pixels,
            segmentation_type="BINARY",
            segment_descriptions=[segment],
            series_instance_uid=generate_uid(),
            series_number=2,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="test",
            manufacturer_model_name="test",
            software_versions="1",
            device_serial_number="1",
        )
        edit(dataset)
        dataset.save_as(at / f"{seed}.seg.dcm")
    return at / f"{seed}.seg.dcm"


def contour(number: float = 2, shift: float = 0, kind: str = "CLOSED_PLANAR") -> Dataset:
    item = Dataset()
    corners = [(7.5, 5.5), (7.5, 9.5), (11.5, 9.5), (11.5, 5.5)]
    points = [GRID.to_world((number, y + shift, x + shift)) for y, x in corners]
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    item.ContourData = [f"{value:.6f}" for point in points for value in point]
    return item


def rtstruct(at: Folder, seed: int, *contours: Dataset, edit: Callable[[Dataset], object] = lambda _: None) -> Path:
    first = dcmread(at.ct(seed)[0])
    dataset, meta = Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = first.file_meta.TransferSyntaxUID
    dataset.file_meta, dataset.Modality, dataset.PatientID = meta, "RTSTRUCT", first.PatientID
    named, study, space, roi, drawn = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    named.SeriesInstanceUID = first.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [named]
    space.FrameOfReferenceUID, space.RTReferencedStudySequence = first.FrameOfReferenceUID, [study]
    dataset.ReferencedFrameOfReferenceSequence = [space]
    roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber = 1, "nodule", 1
    drawn.ContourSequence = list(contours or (contour(2), contour(3)))
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [drawn]
    edit(dataset)
    dataset.save_as(at / f"{seed}.rtstruct.dcm", enforce_file_format=True)
    return at / f"{seed}.rtstruct.dcm"


def volume(at: Folder, seed: int, suffix: str = ".nii.gz", labels: Any = None, grid: Geometry = GRID) -> Path:
    image = at / f"image/{seed}{suffix}"
    write_volume(image, hu(seed), GRID)
    write_volume(at / f"mask/{seed}.nii.gz", mask() if labels is None else labels, grid)
    return image


def luna16(at: Folder, seed: int, header: Callable[[str], str] = lambda text: text) -> Path:
    uid = series_uid(seed)
    origin, spacing = (" ".join(map(str, numbers)) for numbers in (GRID.origin_mm, GRID.spacing_mm[::-1]))
    text = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nOffset = {origin}\n"
        f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = {spacing}\nDimSize = {SHAPE[2]} {SHAPE[1]} {SHAPE[0]}\n"
        f"ElementType = MET_SHORT\nElementDataFile = {uid}.raw\n"
    )
    (at / f"subset0/{uid}.raw").write_bytes(hu(seed).tobytes())
    (at / f"subset0/{uid}.mhd").write_text(header(text))
    at.row(uid, file="annotations.csv")
    return at / f"subset0/{uid}.mhd"


SOUND: Mapping[Callable[..., Any], Request] = {
    dicom: replace(ONE_SLICE, settings=("slices=1", "table=lesions.csv")),
    lidc: ONE_SLICE,
    seg: ONE_SLICE,
    rtstruct: ONE_SLICE,
    volume: ONE_SLICE,
    luna16: ONE_SLICE,
}


# What is broken.


@dataclass(frozen=True)
class Broken:
    """A broken scan.

    Parameters
    ----------
    make
        Writes it.
    reason
        Under which it is counted where sound scans lie beside it; empty: it is no scan, and passed over.
    alone
        What the error says where it is all there is: by default the reason.
    """

    of: Callable[..., Any]
    make: Callable[[Folder], object]
    reason: str = ""
    alone: str = ""


def edited(which: int | None = None, **tags: Any) -> Callable[[int, Dataset], None]:
    """Change tags of one slice, or of all; None removes one."""

    def edit(number: int, dataset: Dataset) -> None:
        for name, value in tags.items() if which in (None, number) else ():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    return edit


def tagged(reason: str, which: int | None = None, **tags: Any) -> Broken:
    def make(at: Folder) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's of values that are wrong
            dicom(at, BAD, edit=edited(which, **tags))

    return Broken(dicom, make, reason)


def tilt(number: int, dataset: Dataset) -> None:
    x, y, z = map(float, dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y + number, z]


def garbage(syntax: str) -> Callable[[Folder], None]:
    """Pixels that are not what their syntax says."""

    def make(at: Folder) -> None:
        for file in dicom(at, BAD):
            dataset = dcmread(file)
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PixelData = encapsulate([b"\xff\xd8\xff" + np.random.default_rng(0).bytes(500)])
            dataset["PixelData"].VR = "OB"
            dataset.save_as(file)

    return make


def cut_short(write: Callable[[Folder], Path], share: float) -> Callable[[Folder], None]:
    def make(at: Folder) -> None:
        file = write(at)
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])

    return make


def other_pixels(at: Folder) -> None:
    file = dicom(at, BAD)[2]
    dataset = dcmread(file)
    dataset.SOPInstanceUID = generate_uid()
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(file.with_name("again.dcm"))


def unreadable(file: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    file.chmod(0)


def without(number: int) -> Callable[[Folder], None]:
    return lambda at: dicom(at, BAD)[number].unlink()


def two_sizes(at: Folder) -> None:
    files = dicom(at, BAD)
    half = at.write_series(at / "half", hu(BAD)[:, :12], replace(GRID, shape=(6, 12, 20)), seed=9)
    for first, second in zip(files, half, strict=True):
        dataset = dcmread(second)
        dataset.SeriesInstanceUID, dataset.PatientID = series_uid(BAD), dcmread(first).PatientID
        dataset.save_as(second)


DICOM = {
    "cut in the pixels": Broken(dicom, cut_short(lambda at: dicom(at, BAD)[2], 0.8), "file cut short", "missing or un"),
    "cut by a pixel": Broken(
        dicom,
        cut_short(lambda at: dicom(at, BAD)[2], 0.9995),
        "file cut short|pixels cannot be decoded",
        "missing|decoded",
    ),
    "cut in the header": Broken(
        dicom, cut_short(lambda at: dicom(at, BAD)[2], 0.12), "broken DICOM header|modality unknown, not CT", "missing"
    ),
    "missing slice": Broken(dicom, without(3), "missing or uneven slices"),
    "other slice at the same place": Broken(dicom, other_pixels, "different slices at one place"),
    "tilted gantry": Broken(dicom, lambda at: dicom(at, BAD, edit=tilt), "tilted gantry or shifted slices"),
    "two patients in one series": tagged("one series of several patients", 2, PatientID=f"{SECRET}-other"),
    "magnetic resonance": tagged("modality MR, not CT", Modality="MR"),
    "modality that is a name": tagged("modality unknown, not CT", Modality=SECRET),
    "localizer": tagged("localizer", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "spacing of zero": tagged("impossible pixel spacing", PixelSpacing=[0, 0.75]),
    "negative spacing": tagged("impossible pixel spacing", PixelSpacing=[0.75, -0.75]),
    "no spacing": tagged("no PixelSpacing", PixelSpacing=None),
    "no position": tagged("no ImagePositionPatient", ImagePositionPatient=None),
    "axes that are none": tagged("impossible orientation", ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    "no slope": tagged("no RescaleSlope", RescaleSlope=None),
    "slope of zero": tagged("impossible rescale", RescaleSlope=0),
    "optical density": tagged("values not in HU", RescaleType="OD"),
    "colours": tagged("not MONOCHROME2", SamplesPerPixel=3, PhotometricInterpretation="RGB"),
    "twelve bits": tagged("impossible number of bits", BitsAllocated=12),
    "huge rows": tagged("impossible number of rows or columns", Rows=65535, Columns=65535),
    "large rows in a small file": tagged("file cut short", Rows=8000, Columns=8000),
    "a billion frames": tagged("frames without positions", NumberOfFrames="1000000000"),
    "one UID for all slices": tagged("one SOP instance UID for several slices", SOPInstanceUID="1.2.3"),
    "two sizes in one series": Broken(dicom, two_sizes, "several stacks in one series"),
    "garbage for JPEG 2000": Broken(dicom, garbage(JPEG2000Lossless), "pixels cannot be decoded"),
    "garbage for JPEG": Broken(dicom, garbage(JPEGLosslessSV1), "pixels cannot be decoded"),
    "garbage for JPEG-LS": Broken(dicom, garbage(JPEGLSLossless), "pixels cannot be decoded"),
    "garbage for run lengths": Broken(dicom, garbage(RLELossless), "pixels cannot be decoded"),
    "no DICOM in a .dcm": Broken(
        dicom, lambda at: (at / "x.dcm").write_bytes(b"no"), "no DICOM in a file named so", NOTHING
    ),
    "empty .dcm": Broken(dicom, lambda at: (at / "x.dcm").write_bytes(b""), "no DICOM in a file named so", NOTHING),
    "folder named .dcm": Broken(dicom, lambda at: (at / "x.dcm/y").mkdir(), alone=NOTHING),
    "pipe named .dcm": Broken(dicom, lambda at: os.mkfifo(at / "x.dcm"), alone=NOTHING),
    "links in a circle": Broken(dicom, lambda at: (at / "x/y").symlink_to(at.path), alone=NOTHING),
    "dead link": Broken(dicom, lambda at: (at / "x.dcm").symlink_to(at / "y.dcm"), alone=NOTHING),
    "file that may not be read": Broken(
        dicom, lambda at: unreadable(dicom(at, BAD)[2]), "broken DICOM header", "missing or uneven slices"
    ),
    "lesion outside its scan": Broken(
        dicom, lambda at: (at.ct(BAD), at.row(series_uid(BAD), (50, 9, 7))), "lesion outside its scan"
    ),
    "lesion nowhere": Broken(
        dicom,
        lambda at: (at.ct(BAD), at.row(series_uid(BAD), (10**9,) * 3)),
        "lesion outside its scan",
    ),
    "row of a scan that is not here": Broken(dicom, lambda at: at.row("1.2.3.4"), "rows without a series", NOTHING),
}


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda xml: xml.replace(old, new)


def reading(edit: Callable[[bytes], bytes], reason: str, alone: str = "") -> Broken:
    return Broken(lidc, lambda at: lidc(at, BAD, edit=edit), reason, alone)


def drawn(*outlines: Outline, reason: str) -> Broken:
    return Broken(lidc, lambda at: lidc(at, BAD, *outlines), reason)


def without_reading(write: Callable[[Folder], object]) -> Callable[[Folder], None]:
    def make(at: Folder) -> None:
        at.ct(BAD)
        write(at)

    return make


BOMB = b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
)
ENTITY = b'<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
UNPLACED = "no mark lies on a slice that is here"
NOT_XML = "XML that cannot be read"
LIDC = {
    "bomb": reading(lambda xml: BOMB + b"]>" + xml.replace(b"anon", b"&m;"), "XML with a document type"),
    "external entity": reading(lambda xml: ENTITY + xml.replace(b"anon", b"&a;"), "XML with a document type"),
    "XML cut short": reading(lambda xml: xml[: len(xml) // 2], NOT_XML),
    "XML that is not UTF-8": reading(replaced(b"anon", b"\xe4non"), NOT_XML),
    "XML in an unknown encoding": reading(lambda xml: b'<?xml version="1.0" encoding="klingon"?>' + xml, NOT_XML),
    "empty XML": reading(lambda _: b"", NOT_XML, NO_LESION),
    "NUL in XML": reading(replaced(b"anon", b"a\0n"), NOT_XML),
    "deep XML": reading(replaced(b"</LidcReadMessage>", b"<a>" * 10**5), NOT_XML),
    "other series": reading(
        replaced(series_uid(BAD).encode(), b"1.2.3"),
        "reading of a series that is not here",
        "CT series without a reading",
    ),
    "series without a reading": Broken(lidc, lambda at: at.ct(BAD), "CT series without a reading", NO_LESION),
    "readings that differ": Broken(
        lidc,
        lambda at: (
            lidc(at, BAD),
            (at / "x.xml").write_bytes(at.write_reading(marks(BAD, outline(BAD, 4)), series_uid=series_uid(BAD))),
        ),
        "series with several readings that differ",
    ),
    "other slices": drawn(Outline("1.2.3", 0.0, outline(BAD, 2).pixels), reason=UNPLACED),
    "off the image": drawn(outline(BAD, 2, shift=15), reason=UNPLACED),
    "far off the image": drawn(outline(BAD, 2, shift=10**6), reason="outline off the image"),
    "coordinate that is none": reading(replaced(b"<xCoord>5", b"<xCoord>nan"), "coordinate that is no number"),
    "outline without points": reading(
        lambda xml: re.sub(b"<edgeMap>.*?</edgeMap>", b"", xml), "outline without points"
    ),
    "outline without a slice": reading(
        lambda xml: re.sub(b"<imageSOP_UID>.*?</imageSOP_UID>", b"", xml), "outline without a slice"
    ),
    "thousands of marks": reading(
        lambda xml: xml.replace(b"<unblindedReadNodule>", b"<nonNodule/><unblindedReadNodule>").replace(
            b"</readingSession>",
            b"".join([xml[xml.index(b"<unblinded") : xml.index(b"</readingS")]] * 300) + b"</readingSession>",
        ),
        "more marks than anybody makes",
    ),
}


def on_other_grid(dataset: Dataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0]
        position.ImagePositionPatient = [float(mm) + 0.3 for mm in position.ImagePositionPatient]


def of_series(uid: str) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = uid

    return edit


def set_to(**values: Any) -> Callable[[Dataset], None]:
    return lambda dataset: edited(**values)(0, dataset)


def segmented(reason: str, edit: Callable[[Dataset], object] = lambda _: None, pixels: Any = None) -> Broken:
    return Broken(seg, lambda at: seg(at, BAD, edit, pixels), reason)


def contoured(reason: str, *contours: Dataset, edit: Callable[[Dataset], object] = lambda _: None) -> Broken:
    return Broken(rtstruct, lambda at: rtstruct(at, BAD, *contours, edit=edit), reason)


def with_data(*values: float) -> Dataset:
    item = contour()
    item.ContourData = [str(value) for value in values]
    return item


def across_slices() -> Dataset:
    """z, y and x in each other's place."""
    item = contour()
    numbers = np.reshape(item.ContourData, (-1, 3))
    item.ContourData = numbers[:, ::-1].ravel().tolist()
    return item


OTHER_SERIES = "SEG or RTSTRUCT of a series that is not here"
SEG = {
    "SEG of another series": Broken(seg, lambda at: seg(at, BAD, of_series("1.2.3")), OTHER_SERIES, "none belong"),
    "SEG of another patient": segmented("SEG or RTSTRUCT of another patient", set_to(PatientID=f"{SECRET}-other")),
    "SEG of another space": segmented("another frame of reference than the scan", set_to(FrameOfReferenceUID="1.2.3")),
    "SEG between the voxels": segmented("SEG on another grid", on_other_grid),
    "SEG of huge frames": segmented("impossible frames", set_to(Rows=60000)),
    "SEG of an unknown kind": segmented("unknown kind of SEG", set_to(SegmentationType="ODD")),
    "SEG without pixels": segmented("broken SEG or RTSTRUCT", set_to(PixelData=None)),
    "SEG that is empty": segmented("nothing is marked", pixels=np.zeros(SHAPE, dtype=np.uint8)),
    "SEG cut short": Broken(seg, cut_short(lambda at: seg(at, BAD), 0.9), "broken SEG or RTSTRUCT"),
    "RTSTRUCT with an empty contour": contoured("broken contour", with_data()),
    "RTSTRUCT of half a point": contoured("broken contour", with_data(1, 2, 3, 4)),
    "RTSTRUCT with axes swapped": contoured("contour across slices", across_slices()),
    "RTSTRUCT off the slices": contoured("nothing is marked", contour(40), contour(41)),
    "RTSTRUCT off the image": contoured("nothing is marked", contour(2, shift=500)),
    "RTSTRUCT with an open contour": contoured("open contour", contour(kind="OPEN_PLANAR")),
    "RTSTRUCT without contours": contoured("nothing is marked", edit=set_to(ROIContourSequence=[])),
    "RTSTRUCT of unknown regions": contoured("contours of an unknown region", edit=set_to(StructureSetROISequence=[])),
    "RTSTRUCT without regions": contoured("broken SEG or RTSTRUCT", edit=set_to(StructureSetROISequence=None)),
}


def nifti(reason: str, offset: int, form: str, *values: float) -> Broken:
    """A NIfTI file whose header has these values from a byte on."""

    def make(at: Folder) -> None:
        file = volume(at, BAD)
        content = bytearray(gzip.decompress(file.read_bytes()))
        struct.pack_into(form, content, offset, *values)
        file.write_bytes(gzip.compress(content))

    return Broken(volume, make, reason)


def voxels(reason: str, value: float) -> Broken:
    def make(at: Folder) -> None:
        file = volume(at, BAD)
        spoilt = hu(BAD).astype(np.float32)
        spoilt[0, 0, 0] = value
        write_volume(file, spoilt, GRID)

    return Broken(volume, make, reason)


def labelled(reason: str, labels: Any, **changes: Any) -> Broken:
    grid = replace(GRID, shape=np.shape(labels), **changes)
    return Broken(volume, lambda at: volume(at, BAD, labels=labels, grid=grid), reason)


def header(suffix: str, pattern: bytes, by: bytes, reason: str) -> Broken:
    """An NRRD or MetaImage file in whose header a line is another."""

    def make(at: Folder) -> None:
        file = volume(at, BAD, suffix)
        content = file.read_bytes()
        end = content.index(b"\n\n" if suffix == ".nrrd" else b"LOCAL\n")
        changed, count = re.subn(b"(?m)^" + pattern + b"$", by, content[: end + 6])
        assert count == 1
        file.write_bytes(changed + content[end + 6 :])

    return Broken(volume, make, reason)


def corrupt(at: Folder) -> None:
    file = volume(at, BAD)
    content = bytearray(file.read_bytes())
    content[-8] ^= 255  # of the checksum
    file.write_bytes(content)


def hidden(write: Callable[[Folder], object], reason: str = "", alone: str = NOTHING) -> Broken:
    return Broken(volume, write, reason, alone)


ELSEWHERE = "voxels outside the folder"
VOLUMES = {
    "NIfTI cut short": Broken(volume, cut_short(lambda at: volume(at, BAD), 0.7), "file cut short"),
    "NIfTI cut in its header": Broken(volume, cut_short(lambda at: volume(at, BAD, ".nii"), 0.01), "file cut short"),
    "empty NIfTI": Broken(volume, cut_short(lambda at: volume(at, BAD), 0), "file cut short"),
    "NIfTI with another checksum": Broken(volume, corrupt, "file damaged"),
    "NIfTI that is text": Broken(volume, lambda at: volume(at, BAD).write_bytes(b"text " * 99), "not NIfTI"),
    "NIfTI of huge size": nifti("too large", 42, "<hhh", 30000, 30000, 30000),
    "NIfTI larger than its file": nifti("file cut short", 42, "<hhh", 1000, 1000, 900),
    "NIfTI of negative size": nifti("not a 3-D volume", 42, "<h", -20),
    "NIfTI with time": nifti("not a 3-D volume", 40, "<hhhhh", 4, 20, 24, 3, 2),
    "NIfTI in colour": nifti("voxels are no real numbers", 70, "<hh", 128, 24),
    "NIfTI with a spacing of zero": nifti("geometry unfit", 280, "<4f", 0, 0, 0, 0),
    "NIfTI that is sheared": nifti("geometry unfit", 280, "<4f", -0.75, 0.4, 0, 20),
    "NIfTI without a place": nifti("orientation unknown", 252, "<hh", 0, 0),
    "NIfTI of two places": nifti("two positions stated", 268, "<f", 77),
    "NIfTI at infinity": nifti("geometry unfit", 292, "<f", float("inf")),
    "voxels that are no number": voxels("voxels not finite", float("nan")),
    "voxels that are infinite": voxels("voxels not finite", float("inf")),
    "voxels without their scale": Broken(
        volume, lambda at: write_volume(volume(at, BAD), hu(BAD) + np.int16(1024), GRID), "not in HU"
    ),
    "NRRD without a space": header(".nrrd", rb"space: .*", b"space: scanner-xyz", "orientation unknown"),
    "NRRD of huge size": header(".nrrd", rb"sizes: .*", b"sizes: 90000 90000 90000", "too large"),
    "NRRD with a spacing of zero": header(
        ".nrrd", rb"space directions: .*", b"space directions: (0,0,0) (0,0.75,0) (0,0,2.5)", "geometry unfit"
    ),
    "NRRD in colour": header(".nrrd", rb"dimension: 3", b"dimension: 4", "file unreadable"),
    "NRRD that names a file elsewhere": header(
        ".nrrd", rb"encoding: .*", b"encoding: raw\ndata file: /etc/passwd", ELSEWHERE
    ),
    "MetaImage of huge size": header(".mha", rb"DimSize = .*", b"DimSize = 90000 90000 90000", "too large"),
    "MetaImage of negative spacing": header(
        ".mha", rb"ElementSpacing = .*", b"ElementSpacing = 1 -1 1", "geometry unfit"
    ),
    "MetaImage in colour": header(
        ".mha",
        rb"ElementType = .*",
        b"ElementNumberOfChannels = 3\nElementType = MET_UCHAR",
        "voxels are no real numbers",
    ),
    "MetaImage cut short": Broken(volume, cut_short(lambda at: volume(at, BAD, ".mha"), 0.6), "file cut short"),
    "folder named NIfTI": hidden(lambda at: (at / "image/x.nii.gz").mkdir()),
    "pipe named NIfTI": hidden(lambda at: os.mkfifo(at / "image/x.nii.gz")),
    "image that links to itself": hidden(lambda at: (at / "image/x.nii.gz").symlink_to("x.nii.gz")),
    "image without a mask": hidden(
        lambda at: write_volume(at / f"image/{BAD}.nii", hu(BAD), GRID), "neither mask nor table", "neither masks"
    ),
    "mask without an image": hidden(
        lambda at: write_volume(at / f"mask/{BAD}.nii", mask(), GRID), "mask without image"
    ),
    "two images of one name": Broken(
        volume,
        lambda at: (volume(at, BAD), shutil.copy(volume(at, BAD, ".nii"), at / f"image/{BAD}.mha")),
        "two images of one name",
    ),
    "mask on another grid": labelled("mask on another grid", mask()[:, ::2]),
    "mask with axes swapped": labelled("mask on another grid", mask().transpose(0, 2, 1)),
    "mask elsewhere": labelled("mask on another grid", mask(), origin_mm=(0.0, 0.0, 0.0)),
    "mask of a negative value": labelled("mask without labels", -mask().astype(np.int16)),
    "mask of too high a value": labelled("mask without labels", mask().astype(np.int32) * 70000),
    "mask of shares": labelled("mask without labels", mask() * np.float32(0.5)),
    "mask cut short": Broken(
        volume, cut_short(lambda at: (volume(at, BAD), at / f"mask/{BAD}.nii.gz")[1], 0.5), "file cut short"
    ),
    "mask without a voxel": hidden(lambda at: volume(at, BAD, labels=0 * mask()), alone=NO_LESION),
}


def meta(reason: str, old: str, new: str) -> Broken:
    return Broken(luna16, lambda at: luna16(at, BAD, lambda text: re.sub(old, new, text)), reason)


LUNA16 = {
    "voxels by an absolute path": meta(ELSEWHERE, "(ElementDataFile = ).*", r"\1/etc/passwd"),
    "voxels by a path upwards": meta(ELSEWHERE, "(ElementDataFile = )", r"\1../../../"),
    "voxels by a path of Windows": meta(ELSEWHERE, "(ElementDataFile = )", r"\1C:\\\\"),
    "voxels in a list of files": meta("voxels in several files", "(ElementDataFile = ).*", r"\1LIST\n/etc/passwd"),
    "voxels that are missing": meta("voxels missing", "(ElementDataFile = ).*", r"\1none.raw"),
    "larger than its voxels": meta("file cut short", "(DimSize = ).*", r"\1 500 500 500"),
    "scan of zero spacing": meta("geometry unfit", "(ElementSpacing = ).*", r"\1 0 0 0"),
    "scan without spacing": meta("header incomplete", "ElementSpacing = .*\n", ""),
    "four axes": meta("geometry unfit|not a 3-D volume|file unreadable", "NDims = 3", "NDims = 4"),
    "nodule outside its scan": Broken(
        luna16,
        lambda at: (luna16(at, BAD), at.row(series_uid(BAD), (90, 0, 0), file="annotations.csv")),
        "lesion outside its scan",
    ),
}
TABLES = (DICOM, LIDC, SEG, VOLUMES, LUNA16)
SCANS = {name: broken for table in TABLES for name, broken in table.items()}


@pytest.fixture(scope="session")
def folder_of(dicom_series_writer: Any, lidc_writer: Any) -> Callable[[Path], Folder]:
    return lambda path: Folder(path, dicom_series_writer, lidc_writer)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory, folder_of: Callable[[Path], Folder]) -> dict[Any, Path]:
    """A folder of sound scans for each kind, to be copied."""
    folders = {}
    for kind in SOUND:
        at = folder_of(tmp_path_factory.mktemp("sound"))
        for seed in GOOD.values():
            kind(at, seed)
        folders[kind] = at.path
    return folders


@pytest.fixture
def read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Ingests a folder; whatever becomes of it, nobody is named."""

    def ingested(path: Path, request: Request) -> Path:
        heard = Heard()
        out = tmp_path / "out"
        try:
            with limits():
                return ingest(path, out, request, workers=1, progress=heard)
        except LesionForgeError as error:
            assert not out.exists()
            heard.lines.append(str(error))
            raise
        finally:
            said = "\n".join([*heard.lines, *capfd.readouterr()])
            assert SECRET.lower() not in said.lower()
            assert "Traceback" not in said

    return ingested


def check_sound(out: Path, *, of: int) -> None:
    """Both sound scans are there, with their Hounsfield units."""
    patches = patches_file.load(out)
    expected = [hu(seed) for seed in GOOD.values()]
    slices = patches.table["slice_index"]
    seen = [
        {seed for seed, scan in enumerate(expected) if np.array_equal(scan[(number, *SHOWN)], image)}
        for number, image in zip(slices, patches.images, strict=True)
    ]
    assert sum(map(len, seen)) == of
    assert set.union(*seen) == {0, 1}


@pytest.mark.parametrize("kind", SOUND, ids=lambda kind: kind.__name__)
def test_sound_scans_come_through(kind, sound, read):
    out = read(sound[kind], SOUND[kind])
    check_sound(out, of=2)
    assert json.loads((out / "ingest.json").read_text())["skipped"] == []


@pytest.mark.parametrize("name", SCANS)
def test_a_broken_scan_alone_is_one_clear_error(name, folder_of, read, tmp_path):
    broken = SCANS[name]
    (tmp_path / "in").mkdir()
    at = folder_of(tmp_path / "in")
    broken.make(at)
    with pytest.raises(LesionForgeError, match=broken.alone or broken.reason):
        read(at.path, SOUND[broken.of])


@pytest.mark.parametrize("name", SCANS)
def test_a_broken_scan_among_sound_ones_is_a_counted_skip(name, sound, folder_of, read, tmp_path):
    broken = SCANS[name]
    at = folder_of(shutil.copytree(sound[broken.of], tmp_path / "in"))
    broken.make(at)
    out = read(at.path, SOUND[broken.of])
    check_sound(out, of=2)
    text = (out / "ingest.json").read_text()
    assert SECRET not in text
    reasons = counted([Skip(**skip) for skip in json.loads(text)["skipped"]])
    assert any(re.fullmatch(broken.reason, reason) for reason in reasons) if broken.reason else reasons == {}


# What is broken as a whole: there is nothing beside it that could be used.


def table(text: str | bytes, *, of: Callable[..., Any] = volume, name: str = "lesions.csv") -> Callable[[Folder], None]:
    """A table of lesions beside sound scans."""

    def make(at: Folder) -> None:
        for seed in GOOD.values():
            of(at, seed)
        (at / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


def arrays(change: Callable[[Folder], object] = lambda _: None, **mapping: Any) -> Callable[[Folder], None]:
    """Six images with a table and a mapping, then changed."""

    def make(at: Folder) -> None:
        np.save(at / "images.npy", hu(0))
        np.savez_compressed(at / "images.npz", hu=hu(0))
        rows = [f"{SECRET}-{number},{number},{number + 5}" for number in range(SHAPE[0])]
        (at / "table.csv").write_text("\n".join(["patient,number,diameter", *rows]))
        (at / "arrays.json").write_text(json.dumps({"images": "images.npy"} | mapping))
        change(at)

    return make


def npy(shape: tuple[int, ...], content: bytes = b"", dtype: str = "<i2") -> bytes:
    """An array file that says to hold more than it does."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def saved(array: Any, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def medmnist(**changes: Any) -> Callable[[Folder], object]:
    """A MedMNIST file with other arrays, or with bytes of a broken one."""
    splits = {"train": 4, "val": 2, "test": 2}
    known = {f"{split}_images": np.full((count, 28, 28), 9, dtype=np.uint8) for split, count in splits.items()}
    known |= {f"{split}_labels": np.zeros((count, 1), dtype=np.uint8) for split, count in splits.items()}
    members = {name: each if isinstance(each, bytes) else saved(each) for name, each in (known | changes).items()}
    return lambda at: (at / "nodulemnist3d.npz").write_bytes(zipped(**members))


def pictures(*made: Any, **beside: Any) -> Callable[[Folder], None]:
    """Pictures from arrays, or files from bytes, numbered; others by their names."""

    def make(at: Folder) -> None:
        for name, each in (dict(enumerate(made)) | beside).items():
            file = at / f"{'masks/benign' if name == 'mask' else 'benign'}/{0 if name == 'mask' else name}.png"
            if isinstance(each, bytes):
                file.write_bytes(each)
            else:
                Image.fromarray(each).save(file)

    return make


def png(width: int, height: int) -> bytes:
    """A few bytes that say to be a picture of that size."""
    pieces = [b"\x89PNG\r\n\x1a\n"]
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    for kind, content in ((b"IHDR", size), (b"IDAT", zlib.compress(bytes(999))), (b"IEND", b"")):
        pieces += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(kind + content))]
    return b"".join(pieces)


def animated() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(GRAY).save(stream, "PNG", save_all=True, append_images=[Image.fromarray(255 - GRAY)])
    return stream.getvalue()


GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)
NUMBERS = "must hold NumPy arrays of numbers"
DEEP = GRAY.astype(np.uint16) * 250
ROWS = "scan,x_mm,y_mm,z_mm,diameter_mm\n1,-14,-23,-35,5\n2,-14,-23,-35,5\n"
Whole = tuple[Callable[[Folder], object], str] | tuple[Callable[[Folder], object], str, Request]
WHOLE: dict[str, Whole] = {
    "nothing": (lambda _: None, NOTHING),
    "links in a circle alone": (lambda at: (at / "x").symlink_to("x"), NOTHING),
    "pipe named npz": (lambda at: os.mkfifo(at / "x.npz"), NOTHING),
    "pipes of all names": (
        lambda at: [
            os.mkfifo(at / name)
            for name in ("arrays.json", "annotations.csv", "lesions.csv", "a.npz", "a.npy", "a.xml", "a.mhd", "a.png")
        ],
        "table.csv is missing",
    ),
    "patches that are there already": (
        lambda at: (at / "patches.json").write_text("{}"),
        "use them as they are",
    ),
    "table that is not UTF-8": (table(ROWS.replace("1,-14", "\xe4,-14").encode("latin-1")), "must be in UTF-8"),
    "table of UTF-16": (table(ROWS.encode("utf-16")), "must be in UTF-8"),
    "table with NUL": (table(ROWS.replace("-14", "-1\0004")), "must hold numbers|must be CSV"),
    "table that is empty": (table(""), "must be CSV with a header"),
    "table of a header alone": (table(ROWS.splitlines()[0]), "a row for each lesion"),
    "table without a scan": (
        table(ROWS.replace("scan", "x").replace("1,", "q,").replace("2,", "q,")),
        "which scan a row",
    ),
    "table with a column twice": (table(ROWS.replace("y_mm", "x_mm")), "'x_mm' again"),
    "table of other scans": (table(ROWS.replace("\n1", "\n8").replace("\n2", "\n9")), "no row does"),
    "table with a negative diameter": (table(ROWS.replace(",5\n", ",-5\n")), "above 0 mm"),
    "table with text for a number": (table(ROWS.replace("-23", "left")), "must hold numbers"),
    "table with half a place": (table(ROWS.replace("-23", "")), "numbers for x, y and z"),
    "table with ragged rows": (table(ROWS + "1,2,3,4,5,6,7,8\n"), "must be CSV"),
    "table of one open quote": (table(ROWS.replace("-14", '"-14')), "must be CSV|must hold numbers"),
    "table of reserved columns": (table(ROWS.replace("diameter_mm", "extent_x_mm")), "meaning of their own"),
    "two tables": (lambda at: (table(ROWS)(at), table(ROWS, name="points.csv")(at)), "must have one table"),
    "class of a candidate": (
        table(
            f"seriesuid,coordX,coordY,coordZ,class\n{series_uid(1)},-14,-23,-35,7\n", of=luna16, name="candidates.csv"
        ),
        "must hold 0 and 1",
        replace(ONE_SLICE, settings=("show=candidates",)),
    ),
    "annotations without a column": (
        table(f"seriesuid,coordX,coordY\n{series_uid(1)},1,2\n", of=luna16, name="annotations.csv"),
        "no column 'coordZ'",
    ),
    "annotations without a diameter": (
        table(f"seriesuid,coordX,coordY,coordZ\n{series_uid(1)},1,2,3\n", of=luna16, name="annotations.csv"),
        "no column 'diameter_mm'",
    ),
    "mapping with unknown keys": (arrays(imagse="x.npy"), "imagse"),
    "mapping of wrong types": (arrays(patient=["patient"]), "patient"),
    "mapping that is a list": (arrays(lambda at: (at / "arrays.json").write_text("[1]")), "one JSON object"),
    "mapping that is cut short": (arrays(lambda at: (at / "arrays.json").write_text('{"images')), "must be JSON"),
    "mapping that is not UTF-8": (arrays(lambda at: (at / "arrays.json").write_bytes(b'{"images": "\xe4"}')), "JSON"),
    "mapping that is deep": (arrays(lambda at: (at / "arrays.json").write_text("[" * 10**5)), "must be JSON"),
    "mapping that leads upwards": (arrays(images="../images.npy"), "inside its folder"),
    "mapping that leads to the root": (arrays(table="/etc/passwd"), "inside its folder"),
    "mapping that leads to another drive": (arrays(table="C:\\table.csv"), "inside its folder"),
    "mapping that leads through a link": (
        arrays(lambda at: (at / "out.csv").symlink_to("/etc/passwd"), table="out.csv"),
        "inside its folder",
    ),
    "mapping of a name that is too long": (arrays(table="a" * 5000), "inside its folder"),
    "mapping of a link to itself": (
        arrays(lambda at: (at / "loop.csv").symlink_to("loop.csv"), table="loop.csv"),
        "inside its folder",
    ),
    "mapping of a NUL": (arrays(table="a\0b"), "inside its folder|is missing"),
    "mapping of a folder": (arrays(images="."), "is missing"),
    "mapping of a missing key": (arrays(images="images.npz:ho"), "has no array 'ho'"),
    "mapping of a missing column": (arrays(patient="pateint"), "did you mean 'patient'"),
    "mapping of text as diameter": (arrays(diameter_mm="patient"), "holds text"),
    "mapping of an overlapping rule": (arrays(labels={"a": "number > 1", "b": "number > 2"}), "exclude each other"),
    "mapping of code as a rule": (arrays(labels={"a": "__import__('os').system('true')"}), "cannot be followed"),
    "images of objects": (
        arrays(lambda at: (at / "images.npy").write_bytes(saved(np.array([print] * 6, dtype=object), pickled=True))),
        NUMBERS,
    ),
    "images cut short": (arrays(lambda at: (at / "images.npy").write_bytes(saved(hu(0))[:999])), NUMBERS),
    "images that are empty": (arrays(lambda at: (at / "images.npy").write_bytes(b"")), NUMBERS),
    "images of huge size": (
        arrays(lambda at: (at / "images.npy").write_bytes(npy((6, 10**6, 10**6)))),
        NUMBERS,
    ),
    "images of negative size": (
        arrays(lambda at: (at / "images.npy").write_bytes(npy((6, -1, 20), bytes(240)))),
        NUMBERS,
    ),
    "archive cut short": (
        arrays(
            lambda at: (at / "images.npz").write_bytes((at / "images.npz").read_bytes()[:999]), images="images.npz:hu"
        ),
        NUMBERS,
    ),
    "archive with a byte changed": (
        arrays(
            lambda at: (at / "images.npz").write_bytes(
                (at / "images.npz").read_bytes()[:999].ljust(1000, b"x") + (at / "images.npz").read_bytes()[1000:]
            ),
            images="images.npz:hu",
        ),
        NUMBERS,
    ),
    "archive of huge size": (
        arrays(lambda at: (at / "images.npz").write_bytes(zipped(hu=npy((6, 10**6, 10**6)))), images="images.npz:hu"),
        NUMBERS,
    ),
    "archive that is a bomb": (
        arrays(
            lambda at: (at / "images.npz").write_bytes(zipped(hu=npy((6, 30000, 50000), bytes(2**24)))),
            images="images.npz:hu",
        ),
        NUMBERS,
    ),
    "images that are not finite": (
        arrays(lambda at: np.save(at / "images.npy", np.full(SHAPE, np.nan))),
        "finite",
    ),
    "images that are complex": (arrays(lambda at: np.save(at / "images.npy", hu(0) * 1j)), "must"),
    "images scaled to one": (arrays(lambda at: np.save(at / "images.npy", hu(0) / 1100)), "scale them back"),
    "images in colour and time": (arrays(lambda at: np.save(at / "images.npy", np.zeros((6, 3, 3, 3, 3)))), "must"),
    "fewer images than rows": (arrays(lambda at: np.save(at / "images.npy", hu(0)[:4])), "one for each of 6 rows"),
    "masks of another size": (
        arrays(lambda at: np.save(at / "masks.npy", mask()[:, ::2]), masks="masks.npy"),
        "mask",
    ),
    "diameters that are negative": (
        arrays(lambda at: (at / "table.csv").write_text("patient,d\n" + f"{SECRET},-1\n" * 6), diameter_mm="d"),
        "diameter_mm",
    ),
    "spacing of zero in a table": (
        arrays(lambda at: (at / "table.csv").write_text("patient,s\n" + f"{SECRET},0\n" * 6), spacing_mm=["s"]),
        "spacing",
    ),
    "patients without a name": (
        arrays(lambda at: (at / "table.csv").write_text("patient,n\n" + ",1\n" * 6)),
        "patient",
    ),
    "numbers of images twice": (
        arrays(lambda at: (at / "table.csv").write_text("patient,n\n" + f"{SECRET},1\n" * 6), index="n"),
        "each number from 0 to 5 once",
    ),
    "MedMNIST in colour": (medmnist(train_images=np.zeros((4, 28, 28, 3), dtype=np.uint8)), "in colour"),
    "MedMNIST of real numbers": (medmnist(val_images=np.zeros((2, 28, 28))), "8 bit"),
    "MedMNIST of two sizes": (medmnist(test_images=np.zeros((2, 9, 9), dtype=np.uint8)), "all alike"),
    "MedMNIST without an image": (medmnist(val_images=np.zeros((0, 28, 28), dtype=np.uint8)), "all alike"),
    "MedMNIST with fewer labels": (medmnist(train_labels=np.zeros((3, 1), dtype=np.uint8)), "one whole number"),
    "MedMNIST of several labels": (medmnist(train_labels=np.zeros((4, 14), dtype=np.uint8)), "at once"),
    "MedMNIST of an unknown class": (medmnist(test_labels=np.full((2, 1), 2, dtype=np.uint8)), "benign, malignant"),
    "MedMNIST of text": (medmnist(train_labels=np.array([["a"]] * 4)), "one whole number"),
    "MedMNIST of objects": (medmnist(val_labels=saved(np.array([[print]] * 2, dtype=object), pickled=True)), "numbers"),
    "MedMNIST of huge size": (medmnist(train_images=npy((4, 10**6, 10**6), dtype="|u1")), "not as large as it says"),
    "MedMNIST cut short": (
        lambda at: cut_short(lambda at: (medmnist()(at), at / "nodulemnist3d.npz")[1], 0.8)(at),
        NOTHING,
    ),
    "pictures of two sizes": (pictures(GRAY, GRAY[:8]), "must have one size"),
    "picture of 16 bits": (pictures(DEEP), "more"),
    "picture of 16 bits and a slope that is none": (
        pictures(DEEP),
        "hu must be a slope",
        Request(settings=("hu=1,nan",)),
    ),
    "picture in colour": (pictures(np.stack([GRAY, GRAY, GRAY.T], axis=-1)), "in colour"),
    "picture that is see-through": (pictures(np.stack([GRAY] * 4, axis=-1)), "opaque"),
    "picture that moves": (pictures(animated()), "several"),
    "picture that is a bomb": (pictures(png(50000, 50000)), "picture"),
    "picture of large size": (pictures(png(9000, 9000)), "pixels at most"),
    "picture cut short": (pictures(png(9, 9)[:45]), "must be a PNG"),
    "picture of too few pixels": (pictures(png(200, 200)), "must be a PNG"),
    "picture of nothing": (pictures(b""), "must be a PNG"),
    "picture that is text": (pictures(b"<svg/>" * 9), "must be a PNG"),
    "picture without a mask": (pictures(GRAY), "must name a folder", Request(settings=("masks=masks",))),
    "mask of a picture of another size": (
        pictures(GRAY, mask=GRAY[:8]),
        "must have its picture's",
        Request(settings=("masks=masks",)),
    ),
    "mask of several values": (pictures(GRAY, mask=GRAY), "one other value", Request(settings=("masks=masks",))),
    "patients that no name tells": (
        pictures(GRAY),
        "finds none in 1 of 1",
        Request(settings=("patient=(?P<patient>[A-Z]+)_",)),
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_broken_as_a_whole_is_one_clear_error(name, folder_of, read, tmp_path):
    make, says, request = (*WHOLE[name], Request())[:3]
    (tmp_path / "in").mkdir()
    at = folder_of(tmp_path / "in")
    make(at)
    with pytest.raises(LesionForgeError, match=says):
        read(at.path, request)


@pytest.mark.parametrize("format_", ["arrays", "dicom", "images", "lidc", "luna16", "medmnist", "seg", "volume"])
@pytest.mark.parametrize("name", ["none", "pipe.npz", "empty", "/dev/null", "dead"])
def test_a_path_of_nothing_is_one_clear_error(name, format_, read, tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dead").symlink_to("dead")
    with pytest.raises(LesionForgeError):
        read(tmp_path / name, Request(format_=format_))


def test_there_are_as_many_as_promised():
    assert len(SCANS) == sum(map(len, TABLES)), "two cases share a name, so one does not run"
    assert len(SCANS) + len(WHOLE) >= 60
