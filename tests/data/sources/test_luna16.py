"""LUNA16's folder: scans by series, nodules and candidates at world coordinates."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lesionforge.data.formats.volume_file import to_sitk
from lesionforge.data.geometry import Geometry
from lesionforge.data.source import counted
from lesionforge.data.sources.luna16 import Luna16
from lesionforge.data.sources.volume import Volume
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.progress import Progress

FIRST, SECOND = "1.3.6.1.4.1.14519.5.2.1.1", "1.3.6.1.4.1.14519.5.2.1.2"
GRID = Geometry((8, 20, 20), (2.5, 0.7, 0.7), (-100.0, -90.0, -250.0))
# Some of LUNA16's scans are stored from the patient's left to right and back to front.
TURNED = Geometry(GRID.shape, GRID.spacing_mm, (-86.7, -76.7, -250.0), ((0, 0, 1), (0, -1, 0), (-1, 0, 0)))
ANNOTATIONS = f"""seriesuid,coordX,coordY,coordZ,diameter_mm
{FIRST},-95,-85,-240,4.5
{FIRST},-88,-80,-235,6
1.3.6.9,1,2,3,5
"""
CANDIDATES = f"""seriesuid,coordX,coordY,coordZ,class
{FIRST},-95.5,-85,-240,1
{FIRST},-94.5,-85,-240,1
{FIRST},-90,-88,-245,0
{FIRST},-88,-76.9,-235,1
{SECOND},-90,-88,-245,0
"""


def scan_file(file: Path, grid: Geometry) -> np.ndarray:
    voxels = np.random.default_rng(0).integers(-1000, 400, grid.shape).astype(np.int16)
    file.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(voxels, grid), str(file))
    return voxels


@pytest.fixture
def luna(tmp_path: Path) -> Path:
    scan_file(tmp_path / "subset0" / f"{FIRST}.mhd", GRID)
    scan_file(tmp_path / "subset1" / f"{SECOND}.mhd", TURNED)
    scan_file(tmp_path / "seg-lungs-LUNA16" / f"{FIRST}.mhd", GRID)
    (tmp_path / "annotations.csv").write_text(ANNOTATIONS)
    (tmp_path / "candidates.csv").write_text(CANDIDATES.replace(",0\n", ",1\n"))
    (tmp_path / "candidates_V2.csv").write_text(CANDIDATES)
    return tmp_path


def rows(luna: Path, show: str) -> list[tuple]:
    found = Luna16(show=show).find(luna)
    assert [case.name for case in found.cases] == [FIRST, SECOND]
    notes = [pickle.loads(pickle.dumps(case)).annotations() for case in found.cases]
    return [
        (note.scan == FIRST, lesion.name, lesion.label, lesion.facts["kind"])
        for note in notes
        for lesion in note.lesions
    ]


def test_it_is_recognised_before_plain_volumes(luna, tmp_path_factory):
    assert Luna16.recognise(luna) == "2 LUNA16 scans with annotations.csv and candidates_V2.csv and candidates.csv"
    assert Luna16.precedence > Volume.precedence
    assert Luna16.recognise(luna / "subset0") == ""
    assert Luna16.recognise(luna / "annotations.csv") == ""
    other = tmp_path_factory.mktemp("other")
    scan_file(other / "a.mhd", GRID)
    (other / "annotations.csv").write_text("scan,x_mm,y_mm,z_mm\na,1,2,3\n")
    assert Luna16.recognise(other) == ""


def test_nodules(luna):
    assert rows(luna, "nodules") == [
        (True, "nodule-row-1", "nodule", "nodule"),
        (True, "nodule-row-2", "nodule", "nodule"),
    ]
    lesion = Luna16().find(luna).cases[0].annotations().lesions[0]
    assert (lesion.position_mm, lesion.diameter_mm) == ((-95, -85, -240), 4.5)


def test_candidates_of_the_second_version(luna):
    assert rows(luna, "candidates") == [
        (True, "candidate-row-1", "nodule", "candidate"),
        (True, "candidate-row-2", "nodule", "candidate"),
        (True, "candidate-row-3", "non-nodule", "candidate"),
        (True, "candidate-row-4", "nodule", "candidate"),
        (False, "candidate-row-1", "non-nodule", "candidate"),
    ]


def test_candidates_within_a_nodules_radius_are_not_shown_twice(luna):
    assert rows(luna, "both") == [
        (True, "nodule-row-1", "nodule", "nodule"),
        (True, "nodule-row-2", "nodule", "nodule"),
        (True, "candidate-row-3", "non-nodule", "candidate"),
        (True, "candidate-row-4", "nodule", "candidate"),  # 3.1 mm from a nodule of 6 mm
        (False, "candidate-row-1", "non-nodule", "candidate"),
    ]
    table = Luna16(show="both").find(luna).cases[0].annotations().table()
    assert table["candidates"].tolist()[:2] == [2, 0]


def test_scans_are_canonical_and_their_voxels_in_place(luna):
    stored = scan_file(luna / "subset1" / f"{SECOND}.mhd", TURNED)
    case = Luna16().find(luna).cases[1]
    scan = case.scan()
    assert scan.geometry == case.annotations().geometry
    np.testing.assert_array_equal(scan.voxels, stored[:, ::-1, ::-1])
    np.testing.assert_allclose(scan.geometry.origin_mm, GRID.origin_mm)
    assert (scan.patient, scan.name) == (SECOND, SECOND)


def test_scans_that_are_not_there_are_told(luna):
    class Told(Progress):
        said = ""

        def say(self, text: str) -> None:
            Told.said = text

    scan_file(luna / "subset2" / f"{FIRST}.mhd", GRID)
    found = Luna16(show="nodules").find(luna, progress=Told())
    assert Told.said == "2 scans; the tables speak of 1 more that are not there"
    assert counted(found.skipped) == {"two scans of one name": 1}


def test_a_nodule_outside_its_scan_is_refused(luna):
    (luna / "annotations.csv").write_text(ANNOTATIONS.replace("-95,-85", "95,-85"))
    first, second = Luna16().find(luna).cases
    with pytest.raises(UnfitDataError, match="lies outside"):
        first.annotations()
    assert second.annotations().lesions == ()


@pytest.mark.parametrize(
    ("show", "file", "text", "message"),
    [
        ("nodules", "annotations.csv", None, "must hold annotations.csv"),
        ("candidates", "candidates_V2.csv", "seriesuid,coordX,coordY,coordZ\n", "no column 'class'"),
        ("candidates", "candidates_V2.csv", CANDIDATES.replace(",0\n", ",2\n"), "must hold 0 and 1, but '2'"),
        ("both", "annotations.csv", "seriesuid,coordX,coordY\n", "no column 'coordZ'"),
        ("nodules", "annotations.csv", ANNOTATIONS.replace(",4.5", ",-1"), "diameter must be above 0"),
    ],
)
def test_tables_that_are_not_lunas(luna, show, file, text, message):
    if text is None:
        (luna / file).unlink()
    else:
        (luna / file).write_text(text)
    with pytest.raises(LesionForgeError, match=message):
        Luna16(show=show).find(luna)


def test_a_folder_without_scans(tmp_path):
    (tmp_path / "annotations.csv").write_text(ANNOTATIONS)
    assert Luna16.recognise(tmp_path) == ""
    with pytest.raises(LesionForgeError, match="must hold LUNA16's scans"):
        Luna16().find(tmp_path)
    with pytest.raises(LesionForgeError, match="is no folder"):
        Luna16().find(tmp_path / "annotations.csv")
