"""CT series with SEG and RTSTRUCT, written here with highdicom and pydicom."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, RTStructureSetStorage, generate_uid
from skimage.draw import polygon2mask

from lesionforge.data.formats.dicom_rtstruct import even_odd
from lesionforge.data.scan import Annotations, Lesion
from lesionforge.data.source import counted
from lesionforge.data.sources.seg import Seg
from lesionforge.errors import LesionForgeError, UnfitDataError

SHAPE = (6, 12, 10)
SPACING = (2.5, 0.7, 0.8)
ORIGIN = (-20.0, 30.0, -100.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PRONE = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
SPACE = generate_uid(entropy_srcs=["space"])
SERIES = generate_uid(entropy_srcs=["series"])
Edit = Callable[[Dataset], None]


def new_file(sop_class: str, **values: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = "p1", "", "", ""
    dataset.StudyInstanceUID, dataset.StudyID = generate_uid(entropy_srcs=["study"]), ""
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.ReferringPhysicianName = "", "", "", ""
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def write_series(folder: Path, orientation: Sequence[float] = AXIAL, *, uid: str = SERIES) -> list[Dataset]:
    """A CT series of zeros, a file for each slice; the pixels as stored, whatever their orientation."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = []
    for number in range(SHAPE[0]):
        ct = new_file(
            CTImageStorage,
            Modality="CT",
            SeriesInstanceUID=uid,
            SeriesNumber=1,
            InstanceNumber=number + 1,
            FrameOfReferenceUID=SPACE,
            PositionReferenceIndicator="",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            ImagePositionPatient=[*ORIGIN[:2], ORIGIN[2] + SPACING[0] * number],
            ImageOrientationPatient=list(orientation),
            PixelSpacing=list(SPACING[1:]),
            SliceThickness=SPACING[0],
            Rows=SHAPE[1],
            Columns=SHAPE[2],
            SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2",
            BitsAllocated=16,
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=1,
            RescaleSlope=1,
            RescaleIntercept=-1024,
            PixelData=np.zeros(SHAPE[1:], dtype=np.int16).tobytes(),
        )
        ct.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        slices.append(ct)
    return slices


def segment(number: int, label: str) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=generate_uid(),
        tracking_id=f"tracked {number}",
    )


def make_seg(
    slices: Sequence[Dataset], masks: np.ndarray, *labels: str, kind: str = "BINARY", **more: Any
) -> hd.seg.Segmentation:
    """A SEG of masks [slice, row, column, segment] as the slices are stored."""
    labels = labels or tuple(f"lesion {n + 1}" for n in range(masks.shape[-1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hd.seg.Segmentation(
            source_images=slices,
            pixel_array=masks,
            segmentation_type=kind,
            segment_descriptions=[segment(n, label) for n, label in enumerate(labels, start=1)],
            series_instance_uid=generate_uid(),
            series_number=2,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="test",
            manufacturer_model_name="test",
            software_versions="1",
            device_serial_number="1",
            **more,
        )


def one_box() -> np.ndarray:
    masks = np.zeros((*SHAPE, 1), dtype=np.uint8)
    masks[1:3, 4:8, 2:5] = 1
    return masks


def contour(points: Sequence[Sequence[float]], kind: str = "CLOSED_PLANAR") -> Dataset:
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.9g}" for point in points for value in point]
    return item


def world(z: float, y: float, x: float) -> tuple[float, float, float]:
    """Millimetres of an index of the series that `write_series` writes by default."""
    return ORIGIN[0] + x * SPACING[2], ORIGIN[1] + y * SPACING[1], ORIGIN[2] + z * SPACING[0]


def square(z: float, low: float, high: float) -> Dataset:
    corners = [(low, low), (low, high), (high, high), (high, low)]
    return contour([world(z, y, x) for y, x in corners])


def make_rtstruct(regions: dict[str, Sequence[Dataset]], *, series: str = SERIES, space: str = SPACE) -> FileDataset:
    dataset = new_file(RTStructureSetStorage, Modality="RTSTRUCT", SeriesInstanceUID=generate_uid())
    named, study, frame = Dataset(), Dataset(), Dataset()
    named.SeriesInstanceUID = series
    study.RTReferencedSeriesSequence = [named]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = space, [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, space
        roi.ROIDescription, roi.ROIGenerationAlgorithm = "drawn", "MANUAL"
        drawn.ReferencedROINumber, drawn.ContourSequence = number, list(contours)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    return dataset


def save(dataset: Dataset, file: Path, edit: Edit = lambda _: None) -> Path:
    edit(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(file, enforce_file_format=True)
    return file


def read(folder: Path, **choices: Any) -> Annotations:
    (case,) = Seg(**choices).find(folder).cases
    return case.annotations()


def whole(lesions: Sequence[Lesion]) -> np.ndarray:
    """All lesions' masks together, on the scan's grid."""
    masks = [lesion.mask_within((0, 0, 0), SHAPE) for lesion in lesions]
    return np.logical_or.reduce(masks) if masks else np.zeros(SHAPE, dtype=bool)


@pytest.fixture
def series(tmp_path: Path) -> list[Dataset]:
    return write_series(tmp_path / "ct")


def test_a_seg_gives_its_segments_with_what_it_says_of_them(tmp_path: Path, series: list[Dataset]) -> None:
    save(make_seg(series, one_box(), "nodule"), tmp_path / "seg.dcm")
    assert Seg.recognise(tmp_path) == "DICOM SEG and what else lies there"
    found = Seg().find(tmp_path)
    assert counted(found.skipped) == {}
    (case,) = found.cases
    annotations, scan = case.annotations(), case.scan()
    (lesion,) = annotations.lesions
    assert scan.geometry == annotations.geometry
    assert scan.voxels.min() == scan.voxels.max() == -1024
    np.testing.assert_array_equal(whole([lesion]), one_box()[..., 0])
    assert lesion.label == "nodule"
    assert lesion.facts == {
        "segment": "nodule",
        "description": "",
        "algorithm": "MANUAL",
        "tracking_id": "tracked 1",
    }
    np.testing.assert_allclose(lesion.position_mm, world(1.5, 5.5, 3))
    assert lesion.diameter_mm == pytest.approx(2 * np.sqrt(12 * SPACING[1] * SPACING[2] / np.pi))
    assert annotations.table()["tracking_id"].tolist() == ["tracked 1"]


@settings(max_examples=15, deadline=None)
@given(
    masks=arrays(np.uint8, (*SHAPE, 2), elements=st.integers(0, 1)),
    kind=st.sampled_from(["BINARY", "FRACTIONAL", "LABELMAP"]),
    orientation=st.sampled_from([AXIAL, PRONE]),
    keeps_empty=st.booleans(),
)
def test_masks_come_back_from_any_seg(
    tmp_path_factory: pytest.TempPathFactory,
    masks: np.ndarray,
    kind: str,
    orientation: tuple[float, ...],
    keeps_empty: bool,
) -> None:
    masks[..., 1] &= 1 - masks[..., 0]  # a label map cannot overlap
    masks[0, 0, 0] = (1, 0)
    masks[0, 0, 1] = (0, 1)
    folder = tmp_path_factory.mktemp("seg")
    slices = write_series(folder, orientation)
    pixels = masks.astype(np.float64) if kind == "FRACTIONAL" else masks
    save(make_seg(slices, pixels, "a", "b", kind=kind, omit_empty_frames=not keeps_empty), folder / "seg.dcm")
    lesions = read(folder, split=False).lesions
    assert [lesion.label for lesion in lesions] == ["a", "b"]
    # Written in the order of the slices; prone, rows and columns run against the canonical axes.
    expected = masks if orientation == AXIAL else masks[:, ::-1, ::-1]
    for number, lesion in enumerate(lesions):
        np.testing.assert_array_equal(whole([lesion]), expected[..., number])
    parts = read(folder, split=True).lesions
    np.testing.assert_array_equal(whole(parts), expected.any(axis=-1))
    assert len({part.name for part in parts}) == len(parts)


def test_fractions_count_from_the_threshold_on(tmp_path: Path, series: list[Dataset]) -> None:
    shares = np.zeros((*SHAPE, 1))
    shares[2, 5, 1:6, 0] = [0.2, 0.4, 0.6, 0.8, 1.0]
    save(make_seg(series, shares, kind="FRACTIONAL"), tmp_path / "seg.dcm")
    assert [whole(read(tmp_path, threshold=t).lesions).sum() for t in (0.1, 0.5, 0.7, 1.0)] == [5, 3, 2, 1]


def test_a_compressed_seg_is_read(tmp_path: Path, series: list[Dataset]) -> None:
    shares = one_box().astype(np.float64)
    save(make_seg(series, shares, kind="FRACTIONAL", transfer_syntax_uid=RLELossless), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(whole(read(tmp_path).lesions), one_box()[..., 0])


def test_parts_that_do_not_touch_are_lesions_of_their_own(tmp_path: Path, series: list[Dataset]) -> None:
    masks = one_box()
    masks[5, 0, 0] = 1
    save(make_seg(series, masks), tmp_path / "seg.dcm")
    assert len(read(tmp_path).lesions) == 2
    assert len(read(tmp_path, split=False).lesions) == 1
    assert len(read(tmp_path, smallest_voxels=2).lesions) == 1


def test_labels_choose_and_name_by_pattern(tmp_path: Path, series: list[Dataset]) -> None:
    masks = np.repeat(one_box(), 3, axis=-1)
    save(make_seg(series, masks, "GTV-1", "gtv_2", "Lung"), tmp_path / "seg.dcm")
    lesions = read(tmp_path, labels={"gtv-1": "primary", "GTV*": "other"}).lesions
    assert [lesion.label for lesion in lesions] == ["primary", "other"]
    assert [lesion.facts["segment"] for lesion in lesions] == ["GTV-1", "gtv_2"]


def test_frames_without_geometry_lie_where_their_source_images_do(tmp_path: Path, series: list[Dataset]) -> None:
    def strip(dataset: Dataset) -> None:
        for item in dataset.PerFrameFunctionalGroupsSequence:
            del item.PlanePositionSequence

    save(make_seg(series, one_box()), tmp_path / "seg.dcm", strip)
    np.testing.assert_array_equal(whole(read(tmp_path).lesions), one_box()[..., 0])


def test_a_seg_on_the_slices_of_the_lesion_alone_is_placed(tmp_path: Path, series: list[Dataset]) -> None:
    save(make_seg(series[1:3], one_box()[1:3]), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(whole(read(tmp_path).lesions), one_box()[..., 0])


def test_several_objects_of_a_series_make_one_case(tmp_path: Path, series: list[Dataset]) -> None:
    save(make_seg(series, one_box(), "a"), tmp_path / "seg.dcm")
    save(make_rtstruct({"b": [square(4, 1.5, 5.5)]}), tmp_path / "rt.dcm")
    lesions = read(tmp_path).lesions
    assert sorted(lesion.label for lesion in lesions) == ["a", "b"]
    assert len({lesion.name for lesion in lesions}) == 2


def test_contours_become_masks(tmp_path: Path, series: list[Dataset]) -> None:
    save(make_rtstruct({"GTV": [square(z, 1.5, 5.5) for z in (2, 3)]}), tmp_path / "rt.dcm")
    assert Seg.recognise(tmp_path) == "DICOM RTSTRUCT and what else lies there"
    (lesion,) = read(tmp_path).lesions
    expected = np.zeros(SHAPE, dtype=bool)
    expected[2:4, 2:6, 2:6] = True
    np.testing.assert_array_equal(whole([lesion]), expected)
    assert lesion.facts == {"segment": "GTV", "description": "drawn", "algorithm": "MANUAL", "tracking_id": ""}


def test_a_contour_inside_another_is_a_hole_and_so_is_a_keyhole(tmp_path: Path, series: list[Dataset]) -> None:
    expected = np.zeros(SHAPE, dtype=bool)
    expected[2, 1:9, 1:9] = True
    expected[2, 3:6, 3:6] = False
    save(make_rtstruct({"ring": [square(2, 0.5, 8.5), square(2, 2.5, 5.5)]}), tmp_path / "rt.dcm")
    np.testing.assert_array_equal(whole(read(tmp_path).lesions), expected)
    outer, inner = [(0.5, 0.5), (0.5, 8.5), (8.5, 8.5), (8.5, 0.5)], [(2.5, 2.5), (5.5, 2.5), (5.5, 5.5), (2.5, 5.5)]
    keyhole = [*outer, outer[0], *inner, inner[0], outer[0]]
    save(make_rtstruct({"ring": [contour([world(2, *corner) for corner in keyhole])]}), tmp_path / "rt.dcm")
    np.testing.assert_array_equal(whole(read(tmp_path).lesions), expected)


def test_a_point_is_a_lesion_without_a_mask(tmp_path: Path, series: list[Dataset]) -> None:
    outside = contour([world(50, 3, 3)], "POINT")
    save(make_rtstruct({"seed": [contour([world(2, 3, 4)], "POINT"), outside]}), tmp_path / "rt.dcm")
    (lesion,) = read(tmp_path).lesions
    assert lesion.mask is None
    assert np.isnan(lesion.diameter_mm)
    np.testing.assert_allclose(lesion.position_mm, world(2, 3, 4))


@pytest.mark.parametrize(
    ("planes", "slices"),
    [
        ([2.4], [2]),
        ([2.5], [3]),
        ([2.2, 2.9, 3.3], [2, 3]),  # two planes near slice 3: the nearer one, not one minus the other
        ([-0.4, 0.9], [0, 1]),
        ([-0.6, 0.9], [1]),  # beyond the first slice
    ],
)
def test_a_slice_takes_the_nearest_contours(
    tmp_path: Path, series: list[Dataset], planes: list[float], slices: list[int]
) -> None:
    save(make_rtstruct({"GTV": [square(z, 1.5, 5.5) for z in planes]}), tmp_path / "rt.dcm")
    drawn = whole(read(tmp_path).lesions)
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == slices
    assert drawn.sum() == 16 * len(slices)


def test_contours_of_a_prone_series_lie_where_their_millimetres_say(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", PRONE)
    corners = [(-21.0, 29.0), (-24.5, 29.0), (-24.5, 26.0), (-21.0, 26.0)]
    save(make_rtstruct({"a": [contour([(x, y, ORIGIN[2] + SPACING[0]) for x, y in corners])]}), tmp_path / "rt.dcm")
    (lesion,) = (annotations := read(tmp_path)).lesions
    places = annotations.geometry.to_world(np.argwhere(whole([lesion])))
    low, high = places.min(axis=0), places.max(axis=0)
    assert (np.abs(low - (-24.5, 26.0, -97.5)) < (0.8, 0.7, 1e-6)).all()
    assert (np.abs(high - (-21.0, 29.0, -97.5)) < (0.8, 0.7, 1e-6)).all()


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(
        st.tuples(st.floats(-5, 25, width=32), st.floats(-5, 25, width=32)), min_size=3, max_size=12, unique=True
    )
)
def test_even_odd_agrees_with_matplotlib_off_the_edges(corners: list[tuple[float, float]]) -> None:
    polygon = np.array(corners, dtype=np.float64)
    rows, columns = np.mgrid[:20, :18]
    middles = np.column_stack([rows.ravel(), columns.ravel()])
    expected = Outline(polygon).contains_points(middles).reshape(20, 18)
    start, run = polygon, np.roll(polygon, -1, axis=0) - polygon
    length = np.maximum((run**2).sum(axis=1), 1e-12)
    along = np.clip(((middles[:, None] - start) * run).sum(axis=2) / length, 0, 1)
    distance = np.linalg.norm(middles[:, None] - (start + along[..., None] * run), axis=2).min(axis=1)
    off = (distance > 1e-3).reshape(20, 18)
    assert np.array_equal(even_odd([polygon], (20, 18))[off], expected[off])


def test_even_odd_agrees_with_scikit_image_on_a_star() -> None:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = np.where(np.arange(24) % 2, 12.3, 25.7)
    star = np.column_stack([31.2 + radius * np.sin(angle), 30.4 + radius * np.cos(angle)])
    np.testing.assert_array_equal(even_odd([star], (64, 64)), polygon2mask((64, 64), star))


def test_neighbours_that_share_an_edge_share_no_pixel() -> None:
    left = np.array([(2, 2), (2, 5), (8, 5), (8, 2)], dtype=np.float64)
    right = left + np.array([0, 3])
    masks = [even_odd([each], (12, 12)) for each in (left, right)]
    assert not (masks[0] & masks[1]).any()
    assert masks[0].sum() == masks[1].sum() == 18
    assert even_odd([left, right], (12, 12)).sum() == 36


# --- what cannot be used --------------------------------------------------------------------------------------------


def without(name: str) -> Edit:
    return lambda dataset: delattr(dataset, name)


def setting(name: str, value: Any) -> Edit:
    return lambda dataset: setattr(dataset, name, value)


def per_frame(edit: Edit) -> Edit:
    return lambda dataset: [edit(item) for item in dataset.PerFrameFunctionalGroupsSequence]  # type: ignore[func-returns-value]


def position(value: list[Any]) -> Edit:
    return per_frame(lambda item: setattr(item.PlanePositionSequence[0], "ImagePositionPatient", value))


def shared(group: str, name: str, value: Any) -> Edit:
    return lambda dataset: setattr(dataset.SharedFunctionalGroupsSequence[0][group].value[0], name, value)


BROKEN_SEGS = {
    "pixels cut short": (setting("PixelData", b"\x01" * 4), "broken SEG or RTSTRUCT"),
    "no pixels": (without("PixelData"), "broken SEG or RTSTRUCT"),
    "more frames than places": (setting("NumberOfFrames", 7), "impossible frames"),
    "huge frames": (setting("Rows", 60000), "impossible frames"),
    "no frames at all": (without("PerFrameFunctionalGroupsSequence"), "broken SEG or RTSTRUCT"),
    "no segments": (without("SegmentSequence"), "broken SEG or RTSTRUCT"),
    "frame of a segment that is not described": (
        shared("SegmentIdentificationSequence", "ReferencedSegmentNumber", 9),
        "frame of an unknown segment",
    ),
    "frame of no segment": (
        lambda dataset: delattr(dataset.SharedFunctionalGroupsSequence[0], "SegmentIdentificationSequence"),
        "frame of an unknown segment",
    ),
    "unknown kind": (setting("SegmentationType", "SURFACE"), "unknown kind of SEG"),
    "between pixels": (position([ORIGIN[0] + 0.4, *ORIGIN[1:]]), "SEG on another grid"),
    "between slices": (position([*ORIGIN[:2], ORIGIN[2] + 1.2]), "SEG on another grid"),
    "finer pixels": (shared("PixelMeasuresSequence", "PixelSpacing", [0.35, 0.4]), "SEG on another grid"),
    "pixels of no size": (shared("PixelMeasuresSequence", "PixelSpacing", [0, 0]), "SEG on another grid"),
    "oblique": (
        shared("PlaneOrientationSequence", "ImageOrientationPatient", [0.98, 0.199, 0, -0.199, 0.98, 0]),
        "SEG on another grid",
    ),
    "frames nowhere": (per_frame(Dataset.clear), "SEG without geometry"),
    "outside the scan": (position([ORIGIN[0], ORIGIN[1], ORIGIN[2] + 100 * SPACING[0]]), "nothing is marked"),
    "infinitely far": (position([1e300, 0, 0]), "SEG on another grid"),
    "another patient": (setting("PatientID", "p2"), "SEG or RTSTRUCT of another patient"),
    "another space": (setting("FrameOfReferenceUID", generate_uid()), "another frame of reference than the scan"),
}


@pytest.mark.parametrize("case", BROKEN_SEGS)
def test_a_broken_seg_is_refused_by_name(tmp_path: Path, series: list[Dataset], case: str) -> None:
    edit, reason = BROKEN_SEGS[case]
    save(make_seg(series, one_box()), tmp_path / "seg.dcm", edit)
    with pytest.raises(UnfitDataError) as error:
        read(tmp_path)
    assert error.value.reason == reason
    assert "p1" not in str(error.value).replace(str(tmp_path), "")


def open_planar(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"


def data(values: list[Any]) -> Edit:
    return lambda dataset: setattr(dataset.ROIContourSequence[0].ContourSequence[0], "ContourData", values)


BROKEN_RTSTRUCTS = {
    "a number too few": (data([0, 0, 0, 1, 1, 0, 2, 2]), "broken contour"),
    "no numbers": (data([]), "broken contour"),
    "sagittal": (data([0, 0, -100, 0, 5, -95, 0, 9, -90]), "contour across slices"),
    "open": (open_planar, "open contour"),
    "two corners": (data([*world(2, 2, 2), *world(2, 5, 5)]), "nothing is marked"),
    "far outside": (data([1e15, 1e15, -95, 2e15, 1e15, -95, 2e15, 2e15, -95]), "nothing is marked"),
    "above the scan": (data([0, 0, 900, 5, 5, 900, 9, 0, 900]), "nothing is marked"),
    "regions not described": (setting("StructureSetROISequence", []), "contours of an unknown region"),
    "nothing drawn": (without("ROIContourSequence"), "nothing is marked"),
    "another patient": (setting("PatientID", "p2"), "SEG or RTSTRUCT of another patient"),
}


@pytest.mark.parametrize("case", BROKEN_RTSTRUCTS)
def test_a_broken_rtstruct_is_refused_by_name(tmp_path: Path, series: list[Dataset], case: str) -> None:
    edit, reason = BROKEN_RTSTRUCTS[case]
    save(make_rtstruct({"GTV": [square(2, 1.5, 5.5)]}), tmp_path / "rt.dcm", edit)
    with pytest.raises(UnfitDataError) as error:
        read(tmp_path)
    assert error.value.reason == reason


def test_contours_on_every_second_slice_are_refused(tmp_path: Path, series: list[Dataset]) -> None:
    save(make_rtstruct({"GTV": [square(z, 1.5, 5.5) for z in (0, 2, 4)]}), tmp_path / "rt.dcm")
    with pytest.raises(UnfitDataError, match="leave slices out"):
        read(tmp_path)


def test_rtstruct_in_another_space_is_refused(tmp_path: Path, series: list[Dataset]) -> None:
    save(make_rtstruct({"GTV": [square(2, 1.5, 5.5)]}, space=generate_uid()), tmp_path / "rt.dcm")
    with pytest.raises(UnfitDataError, match="frame of reference"):
        read(tmp_path)


def test_open_contours_of_regions_that_are_no_lesions_do_not_matter(tmp_path: Path, series: list[Dataset]) -> None:
    regions = {"couch": [contour([world(2, 1, 1), world(2, 5, 5)], "OPEN_PLANAR")], "GTV": [square(2, 1.5, 5.5)]}
    save(make_rtstruct(regions), tmp_path / "rt.dcm")
    assert [lesion.label for lesion in read(tmp_path, labels={"GTV": "tumour"}).lesions] == ["tumour"]


def test_what_does_not_belong_together_is_skipped_and_counted(tmp_path: Path, series: list[Dataset]) -> None:
    save(make_seg(series, one_box()), tmp_path / "seg.dcm")
    save(dcmread(tmp_path / "seg.dcm"), tmp_path / "again.dcm")
    save(make_rtstruct({"a": [square(2, 1, 5)]}, series=generate_uid()), tmp_path / "elsewhere.dcm")
    write_series(tmp_path / "other", uid=generate_uid())
    found = Seg().find(tmp_path)
    assert len(found.cases) == 1
    reasons = counted(found.skipped)
    assert reasons["SEG or RTSTRUCT that is there twice"] == 1
    assert reasons["SEG or RTSTRUCT of a series that is not here"] == 1
    assert reasons["CT series without SEG or RTSTRUCT"] == 1
    assert sum(reasons.values()) == 3


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.99])
def test_a_seg_cut_short_is_refused_wherever_it_ends(tmp_path: Path, series: list[Dataset], share: float) -> None:
    file = save(make_seg(series, one_box()), tmp_path / "seg.dcm")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(LesionForgeError):
        read(tmp_path)


def test_an_object_that_names_no_series_belongs_to_the_only_one_in_its_space(
    tmp_path: Path, series: list[Dataset]
) -> None:
    save(make_seg(series, one_box()), tmp_path / "seg.dcm", without("ReferencedSeriesSequence"))
    assert len(read(tmp_path).lesions) == 1
    write_series(tmp_path / "other", uid=generate_uid())
    with pytest.raises(LesionForgeError, match="none belong together"):
        Seg().find(tmp_path)


def test_without_scans_or_objects_the_way_out_is_said(tmp_path: Path, series: list[Dataset]) -> None:
    with pytest.raises(LesionForgeError, match="give the folder that holds both"):
        Seg().find(tmp_path)
    assert Seg.recognise(tmp_path) == ""
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    assert Seg.recognise(tmp_path) == ""
