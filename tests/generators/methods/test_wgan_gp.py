from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge import settings
from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.wgan_gp import WGANGP
from lesionforge.networks import seeded

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = WGANGP(generator_width=16, discriminator_width=4, latent_size=5)


def moment(seed=0):
    return Moment(0, torch.Generator().manual_seed(seed))


def two_batches(count=6, side=16):
    images = torch.randn(2, count, 1, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return tuple(Batch(images=half, labels=torch.zeros(count, dtype=torch.int64)) for half in images)


class Quadratic(nn.Module):
    """a/2·‖x‖², whose slope at x is a·x."""

    def forward(self, images):
        return 0.3 * images.square().flatten(1).sum(1) / 2


class Linear(nn.Module):
    """⟨w, x⟩, whose slope is w everywhere."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images):
        return (images * self.weights).flatten(1).sum(1)


def test_published_settings():
    method = WGANGP()
    assert (method.critic_steps, method.penalty, method.batch_size) == (5, 10, 64)
    group = method.optimiser("discriminator", [nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"]) == (1e-4, (0.0, 0.9))
    drawn = method.latent(2000, torch.Generator().manual_seed(0))
    assert drawn.shape == (2000, 128)
    assert (float(drawn.mean()), float(drawn.std())) == pytest.approx((0, 1), abs=0.01)


def test_the_penalty_of_a_linear_critic_is_that_of_its_slope():
    weights = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    losses = SMALL.discriminator_losses(nn.ModuleDict({"discriminator": Linear(weights)}), *two_batches(), moment())
    slope = float(weights.norm())
    assert losses["discriminator_penalty"].item() == pytest.approx(10 * (slope - 1) ** 2, rel=1e-12)


def test_the_penalty_of_a_quadratic_critic_is_taken_on_the_lines_between_real_and_fake():
    real, fake = two_batches()
    losses = SMALL.discriminator_losses(nn.ModuleDict({"discriminator": Quadratic()}), real, fake, moment())
    share = torch.rand(6, 1, 1, 1, generator=moment().rng).double()
    between = (share * real.images + (1 - share) * fake.images).flatten(1).numpy()
    expected = 10 * ((0.3 * np.linalg.norm(between, axis=1) - 1) ** 2).mean()
    assert losses["discriminator_penalty"].item() == pytest.approx(expected, rel=1e-12)


def test_a_critic_without_any_slope_is_pushed_and_not_lost():
    critic = Linear(torch.zeros(16, 16, dtype=torch.float64))
    losses = SMALL.discriminator_losses(nn.ModuleDict({"discriminator": critic}), *two_batches(), moment())
    assert losses["discriminator_penalty"].item() == pytest.approx(10)
    sum(losses.values()).backward()
    assert critic.weights.grad.isfinite().all()
    assert critic.weights.grad.any()


def test_settings_are_read_from_text():
    assert settings.with_overrides(SMALL, ["critic_normalisation=none", "critic_steps=2"]).critic_steps == 2
    with pytest.raises(LesionForgeError, match="critic_normalisation"):
        settings.with_overrides(SMALL, ["critic_normalisation=batch"])


def test_scores_are_those_of_equation_3_in_double_precision():
    real, fake = two_batches()
    networks = nn.ModuleDict({"discriminator": Quadratic()})
    losses = SMALL.discriminator_losses(networks, real, fake, moment())

    def score(batch):
        return 0.15 * (batch.images.numpy() ** 2).reshape(6, -1).sum(axis=1).mean()

    assert losses["discriminator_real"].item() == pytest.approx(-score(real), rel=1e-12)
    assert losses["discriminator_fake"].item() == pytest.approx(score(fake), rel=1e-12)
    assert float(SMALL.generator_losses(networks, fake, moment())["generator"]) == pytest.approx(
        -score(fake), rel=1e-12
    )


@pytest.mark.parametrize(("normalisation", "layers"), [("layer", 1), ("none", 0)])
def test_the_critic_judges_each_image_by_itself(normalisation, layers):
    with seeded("critic"):
        critic = replace(SMALL, critic_normalisation=normalisation).build((16, 16), 1)["discriminator"].double()
    assert sum(isinstance(module, nn.GroupNorm) for module in critic.modules()) == layers
    assert not any(isinstance(module, nn.BatchNorm2d) for module in critic.modules())
    images = two_batches()[0].images
    alone = torch.cat([critic(image[None]) for image in images])
    torch.testing.assert_close(critic(images), alone)


def test_layer_norm_is_over_channels_and_pixels():
    (norm,) = [m for m in SMALL.build((16, 16), 1)["discriminator"].modules() if isinstance(m, nn.GroupNorm)]
    normalised = norm(torch.randn(3, 8, 5, 5) * 4 + 2).detach().flatten(1)
    np.testing.assert_allclose(normalised.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(1, unbiased=False), 1, atol=1e-3)
