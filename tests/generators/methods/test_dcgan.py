import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.networks import parameter_count, seeded

pytestmark = pytest.mark.usefixtures("one_thread")
PUBLISHED = (64, 64)
MOMENT = Moment(0, torch.Generator())


@pytest.fixture(scope="module")
def published():
    with seeded("published"):
        return DCGAN().build(PUBLISHED, 1)


def of_kind(network, *kinds):
    return [module for module in network.modules() if isinstance(module, kinds)]


def test_the_published_generator_has_as_many_parameters_as_its_figure_says(published):
    dense = 100 * 1024 * 4 * 4
    convolutions = 5 * 5 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 1)
    norms = 2 * (1024 + 512 + 256 + 128)
    assert parameter_count(published["generator"]) == dense + convolutions + norms + 1


def test_the_published_discriminator_has_as_many_parameters_as_its_figure_says(published):
    convolutions = 5 * 5 * (1 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    norms = 2 * (128 + 256 + 512)
    dense = 512 * 4 * 4 + 1
    assert parameter_count(published["discriminator"]) == convolutions + 64 + norms + dense


def test_the_generator_doubles_its_pixels_four_times(published):
    convolutions = of_kind(published["generator"], nn.ConvTranspose2d)
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1024, 512), (512, 256), (256, 128), (128, 1)]
    assert all((c.kernel_size, c.stride) == ((5, 5), (2, 2)) for c in convolutions)
    assert [n.num_features for n in of_kind(published["generator"], nn.BatchNorm2d)] == [1024, 512, 256, 128]
    assert len(of_kind(published["generator"], nn.ReLU)) == 4
    assert isinstance(published["generator"][-1], nn.Tanh)
    assert published["generator"][-2] is convolutions[-1]  # no batch norm before the image


def test_the_discriminator_halves_its_pixels_four_times(published):
    convolutions = of_kind(published["discriminator"], nn.Conv2d)
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1, 64), (64, 128), (128, 256), (256, 512)]
    assert all((c.kernel_size, c.stride) == ((5, 5), (2, 2)) for c in convolutions)
    assert [n.num_features for n in of_kind(published["discriminator"], nn.BatchNorm2d)] == [128, 256, 512]
    assert isinstance(published["discriminator"][1], nn.LeakyReLU)  # no batch norm after the first convolution
    assert [leak.negative_slope for leak in of_kind(published["discriminator"], nn.LeakyReLU)] == [0.2] * 4
    assert published["discriminator"](torch.zeros(3, 1, 64, 64)).shape == (3,)


def test_weights_start_from_a_normal_distribution_of_sd_0_02(published):
    for module in of_kind(published, nn.Linear, nn.Conv2d, nn.ConvTranspose2d):
        weights = module.weight.detach()
        few = 4 * 0.02 / weights.numel() ** 0.5
        assert abs(float(weights.mean())) < few
        assert float(weights.std()) == pytest.approx(0.02, abs=few)
        assert module.bias is None or not module.bias.any()


def test_latent_vectors_are_uniform_between_minus_one_and_one():
    drawn = DCGAN().latent(2000, torch.Generator().manual_seed(0)).numpy()
    assert drawn.shape == (2000, 100)
    assert -1 <= drawn.min() < -0.999
    assert 0.999 < drawn.max() <= 1
    deciles = np.histogram(drawn, bins=10, range=(-1, 1))[0] / drawn.size
    np.testing.assert_allclose(deciles, 0.1, atol=0.004)


def test_the_optimiser_is_adam_as_published():
    group = DCGAN().optimiser("generator", [nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-4, (0.5, 0.999), 0)


def test_losses_are_binary_cross_entropy_worked_out_in_double_precision():
    method = DCGAN(generator_width=16, discriminator_width=4)
    with seeded("losses"):
        networks = method.build((16, 16), 1).double()
        networks["discriminator"][-2].weight.data *= 30  # logits far from 0, where the form of the formula matters
        real, fake = torch.rand(2, 8, 1, 16, 16, dtype=torch.float64) * 2 - 1

    def probability_of_real(images):
        return 1 / (1 + np.exp(-networks["discriminator"](images).detach().numpy()))

    expected = {
        "discriminator_real": -np.log(probability_of_real(real)).mean(),
        "discriminator_fake": -np.log(1 - probability_of_real(fake)).mean(),
        "generator": -np.log(probability_of_real(fake)).mean(),
    }
    real, fake = (Batch(images=images, labels=torch.zeros(8, dtype=torch.int64)) for images in (real, fake))
    found = {
        **method.discriminator_losses(networks, real, fake, MOMENT),
        **method.generator_losses(networks, fake, MOMENT),
    }
    assert {name: float(loss.detach()) for name, loss in found.items()} == pytest.approx(expected, rel=1e-12)


def test_losses_stay_finite_where_a_sigmoid_would_saturate():
    networks = nn.ModuleDict({"discriminator": nn.Flatten(0)})
    right, wrong = (
        Batch(images=torch.full((1, 1, 1, 1), value), labels=torch.zeros(1, dtype=torch.int64))
        for value in (1000.0, -1000.0)
    )
    assert float(DCGAN().discriminator_losses(networks, wrong, right, MOMENT)["discriminator_real"]) == 1000
    assert float(DCGAN().generator_losses(networks, wrong, MOMENT)["generator"]) == 1000


@pytest.mark.parametrize(("side", "seed"), [(40, 5), (48, 6), (56, 7), (64, 4)])
def test_sides_that_four_to_seven_pixels_double_to_are_made_and_judged(side, seed):
    networks = DCGAN(generator_width=8, discriminator_width=2).build((side, side), 1)
    images = networks["generator"](torch.zeros(2, 100))
    assert images.shape == (2, 1, side, side)
    assert networks["discriminator"](images).shape == (2,)
    assert networks["generator"][0].out_features == 8 * seed**2


@pytest.mark.parametrize("shape", [(4, 4), (42, 42), (64, 32), (64,), (64, 64, 64)], ids=str)
def test_patches_that_no_few_pixels_double_to_are_refused(shape):
    with pytest.raises(LesionForgeError, match="square 2-D patches of 8, 16, 32"):
        DCGAN().check_shape(shape)


def test_a_width_that_cannot_be_halved_is_refused():
    with pytest.raises(LesionForgeError, match="divisible by 8"):
        DCGAN(generator_width=12).check_shape(PUBLISHED)
