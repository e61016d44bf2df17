import numpy as np
import pandas as pd

from lesionforge.augment.recipes.calm import Calm
from lesionforge.data.patches import Patches


def patches(count=1, size=60):
    images = np.random.default_rng(0).integers(-1000, 400, (count, size, size)).astype(np.int16)
    return Patches.of(images, patient=["p"] * count, spacing_mm=(0.5, 0.6), masks=(images > 0).astype(np.uint8))


def test_shifts_are_whole_pixels_up_to_the_published_ten_and_every_one_can_come():
    table = Calm(translations=440).sample(patches(), rng=np.random.default_rng(0))
    drawn = set(zip(table["translate_y_px"], table["translate_x_px"], strict=True))
    assert drawn == {(y, x) for y in range(-10, 11) for x in range(-10, 11)} - {(0, 0)}


def test_shifts_are_drawn_evenly():
    table = Calm().sample(patches(2000, 2), rng=np.random.default_rng(0))
    for name in ("translate_y_px", "translate_x_px"):
        each = table[name].value_counts()
        assert set(each.index) == set(range(-10, 11))
        assert each.between(300, 470).all()  # 381 on average; 20 fewer for 0, where the lesion's own place is left out
    assert (table.groupby("source_row")["translate_y_px"].count() == 4).all()


def test_every_result_is_a_cut_of_its_source_to_the_last_hu():
    source = patches(3)
    made = Calm().augment(source, seed=1)
    assert made.shape == (40, 40)
    shifts = made.table[["source_row", "translate_y_px", "translate_x_px"]].astype(int)
    for i, (row, dy, dx) in enumerate(shifts.itertuples(index=False)):
        window = np.s_[row, 10 - dy : 50 - dy, 10 - dx : 50 - dx]
        np.testing.assert_array_equal(made.images[i], source.images[window])
        np.testing.assert_array_equal(made.masks[i], source.masks[window])
    pd.testing.assert_series_equal(made.table["spacing_y_mm"], pd.Series([0.5] * 12, name="spacing_y_mm"))


def test_volumes_move_in_the_xy_plane():
    images = np.random.default_rng(0).integers(-1000, 400, (1, 4, 60, 60)).astype(np.int16)
    source = Patches.of(images, patient=["p"], spacing_mm=(2.5, 0.7, 0.7))
    made = Calm().augment(source, seed=1, count=1)
    dy, dx = made.table[["translate_y_px", "translate_x_px"]].iloc[0].astype(int)
    np.testing.assert_array_equal(made.images[0], images[0, :, 10 - dy : 50 - dy, 10 - dx : 50 - dx])
