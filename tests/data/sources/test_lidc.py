"""LIDC-IDRI: series and readings find each other, and marks lie where the readers drew them."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.formats.lidc_findings import region_of, to_pixels
from lesionforge.data.formats.lidc_xml import HIGHEST_RATING, NODULE, NON_NODULE, SMALL_NODULE, Mark, Outline
from lesionforge.data.geometry import Geometry
from lesionforge.data.source import counted
from lesionforge.data.sources.lidc import Lidc
from lesionforge.errors import LesionForgeError

SHAPE = (5, 40, 48)
RATINGS = dict.fromkeys(HIGHEST_RATING, 3)
MISSING = "outline on a slice that is not here"


@pytest.fixture
def hu():
    """Voxels as stored, each unlike its neighbours."""
    return np.random.default_rng(0).integers(-1024, 2000, SHAPE).astype(np.int16)


@pytest.fixture
def series(tmp_path, dicom_series_writer, hu):
    """A series on disk, opened."""
    dicom_series_writer(tmp_path / "scan", hu)
    ((found,), _) = find_series(tmp_path / "scan")
    return found


def around(series, number, x, y, side, *, inclusion=True):
    """Outline of ``side`` × ``side`` pixels from (x, y) on, on slice ``number``."""
    low, high = -1, side
    corners = np.array([(low, low), (high, low), (high, high), (low, high)], np.int32)
    return Outline(series.uids[number], 2.5 * number, corners + np.array([x, y], np.int32), inclusion)


def at(series, number, x, y):
    return Outline(series.uids[number], 2.5 * number, np.array([[x, y]], np.int32))


def nodule(reader, *outlines, **ratings):
    return Mark(reader, NODULE, outlines, RATINGS | ratings)


@pytest.fixture
def only(tmp_path, series, lidc_writer):
    """Writes these marks beside the series and returns what is found: the case, its annotations, what was skipped."""

    def find(*marks, consensus=0.5):
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / "7.XML").write_bytes(lidc_writer(marks, series_uid=series.uid))
        found = Lidc(consensus).find(tmp_path)
        (case,) = found.cases
        case = pickle.loads(pickle.dumps(case))
        return case, case.annotations(), found.skipped

    return find


def test_a_nodule_lies_where_it_was_drawn(series, hu, only):
    mark = nodule(1, around(series, 1, 10, 20, 4), around(series, 2, 11, 20, 3))
    case, annotations, skipped = only(mark)
    (lesion,) = annotations.lesions
    assert (lesion.name, lesion.start, lesion.mask.shape) == ("nodule-1", (1, 20, 10), (2, 4, 4))
    expected = np.zeros((2, 4, 4), dtype=bool)
    expected[0], expected[1, :3, 1:] = True, True
    np.testing.assert_array_equal(lesion.mask, expected)
    np.testing.assert_array_equal(case.scan().voxels, hu)
    assert (annotations.patient, annotations.scan, not skipped) == ("patient-1", series.uid, True)
    assert (lesion.facts["slices"], lesion.facts["slices_missing"]) == (2, 0)
    assert lesion.diameter_mm == pytest.approx(2 * np.sqrt(16 * 0.75**2 / np.pi))


@pytest.mark.parametrize("row", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_nodule_is_on_its_pixels_however_the_rows_run(tmp_path, dicom_series_writer, hu, lidc_writer, row, sign):
    column = (0, sign, 0) if row[0] else (sign, 0, 0)
    normal = tuple(np.cross(row, column))
    dicom_series_writer(tmp_path, hu, Geometry(SHAPE, (2.5, 0.75, 0.5), (3.0, 4.0, 5.0), (normal, column, row)))
    ((series,), _) = find_series(tmp_path)
    stored = {plane.uid: hu[number] for number, plane in enumerate(_by_number(series, hu))}
    uid = series.uids[1]
    mark = nodule(1, Outline(uid, 0.0, np.array([(9, 19), (14, 19), (14, 23), (9, 23)], np.int32)))
    (tmp_path / "1.xml").write_bytes(lidc_writer([mark], series_uid=series.uid))
    (case,) = Lidc().find(tmp_path).cases
    (lesion,) = case.annotations().lesions
    voxels = case.scan().voxels
    z, y, x = (slice(low, low + size) for low, size in zip(lesion.start, lesion.mask.shape, strict=True))
    assert sorted(voxels[z, y, x][lesion.mask].tolist()) == sorted(stored[uid][20:23, 10:14].ravel().tolist())


def _by_number(series, hu):
    """The series' planes in the order in which they were written."""
    return sorted(series.planes, key=lambda plane: -int(plane.file.stem))


@pytest.mark.parametrize(("consensus", "side"), [(0.25, 10), (0.5, 8), (0.51, 6), (0.75, 6), (1.0, 4)])
def test_consensus_is_what_that_share_of_readers_has_and_the_box_what_any_has(series, only, consensus, side):
    marks = [nodule(reader, around(series, 1, 10, 10, 12 - 2 * reader)) for reader in (1, 2, 3, 4)]
    _, annotations, _ = only(*marks, consensus=consensus)
    (lesion,) = annotations.lesions
    assert lesion.mask.shape == (1, 10, 10)
    assert lesion.mask.sum() == side**2
    assert lesion.facts["readers"] == 4


def test_where_nothing_is_agreed_the_most_agreed_is_taken(series, only):
    a, b, c = (nodule(i, around(series, 1, x, 10, 5)) for i, x in ((1, 6), (2, 10), (3, 14)))
    _, annotations, _ = only(a, b, c, consensus=1.0)
    (lesion,) = annotations.lesions
    assert (lesion.mask.shape, lesion.mask.sum()) == ((1, 5, 13), 10)  # two columns that two of them share


def test_points_are_lesions_with_a_place_alone(series, only):
    small, other = Mark(1, SMALL_NODULE, (at(series, 2, 7, 9),), {}), Mark(2, NON_NODULE, (at(series, 3, 30, 31),), {})
    _, annotations, _ = only(small, other)
    table = annotations.table()
    assert table["kind"].tolist() == ["small_nodule", "non_nodule"]
    for lesion, index in zip(annotations.lesions, [(2, 9, 7), (3, 31, 30)], strict=True):
        assert lesion.mask is None
        np.testing.assert_allclose(lesion.position_mm, series.geometry.to_world(index))


def test_the_box_holds_the_points_of_other_readers_too(series, only):
    _, annotations, _ = only(nodule(1, around(series, 1, 10, 10, 4)), Mark(2, NON_NODULE, (at(series, 1, 9, 10),), {}))
    (lesion,) = annotations.lesions
    assert (lesion.start, lesion.mask.shape, lesion.mask.sum()) == ((1, 10, 9), (1, 4, 5), 16)
    assert (lesion.facts["readers"], lesion.facts["readers_non_nodule"]) == (1, 1)


@settings(deadline=None, max_examples=25)
@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 40), st.integers(1, 32), st.integers(1, 6)), min_size=1, max_size=4
    )
)
def test_written_masks_come_back(tmp_path_factory, dicom_series_writer, lidc_writer, boxes):
    folder = tmp_path_factory.mktemp("lidc")
    dicom_series_writer(folder, np.zeros(SHAPE, np.int16))
    ((series,), _) = find_series(folder)
    mark = nodule(1, *(around(series, *box) for box in boxes))
    (folder / "1.xml").write_bytes(lidc_writer([mark], series_uid=series.uid))
    (case,) = Lidc().find(folder).cases
    (lesion,) = case.annotations().lesions
    drawn = np.zeros(SHAPE, dtype=bool)
    for number, x, y, side in boxes:
        drawn[number, y : y + side, x : x + side] = True
    np.testing.assert_array_equal(lesion.mask_within((0, 0, 0), SHAPE), drawn)


def test_what_lies_on_missing_slices_is_counted(tmp_path, series, only):
    series.planes[2].file.unlink()
    series.planes[3].file.unlink()
    series.planes[4].file.unlink()
    there, cut, gone = (
        nodule(1, around(series, 0, 5, 5, 4)),
        nodule(1, around(series, 1, 20, 20, 4), around(series, 2, 20, 20, 6), around(series, 3, 20, 20, 4)),
        Mark(2, NON_NODULE, (at(series, 4, 30, 30),), {}),
    )
    _, annotations, skipped = only(there, cut, gone)
    assert counted(skipped) == {MISSING: 3}
    assert [(each.name, each.facts["slices_missing"]) for each in annotations.lesions] == [
        ("nodule-1", 0),
        ("nodule-2", 2),
    ]
    assert annotations.lesions[1].mask.shape == (1, 4, 4)


def test_an_outline_that_leaves_the_image_is_counted(series, only):
    inside, outside = nodule(1, around(series, 0, 5, 5, 4)), nodule(2, around(series, 1, 45, 5, 4))
    _, annotations, skipped = only(inside, outside)
    assert counted(skipped) == {"outline off the image": 1}
    assert len(annotations.lesions) == 1


def test_a_reading_of_which_nothing_fits_is_no_clean_scan(tmp_path, series, lidc_writer):
    elsewhere = Outline("9.9.9", 0.0, np.array([[5, 5]], np.int32))
    xml = lidc_writer([Mark(1, NON_NODULE, (elsewhere,), {})], series_uid=series.uid)
    (tmp_path / "1.xml").write_bytes(xml)
    with pytest.raises(LesionForgeError, match="1 × no mark lies on a slice that is here"):
        Lidc().find(tmp_path)


def test_a_scan_in_which_nobody_marked_anything_is_a_case(series, only):
    _, annotations, skipped = only()
    assert (annotations.lesions, list(skipped)) == ((), [])


def test_what_cannot_be_used_is_counted_and_the_rest_is_used(tmp_path, series, lidc_writer, dicom_series_writer, hu):
    good = lidc_writer([nodule(1, around(series, 0, 5, 5, 4), texture=9)], series_uid=series.uid)
    dicom_series_writer(tmp_path / "unread", hu, seed=1)
    files = {
        "good.xml": good,
        "again.xml": good,
        "cut short.xml": good[:-200],
        "stranger.xml": lidc_writer([], series_uid="9.9.9"),
        "chest.xml": b'<IdriReadMessage xmlns="http://www.nih.gov/idri"/>',
        "page.xml": b"<html/>",
        "bomb.xml": b'<!DOCTYPE x [<!ENTITY a "aa">]><LidcReadMessage>&a;</LidcReadMessage>',
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "circle").symlink_to(tmp_path)
    found = Lidc().find(tmp_path)
    assert len(found.cases) == 1
    assert counted(found.skipped) == {
        "rating outside its scale": 1,
        "reading that another file holds, too": 1,
        "XML that cannot be read": 1,
        "reading of a series that is not here": 1,
        "readings of a chest radiograph": 1,
        "XML that is no LIDC reading": 1,
        "XML with a document type": 1,
        "CT series without a reading": 1,
    }
    assert not any("patient-1" in f"{skip.what} {skip.message}" for skip in found.skipped)


def test_readings_of_one_series_that_differ_are_refused(tmp_path, series, lidc_writer):
    for number in (1, 2):
        mark = nodule(1, around(series, 0, 5, 5, 3 + number))
        (tmp_path / f"{number}.xml").write_bytes(lidc_writer([mark], series_uid=series.uid))
    with pytest.raises(LesionForgeError, match="1 × series with several readings that differ"):
        Lidc().find(tmp_path)


def test_a_coronal_series_is_refused(tmp_path, dicom_series_writer, hu, lidc_writer):
    dicom_series_writer(tmp_path, hu, Geometry(SHAPE, (2.5, 1, 1), (0, 0, 0), ((0, 1, 0), (0, 0, -1), (1, 0, 0))))
    ((series,), _) = find_series(tmp_path)
    (tmp_path / "1.xml").write_bytes(lidc_writer([], series_uid=series.uid))
    with pytest.raises(LesionForgeError, match="series not of axial files"):
        Lidc().find(tmp_path)


def test_it_says_what_it_recognises(tmp_path, lidc_writer):
    assert Lidc.recognise(tmp_path) == ""
    (tmp_path / "other.xml").write_bytes(b"<html/>")
    assert Lidc.recognise(tmp_path) == ""
    (tmp_path / "1.xml").write_bytes(lidc_writer([], series_uid="1.2"))
    assert Lidc.recognise(tmp_path) == "LIDC-IDRI: 1 XML files with readings"
    with pytest.raises(LesionForgeError, match="give the folder that holds both"):
        Lidc().find(tmp_path)


@pytest.mark.real_data
def test_three_real_patients(real_data):
    found = Lidc().find(real_data / "lidc_dicom")
    nodules = {}
    for case in found.cases:
        annotations = case.annotations()
        table = annotations.table()
        (nodules[annotations.patient],) = table[table["kind"] == NODULE].to_dict("records")
    readers = {patient: row["readers"] for patient, row in nodules.items()}
    assert readers == {"LIDC-IDRI-0001": 4, "LIDC-IDRI-0002": 2, "LIDC-IDRI-0003": 4}
    diameters = [round(nodules[patient]["diameter_mm"], 1) for patient in sorted(nodules)]
    assert diameters == [24.1, 14.6, 22.9]
    assert [nodules["LIDC-IDRI-0001"][f"malignancy_{reader}"] for reader in (1, 2, 3, 4)] == [5, 5, 5, 4]
    assert nodules["LIDC-IDRI-0002"]["slices_missing"] > 0  # the series is a part
    assert counted(found.skipped).keys() == {MISSING}


@pytest.mark.real_data
@pytest.mark.parametrize(("number", "reader", "outline_pixels"), [(0, 1, 164), (2, 4, 134)])
def test_real_pixels_are_those_of_the_published_crop(real_data, lidc, number, reader, outline_pixels):
    """Nodule 1 and 3 of the crops with 71 pixels, whose mask is one reader's outline and what it encloses."""
    row = pd.read_csv(lidc / "metadata.csv").iloc[number]
    arrays = np.load(lidc / "images_hu.npz")
    case = next(each for each in Lidc().find(real_data / "lidc_dicom").cases if each.name == row["series_uid"])
    plane = case.scan().voxels[case.series.uids.index(row["sop_uid"])]
    mark = next(m for m in case.reading.marks if m.reader == reader and m.kind == NODULE)
    (outline,) = (each.pixels for each in mark.outlines if each.slice_uid == row["sop_uid"])
    x, y = (outline.min(axis=0) + outline.max(axis=0)) // 2
    np.testing.assert_array_equal(plane[y - 35 : y + 36, x - 35 : x + 36], arrays["hu"][number])
    mask = np.zeros_like(plane, dtype=bool)
    mask[tuple(to_pixels(region_of(mark)[row["sop_uid"]]).T[::-1])] = True
    published = arrays["mask"][number].astype(bool)
    ours = mask[y - 35 : y + 36, x - 35 : x + 36]
    assert published.sum() - ours.sum() == pytest.approx(outline_pixels, abs=2)
    assert (ours & ~published).sum() <= 2
    mask[tuple(outline.T[::-1])] = True
    assert (mask[y - 35 : y + 36, x - 35 : x + 36] ^ published).sum() <= 2


@pytest.mark.real_data
@pytest.mark.full_length
def test_all_readings_of_lidc_are_counted(real_data):
    script = Path(__file__).parents[3] / "benchmarks" / "lidc_xml.py"
    spec = importlib.util.spec_from_file_location("lidc_xml_benchmark", script)
    counts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(counts)
    readings, files = counts.parsed(real_data / "lidc_xml" / "tcia-lidc-xml.tar.xz")
    assert dict(files) == {
        "reading of a CT series": 1018,
        "reading that another file holds, too": 17,
        "readings of a chest radiograph": 283,
    }
    table = counts.lesions(readings)
    # Armato et al. 2011: 7371 marked nodule by one reader at least, of which 2669 were outlined.
    assert (table["kind"] != NON_NODULE).sum() == pytest.approx(7371, rel=0.005)
    assert (table["kind"] == NODULE).sum() == pytest.approx(2669, rel=0.005)
