"""Series in DICOM, with or without a table of lesions."""

import numpy as np
import pytest

from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.formats.points import PointsMapping
from lesionforge.data.sources.dicom import Dicom
from lesionforge.errors import LesionForgeError

HU = np.random.default_rng(0).integers(-1024, 3072, (5, 30, 40)).astype(np.int16)


@pytest.fixture
def uids(tmp_path, dicom_series_writer):
    """Series instance UIDs of two patients' series in ``tmp_path / "data"``."""
    for seed in range(2):
        dicom_series_writer(tmp_path / "data" / str(seed), HU, seed=seed, PatientID=f"patient-{seed}")
    return [series.uid for series in find_series(tmp_path / "data")[0]]


def test_every_series_is_a_case_without_lesions(tmp_path, uids):
    (tmp_path / "data" / "readme.txt").touch()
    assert Dicom.recognise(tmp_path / "data") == "DICOM files"
    found = Dicom().find(tmp_path / "data")
    assert [case.name for case in found.cases] == uids
    assert list(found.skipped) == []
    for case in found.cases:
        annotations, scan = case.annotations(), case.scan()
        assert annotations.lesions == ()
        assert annotations.geometry == scan.geometry
        assert (annotations.patient, annotations.scan) == (scan.patient, scan.name)
        assert annotations.facts == scan.facts
        assert np.array_equal(scan.voxels, HU)


def test_rows_of_a_table_are_lesions_of_their_series(tmp_path, uids):
    rows = [f"{uids[1]},-19,-29,-38,6.5,solid", f"{uids[0]},-10,-20,-32,4,", "1.2.3,0,0,0,1,"]
    (tmp_path / "data" / "marks.csv").write_text("uid,x_mm,y_mm,z_mm,d,kind\n" + "\n".join(rows))
    source = Dicom(table="marks.csv", columns=PointsMapping(diameter_mm="d", label="kind"))
    found = source.find(tmp_path / "data")
    first, second = (case.annotations().lesions for case in found.cases)
    assert [lesion.position_mm for lesion in (*first, *second)] == [(-10, -20, -32), (-19, -29, -38)]
    assert [(lesion.diameter_mm, lesion.label) for lesion in second] == [(6.5, "solid")]
    assert [(skip.what, skip.reason) for skip in found.skipped] == [("1.2.3", "rows without a series")]


def test_voxel_coordinates_count_columns_rows_and_slices(tmp_path, uids):
    (tmp_path / "data" / "marks.csv").write_text(f"scan,i,j,k\n{uids[0]},4,2,1\n")
    case = Dicom(table="marks.csv").find(tmp_path / "data").cases[0]
    (lesion,) = case.annotations().lesions
    assert case.scan().geometry.to_index(lesion.position_mm) == pytest.approx([1, 2, 4])


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("marks.csv", None, "must be a file"),
        ("marks.csv", "scan,x_mm,y_mm,z_mm\n1.2.3,0,0,0\n", "no row does"),
    ],
)
def test_a_table_that_says_nothing_of_the_series_is_refused(tmp_path, uids, table, content, message):
    if content:
        (tmp_path / "data" / table).write_text(content)
    with pytest.raises(LesionForgeError, match=message):
        Dicom(table=table).find(tmp_path / "data")


def test_a_folder_without_ct_is_refused_by_reasons(tmp_path, dicom_series_writer):
    (tmp_path / "notes.txt").write_text("none")
    assert Dicom.recognise(tmp_path) == ""
    with pytest.raises(LesionForgeError, match="there are no DICOM files"):
        Dicom().find(tmp_path)
    dicom_series_writer(tmp_path, HU, Modality="MR")
    with pytest.raises(LesionForgeError, match="5 with modality MR, not CT"):
        Dicom().find(tmp_path)
