"""DICOM files that are not what a CT slice must be: each is left out for a reason, and the others are used."""

import zlib

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset

from lesionforge.data.formats.dicom_header import read_planes
from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.geometry import Geometry
from lesionforge.errors import UnfitDataError

HU = np.random.default_rng(0).integers(-1024, 3072, (3, 32, 40)).astype(np.int16)


def _set(**tags):
    def edit(_number, dataset):
        for name, value in tags.items():
            setattr(dataset, name, value)

    return edit


def _without(name):
    return lambda _number, dataset: delattr(dataset, name)


def _raw(name, value, vr="DS"):
    """Set what pydicom would refuse to write."""

    def edit(_number, dataset):
        tag = pydicom.datadict.tag_for_keyword(name)
        dataset[tag] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(tag), vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
        )

    return edit


BROKEN_HEADERS = {
    "of MR": (_set(Modality="MR"), "modality MR, not CT"),
    "a segmentation": (_set(Modality="SEG"), "modality SEG, not CT"),
    "without modality": (_without("Modality"), "modality unknown, not CT"),
    "of a modality that is a name": (_raw("Modality", b"patient-1 ", "CS"), "modality unknown, not CT"),
    "localizer": (_set(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
    "inverted": (_set(PhotometricInterpretation="MONOCHROME1"), "not MONOCHROME2"),
    "in colours": (_set(PhotometricInterpretation="RGB", SamplesPerPixel=3), "not MONOCHROME2"),
    "three samples": (_set(SamplesPerPixel=3), "not MONOCHROME2"),
    "huge": (_set(Rows=65535, Columns=65535), "impossible number of rows or columns"),
    "without rows": (_without("Rows"), "impossible number of rows or columns"),
    "with 0 columns": (_set(Columns=0), "impossible number of rows or columns"),
    "with more rows than pixels": (_set(Rows=8000), "file cut short"),
    "without pixels": (_without("PixelData"), "file cut short"),
    "with pixels cut short": (_set(PixelData=HU[0].tobytes()[:-400]), "file cut short"),
    "of 12 bits allocated": (_set(BitsAllocated=12), "impossible number of bits"),
    "of 20 bits in 16": (_set(BitsStored=20, HighBit=19), "impossible number of bits"),
    "in the upper bits": (_set(BitsStored=12, HighBit=15), "impossible number of bits"),
    "without bits": (_without("BitsStored"), "impossible number of bits"),
    "without position": (_without("ImagePositionPatient"), "no ImagePositionPatient"),
    "with two coordinates": (_set(ImagePositionPatient=[1, 2]), "no ImagePositionPatient"),
    "at no number": (_raw("ImagePositionPatient", b"0\\nan\\0 "), "no ImagePositionPatient"),
    "at infinity": (_raw("ImagePositionPatient", b"0\\0\\inf "), "no ImagePositionPatient"),
    "at text": (_raw("ImagePositionPatient", b"here"), "no ImagePositionPatient"),
    "without orientation": (_without("ImageOrientationPatient"), "no ImageOrientationPatient"),
    "sheared": (_set(ImageOrientationPatient=[1, 0, 0, 0.5, 0.8, 0]), "impossible orientation"),
    "without direction": (_set(ImageOrientationPatient=[0] * 6), "impossible orientation"),
    "without spacing": (_without("PixelSpacing"), "no PixelSpacing"),
    "of zero spacing": (_set(PixelSpacing=[0, 0.7]), "impossible pixel spacing"),
    "of negative spacing": (_set(PixelSpacing=[0.7, -0.7]), "impossible pixel spacing"),
    "without slope": (_without("RescaleSlope"), "no RescaleSlope"),
    "without intercept": (_without("RescaleIntercept"), "no RescaleIntercept"),
    "of slope 0": (_set(RescaleSlope=0), "impossible rescale"),
    "of a huge slope": (_set(RescaleSlope=1e9), "impossible rescale"),
    "of electron density": (_set(RescaleType="ED"), "values not in HU"),
    "without identity": (_set(SOPInstanceUID=""), None),
    "of frames without places": (_set(NumberOfFrames=3), "frames without positions"),
}


@pytest.mark.parametrize("what", BROKEN_HEADERS)
def test_a_file_that_is_no_ct_slice_is_left_out_by_reason(tmp_path, dicom_series_writer, what):
    edit, reason = BROKEN_HEADERS[what]
    dicom_series_writer(tmp_path / "good", HU)
    files = dicom_series_writer(tmp_path / "bad", HU, edit=edit, seed=1, PatientID="patient-7")
    series, skipped = find_series(tmp_path)
    if reason is None:  # what the file's meta information says is enough
        assert len(series) == 2
        return
    assert [each.patient for each in series] == ["patient-1"]
    assert sorted(skip.what for skip in skipped) == sorted(map(str, files))
    assert {skip.reason for skip in skipped} == {reason}
    assert all(skip.message.endswith(".") and "patient-" not in skip.message for skip in skipped)


def _rewritten(change):
    def damage(file):
        file.write_bytes(change(file.read_bytes()))

    return damage


def _relabelled(syntax):
    """Say that the pixels are stored otherwise than they are."""

    def damage(file):
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax.is_compressed:
            dataset.PixelData = pydicom.encaps.encapsulate([dataset.PixelData])
        dataset.save_as(file)

    return damage


def _with_meta(old, new):
    return _rewritten(lambda data: data.replace(old, new.ljust(len(old), b"\0"), 1))


DAMAGE = {
    "cut in the header": (_rewritten(lambda data: data[:700]), "rejected"),
    "cut in the meta information": (_rewritten(lambda data: data[:200]), "rejected"),
    "cut after the marker": (_rewritten(lambda data: data[:132]), "rejected"),
    "empty": (_rewritten(lambda _data: b""), "no DICOM in a file named so"),
    "a text": (_rewritten(lambda _data: b"see the other folder\n"), "no DICOM in a file named so"),
    "without marker": (_rewritten(lambda data: data[132:]), "no DICOM in a file named so"),
    "cut in the pixels": (_rewritten(lambda data: data[:-1000]), "file cut short"),
    "of no transfer syntax": (_with_meta(b"1.2.840.10008.1.2.1\0", b""), "no transfer syntax"),
    "of an unknown transfer syntax": (_with_meta(b"1.2.840.10008.1.2.1\0", b"1.2.3.4"), "rejected"),
    "noise instead of JPEG 2000": (_relabelled(uid.JPEG2000Lossless), "pixels cannot be decoded"),
    "noise instead of JPEG-LS": (_relabelled(uid.JPEGLSLossless), "pixels cannot be decoded"),
    "noise instead of JPEG": (_relabelled(uid.JPEGLosslessSV1), "pixels cannot be decoded"),
    "noise instead of RLE": (_relabelled(uid.RLELossless), "pixels cannot be decoded"),
    "noise instead of HTJ2K": (_relabelled(uid.HTJ2KLossless), "pixels cannot be decoded"),
    "noise instead of a film": (_relabelled(uid.MPEG2MPML), "pixels cannot be decoded"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_left_out_or_its_series_refused(tmp_path, dicom_series_writer, what):
    damage, reason = DAMAGE[what]
    *_, last = dicom_series_writer(tmp_path, HU)
    damage(last)
    (series,), skipped = find_series(tmp_path)
    assert [skip.what for skip in skipped] == [str(last)] * (3 - len(series.planes))
    told = [(skip.reason, skip.message) for skip in skipped]
    if not skipped:
        with pytest.raises(UnfitDataError) as caught:
            series.scan()
        told = [(caught.value.reason, str(caught.value))]
    ((found, message),) = told
    assert reason in ("rejected", found)
    assert str(last) in message


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless])
def test_pixels_of_another_size_than_the_header_says_are_refused(tmp_path, dicom_series_writer, syntax):
    for file in dicom_series_writer(tmp_path, HU, syntax=syntax):
        dataset = pydicom.dcmread(file)
        dataset.Rows = 33
        dataset.save_as(file)
    (series,), _ = find_series(tmp_path)
    with pytest.raises(UnfitDataError) as caught:
        series.scan()
    assert caught.value.reason in ("pixels cannot be decoded", "pixels of another size than the header says")


def test_a_huge_image_in_a_small_file_is_refused_before_it_fills_the_memory(tmp_path, dicom_series_writer):
    *_, last = dicom_series_writer(tmp_path, HU, syntax=uid.JPEG2000Lossless)
    size_at = last.read_bytes().index(b"\xff\x4f\xff\x51") + 8
    data = bytearray(last.read_bytes())
    data[size_at : size_at + 8] = (10**6).to_bytes(4, "big") * 2
    last.write_bytes(data)
    (series,), _ = find_series(tmp_path)
    with pytest.raises(UnfitDataError) as caught:
        series.scan()
    assert caught.value.reason == "pixels cannot be decoded"


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(tmp_path, dicom_series_writer, monkeypatch):
    monkeypatch.setattr("lesionforge.data.formats.dicom_file.MOST_INFLATED", 2**22)
    *_, last = dicom_series_writer(tmp_path, HU, syntax=uid.DeflatedExplicitVRLittleEndian)
    data = last.read_bytes()
    dataset_at = 144 + int.from_bytes(data[140:144], "little")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(2**22 + 1)) + deflater.flush()
    assert len(bomb) < 2**13
    last.write_bytes(data[:dataset_at] + bomb)
    with pytest.raises(UnfitDataError) as caught:
        read_planes(last)
    assert caught.value.reason == "too large when inflated"


@pytest.mark.parametrize("broken", ["one frame less", "no shared groups", "no position in one frame"])
def test_a_broken_enhanced_file_is_left_out(tmp_path, enhanced_ct_writer, geometry, broken):
    file = enhanced_ct_writer(tmp_path / "enhanced.dcm", HU, geometry)
    dataset = pydicom.dcmread(file)
    if broken == "one frame less":
        del dataset.PerFrameFunctionalGroupsSequence[2]
    elif broken == "no shared groups":
        del dataset.SharedFunctionalGroupsSequence
    else:
        del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    dataset.save_as(file)
    series, (skip,) = find_series(tmp_path)
    assert series == []
    assert skip.reason in ("frames without positions", "no RescaleSlope", "no ImagePositionPatient")


def test_what_is_no_dicom_and_a_dicomdir_are_passed_over(tmp_path, dicom_series_writer):
    dicom_series_writer(tmp_path, HU)
    (tmp_path / "notes.txt").write_text("DICM")
    (tmp_path / "empty").touch()
    directory = Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    series, skipped = find_series(tmp_path)
    assert len(series) == 1
    assert skipped == []


@given(
    which=st.integers(0, 4),
    changes=st.lists(st.tuples(st.integers(132, 1600), st.integers(0, 255)), min_size=1, max_size=8),
    length=st.one_of(st.just(10**6), st.integers(132, 3000)),
)
@settings(deadline=None, max_examples=150)
def test_whatever_bytes_are_wrong_nothing_but_a_refusal_comes(tmp_path_factory, whole_files, which, changes, length):
    wrong = bytearray(whole_files[which].read_bytes())
    for place, byte in changes:
        wrong[place] = byte
    file = tmp_path_factory.getbasetemp() / "wrong.dcm"
    file.write_bytes(wrong[:length])
    series, skipped = find_series(file)
    assert len(series) <= 1
    assert all(skip.reason and str(file) in skip.message for skip in skipped)
    for each in series:
        try:
            scan = each.scan()
        except UnfitDataError as error:
            assert str(file) in str(error)  # noqa: PT017
        else:
            assert scan.voxels.shape == each.geometry.shape
            assert scan.voxels.min() >= -1024


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory, dicom_series_writer, enhanced_ct_writer, geometry):
    """Small files of several kinds."""
    folder = tmp_path_factory.mktemp("whole")
    syntaxes = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
    files = [dicom_series_writer(folder / str(n), HU[:1], syntax=syntax)[0] for n, syntax in enumerate(syntaxes)]
    files += [dicom_series_writer(folder / "rle", HU[:1], syntax=uid.RLELossless)[0]]
    return [*files, enhanced_ct_writer(folder / "enhanced", HU, geometry)]


@pytest.fixture(scope="module")
def geometry():
    """Of `HU`."""
    return Geometry(HU.shape, (2.0, 0.7, 0.7), (0.0, 0.0, 0.0))
