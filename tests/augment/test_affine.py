import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.augment.affine import Chain, Flip, Rotate, Scale, Translate, WidenMargin
from lesionforge.errors import LesionForgeError

odd = st.integers(1, 20).map(lambda k: 2 * k + 1)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(-1000, 400, shape).astype(np.int16)


def one(**parameters):
    return pd.DataFrame({name: [value] for name, value in parameters.items()})


@settings(deadline=None, max_examples=25)
@given(size=odd, quarters=st.integers(-4, 4), way=st.sampled_from(["", "y", "x", "yx"]))
def test_quarter_turns_and_flips_are_exact(size, quarters, way):
    images = noise(1, size, size)
    masks = (images > 0).astype(np.uint8)
    chain = Chain((Rotate(), Flip()))
    changed, changed_masks = chain.apply(images, masks, one(rotation_deg=90.0 * quarters, flip=way))
    for result, source in ((changed, images), (changed_masks, masks)):
        expected = np.rot90(source, quarters, axes=(1, 2))
        expected = np.flip(expected, [i for i, axis in enumerate("_yx") if axis in way])
        np.testing.assert_array_equal(result, expected)


def test_even_results_of_larger_patches_flip_about_the_lesion_pixel():
    images = noise(1, 71, 71)
    changed, _ = Chain((Flip(),), output_size=64).apply(images, None, one(flip="x"))
    np.testing.assert_array_equal(changed, np.flip(images, 2)[:, 3:67, 3:67])


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(8, 40),
    angle=st.floats(-360, 360),
    way=st.sampled_from(["", "y", "x", "yx"]),
    scale=st.floats(0.5, 2),
)
def test_the_lesion_pixel_stays_where_it_is(size, angle, way, scale):
    images = np.zeros((1, size, size), np.int16)
    images[:, size // 2, size // 2] = 1000
    chain = Chain((Rotate(), Flip(), Scale()), output_size=size - 3)
    changed, mask = chain.apply(images, images > 0, one(rotation_deg=angle, flip=way, scale=scale))
    assert changed[0, (size - 3) // 2, (size - 3) // 2] == 1000
    assert mask[0, (size - 3) // 2, (size - 3) // 2]


def test_three_dimensions_turn_about_z_and_flip_along_it():
    images = noise(1, 5, 9, 9)
    turned, _ = Rotate().apply(images, None, one(rotation_deg=90.0))
    np.testing.assert_array_equal(turned, np.rot90(images, axes=(2, 3)))
    flipped, _ = Flip().apply(images, None, one(flip="zx"))
    np.testing.assert_array_equal(flipped, np.flip(images, (1, 3)))
    shifted, _ = Translate(axes=("z",)).apply(images, None, one(translate_z_px=1.0))
    np.testing.assert_array_equal(shifted[:, 1:], images[:, :-1])
    zoomed, _ = Scale().apply(images, None, one(scale=0.5))
    np.testing.assert_array_equal(zoomed[:, 1:4, 2:7, 2:7], images[:, 0:5:2, 0:9:2, 0:9:2])


def test_volumes_also_turn_about_y_and_x():
    images = noise(1, 9, 9, 9)
    for about, plane in (("y", (1, 3)), ("x", (1, 2))):
        turned, _ = Rotate(about=about).apply(images, None, one(**{f"rotation_{about}_deg": 90.0}))
        np.testing.assert_array_equal(turned, np.rot90(images, axes=plane))
    every_way = Chain((Rotate(), Rotate(about="y"), Rotate(about="x")))
    assert every_way.columns == ("rotation_deg", "rotation_y_deg", "rotation_x_deg")


def test_a_turn_says_which_axes_must_be_square():
    assert Rotate().square_axes == ("y", "x")
    assert Rotate(about="y").square_axes == ("z", "x")
    assert Chain((Rotate(), Rotate(about="x"))).square_axes == ("z", "y", "x")
    assert Chain((Flip(), Translate(), Scale())).square_axes == ()


def test_tissue_moves_by_the_translation():
    images = noise(1, 9, 9)
    changed, _ = Translate().apply(images, None, one(translate_y_px=2.0, translate_x_px=-1.0))
    np.testing.assert_array_equal(changed[:, 2:, :-1], images[:, :-2, 1:])


def test_scale_shows_tissue_larger():
    masks = np.zeros((1, 65, 65), np.uint8)
    masks[:, 22:43, 22:43] = 1
    _, larger = Scale().apply(masks, masks, one(scale=1.5))
    assert larger.sum() == pytest.approx(1.5**2 * masks.sum(), rel=0.05)


def test_a_chain_interpolates_once():
    images = noise(1, 31, 31)
    there_and_back = Chain((Rotate(), Translate(), Scale()))
    turn = one(rotation_deg=33.0, translate_y_px=0.0, translate_x_px=0.0, scale=1.0)
    once, _ = there_and_back.apply(images, None, turn)
    np.testing.assert_array_equal(once, Rotate().apply(images, None, turn)[0])


def test_steps_act_in_their_order():
    images = noise(1, 21, 21)
    moves = one(rotation_deg=90.0, translate_y_px=3.0, translate_x_px=0.0)
    for first, second in ((Rotate(), Translate()), (Translate(), Rotate())):
        chained, _ = Chain((first, second)).apply(images, None, moves)
        between, _ = first.apply(images, None, moves)
        after, _ = second.apply(between, None, moves)
        np.testing.assert_array_equal(chained[:, 4:-4, 4:-4], after[:, 4:-4, 4:-4])


def test_magnifications_multiply_in_a_chain():
    parameters = one(rotation_deg=20.0, scale=0.8)
    np.testing.assert_array_equal(Chain((Rotate(), Scale())).magnification(parameters), [0.8])
    np.testing.assert_array_equal(Rotate().magnification(parameters), [1.0])


def test_samples_fill_their_published_ranges():
    rng = np.random.default_rng(0)
    diameter_px = np.repeat([10.0, 100.0], 4000)
    angle = Rotate(0, 180).sample(diameter_px, rng=rng)["rotation_deg"]
    shift = Translate(4, 0.1).sample(diameter_px, rng=rng)
    scale = WidenMargin(0.1, 0.4, 64).sample(diameter_px, rng=rng)["scale"]
    margin = (64 / scale - 64) / 2 / diameter_px
    assert (angle.min(), angle.max()) == (pytest.approx(0, abs=0.2), pytest.approx(180, abs=0.2))
    assert (margin.min(), margin.max()) == (pytest.approx(0.1, abs=1e-3), pytest.approx(0.4, abs=1e-3))
    for name in ("translate_y_px", "translate_x_px"):
        small, large = shift[name][:4000].abs().max(), shift[name][4000:].abs().max()
        assert (small, large) == (pytest.approx(1, abs=0.01), pytest.approx(4, abs=0.01))
    assert set(Flip().sample(diameter_px, rng=rng)["flip"]) == {"", "y", "x", "yx"}
    assert Scale(0.9, 1.3).sample(diameter_px, rng=rng)["scale"].between(0.9, 1.3).all()


@pytest.mark.parametrize("transform", [WidenMargin(), Translate(4, 0.1)])
def test_a_missing_diameter_is_named(transform):
    with pytest.raises(LesionForgeError, match=r"1 of 3 lesions have none: give diameter_mm"):
        transform.sample(np.array([8.0, np.nan, 9.0]), rng=np.random.default_rng(0))


def test_shifts_can_be_at_least_so_long_either_way():
    shift = Translate(6, at_least_px=2).sample(np.full(2000, np.nan), rng=np.random.default_rng(0))
    for name in shift:
        assert shift[name].abs().between(2, 6).all()
        assert np.histogram(shift[name], [-6, -4, -2, 2, 4, 6])[0] == pytest.approx([500, 500, 0, 500, 500], abs=70)


def test_a_shift_in_pixels_needs_no_diameter():
    assert len(Translate().sample(np.array([np.nan]), rng=np.random.default_rng(0))) == 1


@pytest.mark.parametrize(
    ("transform", "parameters", "message"),
    [
        (Rotate(), one(flip="x"), "rotation_deg are missing"),
        (Rotate(), pd.DataFrame({"rotation_deg": [1.0, 2.0]}), "a row for each of 1 images, but have 2"),
        (Rotate(), one(rotation_deg=np.nan), "rotation_deg must be finite numbers"),
        (Flip(), one(flip="z"), r"axes y, x \(empty: none\), but 'z' came"),
        (Flip(), one(flip=np.nan), "but nan came"),
        (Translate(axes=("z",)), one(translate_z_px=1.0), "along y, x, but z came"),
        (Rotate(about="x"), one(rotation_x_deg=1.0), "along y, x, but z came"),
        (Scale(), one(scale=0.0), "above 0"),
        (Chain((Rotate(),), output_size=10), one(rotation_deg=1.0), "must fit inside"),
        (Chain((Rotate(),), output_size=(4, 4, 4)), one(rotation_deg=1.0), "must fit inside"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(transform, parameters, message):
    with pytest.raises(LesionForgeError, match=message):
        transform.apply(noise(1, 9, 9), None, parameters)


def test_a_chain_has_one_step_of_a_kind():
    with pytest.raises(LesionForgeError, match="use one step of a kind"):
        Chain((Scale(), WidenMargin()))


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        (Rotate, {"low_deg": 20, "high_deg": 10}),
        (Rotate, {"high_deg": np.nan}),
        (Scale, {"low": 1.3}),
        (Scale, {"low": -0.1}),
        (Scale, {"high": np.inf}),
        (Translate, {"up_to_px": -1}),
        (Translate, {"at_least_px": 5}),
        (WidenMargin, {"low_diameters": 0.5}),
    ],
)
def test_ranges_run_from_lower_to_higher(kind, limits):
    with pytest.raises(LesionForgeError, match="must run from lower to higher finite numbers"):
        kind(**limits)
