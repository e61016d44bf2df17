from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge import registry, settings
from lesionforge.errors import LesionForgeError
from lesionforge.generators import checkpoint, methods
from lesionforge.generators.contract import Batch, GenerativeMethod, Moment
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.wgan_gp import WGANGP
from lesionforge.generators.small_data import SmallData
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.networks import seeded

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = SmallData(
    translation=0.125,
    cutout=0.5,
    brightness=0.1,
    contrast=0.1,
    r1=1,
    spectral_normalisation=True,
    discriminator_rate=2,
)
SMALL = {"batch_size": 4, "latent_size": 5, "generator_width": 16, "discriminator_width": 4, "critic_steps": 2}
SMALL |= {"width": 8, "stable_images": 4, "fade_images": 8}
SCALED = {"progressive_wgan"}  # methods whose weights are scaled, and not to be normalised besides
SHAPES = [(9, 12), (4, 5, 6)]


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=64, shape=(16, 16)):
    return torch.rand(count, 1, *shape, generator=drawn(1)) * 2 - 1


def with_tools():
    """Every method that has the tools."""
    for name in registry.names(methods):
        kind = registry.class_named(methods, name, GenerativeMethod)
        names = {field.name for field in fields(kind)}
        if "small_data" in names:
            small = {key: value for key, value in SMALL.items() if key in names}
            tools = replace(ALL, spectral_normalisation=name not in SCALED)
            yield pytest.param(kind(**small, small_data=tools), id=name)


def test_switched_off_nothing_is_changed_or_added():
    off, shown = SmallData(), images()
    assert off.augment(shown, drawn()) is shown
    assert off.penalties(lambda _: pytest.fail("must not be looked at"), shown) == {}
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    before = network.state_dict().keys()
    off.constrain(network)
    assert network.state_dict().keys() == before


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_translation_moves_each_image_by_whole_pixels_and_no_further_than_asked(shape):
    position = torch.arange(int(np.prod(shape)), dtype=torch.float32).view(1, 1, *shape).expand(200, 1, *shape)
    moved = SmallData(translation=0.25).augment(position, drawn()).numpy()[:, 0]
    most = [int(0.25 * side + 0.5) for side in shape]
    shifts = set()
    for image in moved:
        inside = np.argwhere(image >= 0)
        source = np.stack(np.unravel_index(image[image >= 0].astype(int), shape), axis=1)
        (shift,) = {tuple(row) for row in inside - source}
        shifts.add(shift)
        kept = np.prod([side - abs(by) for side, by in zip(shape, shift, strict=True)])
        assert (image >= 0).sum() == kept
        assert (image[image < 0] == -1).all()
    for axis, limit in enumerate(most):
        assert {shift[axis] for shift in shifts} == set(range(-limit, limit + 1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_cutout_blanks_one_box_of_the_asked_size_that_may_reach_over_the_edge(shape):
    cut = SmallData(cutout=0.5).augment(torch.zeros(300, 1, *shape), drawn()).numpy()[:, 0]
    lengths = [int(0.5 * side + 0.5) for side in shape]
    whole = 0
    for image in cut:
        blank = np.argwhere(image == -1)
        extent = blank.max(axis=0) - blank.min(axis=0) + 1
        assert (extent <= lengths).all()
        assert len(blank) == np.prod(extent)
        assert set(np.unique(image)) == {-1, 0}
        whole += tuple(extent) == tuple(lengths)
    assert 0 < whole < 300
    assert len({image.tobytes() for image in cut}) > 20


def test_brightness_is_added_and_contrast_is_about_the_mean():
    shown = images()
    brighter = (SmallData(brightness=0.2).augment(shown, drawn()) - shown).flatten(1)
    assert float((brighter.max(1).values - brighter.min(1).values).max()) < 1e-6
    assert -0.2 <= float(brighter.min()) < -0.15 < 0.15 < float(brighter.max()) <= 0.2001
    spread = SmallData(contrast=0.5).augment(shown, drawn()).flatten(1)
    ratio = spread.std(1) / shown.flatten(1).std(1)
    torch.testing.assert_close(spread.mean(1), shown.flatten(1).mean(1), atol=1e-6, rtol=0)
    assert 0.5 <= float(ratio.min()) < 0.6 < 1.4 < float(ratio.max()) <= 1.5


def test_what_is_beside_an_image_moves_and_is_cut_with_it_and_keeps_its_greys():
    moving = SmallData(translation=0.25, cutout=0.5)
    both = moving.augment(images(), drawn(), beside=torch.cat([images(), -images()], dim=1))
    blank = (both == -1).all(1, keepdim=True)
    assert torch.equal(both[:, 1:2], both[:, :1])
    assert torch.equal(both[:, 2:], torch.where(blank, -1, -both[:, :1]))
    assert 0.2 < blank.float().mean() < 0.7
    grey = SmallData(brightness=0.2, contrast=0.5).augment(images(), drawn(), beside=images())
    assert torch.equal(grey[:, 1:], images())
    assert not torch.equal(grey[:, :1], images())


def test_each_image_gets_its_own_random_numbers_and_a_seed_the_same():
    same = images(1).expand(8, 1, 16, 16)
    first, again, other = (ALL.augment(same, drawn(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(torch.unique(first.flatten(1), dim=0)) == 8


def test_gradients_pass_through_the_augmentation_as_finite_differences_say():
    shown = images(3, (6, 6)).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda given: ALL.augment(given, drawn()), shown)
    assert torch.autograd.gradgradcheck(lambda given: ALL.augment(given, drawn()), shown)


def test_r1_is_half_gamma_times_the_mean_squared_slope():
    weights = torch.arange(16.0).view(1, 4, 4)
    found = SmallData(r1=10).penalties(lambda shown: (shown * weights).flatten(1).sum(1), images(7, (4, 4)))
    assert found["discriminator_r1"].item() == pytest.approx(5 * float((weights**2).sum()))


def test_spectral_normalisation_makes_the_largest_singular_value_one():
    with seeded("spectral"):
        networks = DCGAN(small_data=ALL, generator_width=16, discriminator_width=4).build((16, 16), 1)
    weighed = [m for m in networks["discriminator"].modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighed) == 3
    for _ in range(20):
        networks["discriminator"](images(4))
    for module in weighed:
        assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), ord=2)) == pytest.approx(1, rel=0.02)
    assert not [name for name, _ in networks["generator"].named_parameters() if "parametrizations" in name]


def test_the_discriminator_has_its_own_learning_rate():
    method, weights = DCGAN(small_data=ALL), [nn.Parameter(torch.zeros(1))]
    assert method.optimiser("generator", weights).param_groups[0]["lr"] == 2e-4
    assert method.optimiser("discriminator", weights).param_groups[0]["lr"] == 4e-4


def test_a_critic_without_labels_refuses_to_smooth_them():
    with pytest.raises(LesionForgeError, match="label_smoothing"):
        WGANGP(small_data=SmallData(label_smoothing=0.1))


def test_settings_reach_into_the_tools_and_survive_json():
    method = settings.with_overrides(
        DCGAN(), ["small_data.translation=0.125", "small_data.spectral_normalisation=true"]
    )
    assert method.small_data == SmallData(translation=0.125, spectral_normalisation=True)
    assert settings.from_json(DCGAN, settings.to_json(method)) == method
    with pytest.raises(LesionForgeError, match="cutout"):
        settings.with_overrides(DCGAN(), ["small_data.cutout=-1"])


def losses_with_tools(method, networks, player, moment):
    real = Batch(images=images(8), labels=torch.tensor([0, 1] * 4), masks=(images(8) > 0).float())
    real = replace(real, picture=method.picture(real))
    made = method.synthesise(networks["generator"], method.latent(8, drawn()), real, moment)
    fake = replace(real, images=made, originals=real.images)
    if player == "generator":
        return method.generator_losses(networks, fake, moment)
    losses = method.discriminator_losses(networks, real, replace(fake, images=fake.images.detach()), moment)
    assert "discriminator_r1" in losses
    return losses


@pytest.mark.parametrize("method", list(with_tools()))
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_every_method_with_the_tools_learns_through_them(method, player):
    with seeded("tools"):
        networks = method.build((16, 16), 2)
        networks["discriminator"].requires_grad_(player == "discriminator")
        for images_seen in range(0, 40, 4):  # at some time of a training, if not at all
            sum(losses_with_tools(method, networks, player, Moment(images_seen, drawn())).values()).backward()
    for name, parameter in networks[player].named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("method", list(with_tools()))
def test_with_the_tools_resumed_equals_uninterrupted(method, small_patches, tmp_path, stop_after, killed):
    patches, plan = small_patches(shape=(16, 16)), TrainingPlan(images=40, checkpoint_every_images=16)
    patches = patches if method.conditional else patches.with_label("malignant")
    whole = train(method, patches, tmp_path / "whole", plan=plan, device="cpu")
    with pytest.raises(killed):
        train(method, patches, tmp_path / "out", plan=plan, device="cpu", progress=stop_after(4))
    train(method, patches, tmp_path / "out", plan=plan, device="cpu", resume=True)
    for file in (checkpoint.WEIGHTS, "log.jsonl"):
        assert (tmp_path / "out" / file).read_bytes() == (whole / file).read_bytes()
