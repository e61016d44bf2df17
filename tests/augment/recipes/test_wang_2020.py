import numpy as np
import pytest

from lesionforge.augment.recipes.wang_2020 import Wang2020
from lesionforge.data.patches import Patches


@pytest.fixture(scope="module")
def table():
    patches = Patches.of(np.zeros((40, 2, 2), np.int16), patient=["p"] * 40)
    return Wang2020().sample(patches, rng=np.random.default_rng(0))


def test_the_published_number_of_images():
    assert Wang2020().per_lesion == 70
    assert 90 * 3 * Wang2020().per_lesion == 18_900


def test_each_shift_is_turned_by_every_angle_and_each_turned_image_flipped_both_ways(table):
    shifts = table.groupby(["source_row", "translate_y_px", "translate_x_px"])
    assert shifts.ngroups == 40 * 5
    for _, of_shift in shifts:
        assert sorted(of_shift["rotation_deg"]) == sorted([30, 45, 60, 90, 120, 135, 150] * 2)
        for _, turned in of_shift.groupby("rotation_deg"):
            assert set(turned["flip"]) == {"y", "x"}
            assert turned["scale"].nunique() == 1
    assert table["scale"].nunique() == 40 * 5 * 7


def test_ranges_are_the_published_ones(table):
    assert table["scale"].between(0.8, 1.2).all()
    assert np.ptp(table["scale"]) > 0.39
    for axis in "yx":
        shift = table[f"translate_{axis}_px"]
        assert shift.abs().between(1, 0.2 * 64).all()
        assert shift.abs().min() < 1.2
        assert shift.min() < -12.5
        assert shift.max() > 12.5


def test_shifts_keep_their_share_of_other_sizes():
    patches = Patches.of(np.zeros((40, 2, 2), np.int16), patient=["p"] * 40)
    table = Wang2020(output_size=32).sample(patches, rng=np.random.default_rng(0))
    assert 6 < table["translate_y_px"].abs().max() <= 6.4
