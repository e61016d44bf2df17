"""Images, masks and tables as people keep them: what belongs together is found, and nothing is guessed wrongly."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.formats.label_volume import LabelVolume
from lesionforge.data.formats.points import PointsMapping
from lesionforge.data.formats.volume_file import write_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.source import Found, counted
from lesionforge.data.sources.volume import Volume
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.progress import Progress

GRID = Geometry((6, 12, 14), (2.0, 0.5, 0.5), (10.0, -20.0, 30.0))
FLIPPED = Geometry((6, 12, 14), (2.0, 0.5, 0.5), (10.0, -14.5, 30.0), ((0, 0, 1), (0, -1, 0), (1, 0, 0)))
AIR = np.full(GRID.shape, -800, dtype=np.int16)


def boxes(**corners: tuple[int, int, int]) -> np.ndarray:
    """Label volume with a box of 2×3×3 voxels for each value (``v1=…``) at a corner."""
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    for value, (z, y, x) in corners.items():
        labels[z : z + 2, y : y + 3, x : x + 3] = int(value.removeprefix("v").split("_")[0])
    return labels


ONE = boxes(v1=(1, 2, 3))
TWO = boxes(v1=(1, 2, 3), v2=(3, 7, 9))


def save(folder: Path, **files: np.ndarray) -> Path:
    """Write volumes; ``__`` is the folder's slash and ``_`` stays."""
    for name, voxels in files.items():
        write_volume(folder / f"{name.replace('__', '/')}.nii.gz", voxels, GRID)
    return folder


def lesions(found: Found, index: int = 0) -> dict[str, tuple[str, tuple[float, ...]]]:
    return {lesion.name: lesion for lesion in found.cases[index].annotations().lesions}


LAYOUTS = {
    "two folders": {"image__p1_a": AIR, "image__p2_a": AIR, "mask__p1_a": ONE, "mask__p2_a": TWO},
    "masks with a word": {"images__p1_a": AIR, "images__p2_a": AIR, "labels__p1_a_mask": ONE, "labels__p2_a": TWO},
    "the decathlon's": {"imagesTr__p1_a": AIR, "imagesTr__p2_a": AIR, "labelsTr__p1_a": ONE, "labelsTr__p2_a": TWO},
    "one folder": {"p1_a": AIR, "p1_a_mask": ONE, "p2_a": AIR, "p2_a_seg": TWO},
    "one folder, both with a word": {"p1_a_image": AIR, "p1_a_label": ONE, "p2_a_ct": AIR, "p2_a_segmentation": TWO},
    "a folder for each": {"p1_a__image": AIR, "p1_a__mask": ONE, "p2_a__image": AIR, "p2_a__mask": TWO},
}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_images_find_their_masks(tmp_path, files):
    save(tmp_path, **files)
    assert Volume.recognise(tmp_path) == "2 volumes, 2 with a mask"
    found = Volume().find(tmp_path)
    assert not found.skipped
    assert [case.name for case in found.cases] == ["p1_a", "p2_a"]
    assert [sorted(lesions(found, k)) for k in range(2)] == [["1"], ["1", "2"]]
    case = pickle.loads(pickle.dumps(found.cases[0]))  # it goes to other processes
    scan, notes = case.scan(), case.annotations()
    assert (scan.patient, scan.name, scan.geometry) == (notes.patient, notes.scan, notes.geometry)
    assert scan.geometry.shape == GRID.shape
    lesion = notes.lesions[0]
    np.testing.assert_array_equal(lesion.mask_within((0, 0, 0), GRID.shape), ONE == 1)
    np.testing.assert_allclose(lesion.position_mm, GRID.to_world((1.5, 3, 4)), atol=1e-4)
    assert lesion.diameter_mm == pytest.approx(2 * np.sqrt(9 * 0.25 / np.pi))
    assert (lesion.label, lesion.facts) == ("", {"label_value": 1})


def test_a_mask_stored_in_another_order_lies_on_the_same_place(tmp_path):
    save(tmp_path, p_a=AIR)
    write_volume(tmp_path / "p_a_mask.nrrd", ONE[:, ::-1], FLIPPED)
    (case,) = Volume().find(tmp_path).cases
    (lesion,) = case.annotations().lesions
    np.testing.assert_array_equal(lesion.mask_within((0, 0, 0), GRID.shape), ONE == 1)


def test_pieces_of_a_value_are_lesions_unless_they_touch(tmp_path):
    apart = boxes(v1_a=(0, 0, 0), v1_b=(2, 3, 3), v1_c=(0, 8, 8), v3=(3, 8, 8))
    apart[5, 11, 13] = 3  # touches nothing
    save(tmp_path, p=AIR, p_mask=apart)
    found = lesions(Volume().find(tmp_path))
    assert {name: lesion.mask.sum() for name, lesion in found.items()} == {"1-1": 36, "1-2": 18, "3-1": 18, "3-2": 1}
    whole = lesions(Volume(masks=LabelVolume(split=False)).find(tmp_path))
    assert {name: lesion.mask.sum() for name, lesion in whole.items()} == {"1": 54, "3": 19}
    large = Volume(masks=LabelVolume(smallest_voxels=18)).find(tmp_path).cases[0].annotations()
    assert [lesion.name for lesion in large.lesions] == ["1-1", "1-2", "3-1"]
    assert set(large.table()["lesions_dropped"]) == {1}


def test_values_get_classes_and_others_are_no_lesions(tmp_path):
    save(tmp_path, p=AIR, p_mask=TWO)
    (lesion,) = lesions(Volume(masks=LabelVolume(labels={"2": "cyst"})).find(tmp_path)).values()
    assert (lesion.name, lesion.label) == ("2", "cyst")
    with pytest.raises(LesionForgeError, match="whole numbers above 0"):
        LabelVolume(labels={"cyst": "2"})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.01, 0.4))
def test_pieces_are_those_of_an_independent_search(tmp_path_factory, seed, share):
    labels = (np.random.default_rng(seed).random(GRID.shape) < share).astype(np.uint8)
    labels[0, 0, 0] = 1
    folder = save(tmp_path_factory.mktemp("volume"), p=AIR, p_mask=labels)
    found = {
        frozenset(map(tuple, np.argwhere(lesion.mask_within((0, 0, 0), GRID.shape))))
        for lesion in lesions(Volume().find(folder)).values()
    }
    left = set(map(tuple, np.argwhere(labels)))
    expected = set()
    while left:
        piece, edge = set(), {left.pop()}
        while edge:
            piece |= edge
            edge = {
                near for near in left if any(max(abs(a - b) for a, b in zip(near, v, strict=True)) <= 1 for v in edge)
            }
            left -= edge
        expected.add(frozenset(piece))
    assert found == expected


def write_table(folder: Path, name: str = "lesions.csv", **columns) -> None:
    pd.DataFrame(columns).to_csv(folder / name, index=False)


def test_a_table_alone_says_where_lesions_are(tmp_path):
    save(tmp_path, p1_a=AIR, p2_a=AIR)
    x, y, z = GRID.to_world([(1, 2, 3), (4, 5, 6)]).T
    write_table(
        tmp_path, scan=["p1_a", "p1_a"], x_mm=x, y_mm=y, z_mm=z, diameter_mm=[4, 5], label=["a", "b"], note=[1, 2]
    )
    found = Volume().find(tmp_path)
    table = found.cases[0].annotations().table()
    assert table[["lesion", "diameter_mm", "label", "note"]].to_numpy().tolist() == [
        ["row-1", 4, "a", 1],
        ["row-2", 5, "b", 2],
    ]
    np.testing.assert_allclose(table["position_x_mm"], x)
    assert found.cases[1].annotations().lesions == ()  # nothing was found in it


def test_voxels_of_a_table_are_those_of_the_file(tmp_path):
    write_volume(tmp_path / "p.nrrd", AIR, FLIPPED)
    write_table(tmp_path, scan=["p"], i=[3], j=[2], k=[1])
    (lesion,) = lesions(Volume().find(tmp_path)).values()
    np.testing.assert_allclose(lesion.position_mm, FLIPPED.to_world((1, 2, 3)))


def test_rows_meet_lesions_of_the_mask_by_name_or_place(tmp_path):
    save(tmp_path, p=AIR, p_mask=TWO)
    inside, near = GRID.to_world([(4, 8, 10), (1.5, 1.4, 4)])
    away = GRID.to_world((5, 0, 0))
    places = dict(zip(("x_mm", "y_mm", "z_mm"), np.array([inside, near, away]).T, strict=True))
    write_table(tmp_path, scan=["p"] * 3, diameter_mm=[4, 5, 6], label=["a", "b", "c"], **places)
    found = lesions(Volume().find(tmp_path))
    assert {name: (lesion.label, lesion.diameter_mm, lesion.mask is None) for name, lesion in found.items()} == {
        "1": ("b", 5, False),
        "2": ("a", 4, False),
        "row-3": ("c", 6, True),
    }
    write_table(tmp_path, scan=["p"] * 2, lesion=[2, 1], label=["named 2", "named 1"])
    assert {name: lesion.label for name, lesion in lesions(Volume().find(tmp_path)).items()} == {
        "1": "named 1",
        "2": "named 2",
    }


def test_a_value_that_a_row_names_is_one_lesion(tmp_path):
    save(tmp_path, p=AIR, p_mask=boxes(v1_a=(0, 0, 0), v1_b=(0, 8, 8)))
    write_table(tmp_path, scan=["p"], lesion=[1], diameter_mm=[9.5])
    (lesion,) = lesions(Volume().find(tmp_path)).values()
    assert (lesion.mask.sum(), lesion.diameter_mm) == (36, 9.5)


def test_a_row_for_a_scan_is_for_all_its_lesions(tmp_path):
    save(tmp_path, p=AIR, p_mask=TWO)
    write_table(tmp_path, "metadata.csv", scan=["p"], patient_id=["someone"], label=["cyst"], diameter_mm=[9], age=[70])
    notes = Volume().find(tmp_path).cases[0].annotations()
    assert notes.patient == "someone"
    assert [(lesion.label, lesion.facts["age"]) for lesion in notes.lesions] == [("cyst", 70)] * 2
    assert all(lesion.diameter_mm < 9 for lesion in notes.lesions)  # a diameter is one lesion's


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"x_mm": [11.5, 11.6], "y_mm": [-18.5, -18.5], "z_mm": [32, 32]}, "two rows for one lesion"),
        ({"lesion": [7, 8]}, "lesion without position"),
        ({"x_mm": [0, 0], "y_mm": [0, 0], "z_mm": [0, 0]}, "lesion outside its scan"),
    ],
)
def test_rows_that_do_not_fit_the_mask(tmp_path, rows, reason):
    save(tmp_path, p=AIR, p_mask=TWO)
    write_table(tmp_path, scan=["p", "p"], **rows)
    with pytest.raises(UnfitDataError) as error:
        Volume().find(tmp_path).cases[0].annotations()
    assert error.value.reason == reason


class Told(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("names", "setting", "patients"),
    [
        (("a_1", "a_2", "b_1"), "", ["a", "a", "b"]),
        (("a__x_1", "a__y_1", "b__x_1"), "", ["a", "a", "b"]),
        (("case_1", "case_2"), "(.*)", ["case_1", "case_2"]),
        (("c_p1_1", "c_p1_2", "c_p2_1"), r"_(?P<patient>p\d)_", ["p1", "p1", "p2"]),
        (("alone",), "", ["alone"]),
    ],
)
def test_patients_are_told_by_names(tmp_path, names, setting, patients):
    save(tmp_path, **dict.fromkeys(names, AIR), **{f"{name}_mask": ONE for name in names})
    told = Told()
    found = Volume(patient=setting).find(tmp_path, progress=told)
    assert [case.annotations().patient for case in found.cases] == patients
    assert told.lines == [f"{len(names)} scans of {len(set(patients))} patients"]


def test_patients_are_never_guessed_to_be_all_the_same(tmp_path):
    save(tmp_path, case_1=AIR, case_1_mask=ONE, case_2=AIR, case_2_mask=ONE)
    with pytest.raises(LesionForgeError, match="would be of one patient: say it in the setting `patient`"):
        Volume().find(tmp_path)


def test_a_scan_without_a_patient_is_left_out_and_counted(tmp_path):
    save(tmp_path, p1=AIR, p1_mask=ONE, other=AIR, other_mask=ONE)
    found = Volume(patient=r"(p\d)").find(tmp_path)
    assert [case.name for case in found.cases] == ["p1"]
    assert counted(found.skipped) == {"patient unknown": 1}


def test_what_belongs_to_nothing_is_counted(tmp_path):
    save(tmp_path, a_1=AIR, a_1_mask=ONE, b_1=AIR, c_mask=ONE)
    write_volume(tmp_path / "a_1.nrrd", AIR, GRID)
    found = Volume().find(tmp_path)
    assert counted(found.skipped) == {"two images of one name": 1, "mask without image": 1, "neither mask nor table": 1}
    write_table(tmp_path, scan=["a_1", "gone"], note=[1, 2])
    assert counted(Volume().find(tmp_path).skipped)["rows without a scan"] == 1


def test_one_image_is_enough(tmp_path):
    save(tmp_path, p_a=AIR, p_a_mask=ONE, p_b=AIR, odd=TWO)
    assert Volume.recognise(tmp_path / "p_a.nii.gz") == "1 volumes, 1 with a mask"
    assert len(lesions(Volume().find(tmp_path / "p_a.nii.gz"))) == 1
    assert len(lesions(Volume(mask="odd.nii.gz").find(tmp_path / "p_b.nii.gz"))) == 2
    with pytest.raises(LesionForgeError, match="neither masks"):
        Volume().find(tmp_path / "p_b.nii.gz")


def test_links_in_a_circle_end(tmp_path):
    save(tmp_path, p=AIR, p_mask=ONE)
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(Volume().find(tmp_path).cases) == 1


def moved(shift_mm: float) -> Geometry:
    x, y, z = GRID.origin_mm
    return Geometry(GRID.shape, GRID.spacing_mm, (x + shift_mm, y, z))


@pytest.mark.parametrize(
    ("mask", "grid", "reason"),
    [
        (ONE, moved(0.3), "mask on another grid"),
        (ONE, Geometry(GRID.shape, (2.0, 0.6, 0.5), GRID.origin_mm), "mask on another grid"),
        (ONE[:5], Geometry((5, 12, 14), GRID.spacing_mm, GRID.origin_mm), "mask on another grid"),
        (AIR, GRID, "mask without labels"),
        (ONE * np.float32(0.5), GRID, "mask without labels"),
        (ONE * np.int32(100_000), GRID, "mask without labels"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path, mask, grid, reason):
    save(tmp_path, p=AIR)
    write_volume(tmp_path / "p_mask.nii.gz", mask, grid)
    with pytest.raises(UnfitDataError) as error:
        Volume().find(tmp_path).cases[0].annotations()
    assert error.value.reason == reason


def test_a_mask_of_whole_fractions_and_one_moved_by_rounding_are_read(tmp_path):
    save(tmp_path, p=AIR)
    write_volume(tmp_path / "p_mask.nii.gz", ONE.astype(np.float32), moved(0.01))
    assert len(lesions(Volume().find(tmp_path))) == 1


def test_an_empty_mask_is_a_scan_without_lesions(tmp_path):
    save(tmp_path, p=AIR, p_mask=np.zeros_like(ONE))
    assert Volume().find(tmp_path).cases[0].annotations().lesions == ()


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (lambda folder: folder / "nothing", {}, "must be a file or folder"),
        (lambda folder: folder, {}, "must hold volumes"),
        (lambda folder: save(folder, a=AIR), {}, "neither masks"),
        (lambda folder: save(folder, a_mask=ONE), {}, "none beside masks"),
        (lambda folder: save(folder, a=AIR, a_mask=ONE), {"mask": "b.nii.gz"}, "for a path that is one image"),
        (lambda folder: save(folder, a=AIR) / "a.nii.gz", {"mask": "b.nii.gz"}, "must be a file, but is not there"),
        (lambda folder: save(folder, a=AIR), {"table": "b.csv"}, "must be a file, but is not there"),
        (lambda folder: save(folder, a=AIR, a_mask=ONE), {"patient": "("}, "regular expression"),
        (lambda folder: save(folder, a=AIR, a_mask=ONE), {"patient": "a"}, "group in parentheses"),
    ],
)
def test_settings_and_folders_that_do_not_fit(tmp_path, make, given, message):
    with pytest.raises(LesionForgeError, match=message):
        Volume(**given).find(make(tmp_path))


def test_tables_that_do_not_fit(tmp_path):
    save(tmp_path, a=AIR, a_mask=ONE)
    write_table(tmp_path, scan=["elsewhere"])
    with pytest.raises(LesionForgeError, match=r"name scans as their files are called \(a\)"):
        Volume().find(tmp_path)
    write_table(tmp_path, "metadata.csv", scan=["a"])
    with pytest.raises(LesionForgeError, match=r"one table, but has lesions\.csv and metadata\.csv"):
        Volume().find(tmp_path)
    assert len(Volume(table="metadata.csv").find(tmp_path).cases) == 1


@pytest.mark.real_data
def test_real_nodules(real_data):
    """665 VOIs of 370 patients; one row's coordinates lie outside its VOI."""
    found = Volume(masks=LabelVolume(split=False)).find(real_data / "lidc_voi3d")
    assert len(found.cases) == 665
    assert len({case.patient for case in found.cases}) == 370
    rows = pd.read_csv(real_data / "lidc_voi3d" / "metadata.csv").set_index("voi")
    for case in found.cases[::20]:
        notes = case.annotations()
        (lesion,) = notes.lesions
        row = rows.loc[case.name]
        assert lesion.diameter_mm == row["diameter_mm"]
        assert lesion.facts["Malignancy_value"] == row["Malignancy_value"]
        assert lesion.mask.sum() == row["mask_voxels"]
        scan = case.scan()
        inside = scan.voxels[lesion.mask_within((0, 0, 0), scan.voxels.shape)]
        assert inside.mean() == pytest.approx(row["mean_hu_in_mask"])


@pytest.mark.real_data
def test_real_organs(real_data):
    image = real_data / "abdomen_ct" / "example_ct_sm.nii.gz"
    (case,) = Volume(mask="example_seg.nii.gz", masks=LabelVolume(split=False)).find(image).cases
    notes, scan = case.annotations(), case.scan()
    assert len(notes.lesions) == 41
    organs = {lesion.facts["label_value"]: lesion for lesion in notes.lesions}
    liver, spleen = organs[5], organs[1]
    assert liver.position_mm[0] < spleen.position_mm[0]  # x runs to the patient's left
    assert 30 < scan.voxels[liver.mask_within((0, 0, 0), scan.voxels.shape)].mean() < 80


def test_columns_can_be_said(tmp_path):
    save(tmp_path, a=AIR, a_mask=ONE)
    write_table(tmp_path, file=["a.nii.gz"], kind=["cyst"])
    (lesion,) = lesions(Volume(columns=PointsMapping(scan="file", label="kind")).find(tmp_path)).values()
    assert lesion.label == "cyst"
