import dataclasses

import numpy as np
import pytest
import torch

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators import methods
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.methods.wgan_gp import WGANGP
from lesionforge.networks import seeded
from lesionforge.synthesis.latent import chosen_rows, linear, spherical, strips, truncations
from lesionforge.synthesis.sample import sample
from lesionforge.synthesis.sampler import Sampler

pytestmark = pytest.mark.usefixtures("one_thread")

NARROW = {"batch_size": 8, "generator_width": 16, "discriminator_width": 4}


@pytest.fixture(scope="module")
def real(small_patches):
    return small_patches(shape=(16, 16)).with_label("malignant")


@pytest.fixture(scope="module")
def sampler(untrained, real):
    return Sampler(untrained(WGANGP(**NARROW), real), seed=5)


def vectors(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("name", registry.names(methods))
def test_every_method_says_what_its_latent_vectors_are_drawn_from(name, small_method):
    method = small_method(name, latent_size=100)
    latent = method.latent(200, torch.Generator().manual_seed(0))
    if method.prior == "uniform":
        assert latent.abs().max() <= 1
        assert latent.std() == pytest.approx(1 / np.sqrt(3), abs=0.02)
        return
    assert latent.std() == pytest.approx(1, abs=0.02)
    assert latent.abs().max() > 3
    with seeded("weights"):
        generator = method.build((16, 16), 2)["generator"].eval()
    blank, masks = torch.zeros(4, 1, 16, 16), torch.zeros(4, 1, 16, 16)
    masks[:, :, 6:10, 6:10] = 1
    shown = Batch(images=blank, labels=torch.zeros(4, dtype=torch.int64), masks=masks)
    shown = dataclasses.replace(shown, picture=method.picture(shown))

    def images(vectors):
        return method.synthesise(generator, vectors, shown, Moment(10**9, torch.Generator()))

    first, scaled = latent[:4], 3 * latent[:4]
    same = torch.allclose(images(first), images(scaled), atol=1e-4)
    assert same == (method.prior in {"sphere", "dropout"})
    assert torch.equal(images(first), images(first + 1e-6)) == (method.prior == "dropout")


def test_a_line_is_straight_and_even():
    found = linear(vectors([0, 0], [1, 1]), vectors([4, 8], [1, -1]), torch.linspace(0, 1, 5))
    assert found.tolist() == [[[0, 0], [1, 2], [2, 4], [3, 6], [4, 8]], [[1, 1], [1, 0.5], [1, 0], [1, -0.5], [1, -1]]]


def test_an_arc_keeps_its_radius_and_goes_evenly():
    found = spherical(vectors([2, 0, 0]), vectors([0, 2, 0]), torch.linspace(0, 1, 4))[0]
    angle = np.pi / 6
    expected = [[2 * np.cos(k * angle), 2 * np.sin(k * angle), 0] for k in range(4)]
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("last", [[1, 0], [3, 0], [-1, 0], [-2, 0]])
def test_where_there_is_no_arc_one_goes_straight(last):
    first = vectors([1, 0])
    found = spherical(first, vectors(last), torch.linspace(0, 1, 5))
    torch.testing.assert_close(found, linear(first, vectors(last), torch.linspace(0, 1, 5)))


def test_vectors_on_an_arc_are_as_long_as_any():
    ends = torch.randn(2, 200, 512, generator=torch.Generator().manual_seed(0))
    middle, straight = (way(*ends, torch.tensor([0.5])).norm(dim=-1).mean() for way in (spherical, linear))
    assert middle == pytest.approx(np.sqrt(512), rel=0.02)
    assert straight == pytest.approx(np.sqrt(512 / 2), rel=0.02)


@pytest.mark.parametrize("method", [WGANGP(**NARROW), DCGAN(**NARROW)], ids=lambda method: method.prior)
def test_a_strip_goes_from_sample_to_sample(untrained, real, method):
    sampler = Sampler(untrained(method, real), seed=5)
    drawn, samples = strips(sampler, 3, steps=5), sample(sampler.checkpoint, 6, seed=5)
    assert len(drawn) == 15
    table = drawn.table
    assert table["strip_from"].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert table["strip_to"].tolist() == [3] * 5 + [4] * 5 + [5] * 5
    np.testing.assert_allclose(table["strip_share"], [0, 0.25, 0.5, 0.75, 1] * 3)
    # At another place in a batch the last bits may differ, and so a rounded HU by one.
    np.testing.assert_allclose(drawn.images[[0, 5, 10]], samples.images[:3], atol=1)
    np.testing.assert_allclose(drawn.images[[4, 9, 14]], samples.images[3:], atol=1)
    assert drawn.is_synthetic.all()
    assert drawn.exposure.patients >= real.exposure.patients
    assert {"implausible", "measured_mean"} <= set(table)


def test_steps_between_are_small_and_even(sampler):
    images = strips(sampler, 4, steps=33).images.reshape(4, 33, -1).astype(float)
    step = np.sqrt(np.mean(np.diff(images, axis=1) ** 2, axis=-1))
    whole = np.sqrt(np.mean((images[:, -1] - images[:, 0]) ** 2, axis=-1))
    assert (step.max(axis=1) < whole / 4).all()
    assert (step > 0).all()


def test_a_strip_keeps_its_class(untrained, small_patches):
    checkpoint = untrained(ACGAN(**NARROW), small_patches(shape=(16, 16)))
    assert (
        strips(Sampler(checkpoint), 3, steps=2).labels.tolist() == ["benign"] * 2 + ["malignant"] * 2 + ["benign"] * 2
    )
    assert set(strips(Sampler(checkpoint, label="malignant"), 3, steps=2).labels) == {"malignant"}


@pytest.mark.parametrize(("count", "steps"), [(0, 8), (-1, 8), (1, 1), (1, 0)])
def test_a_strip_needs_two_ends(sampler, count, steps):
    with pytest.raises(LesionForgeError, match="1 strip of 2 steps"):
        strips(sampler, count, steps=steps)


def test_where_nothing_lies_between_there_are_no_strips(untrained, real):
    painter = untrained(Pix2Pix(**NARROW | {"generator_width": 4}), real)
    with pytest.raises(LesionForgeError, match="pix2pix say what is dropped"):
        strips(Sampler(painter, conditions=real), 2)


def test_truncations_of_one_sample_lie_side_by_side(sampler):
    drawn = truncations(sampler, 3, [0.0, 0.5, 1.0])
    table = drawn.table
    assert table["sample_number"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert table["sample_truncation"].tolist() == [0, 0.5, 1] * 3
    np.testing.assert_array_equal(drawn.images[2::3], sample(sampler.checkpoint, 3, seed=5).images)
    from_mean = np.abs(drawn.images.astype(float) - drawn.images[0]).mean(axis=(1, 2)).reshape(3, 3)
    assert (np.diff(from_mean, axis=1) > 0).all()
    with pytest.raises(LesionForgeError, match="one truncation at least"):
        truncations(sampler, 3, [])


@pytest.mark.parametrize("numbers", [[0], [19, 3, 3, 8], [70, 7]])
def test_rows_are_drawn_again_as_they_were(sampler, numbers):
    samples = sample(sampler.checkpoint, 71, seed=5)
    again = chosen_rows(sampler, numbers)
    np.testing.assert_array_equal(again.images, samples.images[numbers])
    assert again.table.equals(samples.table.iloc[numbers].reset_index(drop=True))


@pytest.mark.parametrize("numbers", [[], [3, -1]])
def test_rows_have_numbers_from_0(sampler, numbers):
    with pytest.raises(LesionForgeError, match="0 or more"):
        chosen_rows(sampler, numbers)
