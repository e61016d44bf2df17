"""CT volumes out of DICOM files, whatever order, direction, scale or compression they come in."""

import pickle

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from scipy.spatial.transform import Rotation

from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.geometry import Geometry
from lesionforge.progress import Progress

SYNTAXES = [
    *("ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian", "DeflatedExplicitVRLittleEndian"),
    *("RLELossless", "JPEGLossless", "JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless"),
]
AXIAL = Geometry((4, 5, 6), (2.5, 0.75, 0.75), (-20.0, -30.0, -40.0))


def _noise(shape=(4, 5, 6), *, seed=0):
    return np.random.default_rng(seed).integers(-1024, 3072, shape).astype(np.int16)


def _only(folder):
    (series,), skipped = find_series(folder)
    assert skipped == []
    return series


@st.composite
def stacks(draw):
    """Geometry of a stack of slices in any direction, its slices counted either way."""
    quaternion = draw(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
    axes = Rotation.from_quat(quaternion).as_matrix() * draw(st.sampled_from([1, -1]))
    return Geometry(
        shape=(draw(st.integers(2, 5)), draw(st.integers(2, 6)), draw(st.integers(2, 6))),
        spacing_mm=tuple(draw(st.floats(0.3, 8)) for _ in range(3)),
        origin_mm=tuple(draw(st.floats(-500, 500)) for _ in range(3)),
        direction=tuple(map(tuple, axes.tolist())),
    )


@given(stack=stacks(), slope=st.sampled_from([1, 2, 0.5]), data=st.data())
@settings(deadline=None, max_examples=40)
def test_what_is_written_comes_back_and_lies_where_simpleitk_finds_it(
    tmp_path_factory, dicom_series_writer, stack, slope, data
):
    folder = tmp_path_factory.mktemp("series")
    hu = np.clip(np.random.default_rng(0).integers(-512, 1536, stack.shape) * slope, -1024, 3071)
    files = dicom_series_writer(folder, hu, stack, RescaleSlope=slope)
    for place, file in zip(data.draw(st.permutations(range(len(files)))), files, strict=True):
        file.rename(folder / f"{place}-of-any-order")
    series = _only(folder)
    scan = series.scan()
    assert scan.geometry == series.geometry
    assert scan.geometry.orientation == "LPS"
    index = np.array(list(np.ndindex(hu.shape)))
    ours = scan.geometry.to_index(stack.to_world(index))
    assert np.allclose(ours, np.rint(ours), rtol=0, atol=1e-6)
    assert np.array_equal(scan.voxels[tuple(np.rint(ours).astype(int).T)], hu.ravel())
    assert sorted(scan.geometry.spacing_mm) == pytest.approx(sorted(stack.spacing_mm), rel=1e-9)

    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    for i, j, k in np.ndindex(image.GetSize()):
        point = image.TransformIndexToPhysicalPoint((i, j, k))
        ours = scan.geometry.to_index(point)
        assert np.allclose(ours, np.rint(ours), rtol=0, atol=1e-3)
        assert scan.voxels[tuple(np.rint(ours).astype(int))] == image[i, j, k]


@pytest.mark.parametrize("representation", [0, 1])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_gives_the_same_hu(tmp_path, dicom_series_writer, syntax, bits, representation):
    hu = _noise((2, 64, 72))
    stored = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": representation}
    intercept = 1024 if representation else -1024
    dicom_series_writer(tmp_path, hu, syntax=getattr(uid, syntax), RescaleIntercept=intercept, **stored)
    scan = _only(tmp_path).scan()
    assert scan.voxels.dtype == np.int16
    assert np.array_equal(scan.voxels, hu)


def test_lossy_compression_is_read_too(tmp_path, dicom_series_writer):
    hu = _noise((2, 64, 64)) // 64 * 64
    dicom_series_writer(tmp_path, hu, syntax=uid.JPEGLSNearLossless, PixelRepresentation=0)
    assert np.abs(_only(tmp_path).scan().voxels - hu).max() <= 8


def test_the_voxels_are_where_the_header_says(tmp_path, dicom_series_writer):
    dicom_series_writer(tmp_path, _noise(), AXIAL)
    series = _only(tmp_path)
    assert series.geometry == AXIAL
    assert len(series.files) == len(series.uids) == 4
    heights = [float(sitk.ReadImage(str(file)).GetOrigin()[2]) for file in series.files]
    assert heights == [-40.0, -37.5, -35.0, -32.5]
    uids = [sitk.ReadImage(str(file)).GetMetaData("0008|0018") for file in series.files]
    assert list(series.uids) == uids
    assert pickle.loads(pickle.dumps(series)).scan().geometry == AXIAL


def test_facts_come_from_the_header_and_are_missing_without_harm(tmp_path, dicom_series_writer):
    dicom_series_writer(tmp_path / "full", _noise(), SliceThickness="3.0", ConvolutionKernel=["Br38f", "3"])
    assert _only(tmp_path / "full").scan().facts == {
        "manufacturer": "Maker",
        "model": "Model",
        "kernel": "Br38f/3",
        "slice_thickness_mm": 3.0,
        "tube_voltage_kv": 120.0,
    }
    missing = dict.fromkeys(("Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "KVP", "SliceThickness"))
    dicom_series_writer(tmp_path / "bare", _noise(), **missing)
    facts = _only(tmp_path / "bare").facts
    assert facts["manufacturer"] == facts["model"] == facts["kernel"] == ""
    assert np.isnan([facts["slice_thickness_mm"], facts["tube_voltage_kv"]]).all()


def test_each_slice_has_its_own_slope_and_intercept(tmp_path, dicom_series_writer):
    stored = np.random.default_rng(0).integers(0, 300, (3, 5, 6))

    def rescale(number, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = number + 1, -100 * number

    dicom_series_writer(tmp_path, stored, RescaleIntercept=0, edit=rescale)
    expected = [image * (number + 1) - 100 * number for number, image in enumerate(stored)]
    assert np.array_equal(_only(tmp_path).scan().voxels, expected)


def test_a_fraction_of_a_hu_is_kept(tmp_path, dicom_series_writer):
    hu = np.random.default_rng(0).integers(-1000, 1000, (3, 5, 6)) * 0.25
    dicom_series_writer(tmp_path, hu, RescaleSlope="0.25")
    scan = _only(tmp_path).scan()
    assert scan.voxels.dtype == np.float32
    assert np.array_equal(scan.voxels, hu)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_pixels_of_any_width(tmp_path, dicom_series_writer, bits):
    hu = np.random.default_rng(0).integers(-100, 100, (3, 5, 6))
    dicom_series_writer(tmp_path, hu, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, RescaleIntercept=0)
    assert np.array_equal(_only(tmp_path).scan().voxels, hu)


@pytest.mark.parametrize(
    ("padding", "limit", "tags"),
    [
        (-2000, None, {}),  # as GE pads: −3024 HU
        (63536, None, {}),  # the same, written with the wrong sign
        (-32768, None, {}),
        (32767, None, {}),
        (30000, 32767, {}),
        (-32768, -3000, {}),
        (65535, None, {"PixelRepresentation": 0}),
    ],
)
def test_padding_outside_the_field_of_view_is_air(tmp_path, dicom_series_writer, padding, limit, tags):
    def pad(_number, dataset):
        dtype = "u2" if tags else "i2"
        pixels = np.frombuffer(dataset.PixelData, dtype).reshape(5, 6).copy()
        pixels[0, 0] = np.array([padding]).astype(dtype)[0]
        pixels[4, 5] = np.array([padding if limit is None else (padding + limit) // 2]).astype(dtype)[0]
        dataset.PixelData = pixels.tobytes()
        dataset.add_new(0x00280120, "SS" if padding < 0 else "US", padding)
        if limit is not None:
            dataset.add_new(0x00280121, "SS" if padding < 0 else "US", limit)

    hu = _noise()
    dicom_series_writer(tmp_path, hu, edit=pad, **tags)
    hu[:, 0, 0] = hu[:, 4, 5] = -1024
    assert np.array_equal(_only(tmp_path).scan().voxels, hu)


def test_a_padding_value_that_can_be_measured_makes_no_holes_in_water(tmp_path, dicom_series_writer):
    hu = np.zeros((3, 5, 6), np.int16)
    edit = lambda _, dataset: dataset.add_new(0x00280120, "SS", 0)  # noqa: E731
    dicom_series_writer(tmp_path, hu, edit=edit, RescaleIntercept=0)
    assert np.array_equal(_only(tmp_path).scan().voxels, hu)


def test_metal_is_clipped_and_does_not_become_air(tmp_path, dicom_series_writer):
    dicom_series_writer(tmp_path, np.full((3, 5, 6), 9000), RescaleIntercept=0)
    assert (_only(tmp_path).scan().voxels == 3071).all()


@pytest.mark.parametrize("representation", [0, 1])
def test_overlays_in_unused_bits_are_no_hu(tmp_path, dicom_series_writer, representation):
    def overlay(_number, dataset):
        pixels = np.frombuffer(dataset.PixelData, "u2") & 0x0FFF | 0xA000
        dataset.PixelData = pixels.tobytes()

    hu = np.clip(_noise(), -1024, 900)
    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": representation}
    dicom_series_writer(tmp_path, hu, edit=overlay, RescaleIntercept=0 if representation else -1024, **tags)
    series = _only(tmp_path)
    assert np.array_equal(series.scan().voxels, hu)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(list(map(str, series.files))))
    assert np.array_equal(theirs, hu)


def test_a_coronal_series_is_turned_and_names_no_axial_slices(tmp_path, dicom_series_writer):
    coronal = Geometry((4, 5, 6), (2.0, 1.0, 1.5), (0.0, 0.0, 0.0), ((0, 1, 0), (0, 0, -1), (1, 0, 0)))
    hu = _noise()
    dicom_series_writer(tmp_path, hu, coronal)
    series = _only(tmp_path)
    assert series.uids == ()
    assert series.geometry.spacing_mm == (1.0, 2.0, 1.5)
    assert np.array_equal(series.scan().voxels, hu[:, ::-1].transpose(1, 0, 2))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
@pytest.mark.parametrize("direction", [1, -1])
def test_an_enhanced_file_is_a_series(tmp_path, enhanced_ct_writer, order, direction):
    stack = Geometry((4, 5, 6), (2.0, 1.0, 1.5), (3.0, 4.0, 5.0), ((0, 0, direction), (0, 1, 0), (1, 0, 0)))
    hu = _noise()
    enhanced_ct_writer(tmp_path / "enhanced", hu, stack, order=order)
    series = _only(tmp_path)
    assert series.uids == ()
    assert len(series.files) == 1
    scan = series.scan()
    assert np.array_equal(scan.voxels, hu[::direction])
    assert scan.geometry.spacing_mm == (2.0, 1.0, 1.5)
    assert scan.geometry.origin_mm == (3.0, 4.0, 5.0 if direction == 1 else -1.0)
    assert scan.facts["kernel"] == "B30f"


def test_series_in_one_folder_are_told_apart_and_sorted(tmp_path, dicom_series_writer):
    expected = {}
    for seed in range(3):
        files = dicom_series_writer(tmp_path / str(seed), hu := _noise(seed=seed), seed=seed, PatientID=f"p{seed}")
        for file in files:
            file.rename(tmp_path / f"{file.stem}-{seed}")
        expected[f"p{seed}"] = hu
    series, skipped = find_series(tmp_path)
    assert skipped == []
    assert [each.uid for each in series] == sorted(each.uid for each in series)
    assert {each.patient: each.scan().voxels.tolist() for each in series} == {
        patient: hu.tolist() for patient, hu in expected.items()
    }


def test_one_slice_is_as_thick_as_it_says(tmp_path, dicom_series_writer):
    hu = _noise((1, 5, 6))
    dicom_series_writer(tmp_path, hu, SliceThickness=4)
    scan = _only(tmp_path).scan()
    assert scan.geometry.spacing_mm == (4.0, 0.75, 0.75)
    assert np.array_equal(scan.voxels, hu)


def test_positions_printed_to_a_tenth_are_even(tmp_path, dicom_series_writer):
    def rounded(_number, dataset):
        dataset.ImagePositionPatient = [round(float(mm), 1) for mm in dataset.ImagePositionPatient]

    geometry = Geometry((33, 5, 6), (0.625, 0.75, 0.75), (0.0, 0.0, 0.0))
    dicom_series_writer(tmp_path, _noise(geometry.shape), geometry, edit=rounded)
    assert _only(tmp_path).geometry.spacing_mm == (0.625, 0.75, 0.75)


def test_the_mean_step_counts_not_the_thickness(tmp_path, dicom_series_writer):
    dicom_series_writer(tmp_path, _noise(), AXIAL, SliceThickness=5, SpacingBetweenSlices=7)
    assert _only(tmp_path).geometry.spacing_mm[0] == 2.5


def test_copies_of_slices_are_dropped(tmp_path, dicom_series_writer):
    hu = _noise()
    dicom_series_writer(tmp_path / "one", hu)
    dicom_series_writer(tmp_path / "again", hu)
    dicom_series_writer(tmp_path / "compressed", hu, syntax=uid.RLELossless)
    series = _only(tmp_path)
    assert len(series.files) == 4
    assert np.array_equal(series.scan().voxels, hu)


@pytest.mark.parametrize("missing", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID"])
def test_a_series_without_identifiers_gets_lasting_ones(tmp_path, dicom_series_writer, missing):
    order = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID")
    tags = dict.fromkeys(order[: order.index(missing) + 1], "")
    for seed in range(2):
        dicom_series_writer(tmp_path / str(seed), _noise(seed=seed), seed=seed, **tags)
    first, skipped = find_series(tmp_path)
    assert skipped == []
    assert len({each.patient for each in first}) == len({each.uid for each in first}) == 2
    assert all(each.patient.startswith("unnamed-") for each in first)
    again, _ = find_series(tmp_path)
    assert [(each.patient, each.uid) for each in again] == [(each.patient, each.uid) for each in first]


def test_two_series_of_one_study_without_patient_are_of_one_patient(tmp_path, dicom_series_writer):
    for seed in range(2):
        dicom_series_writer(tmp_path / str(seed), _noise(), seed=seed, PatientID="", StudyInstanceUID="1.2.3")
    series, _ = find_series(tmp_path)
    assert len({each.uid for each in series}) == 2
    assert len({each.patient for each in series}) == 1


def test_the_user_is_told_that_patients_are_unknown(tmp_path, dicom_series_writer):
    class Listener(Progress):
        def say(self, text):
            said.append(text)

    said = []
    dicom_series_writer(tmp_path, _noise(), PatientID="")
    find_series(tmp_path, progress=Listener())
    assert "1 of 1 series have no patient ID" in said[0]


def test_names_in_any_script(tmp_path, dicom_series_writer):
    tags = {"SpecificCharacterSet": "ISO_IR 192", "PatientID": "Łódź-患者", "PatientName": "Ωmega^患者"}
    dicom_series_writer(tmp_path, _noise(), **tags)
    assert _only(tmp_path).patient == "Łódź-患者"


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["lidc_dicom", "abdomen_ct"])
def test_real_series_have_the_hu_that_simpleitk_reads(real_data, folder):
    series, skipped = find_series(real_data / folder)
    assert skipped == []
    assert [len(each.planes) for each in series] == ([11, 16, 12] if folder == "lidc_dicom" else [20])
    for each in series:
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(each.files[0].parent)))
        scan = each.scan()
        assert np.array_equal(scan.voxels, np.clip(sitk.GetArrayFromImage(image), -1024, 3071))
        assert np.allclose(scan.geometry.spacing_mm[::-1], image.GetSpacing(), rtol=0, atol=1e-9)
        assert np.allclose(scan.geometry.origin_mm, image.GetOrigin(), rtol=0, atol=1e-9)
        assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
