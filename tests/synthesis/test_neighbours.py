from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LesionForgeError
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.synthesis import neighbours
from lesionforge.synthesis.neighbours import between_patients, nearest, training_rows
from lesionforge.synthesis.sample import sample

LUNG = WINDOWS["lung"]


def noise(seed, count, shape):
    return np.random.default_rng(seed).integers(-1200, 600, (count, *shape)).astype(np.int16)


def one_by_one(image, others, shift):
    """Every pair, turn and shift in plain loops."""
    axes, window = "zyx"[-image.ndim :], (LUNG.low, LUNG.high)
    core = image[tuple(slice(shift, side - shift) for side in image.shape)].clip(*window).astype(float)
    found = []
    for row, other in enumerate(others.clip(*window)):
        for turn in product((False, True), repeat=image.ndim):
            turned = np.flip(core, [axis for axis, over in enumerate(turn) if over])
            for corner in product(range(2 * shift + 1), repeat=image.ndim):
                under = other[tuple(slice(c, c + n) for c, n in zip(corner, turned.shape, strict=True))]
                distance = np.sqrt(np.mean((turned - under) ** 2))
                flipped = "".join(axis for axis, over in zip(axes, turn, strict=True) if over)
                found.append((distance, row, flipped, *(c - shift for c in corner)))
    return min(found)


@pytest.mark.parametrize(("shape", "shift"), [((9, 12), 2), ((8, 8), 0), ((5, 7, 6), 1)], ids=str)
@pytest.mark.parametrize("pixels_at_once", [1, 2**20])
def test_it_is_the_nearest_of_all_ways_to_lay_them(monkeypatch, shape, shift, pixels_at_once):
    monkeypatch.setattr(neighbours, "PIXELS_AT_ONCE", pixels_at_once)
    images, others = noise(0, 3, shape), noise(1, 6, shape)
    found = nearest(images, others, window=LUNG, shift_px=shift)
    for k, row in enumerate(found.to_dict("records")):
        distance, *place = one_by_one(images[k], others, shift)
        assert row.pop("distance") == pytest.approx(distance, rel=1e-5)
        assert list(row.values()) == place


@given(
    row=st.integers(0, 4),
    flips=st.tuples(st.booleans(), st.booleans()),
    shift=st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
)
@settings(deadline=None, max_examples=30)
def test_a_copy_that_was_turned_over_and_shifted_is_found(row, flips, shift):
    others = noise(2, 5, (16, 18))
    copy = np.flip(np.roll(others[row], shift, (0, 1)), [axis for axis, over in enumerate(flips) if over])
    found = nearest(copy[None], others, window=LUNG, shift_px=3).iloc[0]
    assert found["row"] == row
    assert found["distance"] == pytest.approx(0, abs=0.01)
    assert found["flipped"] == "".join(axis for axis, over in zip("yx", flips, strict=True) if over)
    assert (found["shift_y_px"], found["shift_x_px"]) == (-shift[0], -shift[1])


def test_what_the_window_does_not_show_does_not_count():
    images = noise(3, 1, (12, 12))
    others = np.where(images > LUNG.high, 3000, np.where(images < LUNG.low, -3000, images))
    assert nearest(images, others, window=LUNG, shift_px=1)["distance"][0] == 0


def test_pairs_that_are_to_be_left_apart_are():
    images = noise(4, 3, (12, 12))
    alone = nearest(images, images, window=LUNG, apart=np.eye(3, dtype=bool))
    assert (alone["row"] != np.arange(3)).all()
    assert (nearest(images, images, window=LUNG)["row"] == np.arange(3)).all()


def test_between_patients_none_is_compared_with_its_own(small_patches):
    patches = small_patches(shape=(16, 16), patients=4, per_patient=3)
    twins = concatenate([patches, patches])  # the same images again, of the same patients
    found = between_patients(twins, 24, window=LUNG)
    patients = twins.patients.to_numpy()
    assert len(found) == 24
    assert (patients[found["row"]] != patients).all()
    assert len(between_patients(twins, 5, window=LUNG)) == 5
    assert len(between_patients(patches, 1000, window=LUNG)) == 12
    assert between_patients(patches.rows([0, 1, 2]), 3, window=LUNG) is None


@pytest.mark.parametrize("shift", [-1, 4, 9])
def test_a_shift_leaves_something_to_compare(shift):
    with pytest.raises(LesionForgeError, match="leave some of 8 pixels"):
        nearest(noise(0, 1, (8, 9)), noise(1, 1, (8, 9)), window=LUNG, shift_px=shift)


def test_patches_of_two_sizes_are_refused():
    with pytest.raises(LesionForgeError, match="8×9 and 9×8 came"):
        nearest(noise(0, 1, (8, 9)), noise(1, 1, (9, 8)), window=LUNG)


def test_the_training_set_is_told_from_other_patches(small_patches, untrained):
    patches, other = small_patches(shape=(16, 16)), small_patches(shape=(16, 16), prefix="other", seed=1)
    trained_on = patches.rows([1, 4, 6])
    assert training_rows(concatenate([other, patches]), trained_on.exposure).tolist() == [17, 20, 22]
    synthetic = sample(untrained(DCGAN(generator_width=16, discriminator_width=4), trained_on), 2)
    seen_too = trained_on.exposure | Exposure(pixels=frozenset(synthetic.table["source_pixels"]))
    assert training_rows(concatenate([synthetic, patches]), seen_too).tolist() == [3, 6, 8]
    with pytest.raises(LesionForgeError, match="none of these 16"):
        training_rows(other, trained_on.exposure)


def test_a_crop_of_the_training_set_is_still_it(small_patches):
    patches = small_patches(shape=(16, 16))
    assert isinstance(patches, Patches)
    assert training_rows(patches.centre_crop(8), patches.exposure).tolist() == list(range(16))
