from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.errors import LesionForgeError
from lesionforge.generators import pictures
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.pix2pix import Pix2Pix, receptive_field
from lesionforge.generators.small_data import SmallData
from lesionforge.networks import parameter_count, seeded

pytestmark = pytest.mark.usefixtures("one_thread")

CONDITIONS = ("mask", "edges", "erased")
NARROW = Pix2Pix(generator_width=4, discriminator_width=4)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


MOMENT = Moment(0, drawn())


def build(method, side=16):
    with seeded("networks"):
        return method.build((side, side), 0)


def batch(method, count=3, side=16):
    images = torch.rand(count, 1, side, side, generator=drawn()) * 2 - 1
    masks = torch.zeros_like(images)
    masks[:, :, side // 4 : side // 2, side // 4 : side // 2] = 1
    made = Batch(images=images, labels=torch.full((count,), -1), masks=masks)
    return replace(made, picture=method.picture(made))


def convolutions(network):
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [(c.in_channels, c.out_channels, c.stride[0]) for c in network.modules() if isinstance(c, kinds)]


def test_the_published_networks_at_the_published_size():
    networks = Pix2Pix().build((256, 256), 0)
    generator, discriminator = networks["generator"], networks["discriminator"]
    assert [out for _, out, _ in convolutions(generator.down)] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [out for _, out, _ in convolutions(generator.up)] == [512, 512, 512, 512, 256, 128, 64, 1]
    assert [c for c, _, _ in convolutions(generator.up)] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert convolutions(discriminator) == [(2, 64, 2), (64, 128, 2), (128, 256, 2), (256, 512, 1), (512, 1, 1)]
    assert discriminator(torch.zeros(1, 2, 256, 256)).shape == (1, 1, 30, 30)
    # The authors' for colour have 54.4 and 2.77 million: 3 channels to 3, and 6.
    assert parameter_count(generator) == pytest.approx(54.4e6, rel=1e-3)
    assert parameter_count(discriminator) == pytest.approx(2.765e6, rel=1e-3)
    group = Pix2Pix().optimiser("generator", [nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (Pix2Pix().batch_size, Pix2Pix().l1, group["lr"], group["betas"]) == (1, 100, 2e-4, (0.5, 0.999))


@pytest.mark.parametrize(("side", "seen"), [(8, 7), (16, 16), (32, 16), (64, 34), (128, 70), (256, 70)])
def test_each_output_of_the_discriminator_sees_as_much_as_is_said_and_fits(side, seen):
    strides = NARROW.discriminator_strides(side)
    assert receptive_field(strides) == seen
    discriminator = build(NARROW, side)["discriminator"]
    for module in list(discriminator):
        if isinstance(module, nn.InstanceNorm2d):  # statistics reach over the whole patch
            module.forward = lambda features: features
    shown = torch.zeros(1, 2, side, side).normal_(generator=drawn()).requires_grad_(True)
    scores = discriminator(shown)
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    rows = np.flatnonzero(shown.grad[0, 0].abs().sum(1))
    assert rows.max() - rows.min() + 1 == min(seen, side - rows.min())
    assert len(rows) > 0.8 * seen


def test_a_smaller_receptive_field_can_be_asked_for_and_none_below_two_convolutions():
    assert replace(NARROW, receptive_field=16).discriminator_strides(64) == 1
    assert replace(NARROW, receptive_field=7).discriminator_strides(64) == 0
    with pytest.raises(LesionForgeError, match="receptive_field must be 7 or more"):
        replace(NARROW, receptive_field=6).check_shape((64, 64))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_condition_is_its_picture_and_becomes_an_image(condition):
    method = replace(NARROW, condition=condition)
    given = batch(method)
    expected = {
        "mask": pictures.outline(given.masks),
        "edges": pictures.edges(given.images, smoothing_px=1.0, least_slope=method.edge_slope),
        "erased": pictures.erased(given.images, given.masks, margin_px=method.margin_px),
    }
    assert torch.equal(given.picture, expected[condition])
    made = method.synthesise(build(method)["generator"], method.latent(3, drawn()), given, MOMENT)
    assert made.shape == (3, 1, 16, 16)
    if condition == "edges":
        assert method.picture(replace(given, masks=None)) is not None
    else:
        with pytest.raises(LesionForgeError, match=f"condition={condition}.*no masks"):
            method.picture(replace(given, masks=None))


def plain_unet(generator, picture, noise):
    """G by formulas, for three stages of the decoder with dropout and one without."""

    def norm(x, layer):
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)

    down, up = generator.down, generator.up
    e1 = F.conv2d(picture, down[0][0].weight, down[0][0].bias, 2, 1)
    e2 = norm(F.conv2d(F.leaky_relu(e1, 0.2), down[1][0].weight, None, 2, 1), down[1][1])
    e3 = norm(F.conv2d(F.leaky_relu(e2, 0.2), down[2][0].weight, None, 2, 1), down[2][1])
    e4 = F.conv2d(F.leaky_relu(e3, 0.2), down[3][0].weight, down[3][0].bias, 2, 1)
    start, features = 0, e4
    for stage, skip in enumerate((e3, e2, e1)):
        layer = up[stage]
        made = norm(F.conv_transpose2d(F.relu(features), layer[0].weight, None, 2, 1), layer[1])
        own = noise[:, start : start + made[0].numel()].view_as(made)
        start += made[0].numel()
        features = torch.cat([torch.where(own >= 0, 2 * made, 0 * made), skip], 1)
    return torch.tanh(F.conv_transpose2d(F.relu(features), up[3][0].weight, up[3][0].bias, 2, 1))


def test_the_generator_is_a_u_net_with_dropout_by_the_latent_vector():
    generator = build(NARROW)["generator"].double()
    given, noise = batch(NARROW), NARROW.latent(3, drawn()).double()
    picture = given.picture.double()
    torch.testing.assert_close(generator(picture, noise), plain_unet(generator, picture, noise), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dropout", [0.2, 0.5])
def test_as_many_units_are_dropped_as_asked_and_the_others_make_up_for_them(dropout):
    method = replace(NARROW, dropout=dropout)
    dropped = build(method)["generator"]._dropped(torch.ones(50, 16, 8, 8), torch.randn(50, 1024, generator=drawn()))
    assert float((dropped == 0).float().mean()) == pytest.approx(dropout, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - dropout)])


def test_noise_is_needed_by_every_stage_and_comes_from_the_latent_vector_alone():
    generator, given = build(NARROW, 32)["generator"], batch(NARROW, side=32)
    latent = NARROW.latent(3, drawn())
    made = [generator.train(mode)(given.picture, latent) for mode in (True, False)]  # dropped at test time as well
    assert torch.equal(*made)
    alone = generator(given.picture[1:2], latent[1:2])
    torch.testing.assert_close(alone, made[0][1:2], rtol=1e-4, atol=1e-5)  # whatever else is in the batch
    ends = np.cumsum([32 * 4, 32 * 16, 16 * 64])
    assert ends[-1] <= latent.shape[1]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        other = latent.clone()
        other[:, start:end] = -other[:, start:end]
        assert not torch.equal(generator(given.picture, other), made[0])
    latent[:, ends[-1] :] = torch.nan
    assert torch.equal(generator(given.picture, latent), made[0])


class Told(nn.Module):
    """A discriminator that says what it was shown: of four parts, the sums over the channels."""

    def forward(self, pairs):
        return F.avg_pool2d(pairs.sum(1, keepdim=True), 8) * 5


def test_losses_are_equations_1_3_and_4_in_double_precision():
    real = batch(NARROW)
    real = replace(real, images=real.images.double(), picture=real.picture.double())
    fake = replace(real, images=real.images.roll(1, 0), originals=real.images)
    networks = nn.ModuleDict({"discriminator": Told()})

    def believed(given):
        logits = 5 * (given.images + given.picture).numpy().reshape(3, 2, 8, 2, 8).mean((2, 4))
        return 1 / (1 + np.exp(-logits))

    difference = np.abs(fake.images.numpy() - real.images.numpy())
    expected = {
        "discriminator_real": -np.log(believed(real)).mean() / 2,
        "discriminator_fake": -np.log(1 - believed(fake)).mean() / 2,
        "generator": -np.log(believed(fake)).mean(),
        "generator_l1": 100 * difference.mean(),
    }
    found = {
        **NARROW.discriminator_losses(networks, real, fake, MOMENT),
        **NARROW.generator_losses(networks, fake, MOMENT),
    }
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx(expected, rel=1e-9)


def test_r1_is_of_the_image_and_not_of_its_picture():
    class Slope(nn.Module):
        def forward(self, pairs):
            return 3 * pairs[:, :1] + 1000 * pairs[:, 1:]

    method, real = replace(NARROW, small_data=SmallData(r1=10)), batch(NARROW)
    fake = replace(real, originals=real.images)
    losses = method.discriminator_losses(nn.ModuleDict({"discriminator": Slope()}), real, fake, MOMENT)
    pixels = 16 * 16
    assert float(losses["discriminator_r1"]) == pytest.approx(10 / 2 * pixels * (3 / pixels) ** 2)  # of the mean score
