"""Tables of lesions: what each column means is found or said, and no row is taken for another place."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.formats.points import Mark, PointsMapping, read_points
from lesionforge.data.geometry import Geometry
from lesionforge.errors import LesionForgeError, UnfitDataError

GRID = Geometry((10, 20, 30), (2.0, 1.0, 0.5), (-5.0, -8.0, 100.0))


@pytest.fixture
def table(tmp_path: Path):
    def write(text: str, *, encoding: str = "utf-8") -> Path:
        (tmp_path / "lesions.csv").write_bytes(text.encode(encoding))
        return tmp_path / "lesions.csv"

    return write


def test_columns_are_found_by_their_usual_names(table):
    file = table(
        "seriesuid,coordX,coordY,coordZ,diameter_mm,label,patient_id,texture,note\n1.2,1,2,103,7.5,cyst,p1,4,ü\n"
    )
    (mark,) = read_points(file)["1.2"]
    assert mark == Mark(1, "", (1.0, 2.0, 103.0), "LPS", 7.5, "cyst", "p1", {"texture": 4, "note": "ü"})
    lesion = mark.lesion(GRID)
    assert (lesion.name, lesion.position_mm, lesion.diameter_mm, lesion.label) == (
        "row-1",
        (1.0, 2.0, 103.0),
        7.5,
        "cyst",
    )
    assert lesion.mask is None


@pytest.mark.parametrize(
    "names", ["coordX,coordY,coordZ", "x_mm,y_mm,z_mm", "position_x_mm,position_y_mm,position_z_mm"]
)
def test_world_coordinates_of_every_name(table, names):
    (mark,) = read_points(table(f"scan,{names}\na,1,2,103\n"))["a"]
    assert (mark.position, mark.space) == ((1, 2, 103), "LPS")


@pytest.mark.parametrize("names", ["i,j,k", "index_x,index_y,index_z"])
def test_voxel_coordinates_count_along_x_y_z_of_the_file(table, names):
    (mark,) = read_points(table(f"scan,{names}\na,4,3,1\n"))["a"]
    assert mark.position_mm(GRID) == (-3.0, -5.0, 102.0)
    # The file stores the array the other way round along y; its canonical grid is GRID.
    stored = Geometry(GRID.shape, GRID.spacing_mm, (-5.0, 11.0, 100.0), ((0, 0, 1), (0, -1, 0), (1, 0, 0)))
    assert stored.reordered()[0] == GRID
    assert mark.position_mm(GRID, stored) == (-3.0, 8.0, 102.0)


def test_columns_are_what_the_mapping_says(table):
    mapping = PointsMapping(
        scan="file", lesion="no", patient="who", position=("R", "A", "S"), space="RAS", diameter_mm="d", label="kind"
    )
    file = table("file,no,who,R,A,S,d,kind,scan_id\nx.nii.gz,3,p,-1,-2,103,9,solid,77\nx.nii.gz,4,p,-2,-2,103,,,78\n")
    first, second = read_points(file, mapping)["x"]
    assert first == Mark(1, "3", (-1, -2, 103), "RAS", 9, "solid", "p", {"scan_id": 77})
    assert first.position_mm(GRID) == (1, 2, 103)
    assert (second.number, second.name, second.label) == (2, "4", "")
    assert np.isnan(second.diameter_mm)
    assert second.lesion(GRID).name == "4"


def test_the_column_with_the_scans_names_is_found(table):
    file = table("seriesuid,voi,texture\n1.2,a,1\n1.2,b,2\n")
    assert set(read_points(file, scans=["a", "b", "c"])) == {"a", "b"}
    assert set(read_points(file)) == {"1.2"}
    assert set(read_points(file, PointsMapping(scan="texture"), scans=["a"])) == {"1", "2"}


def test_codes_stay_text_and_missing_values_missing(table):
    marks = read_points(table("scan,code,size,n\n007,012,1.5,1\n007,013,,2\n"))["007"]
    assert [mark.facts["code"] for mark in marks] == ["012", "013"]
    assert [mark.facts["n"] for mark in marks] == [1, 2]
    assert marks[0].facts["size"] == 1.5
    assert np.isnan(marks[1].facts["size"])
    assert [mark.position for mark in marks] == [None, None]


@settings(max_examples=50, deadline=None)
@given(
    index=st.tuples(*(st.floats(-0.49, size - 0.51) for size in GRID.shape)),
    space=st.sampled_from(["LPS", "RAS", "voxel"]),
)
def test_every_place_in_a_scan_comes_back(index, space):
    x, y, z = GRID.to_world(index)
    said = {"LPS": (x, y, z), "RAS": (-x, -y, z), "voxel": index[::-1]}[space]
    np.testing.assert_allclose(Mark(1, position=said, space=space).position_mm(GRID), (x, y, z), atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_place_outside_the_scan_is_refused(axis, side):
    index = (np.array(GRID.shape) - 1) / 2
    index[axis] += side * (GRID.shape[axis] / 2 + 0.01)
    place = tuple(GRID.to_world(index).tolist())
    with pytest.raises(UnfitDataError, match="LPS coordinates lies outside") as error:
        Mark(1, position=place).lesion(GRID)
    assert error.value.reason == "lesion outside its scan"


def test_a_lesion_without_a_place_is_refused():
    with pytest.raises(UnfitDataError, match="row 4 has none"):
        Mark(4).lesion(GRID)


BROKEN = {
    "empty": ("", "must be CSV"),
    "header alone": ("scan,x_mm,y_mm,z_mm\n", "must have a row"),
    "semicolons": ("scan;x_mm;y_mm\na;1;2\n", "which scan a row belongs to"),
    "no scan": ("x_mm,y_mm,z_mm\n1,2,3\n", "which scan a row belongs to"),
    "scan missing": ("scan,x_mm,y_mm,z_mm\n,1,2,3\n", "must name its scan"),
    "text as place": ("scan,x_mm,y_mm,z_mm\na,1,b,3\n", "column 'y_mm' .* must hold numbers"),
    "decimal comma": ('scan,x_mm,y_mm,z_mm\na,"1,5",2,3\n', "column 'x_mm' .* must hold numbers"),
    "half a place": ("scan,x_mm,y_mm,z_mm\na,1,2,3\na,1,,3\n", "row 2"),
    "infinite": ("scan,x_mm,y_mm,z_mm\na,1,2,inf\n", "column 'z_mm' .* must hold numbers"),
    "no diameter": ("scan,x_mm,y_mm,z_mm,diameter_mm\na,1,2,3,0\n", "diameter must be above 0"),
    "negative diameter": ("scan,diameter_mm\na,-1\n", "diameter must be above 0"),
    "two rows of a lesion": ("scan,lesion\na,1\na,1\n", "one row for each lesion"),
    "two columns of a name": ("scan,x,x\na,1,2\n", "each column once"),
    "column without name": ("scan,,x\na,1,2\n", "must name every column"),
    "a name with a meaning": ("scan,extent_x_mm\na,3\n", r"meaning of their own \(extent_x_mm\)"),
    "too many cells": ("scan,x\na,1,2,3\n", "must be CSV"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_table_is_refused(table, text, message):
    with pytest.raises(LesionForgeError, match=message):
        read_points(table(text))


def test_a_table_must_be_utf_8(table):
    with pytest.raises(LesionForgeError, match="UTF-8"):
        read_points(table("scan,note\na,ü\n", encoding="latin-1"))
    (mark,) = read_points(table("scan,note\na,ü\n", encoding="utf-8-sig"))["a"]
    assert mark.facts == {"note": "ü"}


def test_a_mapping_must_fit(table):
    with pytest.raises(LesionForgeError, match="x, y and z"):
        PointsMapping(position=("x", "y"))
    with pytest.raises(LesionForgeError, match="no column 'lable'; did you mean 'label'"):
        read_points(table("scan,label\na,b\n"), PointsMapping(label="lable"))
