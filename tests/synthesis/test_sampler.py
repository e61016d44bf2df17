from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from lesionforge.data.plausibility import MEASURES, PlausibleRanges, measure
from lesionforge.errors import LesionForgeError
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.methods.progressive_wgan import ProgressiveWGAN
from lesionforge.generators.methods.wgan_gp import WGANGP
from lesionforge.synthesis import sampler as sampler_file
from lesionforge.synthesis.sample import sample
from lesionforge.synthesis.sampler import Sampler

pytestmark = pytest.mark.usefixtures("one_thread")

NARROW = {"batch_size": 8, "generator_width": 16, "discriminator_width": 4}
EVERYTHING = dict.fromkeys(MEASURES, (-1e9, 0.0, 1e9))


@pytest.fixture(scope="module")
def real(small_patches):
    return small_patches(shape=(16, 16)).with_label("malignant")


@pytest.fixture(scope="module")
def opened(untrained, real):
    return untrained(WGANGP(**NARROW), real)


@pytest.fixture(scope="module")
def painter(untrained, real):
    """A checkpoint of a method that is shown pictures."""
    return untrained(Pix2Pix(**NARROW | {"generator_width": 4}), real)


def drawn(sampler, count):
    """The rows of a sampler, its parts put together."""
    parts = list(sampler.parts(count))
    images = np.concatenate([part.images for part in parts])
    return images, {name: np.concatenate([part.table[name] for part in parts]) for name in parts[0].table}


def with_ranges(checkpoint, **ranges):
    subject = replace(checkpoint.subject, ranges=(PlausibleRanges(brighter=True, **EVERYTHING | ranges),))
    return replace(checkpoint, subject=subject)


@pytest.fixture(scope="module")
def half_plausible(opened):
    """The checkpoint, its ranges such that half of what it makes is plausible; and the limit of the mean."""
    _, table = drawn(Sampler(opened), 64)
    limit = float(np.median(table["measured_mean"])) + 28  # what is allowed beyond a range
    return with_ranges(opened, mean=(limit, limit, 1e9)), limit - 28


@pytest.mark.parametrize("pixels_at_once", [1, 16 * 16 * 20, 2**20])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 37])
@pytest.mark.parametrize("redraw", [False, True])
def test_rows_do_not_depend_on_how_many_are_drawn_or_held_at_once(
    half_plausible, monkeypatch, pixels_at_once, count, redraw
):
    sampler = Sampler(half_plausible[0], seed=2, redraw=redraw)
    images, table = drawn(sampler, 37)
    monkeypatch.setattr(sampler_file, "PIXELS_AT_ONCE", pixels_at_once)
    fewer, fewer_table = drawn(sampler, count)
    np.testing.assert_array_equal(fewer, images[:count])
    for name, values in fewer_table.items():
        np.testing.assert_array_equal(values, table[name][:count], err_msg=name)


def test_only_so_many_are_held_at_once(opened, monkeypatch):
    monkeypatch.setattr(sampler_file, "PIXELS_AT_ONCE", 16 * 16 * 20)
    assert [len(part) for part in Sampler(opened).parts(37)] == [16, 16, 5]


def test_measures_and_what_is_implausible_are_those_of_the_image(half_plausible):
    checkpoint, limit = half_plausible
    images, table = drawn(Sampler(checkpoint), 64)
    for name, values in measure(images, brighter=True).items():
        np.testing.assert_array_equal(table[f"measured_{name}"], values)
    assert table["implausible"].tolist() == ["mean" if mean < limit else "" for mean in table["measured_mean"]]
    assert (table["implausible"] == "mean").sum() == 32
    assert not table["sample_redraw"].any()


def test_implausible_rows_are_redrawn_and_the_others_stay(half_plausible):
    checkpoint, limit = half_plausible
    images, table = drawn(Sampler(checkpoint), 64)
    redrawn, again = drawn(Sampler(checkpoint, redraw=True), 64)
    implausible = table["implausible"] != ""
    np.testing.assert_array_equal(redrawn[~implausible], images[~implausible])
    assert ((redrawn != images).any(axis=(1, 2)) == implausible).all()
    assert (again["implausible"] == "").all()
    assert (again["measured_mean"] >= limit).all()
    np.testing.assert_array_equal(again["measured_mean"], measure(redrawn, brighter=True)["mean"])
    assert ((again["sample_redraw"] > 0) == implausible).all()
    assert again["sample_redraw"].max() > 1
    assert len(np.unique(redrawn.reshape(64, -1), axis=0)) == 64
    other, _ = drawn(Sampler(checkpoint, seed=1, redraw=True), 64)
    assert (other != redrawn).any(axis=(1, 2)).all()


def test_what_never_becomes_plausible_is_an_error(opened):
    hopeless = with_ranges(opened, lesion_diameter_px=(1e6, 1e6, 1e6))
    with pytest.raises(LesionForgeError, match=r"within 100 draws more, but 5 of 5 .*lesion_diameter_px.*hardly any"):
        list(Sampler(hopeless, redraw=True).parts(5))
    assert all(Sampler(hopeless).part(np.arange(5)).table["implausible"] == "lesion_diameter_px")


def test_each_class_has_ranges_of_its_own(untrained, small_patches):
    checkpoint = untrained(ACGAN(**NARROW), small_patches(shape=(16, 16)))
    ranges = (
        PlausibleRanges(brighter=True, **EVERYTHING),
        PlausibleRanges(brighter=False, **EVERYTHING | {"mean": (1e6, 1e6, 1e6)}),
    )
    both = replace(checkpoint, subject=replace(checkpoint.subject, ranges=ranges))
    images, table = drawn(Sampler(both), 9)
    assert table["label"].tolist() == ["benign", "malignant"] * 4 + ["benign"]
    assert table["implausible"].tolist() == ["", "mean"] * 4 + [""]
    for label, brighter in (("benign", True), ("malignant", False)):
        of_class = table["label"] == label
        expected = measure(images[of_class], brighter=brighter)["lesion"]
        np.testing.assert_array_equal(table["measured_lesion"][of_class], expected)


@pytest.mark.parametrize("method", [WGANGP(**NARROW), DCGAN(**NARROW)], ids=lambda method: method.prior)
def test_truncation_shortens_latent_vectors(untrained, real, method):
    rows = np.arange(6)
    checkpoint = untrained(method, real)
    whole, half, none = (Sampler(checkpoint, truncation=psi) for psi in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half.latent(rows), whole.latent(rows) / 2)
    table = half.part(rows).table
    assert set(table["sample_truncation"]) == {0.5}
    images = none.part(rows).images
    assert (images == images[0]).all()
    np.testing.assert_array_equal(whole.part(rows).images, sample(checkpoint, 6).images)


@pytest.mark.parametrize("truncation", [-0.1, 1.5, float("nan")])
def test_truncation_is_a_share(opened, truncation):
    with pytest.raises(LesionForgeError, match="from 0 to 1"):
        Sampler(opened, truncation=truncation)


def test_truncation_that_makes_no_sense_is_refused(untrained, real, painter):
    grown = untrained(ProgressiveWGAN(width=8), real)
    with pytest.raises(LesionForgeError, match="progressive_wgan their direction alone counts"):
        Sampler(grown, truncation=0.7)
    with pytest.raises(LesionForgeError, match="pix2pix what each number drops counts"):
        Sampler(painter, conditions=real, truncation=0.7)
    Sampler(painter, conditions=real)
    Sampler(grown)


def test_conditions_are_fulfilled_in_turn_and_their_exposure_joins(painter, small_patches, real):
    shown = small_patches(shape=(16, 16), prefix="shown", seed=4).rows([0, 1, 2])
    samples = sample(painter, 7, conditions=shown)
    np.testing.assert_array_equal(samples.masks, shown.masks[[0, 1, 2, 0, 1, 2, 0]])
    pixels = shown.table["source_pixels"].tolist()
    assert samples.table["condition_pixels"].tolist() == [pixels[k] for k in (0, 1, 2, 0, 1, 2, 0)]
    assert dict(samples.generators) == {painter.id: real.exposure | shown.exposure}
    assert not any(patient in samples.table.to_csv() for patient in shown.patients)
    other = sample(painter, 7, conditions=shown.with_images(shown.images, np.roll(shown.masks, 3, axis=1)))
    assert (samples.images != other.images).any(axis=(1, 2)).all()


def test_a_row_is_made_of_its_condition_alone(painter, real):
    first = sample(painter, 3, conditions=real.rows([0, 1, 2]))
    np.testing.assert_array_equal(sample(painter, 1, conditions=real.rows([0, 4])).images, first.images[:1])


def test_a_condition_without_masks_gives_samples_without(untrained, real):
    checkpoint = untrained(Pix2Pix(**NARROW | {"generator_width": 4}, condition="edges"), real)
    assert sample(checkpoint, 2, conditions=real.with_images(real.images)).masks is None


def unfit_conditions(patches):
    eight_bit = type(patches)(patches.images, patches.table, masks=patches.masks, unit="u8")
    return {
        "none": (None, "is shown a picture of each lesion"),
        "no rows": (patches.rows([]), "is shown a picture of each lesion"),
        "another size": (patches.centre_crop(8), "16×16 in HU, but 8×8 in HU came"),
        "another unit": (eight_bit, "16×16 in u8 came"),
        "no masks": (patches.with_images(patches.images), "no masks"),
    }


@pytest.mark.parametrize("unfit", ["none", "no rows", "another size", "another unit", "no masks"])
def test_conditions_that_do_not_fit_are_refused(painter, real, unfit):
    conditions, why = unfit_conditions(real)[unfit]
    with pytest.raises(LesionForgeError, match=why):
        sample(painter, 2, conditions=conditions)


def test_conditions_are_refused_where_nothing_is_shown(opened, real):
    with pytest.raises(LesionForgeError, match="wgan_gp is shown no pictures"):
        sample(opened, 2, conditions=real)


@dataclass(frozen=True)
class Restless(DCGAN):
    """Draws noise as it makes images."""

    def synthesise(self, generator, latent, _condition, moment):
        noise = torch.randn(len(latent), 1, 1, 1, generator=moment.rng)
        return (generator(latent) + noise / 5).clamp(-1, 1)


def test_noise_of_a_batch_follows_its_place_alone(untrained, real):
    sampler = Sampler(untrained(Restless(**NARROW), real))
    images, _ = drawn(sampler, 20)
    np.testing.assert_array_equal(drawn(sampler, 9)[0], images[:9])
    offsets = images.mean(axis=(1, 2))
    assert len(np.unique(offsets)) == 20
