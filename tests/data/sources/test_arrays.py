import json

import numpy as np
import pandas as pd
import pytest

from lesionforge.data.patches_file import save
from lesionforge.data.sources.arrays import ArraysMapping, load_arrays, read_mapping
from lesionforge.errors import LesionForgeError
from lesionforge.progress import Progress
from lesionforge.settings import with_overrides

COUNT = 6
HU = np.random.default_rng(0).integers(-1000, 400, (COUNT, 8, 8)).astype(np.int16)
MASKS = np.random.default_rng(1).integers(0, 2, (COUNT, 8, 8)).astype(np.uint8)
TABLE = {
    "case": ["007", "7", "NA", "Ö, a", "7", "b"],
    "series": [f"1.2.840.{n}" for n in range(COUNT)],
    "grade": [1, 2, 3, 4, 5, ""],
    "size": [3.5, 4, "", 20.25, 9, 11],
    "pitch": [0.7] * COUNT,
    "code": ["01", "02", "03", "04", "05", "06"],
    "kernel": ["B30", "", "None", "B70", "B30", "B30"],
}
MAPPING = ArraysMapping(
    images="hu.npz:hu", masks="hu.npz:mask", patient="case", scan="series", diameter_mm="size", spacing_mm=("pitch",)
)
RULES = {"low": "grade <= 2", "high": "grade >= 4"}


class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "hu.npz", hu=HU, mask=MASKS)
    pd.DataFrame(TABLE).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path


def changed(**fields) -> ArraysMapping:
    return ArraysMapping(**(vars(MAPPING) | fields))


def test_images_masks_and_columns_arrive(folder):
    patches = load_arrays(folder, mapping=MAPPING)
    np.testing.assert_array_equal(patches.images, HU)
    np.testing.assert_array_equal(patches.masks, MASKS)
    table = patches.table
    assert table["patient"].tolist() == TABLE["case"]  # 007 is not 7, and NA is a name
    assert table["scan"].tolist() == TABLE["series"]
    np.testing.assert_array_equal(table["diameter_mm"], [3.5, 4, np.nan, 20.25, 9, 11])
    np.testing.assert_array_equal(patches.spacing_mm, np.full((COUNT, 2), 0.7))
    assert set(patches.labels) == {""}
    assert table["code"].tolist() == TABLE["code"]
    assert table["kernel"].tolist() == TABLE["kernel"]
    np.testing.assert_array_equal(table["grade"], [1, 2, 3, 4, 5, np.nan])
    assert not {"case", "series", "size", "pitch"} & set(table)


def test_rules_make_classes_and_leave_rows_out(folder):
    heard = Heard()
    patches = load_arrays(folder, mapping=changed(labels=RULES), progress=heard)
    assert patches.labels.tolist() == ["low", "low", "high", "high"]
    np.testing.assert_array_equal(patches.images, HU[[0, 1, 3, 4]])
    assert heard.lines == ["6 rows → 4: 2 high, 2 low"]


def test_a_column_makes_classes_and_empty_ones_are_unlabelled(folder):
    heard = Heard()
    patches = load_arrays(folder, mapping=changed(label="kernel"), progress=heard)
    assert patches.labels.tolist() == TABLE["kernel"]
    assert heard.lines == ["6 rows → 6: 1 unlabelled, 3 B30, 1 B70, 1 None"]


def test_the_mapping_is_read_from_json_beside_the_data_or_named(folder):
    wanted = load_arrays(folder, mapping=changed(labels=RULES))
    fields = {"images": "hu.npz:hu", "masks": "hu.npz:mask", "patient": "case", "scan": "series", "labels": RULES}
    fields |= {"diameter_mm": "size", "spacing_mm": ["pitch"]}
    for name in ("arrays.json", "task.json"):
        (folder / name).write_text(json.dumps(fields))
    assert load_arrays(folder).table.equals(wanted.table)
    assert load_arrays(folder / "task.json").table.equals(wanted.table)
    assert read_mapping(folder / "task.json") == changed(labels=RULES)


def test_the_mapping_is_read_from_settings():
    settings = ["images=hu.npz:hu", "masks=hu.npz:mask", "patient=case", "scan=series", "diameter_mm=size"]
    settings += ['spacing_mm=["pitch"]', 'labels={"low": "grade <= 2", "high": "grade >= 4"}']
    assert with_overrides(ArraysMapping(), settings) == changed(labels=RULES)


def test_an_index_says_which_image_is_whose(folder):
    order = [3, 1, 0, 2, 5, 4]
    pd.DataFrame(TABLE | {"index": order}).to_csv(folder / "table.csv", index=False)
    patches = load_arrays(folder, mapping=changed(index="index", labels=RULES))
    np.testing.assert_array_equal(patches.images, HU[[3, 1, 2, 5]])
    np.testing.assert_array_equal(patches.masks, MASKS[[3, 1, 2, 5]])


def test_three_dimensions_and_a_column_for_each_axis(tmp_path):
    np.save(tmp_path / "images.npy", np.stack([HU] * 3, axis=1))
    table = {"patient": TABLE["case"], "dz": [2.5] * 6, "d": [0.7] * 6, "x": range(6), "y": range(6), "z": range(6)}
    pd.DataFrame(table).to_csv(tmp_path / "table.csv", index=False)
    mapping = ArraysMapping(spacing_mm=("dz", "d", "d"), position_mm=("x", "y", "z"))
    patches = load_arrays(tmp_path, mapping=mapping)
    assert patches.spacing_mm.tolist() == [[2.5, 0.7, 0.7]] * 6
    assert patches.table["position_z_mm"].tolist() == list(range(6))
    assert patches.table["scan"].tolist() == TABLE["case"]


def test_padding_becomes_air_and_is_told(folder):
    padded = HU.copy()
    padded[2:4, 0] = -3024
    np.savez(folder / "hu.npz", hu=padded, mask=MASKS)
    heard = Heard()
    patches = load_arrays(folder, mapping=MAPPING, progress=heard)
    np.testing.assert_array_equal(patches.images, np.maximum(padded, -1024))
    assert "padding below -1024 HU was made air in 2 of 6 images" in heard.lines


def test_other_units_are_left_as_they_are(folder):
    np.savez(folder / "hu.npz", hu=(HU % 256).astype(np.uint8), mask=MASKS)
    patches = load_arrays(folder, mapping=changed(unit="u8"))
    assert (patches.unit, patches.images.dtype) == ("u8", np.uint8)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"images": "hu.npz:hue"}, "no array 'hue'.*did you mean 'hu'.*hu, mask"),
        ({"images": "hu.npz"}, "name one as hu.npz:key"),
        ({"images": "ho.npz:hu"}, "did you mean 'hu.npz'"),
        ({"images": "../hu.npz:hu"}, "inside its folder"),
        ({"images": "/etc/hu.npz:hu"}, "inside its folder"),
        ({"table": "..\\..\\table.csv"}, "missing|inside"),
        ({"table": "table.cvs"}, "did you mean 'table.csv'"),
        ({"patient": "cases"}, "no column 'cases'; did you mean 'case'"),
        ({"diameter_mm": "kernel"}, "must hold numbers"),
        ({"spacing_mm": ("pitch", "pitch", "pitch")}, "1 or 2 columns"),
        ({"labels": {"a": "grad > 1"}}, "did you mean 'grade'"),
        ({"labels": {"a": "grade / (grade - 1) > 0"}}, "divides by zero"),
        ({"labels": {"a": "grade > 1", "b": "grade > 2"}}, "3 rows meet several"),
        ({"labels": {"a": "grade > 99"}}, "none of the 6 rows"),
        ({"index": "grade"}, "each number from 0 to 5 once"),
    ],
)
def test_what_does_not_fit_is_explained(folder, fields, says):
    with pytest.raises(LesionForgeError, match=says):
        load_arrays(folder, mapping=changed(**fields))


@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 6], [0, 1, 2, 3, 4, -1], [0.5, 1, 2, 3, 4, 5]])
def test_an_index_must_name_every_image_once(folder, index):
    pd.DataFrame(TABLE | {"index": index}).to_csv(folder / "table.csv", index=False)
    with pytest.raises(LesionForgeError, match="each number from 0 to 5 once"):
        load_arrays(folder, mapping=changed(index="index"))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"hu": HU[:5], "mask": MASKS}, r"6 rows of table.csv, but has shape \(5, 8, 8\)"),
        ({"hu": HU, "mask": MASKS[:5]}, "hu.npz:mask must hold"),
        ({"hu": HU, "mask": MASKS[:, :4]}, "images' shape"),
        ({"hu": HU, "mask": MASKS * 255}, "0 and 1"),
        ({"hu": np.float32(3), "mask": MASKS}, "6 rows"),
        ({"hu": HU.reshape(6, 64), "mask": MASKS}, "N, y, x"),
        ({"hu": np.where(HU > 0, np.nan, HU), "mask": MASKS}, "NaN"),
        ({"hu": np.linspace(0, 1, 384).reshape(HU.shape), "mask": MASKS}, "scale them back to HU"),
        ({"hu": HU.astype(str), "mask": MASKS}, "real numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_explained(folder, arrays, says):
    np.savez(folder / "hu.npz", **arrays)
    with pytest.raises(LesionForgeError, match=says):
        load_arrays(folder, mapping=MAPPING)


def test_objects_are_never_unpickled(folder):
    np.savez(folder / "hu.npz", hu=np.array([print] * 6, dtype=object), mask=MASKS)
    with pytest.raises(LesionForgeError, match="NumPy arrays of numbers"):
        load_arrays(folder, mapping=MAPPING)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_foreign_files_are_explained(folder, content):
    (folder / "hu.npz").write_bytes(content)
    with pytest.raises(LesionForgeError, match="NumPy arrays of numbers"):
        load_arrays(folder, mapping=MAPPING)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"case,n\n" + "Ö,1\n".encode("latin-1"), "UTF-8"),
        (b"", "CSV with a header"),
        (b"case\na,b,c\n", "CSV with a header"),
        (b"case,case\n" + b"a,b\n" * 6, "each column once"),
        (b"case,,\n" + b"a,b,c\n" * 6, "number 2 of 3 has no name"),
        (b"case,origin\n" + b"a,real\n" * 6, "meaning of their own .origin."),
        (b"case,source_pixels\n" + b"a,0f\n" * 6, "meaning of their own .source_pixels."),
        (b"case,label\n" + b"a,x\n" * 6, "name them in the mapping"),
        (b"case,masks\n" + b"a,x\n" * 6, "meaning of their own .masks."),
        (b"case,n\n" + b",1\n" * 6, "patient must be printable text"),
        (b"case,n\n", "0 rows"),
    ],
)
def test_tables_that_do_not_fit_are_explained(folder, content, says):
    (folder / "table.csv").write_bytes(content)
    mapping = ArraysMapping(images="hu.npz:hu", patient="case")
    with pytest.raises(LesionForgeError, match=says):
        load_arrays(folder, mapping=mapping)


def test_a_byte_order_mark_is_no_part_of_the_first_name(folder):
    content = (folder / "table.csv").read_bytes()
    (folder / "table.csv").write_bytes(b"\xef\xbb\xbf" + content)
    assert len(load_arrays(folder, mapping=MAPPING)) == COUNT


def test_a_link_that_leads_out_is_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "hu.npz"
    (folder / "hu.npz").rename(outside)
    (folder / "hu.npz").symlink_to(outside)
    with pytest.raises(LesionForgeError, match="inside its folder"):
        load_arrays(folder, mapping=MAPPING)


def test_no_folder_and_no_mapping_are_explained(folder):
    with pytest.raises(LesionForgeError, match="must be a folder of arrays"):
        load_arrays(folder / "not there")
    with pytest.raises(LesionForgeError, match="write into it what is where"):
        load_arrays(folder)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"image": "x.npy"}, "did you mean 'images'"),
        ({"images": 3}, "images does not fit"),
        ({"label": "a", "labels": {"a": "b > 1"}}, "both came"),
        ({"position_mm": ["x"]}, "x, y and z"),
    ],
)
def test_mappings_that_do_not_fit_are_explained(folder, mapping, says):
    (folder / "arrays.json").write_text(json.dumps(mapping))
    with pytest.raises(LesionForgeError, match=says):
        load_arrays(folder)


def test_synthetic_patches_cannot_come_back_as_real_ones(tmp_path, small_patches):
    path = save(small_patches(), tmp_path / "set")
    with pytest.raises(LesionForgeError, match="LesionForge wrote"):
        load_arrays(path, mapping=ArraysMapping())
    (path / "patches.json").unlink()
    (path / "images.npy").rename(path / "synthetic_images.npy")
    with pytest.raises(LesionForgeError, match="synthetic"):
        load_arrays(path, mapping=ArraysMapping(images="synthetic_images.npy"))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("task", "counts", "rare_patients"),
    [
        ("NON_SOLID", {"non-solid": 121, "solid": 1052}, 83),
        ("MALIGNANCY_OF_MEDIUM_SIZE", {"benign": 112, "malignant": 68}, 87),
        ("GROUND_GLASS", {"ground-glass": 84, "other": 1089}, 57),
    ],
)
def test_the_benchmarks_tasks_have_the_published_counts(lidc, lidc_tasks, task, counts, rare_patients):
    heard = Heard()
    patches = load_arrays(lidc, mapping=getattr(lidc_tasks, task), progress=heard)
    assert {label: len(patches.with_label(label)) for label in patches.classes} == counts
    assert patches.with_label(min(counts)).patients.nunique() == rare_patients
    assert heard.lines[0].startswith(f"1704 rows → {sum(counts.values())}: ")
    assert patches.shape == (71, 71)
    assert patches.images.min() == -1024
    raw = pd.read_csv(lidc / "metadata.csv").set_index("noduleID").loc[patches.table["noduleID"]]
    np.testing.assert_array_equal(patches.spacing_mm[:, 0], raw["pixel_spacing_mm"])
    np.testing.assert_array_equal(patches.masks.sum(axis=(1, 2)), raw["mask_px"])
    assert patches.patients.tolist() == raw["patient_id"].tolist()


@pytest.mark.parametrize("name", ["cls", "self"])
def test_a_column_may_have_any_name(folder, name):
    pd.DataFrame(TABLE | {name: ["x"] * COUNT}).to_csv(folder / "table.csv", index=False)
    assert load_arrays(folder, mapping=MAPPING).table[name].tolist() == ["x"] * COUNT


def test_a_table_without_a_header_is_refused_and_its_patient_not_named(folder):
    pd.DataFrame(TABLE).assign(case="MILLER").to_csv(folder / "table.csv", index=False, header=False)
    with pytest.raises(LesionForgeError, match="must name the columns") as error:
        load_arrays(folder, mapping=MAPPING)
    assert "MILLER" not in str(error.value)


def test_a_column_without_a_name_is_refused_with_its_number(folder):
    pd.DataFrame(TABLE).to_csv(folder / "table.csv")
    with pytest.raises(LesionForgeError, match="number 1 of 8 has no name"):
        load_arrays(folder, mapping=MAPPING)


def test_images_of_too_many_axes_are_named_as_such(folder):
    np.savez(folder / "hu.npz", hu=HU[:, None, None], mask=MASKS)
    with pytest.raises(LesionForgeError, match=r"\[N, y, x\] or \[N, z, y, x\]"):
        load_arrays(folder, mapping=MAPPING)
