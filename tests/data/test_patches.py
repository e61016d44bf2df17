import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.exposure import Exposure, pixel_digest
from lesionforge.data.patch_table import IDENTITY
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LesionForgeError


def synthetic(real: Patches, *, origin: str = "gan-1", label: str = "benign", seed: int = 7) -> Patches:
    """What `sample` makes of a generator that was trained on ``real``."""
    rng = np.random.default_rng(seed)
    made = Patches.of(rng.normal(-700, 99, (3, *real.shape)).round(), patient=[origin] * 3, label=label)
    table = made.table.assign(origin=origin)
    return Patches(made.images, table, unit=real.unit, generators={origin: real.exposure})


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [(0.7, [[0.7, 0.7]] * 3), ((0.5, 0.7), [[0.5, 0.7]] * 3), ([1, 2, 3], [[1, 1], [2, 2], [3, 3]])],
)
def test_spacing_is_a_number_one_an_axis_or_one_a_patch(spacing, expected):
    patches = Patches.of(np.zeros((3, 4, 4)), patient=["a", "b", "c"], spacing_mm=spacing)
    np.testing.assert_array_equal(patches.spacing_mm, expected)


def test_what_is_not_given_is_missing():
    patches = Patches.of(np.zeros((2, 4, 5, 6), np.int16), patient=["a", "b"])
    assert patches.axes == ("z", "y", "x")
    assert patches.shape == (4, 5, 6)
    assert patches.classes == ()
    assert patches.table["scan"].tolist() == ["a", "b"]
    assert patches.table[["diameter_mm", "spacing_z_mm", "position_x_mm"]].isna().all(axis=None)
    assert not patches.is_synthetic.any()


IMAGES = np.zeros((2, 4, 4))
BAD_INPUT = [
    ({"images": np.zeros((2, 4))}, r"shape \[N, y, x\]"),
    ({"images": np.zeros((2, 0, 4))}, r"shape \[N, y, x\]"),
    ({"images": np.zeros((2, 4, 4), complex)}, "real numbers"),
    ({"images": np.full((2, 4, 4), np.nan)}, "2 of 2 hold NaN"),
    ({"images": np.full((2, 4, 4), np.inf)}, "infinity"),
    ({"masks": np.zeros((2, 4, 5))}, "images' shape"),
    ({"masks": np.full((2, 4, 4), 2)}, "0 and 1 alone"),
    ({"patient": ["a"]}, "a value for each of 2"),
    ({"patient": ["a", ""]}, "printable text"),
    ({"patient": ["a", None]}, "printable text"),
    ({"patient": ["a", "b\n"]}, "printable text"),
    ({"patient": [1, 2]}, "printable text"),
    ({"label": ["a", "b", "c"]}, "a value for each of 2"),
    ({"spacing_mm": -1}, "above 0"),
    ({"spacing_mm": [1, 2, 3]}, "2 numbers"),
    ({"diameter_mm": [1, 0]}, "row 1"),
    ({"diameter_mm": ["1", "2"]}, "holds text"),
    ({"position_x_mm": np.inf}, "finite"),
    ({"grade": [{"a": 1}, 2]}, "text, numbers or true/false"),
    ({"taken": pd.to_datetime(["2020-01-01", "2020-01-02"])}, "text, numbers or true/false"),
    ({"": [1, 2]}, "printable names"),
    ({"origin": "gan-1"}, "cannot be given"),
    ({"source_pixels": ["x", "y"]}, "cannot be given"),
]


@pytest.mark.parametrize(("given_", "says"), BAD_INPUT)
def test_bad_input_is_explained(given_, says):
    with pytest.raises(LesionForgeError, match=says):
        Patches.of(**({"images": IMAGES, "patient": ["a", "b"]} | given_))


@pytest.mark.parametrize("selection", [[0.0, 1.0], [[0, 1]], ["0"], [16], [-17], [True, False], 3])
def test_bad_selections_are_refused(small_patches, selection):
    with pytest.raises(LesionForgeError):
        small_patches().rows(selection)


@given(rows=st.lists(st.integers(0, 15), max_size=20))
@settings(deadline=None, max_examples=25)
def test_rows_follow_their_numbers(small_patches, rows):
    patches = small_patches()
    chosen = patches.rows(rows)
    np.testing.assert_array_equal(chosen.images, patches.images[np.array(rows, dtype=int)])
    np.testing.assert_array_equal(chosen.masks, patches.masks[np.array(rows, dtype=int)])
    assert chosen.table["diameter_mm"].tolist() == patches.table["diameter_mm"].iloc[rows].tolist()
    assert chosen.table.index.tolist() == list(range(len(rows)))


def test_a_boolean_selection_and_a_label_agree(small_patches):
    patches = small_patches()
    benign = patches.with_label("benign")
    assert benign.table.equals(patches.rows(patches.labels == "benign").table)
    assert set(benign.labels) == {"benign"}
    with pytest.raises(LesionForgeError, match="benign, malignant"):
        patches.with_label("bening")


def test_nothing_changes_a_set_from_outside(small_patches):
    patches = small_patches()
    before = patches.table
    table = patches.table
    table["patient"] = "someone else"
    table.loc[0, "label"] = "malignant"
    patients = patches.patients
    patients.iloc[0] = "someone else"
    patches.labels[:] = "benign"
    assert patches.table.equals(before)
    with pytest.raises(ValueError, match="read-only"):
        patches.images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        patches.masks[0] = 0
    with pytest.raises(TypeError):
        patches.generators["gan-1"] = Exposure()


def test_the_given_table_and_array_are_left_alone(small_patches):
    images = np.zeros((2, 4, 4))
    table = Patches.of(images, patient=["a", "b"]).table
    Patches(images, table)
    images[0] = 1
    assert images.flags.writeable


@pytest.mark.parametrize("column", IDENTITY)
def test_identity_cannot_be_changed(small_patches, column):
    with pytest.raises(LesionForgeError, match="leak guard"):
        small_patches().with_columns(**{column: "x"})


def test_columns_can_be_set(small_patches):
    patches = small_patches().with_columns(label="x", grade=range(16), sure=True)
    assert patches.classes == ("x",)
    assert patches.table["grade"].tolist() == list(range(16))
    assert patches.table["sure"].dtype == bool


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([1, None], [1.0, np.nan]),
        (["a", None], ["a", ""]),
        ([True, False], [True, False]),
        ([True, None], [1.0, np.nan]),
        (pd.array([1, None], dtype="Int64"), [1.0, np.nan]),
        (pd.Categorical(["b", "a"]), ["b", "a"]),
        (np.array([1, 2], np.uint8), [1, 2]),
        (np.array([0.1, 2], np.float32), [float(np.float32(0.1)), 2.0]),
    ],
)
def test_columns_become_what_a_file_can_keep(values, kept):
    column = Patches.of(IMAGES, patient=["a", "b"], extra=values).table["extra"]
    assert column.dtype in (np.dtype(bool), np.dtype(np.int64), np.dtype(np.float64), pd.StringDtype(na_value=np.nan))
    pd.testing.assert_series_equal(column, pd.Series(kept, name="extra"))


@pytest.mark.parametrize(("pixels", "size"), [(71, 64), (71, 32), (64, 64), (8, 3), (9, 4), (7, 1)])
def test_a_centre_crop_keeps_the_centre_pixel(pixels, size):
    images = np.zeros((1, pixels, pixels), np.int16)
    images[0, pixels // 2, pixels // 2] = 1
    cropped = Patches.of(images, patient=["a"], masks=images.astype(np.uint8)).centre_crop(size)
    assert cropped.shape == (size, size)
    assert cropped.images[0, size // 2, size // 2] == 1
    assert cropped.masks[0, size // 2, size // 2] == 1


@pytest.mark.parametrize("size", [0, 9, (4,), (4, 4, 4), (4, 9)])
def test_a_crop_must_fit(small_patches, size):
    with pytest.raises(LesionForgeError, match="must fit"):
        small_patches().centre_crop(size)


def test_other_pixels_keep_the_rows_identity(small_patches):
    patches = small_patches()
    changed = patches.with_images(patches.images[:, ::2, ::2] + 5, spacing_mm=1.4)
    assert changed.table[list(IDENTITY)].equals(patches.table[list(IDENTITY)])
    assert changed.spacing_mm.tolist() == [[1.4, 1.4]] * 16
    assert changed.masks is None
    with pytest.raises(LesionForgeError, match="a row for each of 3 images"):
        patches.with_images(patches.images[:3])


def test_concatenate_joins_rows_columns_and_generators(small_patches):
    real = small_patches()
    other = small_patches(prefix="other", seed=1).with_columns(grade=3, reader="R. Ö.")
    joined = concatenate([real, other, synthetic(real)])
    assert len(joined) == len(real) + len(other) + 3
    assert joined.table["grade"].isna().tolist() == [True] * 16 + [False] * 16 + [True] * 3
    assert joined.table["reader"].tolist() == [""] * 16 + ["R. Ö."] * 16 + [""] * 3
    assert joined.masks is None
    assert joined.generators == {"gan-1": real.exposure}
    assert joined.is_synthetic.sum() == 3
    np.testing.assert_array_equal(concatenate([real, other]).masks, np.concatenate([real.masks, other.masks]))


def test_one_generator_name_with_two_histories_has_both(small_patches):
    one, two = small_patches(), small_patches(prefix="other", seed=1)
    joined = concatenate([synthetic(one), synthetic(two)])
    assert joined.generators["gan-1"] == one.exposure | two.exposure


def test_sets_that_do_not_fit_are_not_joined(small_patches):
    with pytest.raises(LesionForgeError, match="at least one"):
        concatenate([])
    with pytest.raises(LesionForgeError, match="crop or convert"):
        concatenate([small_patches(), small_patches(shape=(6, 6))])


def test_a_synthetic_row_must_have_a_generator(small_patches):
    made = synthetic(small_patches())
    with pytest.raises(LesionForgeError, match="trained on"):
        Patches(made.images, made.table)
    assert made.rows([]).generators == {}


def test_the_pixels_digest_is_of_the_first_image():
    images = np.arange(32, dtype=np.int16).reshape(2, 4, 4)
    patches = Patches.of(images, patient=["a", "b"])
    assert patches.table["source_pixels"].tolist() == [pixel_digest(image) for image in images]
    assert pixel_digest(images[0]) == pixel_digest(images[0].astype(np.float64))
    assert pixel_digest(images[0]) != pixel_digest(images[0].reshape(2, 8))


def test_a_column_named_twice_is_refused(small_patches):
    table = small_patches().table
    with pytest.raises(LesionForgeError, match="names of their own"):
        Patches(small_patches().images, pd.concat([table, table[["label"]]], axis=1))
