from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from lesionforge.data.exposure import Exposure
from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.formats.volume_file import from_sitk
from lesionforge.data.geometry import Geometry
from lesionforge.data.sources.seg import Seg
from lesionforge.data.synthetic_scans import FORMAT, RECORD, VERSION
from lesionforge.errors import UnfitDataError
from lesionforge.storage import write_json
from lesionforge.synthesis.insertion.blending import Blending
from lesionforge.synthesis.insertion.dicom_out import Provenance, stored_order, synthetic_series_uid, write_series
from lesionforge.synthesis.insertion.dicom_seg_out import write_seg
from lesionforge.synthesis.insertion.into_scans import insert, lesion_numbers, with_lesions
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.sites import Site

MADE = Provenance("request", "flat-0123", "1 lesion (benign 9.0 mm)")
QUIET = Blending(match_noise=False)
SHAPE, SPACING = (9, 40, 44), (2.5, 0.9, 0.8)
AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
SAGITTAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))  # slices from right to left, rows down, columns back
TILTED = ((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0.0, 0.0))
SECRETS = {
    "PatientName": "Doe^Jane",
    "PatientID": "secret-4711",
    "PatientBirthDate": "19511109",
    "OtherPatientIDs": "secret-4712",
    "InstitutionName": "Secret Hospital",
    "AccessionNumber": "A4713",
    "StudyDate": "20010203",
    "StationName": "ROOM4714",
    "ImageComments": "seen by Dr Secret",
    "DeviceSerialNumber": "S4715",
    "ProtocolName": "Secret protocol",
}


@pytest.fixture
def made(tmp_path, dicom_files, flat_painter):
    """Writes a series, inserts a lesion, writes it again: (host, before, inserted, after, folder, files)."""

    def make(direction=AXIAL, *, enhanced=False, folder="out", request=MADE, **how):
        rng = np.random.default_rng(0)
        hu = rng.normal(-800, 60, SHAPE).round().astype(int).clip(-1024)
        geometry = Geometry(SHAPE, SPACING, (-15.0, -20.0, -10.0), direction)
        if not (tmp_path / "host").exists():
            if enhanced:
                (tmp_path / "host").mkdir()
                dicom_files.write_enhanced(tmp_path / "host" / "all.dcm", hu, geometry, **how)
            else:
                dicom_files.write_series(tmp_path / "host", hu, geometry, **how)
        (series,), _ = find_series(tmp_path / "host")
        before = series.scan()
        middle = tuple(map(float, before.geometry.to_world(np.subtract(before.geometry.shape, 1) / 2)))
        inserted = insert(before, [Site(middle, 9.0)], Manner(flat_painter(), "benign", blending=QUIET))
        after = with_lesions(before, inserted)
        out = tmp_path / folder
        (out / "series").mkdir(parents=True)
        files = write_series(series, before, after, out / "series", request)
        write_seg(series, before, files, inserted, out / "seg.dcm", request)
        record = {"request": {"painter": "flat-0123"}, "exposure": Exposure().to_json()}
        record |= {"format": FORMAT, "version": VERSION, "series_uid": synthetic_series_uid(series, request)}
        write_json(out / RECORD, record)
        return series, before, inserted, after, out, files

    return make


@pytest.mark.parametrize("direction", [AXIAL, SAGITTAL, TILTED], ids=["axial", "sagittal", "tilted"])
def test_two_libraries_read_the_scan_with_its_lesion_where_it_was_put(made, direction):
    series, _, _, after, out, files = made(direction)
    (again,), skipped = find_series(out / "series")
    assert not skipped
    assert again.scan().geometry == after.geometry
    assert again.scan().voxels.tobytes() == np.ascontiguousarray(after.voxels).tobytes()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    voxels, geometry = from_sitk(reader.Execute())
    np.testing.assert_array_equal(voxels, stored_order(after.voxels, series.stored))
    np.testing.assert_allclose(geometry.to_world((0, 0, 0)), series.stored.to_world((0, 0, 0)), atol=1e-4)
    np.testing.assert_allclose(geometry.spacing_mm, series.stored.spacing_mm, atol=1e-4)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"syntax": JPEG2000Lossless},
        {"syntax": JPEGLSLossless},
        {"RescaleSlope": 2, "RescaleIntercept": -2000, "PixelRepresentation": 0},
        {"RescaleSlope": 0.5, "RescaleIntercept": -1024},
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0},
        {"enhanced": True},
    ],
    ids=["plain", "jpeg2000", "jpegls", "slope", "half", "12 bits", "enhanced"],
)
def test_outside_the_region_every_stored_value_is_the_hosts(made, how):
    series, before, inserted, _, _, files = made(**how)
    region = np.zeros(before.voxels.shape, dtype=bool)
    region[inserted[0].window] = inserted[0].region
    region = stored_order(region, series.stored)
    for number, (plane, file) in enumerate(zip(series.planes, files, strict=True)):
        host, written = pydicom.dcmread(plane.file), pydicom.dcmread(file)
        stored = host.pixel_array[plane.frame] if plane.frames > 1 else host.pixel_array
        np.testing.assert_array_equal(written.pixel_array[~region[number]], stored[~region[number]])
        for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation"):
            assert written[keyword].value == host[keyword].value
        assert (float(written.RescaleSlope), float(written.RescaleIntercept)) == (plane.slope, plane.intercept)
        np.testing.assert_allclose(written.ImagePositionPatient, plane.position_mm, atol=1e-6)
    middle = pydicom.dcmread(files[4])
    painted = middle.pixel_array * float(middle.RescaleSlope) + float(middle.RescaleIntercept)
    assert painted[20, 22] == pytest.approx(40, abs=1)


def test_no_identifier_is_taken_over(made):
    def add(number: int, dataset: Dataset) -> None:
        block = dataset.private_block(0x0013, "Secret maker", create=True)
        block.add_new(0x10, "LO", "secret-private")

    series, _, _, _, out, files = made(edit=add, **SECRETS)
    uids = [plane.uid for plane in series.planes] + [series.uid, series.study_uid, series.planes[0].frame_of_reference]
    for file in [*files, out / "seg.dcm"]:
        content = file.read_bytes()
        for secret in [*SECRETS.values(), "secret", *uids]:
            assert secret.encode() not in content
        dataset = pydicom.dcmread(file)
        assert dataset.PatientID.startswith("SYNTHETIC-")
        assert dataset.PatientIdentityRemoved == "YES"


def test_files_say_that_they_are_synthetic(made):
    *_, out, files = made()
    for file in [*files, out / "seg.dcm"]:
        dataset = pydicom.dcmread(file)
        assert dataset.SyntheticData == "YES"
        assert dataset.ImageType[0] == "DERIVED"
        ours = [item for item in dataset.ContributingEquipmentSequence if item.Manufacturer == "LesionForge"]
        assert len(ours) == 1
        assert ours[0].ManufacturerModelName == "flat-0123"
        assert ours[0].PurposeOfReferenceCodeSequence[0].CodeMeaning == "Synthesizing Equipment"
        assert "SYNTHETIC" in ours[0].ContributionDescription
    assert "painted by flat-0123 with LesionForge" in pydicom.dcmread(files[0]).DerivationDescription


@pytest.mark.parametrize("direction", [AXIAL, TILTED], ids=["axial", "tilted"])
def test_the_segmentation_lies_on_the_lesion(made, direction):
    series, before, inserted, _, out, files = made(direction)
    truth = stored_order(lesion_numbers(before, inserted), series.stored) == 1
    segmentation = hd.seg.segread(out / "seg.dcm")
    by_slice = segmentation.get_pixels_by_source_instance(
        [pydicom.dcmread(file).SOPInstanceUID for number, file in enumerate(files) if truth[number].any()]
    )
    np.testing.assert_array_equal(by_slice[..., 0] > 0, truth[truth.any(axis=(1, 2))])
    (case,) = Seg().find(out).cases
    (lesion,) = case.annotations().lesions
    assert lesion.label == "SYNTHETIC benign lesion 1"
    np.testing.assert_array_equal(
        lesion.mask_within((0, 0, 0), before.voxels.shape), lesion_numbers(before, inserted) == 1
    )


def test_the_same_request_gives_the_same_bytes_and_another_other_uids(made):
    _, _, _, _, first, _ = made(folder="first")
    _, _, _, _, second, _ = made(folder="second")
    _, _, _, _, other, _ = made(folder="other", request=Provenance("another", "flat-0123", "1 lesion"))
    names = sorted(file.relative_to(first) for file in first.rglob("*.dcm"))
    assert names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
        one, two = pydicom.dcmread(first / name), pydicom.dcmread(other / name)
        assert one.SOPInstanceUID != two.SOPInstanceUID
        assert one.SeriesInstanceUID != two.SeriesInstanceUID
        assert one.StudyInstanceUID == two.StudyInstanceUID
        assert one.FrameOfReferenceUID == two.FrameOfReferenceUID


def test_a_host_that_broke_meanwhile_is_said(made, tmp_path):
    series, before, _, after, _, _ = made()
    Path(series.planes[3].file).write_bytes(b"")
    (tmp_path / "again").mkdir()
    with pytest.raises(UnfitDataError, match="cannot be"):
        write_series(series, before, after, tmp_path / "again", MADE)
