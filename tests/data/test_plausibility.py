import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from lesionforge import settings
from lesionforge.data import plausibility
from lesionforge.data.hounsfield import AIR_HU, LUNG_PARENCHYMA_HU, WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.data.phantom import phantom_patches
from lesionforge.data.plausibility import MEASURES, PlausibleRanges, measure
from lesionforge.data.sources.arrays import load_arrays

LUNG = WINDOWS["lung"]


def balls(diameters, shape=(64, 64), *, lesion=0.0, around=LUNG_PARENCHYMA_HU, noise=0.0, seed=0):
    away = np.linalg.norm(np.indices(shape) - np.array(shape).reshape(-1, *[1] * len(shape)) // 2, axis=0)
    images = np.stack([np.where(away <= diameter / 2, lesion, around) for diameter in diameters])
    return images + np.random.default_rng(seed).normal(0, noise, images.shape) if noise else images


def patches_of(images, label="solid"):
    return Patches.of(images.astype(np.float32), patient=[f"p{k}" for k in range(len(images))], label=label)


@pytest.mark.parametrize("shape", [(64, 64), (33, 40), (32, 32, 32)], ids=str)
@pytest.mark.parametrize("brighter", [True, False])
def test_a_ball_has_its_diameter_and_its_intensity(shape, brighter):
    diameters = np.array([6, 8, 11, 16, 25])
    sign = 1 if brighter else -1
    found = measure(sign * balls(diameters, shape), brighter=brighter)
    np.testing.assert_allclose(found["lesion_diameter_px"], diameters, atol=2.1)
    np.testing.assert_allclose(found["lesion"][1:], 0, atol=110)  # of the smallest, the blur takes a part
    assert found["minimum"].tolist() == [min(0, sign * LUNG_PARENCHYMA_HU)] * 5


def test_noise_hardly_changes_what_is_found():
    diameters = np.repeat([8, 12, 20], 20)
    found = measure(balls(diameters, noise=60), brighter=True)
    np.testing.assert_allclose(found["lesion_diameter_px"], diameters, atol=2.5)


def test_a_chest_wall_and_vessels_are_not_taken_for_the_lesion():
    images = balls([12] * 4)
    images[1, 37:] = 40  # a chest wall that the lesion lies on
    images[2, 30:34] = 40  # a vessel through it
    images[3, :, 28:32], images[3, 37:] = 40, 40
    np.testing.assert_allclose(measure(images, brighter=True)["lesion_diameter_px"], 12, atol=3.5)


@given(
    offset=st.tuples(*[st.integers(-2, 2)] * 2),
    flips=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from([np.int16, np.float32, np.float64]),
)
@hypothesis_settings(deadline=None, max_examples=25)
def test_a_lesion_near_the_middle_turned_over_or_of_another_dtype_measures_the_same(offset, flips, dtype):
    image = balls([14], (63, 63))[0]
    moved = np.flip(np.roll(image, offset, (0, 1)), [axis for axis, flip in enumerate(flips) if flip])
    found = measure(moved[None].astype(dtype), brighter=True)
    assert found["lesion_diameter_px"][0] == pytest.approx(14, abs=2)
    assert found["mean"][0] == pytest.approx(image.mean())


def test_patches_are_measured_one_by_one(monkeypatch):
    images = balls([5, 9, 14, 30], noise=30)
    together = measure(images, brighter=True)
    for k in range(4):
        alone = measure(images[k : k + 1], brighter=True)
        assert {name: values[k] for name, values in together.items()} == {n: v[0] for n, v in alone.items()}
    ranges = PlausibleRanges.of(patches_of(images), LUNG)
    monkeypatch.setattr(plausibility, "PIXELS_AT_ONCE", 1)
    assert PlausibleRanges.of(patches_of(images), LUNG) == ranges


def test_ranges_know_whether_lesions_are_brighter_or_darker():
    assert PlausibleRanges.of(patches_of(balls([10, 12, 14], noise=20)), LUNG).brighter
    dark = patches_of(balls([10, 12, 14], lesion=30, around=110, noise=10))
    assert not PlausibleRanges.of(dark, WINDOWS["liver"]).brighter


def test_ranges_are_quantiles_of_what_the_window_shows():
    images = balls(np.linspace(6, 20, 40), noise=20)
    images[:, 0, 0], images[:, 0, 1] = -3000, 3000
    ranges = PlausibleRanges.of(patches_of(images), LUNG)
    assert ranges.minimum == (AIR_HU,) * 3
    assert ranges.maximum == (LUNG.high,) * 3
    means = images.clip(LUNG.low, LUNG.high).mean(axis=(1, 2))
    np.testing.assert_allclose(ranges.mean, np.quantile(means, plausibility.LEVELS), rtol=1e-5)
    assert ranges.lesion_diameter_px[0] == pytest.approx(6, abs=1.5)
    assert ranges.lesion_diameter_px[-1] == pytest.approx(20, abs=1.5)


def test_ranges_of_a_class_are_those_of_its_patches_alone():
    small, large = balls([6, 7, 8], noise=10), balls([20, 24, 28], noise=10)
    both = patches_of(np.concatenate([small, large]), label=["small"] * 3 + ["large"] * 3)
    for label, images in (("small", small), ("large", large)):
        assert PlausibleRanges.of(both, LUNG, label=label) == PlausibleRanges.of(patches_of(images), LUNG)


def test_of_a_large_set_some_are_measured_evenly(monkeypatch):
    images = balls(np.linspace(6, 26, 41))
    whole = PlausibleRanges.of(patches_of(images), LUNG)
    monkeypatch.setattr(plausibility, "MOST_MEASURED", 11)
    some = PlausibleRanges.of(patches_of(images), LUNG)
    assert some != whole
    np.testing.assert_allclose(some.lesion_diameter_px, whole.lesion_diameter_px, atol=2)


def test_nearly_all_of_the_set_itself_are_plausible_and_what_is_unlike_it_is_named():
    images = balls(np.linspace(7, 14, 200), noise=25).clip(LUNG.low, LUNG.high)
    ranges = PlausibleRanges.of(patches_of(images), LUNG)
    assert (ranges.outside(measure(images, brighter=True), LUNG) != "").mean() < 0.05
    unlike = np.stack(
        [
            np.full((64, 64), LUNG_PARENCHYMA_HU),  # no lesion
            balls([34], noise=25)[0],  # too large
            images[0] + 300,  # too bright
            images[100],
        ]
    )
    named = ranges.outside(measure(unlike, brighter=True), LUNG)
    assert "lesion_diameter_px" in named[0].split()
    assert "lesion_diameter_px" in named[1].split()
    assert set(named[2].split()) >= {"minimum", "mean"}
    assert named[3] == ""


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_may_lie_a_little_outside(name):
    ranges = PlausibleRanges(brighter=True, **dict.fromkeys(MEASURES, (0.0, 5.0, 10.0)))
    allowed = 1 if name == "lesion_diameter_px" else 28  # pixels; HU, a fiftieth of the window
    values = np.array([-allowed - 0.1, -allowed, 0, 10, 10 + allowed, 10 + allowed + 0.1])
    measures = dict.fromkeys(MEASURES, np.full(6, 5.0)) | {name: values}
    assert ranges.outside(measures, LUNG).tolist() == [name, "", "", "", "", name]


def test_ranges_survive_json():
    ranges = PlausibleRanges.of(patches_of(balls([6, 9, 12], noise=20)), LUNG)
    assert settings.from_json(PlausibleRanges, json.loads(json.dumps(settings.to_json(ranges)))) == ranges


@pytest.mark.parametrize("kind", ["lung", "liver"])
def test_on_the_phantom_the_diameter_follows_the_known_one(kind):
    patches = phantom_patches(kind, patients=40, seed=1)
    window = WINDOWS["lung" if kind == "lung" else "liver"]
    found = measure(patches.images.clip(window.low, window.high), brighter=PlausibleRanges.of(patches, window).brighter)
    known = patches.table["diameter_mm"] / patches.spacing_mm[:, 0]
    assert stats.spearmanr(found["lesion_diameter_px"], known).statistic > (0.7 if kind == "lung" else 0.3)


@pytest.mark.real_data
def test_on_real_nodules_the_diameter_follows_the_readers_outline(lidc, lidc_tasks):
    patches = load_arrays(lidc, mapping=lidc_tasks.NON_SOLID).centre_crop(64)
    for label in patches.classes:
        of_class = patches.with_label(label)
        ranges = PlausibleRanges.of(of_class, LUNG)
        found = measure(of_class.images.clip(LUNG.low, LUNG.high), brighter=ranges.brighter)
        outlined = 2 * np.sqrt(of_class.masks.reshape(len(of_class), -1).sum(axis=1) / np.pi)
        assert ranges.brighter
        assert stats.spearmanr(found["lesion_diameter_px"], outlined).statistic > 0.75
        assert np.median(found["lesion_diameter_px"] / outlined) == pytest.approx(0.75, abs=0.1)
        assert np.quantile(found["lesion_diameter_px"] / outlined, 0.99) < 1.5  # hardly any runs on
        assert (ranges.outside(found, LUNG) != "").mean() < 0.05
