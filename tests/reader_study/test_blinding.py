"""What storage leaves in numbers is gone after the steps for both origins, and `tells` finds what is left."""

import numpy as np
import pytest

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.reader_study.blinding import quantised, tells

WINDOW = WINDOWS["lung"]


def test_values_are_multiples_of_the_step_inside_the_window():
    raw = np.array([-3024, -1000.4, -333.6, 0.4, 17.5, 399.6, 3071], dtype=np.float64)
    assert quantised(raw, WINDOW, 1.0).tolist() == [-1000, -1000, -334, 0, 18, 400, 400]
    assert quantised(raw, WINDOW, 10.0).tolist() == [-1000, -1000, -330, 0, 20, 400, 400]
    assert quantised(raw, WINDOW, 1.0).dtype == np.int16
    for kind in (np.int16, np.float32, np.uint8):
        assert quantised(np.array([3, 7], dtype=kind), WINDOWS["u8"], 1.0).tolist() == [3, 7]


@pytest.fixture(scope="module")
def pictures():
    """The same noise, stored as a scanner and as a generator would: padded 12 bits, and even floats in a window."""
    rng = np.random.default_rng(3)
    noise = rng.normal(-500, 300, (60, 24, 24))
    scanned = noise[:30].round()
    scanned[:, :, :3] = -3024
    scanned[:, 10, 10] = 3071
    generated = np.clip(noise[30:], -1000, 400)
    generated = np.round(generated / 2) * 2
    generated[:, :, :3] = -1000
    generated[:, 10, 10] = 400
    return np.concatenate([scanned, generated]), np.repeat([False, True], 30)


def test_tells_find_what_storage_left_and_the_steps_remove_it(pictures):
    images, synthetic = pictures
    patients = np.arange(60)
    raw = tells(images.astype(np.int16), synthetic, patients=patients).set_index("number")
    clear = ["smallest value", "largest value", "share of odd values"]
    assert raw.loc[clear, "clear"].all()
    alike = tells(quantised(images, WINDOW, 4.0), synthetic, patients=patients)
    assert not alike["clear"].any()
    assert alike["auc"].between(0.2, 0.8).all()
