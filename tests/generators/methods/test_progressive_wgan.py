import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.errors import LesionForgeError
from lesionforge.generators import checkpoint
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.progressive_wgan import (
    DoublingConv,
    HalvingConv,
    MinibatchDeviation,
    PixelNorm,
    ProgressiveWGAN,
    ScaledConv,
    ScaledLinear,
    at_resolution,
    half_faded,
)
from lesionforge.generators.small_data import SmallData
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.networks import parameter_count, seeded

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ProgressiveWGAN(width=8, latent_size=5, batch_size=8, stable_images=100, fade_images=50)
SIDE = 32  # three doublings


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=rng(seed))


@pytest.fixture(scope="module")
def networks():
    with seeded("progressive"):
        return SMALL.build((SIDE, SIDE), 1).double()


@pytest.fixture(scope="module")
def published():
    return ProgressiveWGAN().build((64, 64), 1)


def test_both_networks_have_the_published_22_million_parameters(published):
    assert parameter_count(published["generator"]) == 22_493_445
    assert parameter_count(published["discriminator"]) == 22_493_441


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_nine_convolutions_of_three_by_three_and_one_by_one_from_and_to_images(published, player):
    kernels = [module.kernel_size for module in published[player].modules() if isinstance(module, nn.Conv2d)]
    assert kernels.count((3, 3)) == 9
    assert kernels.count((1, 1)) == len(kernels) - 9 == 5


def test_published_settings():
    method = ProgressiveWGAN()
    group = method.optimiser("generator", [nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0, 0.99), 1e-8)
    assert (method.critic_steps, method.penalty, method.drift, method.latent_size) == (1, 10, 1e-3, 512)
    method.check_length((64, 64), 5_000_000)  # as published, grown by then


@pytest.mark.parametrize(
    ("images_seen", "grown"),
    [(0, 0), (99, 0), (100, 0), (125, 0.5), (149, 0.98), (150, 1), (250, 1), (260, 1.2), (300, 2), (1_500, 10)],
)
def test_growth_is_a_function_of_the_images_shown(images_seen, grown):
    assert SMALL.grown(images_seen) == pytest.approx(grown)


@given(st.integers(0, 10**8), st.integers(1, 10**6), st.integers(1, 10**6))
@hypothesis_settings(max_examples=50, deadline=None)
def test_growth_never_goes_back_and_has_no_jumps(images_seen, stable, fade):
    method = dataclasses.replace(SMALL, stable_images=stable, fade_images=fade)
    assert 0 <= method.grown(images_seen + 1) - method.grown(images_seen) <= 1 / fade + 1e-6


def test_batches_are_as_published_at_each_resolution():
    method, phase = ProgressiveWGAN(), 1_200_000
    assert [method.batch_size_at(k * phase) for k in range(7)] == [128, 128, 128, 64, 32, 32, 32]
    assert method.batch_size_at(600_000) == method.batch_size_at(2 * phase + 600_000) == 128
    assert method.batch_size_at(2 * phase + 600_001) == 64  # that of the resolution which is faded in
    limited = dataclasses.replace(method, batch_size=48)
    assert [limited.batch_size_at(k * phase) for k in range(5)] == [48, 48, 48, 48, 32]


def test_a_training_that_would_end_before_it_is_grown_is_refused_with_a_way_out():
    method, shape = ProgressiveWGAN(), (64, 64)
    with pytest.raises(LesionForgeError, match=r"64×64 pixels once 4,800,000 .* but 60,000 are planned") as refused:
        method.check_length(shape, 60_000)
    assert "--set stable_images=6666 --set fade_images=6666" in str(refused.value)
    shortened = dataclasses.replace(method, stable_images=6666, fade_images=6666)
    shortened.check_length(shape, 60_000)
    assert shortened.least_images(shape) == 8 * 6666
    assert shortened.grown(shortened.least_images(shape)) == 4


def test_a_refused_training_leaves_nothing_behind(small_patches, tmp_path):
    with pytest.raises(LesionForgeError, match="stable_images"):
        train(SMALL, small_patches(shape=(16, 16)), tmp_path / "out", plan=TrainingPlan(images=299), device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(4, 4), (48, 48), (16, 32), (16,), (16, 16, 16)], ids=str)
def test_shapes_that_do_not_come_of_doubling_are_refused(shape):
    with pytest.raises(LesionForgeError, match="8, 16, 32, 64"):
        SMALL.check_shape(shape)


def test_switches_that_do_not_fit_the_critic_are_refused():
    for switch in ({"label_smoothing": 0.1}, {"spectral_normalisation": True}):
        with pytest.raises(LesionForgeError, match="leave them off"):
            ProgressiveWGAN(small_data=SmallData(**switch))


def squares(images, side):
    """Mean over the squares that leave so many pixels a side."""
    factor = images.shape[-1] // side
    return images.numpy().reshape(len(images), 1, side, factor, side, factor).mean((3, 5))


def enlarged(images, side):
    return images.repeat(side // images.shape[-1], 2).repeat(side // images.shape[-1], 3)


@pytest.mark.parametrize("grown", [0, 0.3, 1, 1.75, 2, 2.5, 3, 9.5])
def test_real_images_are_shown_at_the_resolution_that_is_reached_blended_while_it_fades_in(grown):
    images = double(3, 1, SIDE, SIDE)
    below, share = divmod(min(grown, 3), 1)
    expected = squares(images, 4 * 2 ** int(below))
    if share:
        fine = squares(images, 8 * 2 ** int(below))
        expected = (1 - share) * enlarged(expected, fine.shape[-1]) + share * fine
    np.testing.assert_allclose(half_faded(images, grown), expected, atol=1e-12)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_made_images_have_the_full_size_and_the_resolution_that_is_reached(networks, level):
    images = networks["generator"](double(4, 5), level).detach()
    side = 4 * 2**level
    assert images.shape == (4, 1, SIDE, SIDE)
    np.testing.assert_allclose(images, enlarged(squares(images, side), SIDE), atol=1e-12)
    assert not np.allclose(images, enlarged(squares(images, side // 2), SIDE))
    assert at_resolution(images, level).shape == (4, 1, side, side)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_fading_in_starts_at_what_was_there_and_ends_at_what_follows(networks, level):
    latent, images = double(4, 5), double(4, 1, SIDE, SIDE)
    generator, critic = networks["generator"], networks["discriminator"]
    for play in (lambda grown: generator(latent, grown), lambda grown: critic(at_resolution(images, grown), grown)):
        before, begun, ended, after = (
            play(grown).detach() for grown in (level - 1, level - 1 + 1e-9, level - 1e-9, level)
        )
        torch.testing.assert_close(begun, before, atol=1e-6, rtol=0)
        torch.testing.assert_close(ended, after, atol=1e-6, rtol=0)
        assert not torch.allclose(before, after, atol=1e-3)
    made = [generator(latent, grown).detach() for grown in (level - 1, level - 0.5, level)]
    torch.testing.assert_close(made[1], (made[0] + made[2]) / 2)


def test_networks_stop_at_their_own_size(networks):
    latent, images = double(4, 5), double(4, 1, SIDE, SIDE)
    for network, given_ in ((networks["generator"], latent), (networks["discriminator"], images)):
        assert torch.equal(network(given_, 3), network(given_, 123.4))


def test_what_lies_outside_the_window_is_clipped_where_a_generator_is_used_and_not_while_it_learns(networks):
    generator, latent = networks["generator"], 9 * double(64, 5)
    free = generator.train()(latent, 3)
    clipped = generator.eval()(latent, 3)
    generator.train()
    assert free.abs().max() > 1
    assert torch.equal(clipped, free.clamp(-1, 1))


def test_latent_vectors_count_by_their_direction_alone(networks):
    latent = double(4, 5)
    torch.testing.assert_close(
        networks["generator"](latent, 3), networks["generator"](7 * latent, 3), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(("gain", "kernel"), [(2**0.5, 3), (1, 1)])
def test_weights_are_scaled_by_hes_constant_where_they_are_used(gain, kernel):
    layer, features = ScaledConv(6, 4, kernel, gain=gain).double(), double(2, 6, 5, 5)
    layer.bias.data.normal_()
    assert ScaledConv(100, 100, kernel).weight.detach().std() == pytest.approx(1, abs=0.05)
    scaled = layer.weight * gain / (6 * kernel**2) ** 0.5
    torch.testing.assert_close(layer(features), F.conv2d(features, scaled, layer.bias, padding=kernel // 2))
    dense, vectors = ScaledLinear(6, 4, gain=gain).double(), double(2, 6)
    torch.testing.assert_close(dense(vectors), vectors @ (dense.weight * gain / 6**0.5).T)


@pytest.mark.parametrize(
    ("kind", "sizes"), [(ScaledConv, (4, 3, 3)), (ScaledConv, (256, 3, 3)), (ScaledLinear, (999, 3))]
)
def test_a_step_of_adam_changes_every_layer_by_a_thousandth_of_its_weights_spread(kind, sizes):
    with seeded("step"):
        layer = kind(*sizes)
        inputs = torch.randn(64, sizes[0], *((4, 4) if kind is ScaledConv else ()))
    before = layer.weight.detach().clone()
    optimiser = ProgressiveWGAN().optimiser("generator", layer.parameters())
    layer(inputs).square().sum().backward()
    optimiser.step()
    torch.testing.assert_close((layer.weight.detach() - before).abs(), torch.full_like(before, 1e-3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kernel", [3, 5])
def test_doubling_and_halving_in_one_are_as_in_two(kernel):
    features = double(2, 6, 8, 8)
    up, down = DoublingConv(6, 4, kernel).double(), HalvingConv(6, 4, kernel).double()
    for layer in (up, down):
        layer.bias.data.normal_()
    repeated = features.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(up(features), ScaledConv.forward(up, repeated))
    torch.testing.assert_close(down(features), F.avg_pool2d(ScaledConv.forward(down, features), 2))


def test_pixel_norm_in_double_precision():
    features = 5 * double(3, 7, 4, 4)
    expected = features.numpy() / np.sqrt((features.numpy() ** 2).mean(axis=1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(PixelNorm()(features), expected, rtol=1e-12)
    assert torch.equal(PixelNorm()(torch.zeros(2, 7)), torch.zeros(2, 7))


def test_every_convolution_of_the_generator_is_followed_by_pixel_norm_and_none_of_the_critic(published):
    def kinds(network):
        return [type(module) for module in network.blocks.modules() if not list(module.children())]

    after = {
        following
        for kind, following in pairwise(k for k in kinds(published["generator"]) if k is not nn.LeakyReLU)
        if issubclass(kind, ScaledConv)
    }
    assert after == {PixelNorm}
    assert PixelNorm not in kinds(published["discriminator"])


@pytest.mark.parametrize(("count", "group"), [(8, 4), (4, 4), (3, 3), (2, 2), (6, 3), (1, 1)])
def test_the_critic_is_told_how_much_a_group_of_images_differs(count, group):
    features = double(count, 5, 4, 4)
    told = MinibatchDeviation(4)(features).numpy()
    np.testing.assert_array_equal(told[:, :5], features)
    groups = features.numpy().reshape(group, count // group, 5, 4, 4)
    expected = np.sqrt(groups.var(axis=0) + 1e-8).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(told[:, 5], np.tile(expected, group)[:, None, None] * np.ones((4, 4)), rtol=1e-12)


def test_identical_images_tell_of_no_spread_and_leave_finite_gradients():
    features = double(1, 5, 4, 4).repeat(4, 1, 1, 1).requires_grad_(True)
    told = MinibatchDeviation(4)(features)
    assert told[:, 5].detach().max() == pytest.approx(1e-4)
    told.sum().backward()
    assert features.grad.isfinite().all()


class Linear(nn.Module):
    """⟨w, x⟩ whatever has grown: its slope is w everywhere."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images, _grown):
        return (images * self.weights).flatten(1).sum(1)


@pytest.mark.parametrize("images_seen", [0, 130, 10_000])
def test_losses_are_those_of_wgan_gp_and_drift_in_double_precision(images_seen):
    grown = SMALL.grown(images_seen)
    weights = at_resolution(double(1, 1, SIDE, SIDE, seed=3), grown)[0, 0] / 5
    networks = nn.ModuleDict({"discriminator": Linear(weights)})
    labels = torch.zeros(6, dtype=torch.int64)
    real, fake = (Batch(images=double(6, 1, SIDE, SIDE, seed=seed), labels=labels) for seed in (1, 2))
    moment = Moment(images_seen, rng())
    found = SMALL.discriminator_losses(networks, real, fake, moment) | SMALL.generator_losses(networks, fake, moment)

    def scores(images):
        return np.einsum("ncij,ij->n", images.numpy(), weights.numpy())

    of_real, of_fake = scores(half_faded(real.images, grown)), scores(at_resolution(fake.images, grown))
    expected = {
        "discriminator_real": -of_real.mean(),
        "discriminator_fake": of_fake.mean(),
        "discriminator_penalty": 10 * (float(weights.norm()) - 1) ** 2,
        "discriminator_drift": 1e-3 * (of_real**2).mean(),
        "generator": -of_fake.mean(),
    }
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(expected, rel=1e-12)


def test_the_penalty_is_of_slopes_on_the_lines_between_real_and_fake_images(networks):
    labels, weight = torch.zeros(4, dtype=torch.int64), SMALL.penalty
    real, fake = (Batch(images=double(4, 1, SIDE, SIDE, seed=seed), labels=labels) for seed in (1, 2))
    found = SMALL.discriminator_losses(networks, real, fake, Moment(10_000, rng()))["discriminator_penalty"]
    share = torch.rand(4, 1, 1, 1, generator=rng()).double()
    between = ((1 - share) * fake.images + share * real.images).requires_grad_(True)
    networks["discriminator"](between, 3).sum().backward()
    norms = between.grad.flatten(1).norm(dim=1).numpy()
    networks.zero_grad()
    assert found.item() == pytest.approx(weight * ((norms - 1) ** 2).mean(), rel=1e-9)


def test_only_what_is_shown_learns(networks):
    fake = SMALL.synthesise(networks["generator"], double(8, 5), None, Moment(260, rng()))  # 8×8, 16×16 fading in
    SMALL.generator_losses(networks, Batch(images=fake, labels=torch.zeros(8)), Moment(260, rng()))[
        "generator"
    ].backward()
    learnt = {name for name, weight in networks.named_parameters() if weight.grad is not None}
    networks.zero_grad()
    levels = {"blocks": (0, 1, 2), "to_image": (1, 2), "from_image": (1, 2)}
    for name in dict(networks.named_parameters()):
        _, kind, level, *_ = name.split(".")
        assert (name in learnt) == (int(level) in levels[kind]), name


@pytest.mark.parametrize("step", [3, 5, 6, 8])
def test_killed_near_a_border_between_phases_and_resumed_it_ends_as_if_uninterrupted(
    small_patches, tmp_path, stop_after, killed, step
):
    method = dataclasses.replace(SMALL, batch_sizes=(8, 8, 4), stable_images=16, fade_images=16)
    patches = small_patches(shape=(16, 16)).with_label("benign")
    plan = TrainingPlan(images=80, checkpoint_every_images=8, log_every_images=8)
    whole = train(method, patches, tmp_path / "whole", plan=plan, device="cpu")
    with pytest.raises(killed):
        train(method, patches, tmp_path / "out", plan=plan, device="cpu", progress=stop_after(step))
    train(method, patches, tmp_path / "out", plan=plan, device="cpu", resume=True)
    for file in (checkpoint.WEIGHTS, checkpoint.MANIFEST, "log.jsonl"):
        assert (tmp_path / "out" / file).read_bytes() == (whole / file).read_bytes()
