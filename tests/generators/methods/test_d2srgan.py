from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.errors import LesionForgeError
from lesionforge.generators import holes
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.d2srgan import D2SRGAN, Residual
from lesionforge.generators.similarity import dissimilarity, printed_dissimilarity
from lesionforge.networks import seeded

pytestmark = pytest.mark.usefixtures("one_thread")

NARROW = D2SRGAN(generator_width=4, blocks=2, discriminator_width=4, roi_px=12)
MOMENT = Moment(0, torch.Generator())


def build(method=NARROW, shape=(24, 24)):
    with seeded("networks"):
        return method.build(shape, 0)


def batch(method=NARROW, count=3, shape=(24, 24)):
    images = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    masks = torch.zeros_like(images)
    for number in range(count):
        masks[number, :, 6 + number : 12 + number, 4:9] = 1
    made = Batch(images=images, labels=torch.full((count,), -1), masks=masks)
    return replace(made, picture=method.picture(made))


def test_the_published_settings_and_the_networks_of_a_whole_slice():
    method = D2SRGAN()
    assert (method.roi_px, method.learning_rate, method.ssim) == (32, 1e-4, "standard")
    with torch.device("meta"):
        networks = method.build((512, 512), 0)
    generator, discriminators = networks["generator"], networks["discriminator"]
    kernels = {module.kernel_size for module in generator.modules() if isinstance(module, nn.Conv2d)}
    assert kernels == {(3, 3)}
    assert sum(isinstance(module, Residual) for module in generator.modules()) == 16
    halvings = [
        sum(isinstance(m, Residual) for m in each.modules()) for each in (discriminators.whole, discriminators.roi)
    ]
    assert halvings == [7, 3]  # 512 and 32 pixels to 4
    slopes = {float(module.init) for module in discriminators.modules() if isinstance(module, nn.PReLU)}
    assert slopes == {0.2}


def test_outside_the_hole_all_is_as_it_was_and_inside_it_follows_the_noise():
    networks, given = build(), batch()
    hole = holes.shown(given)[1] > 0
    made = [
        NARROW.synthesise(
            networks["generator"].eval(), NARROW.latent(3, torch.Generator().manual_seed(seed)), given, MOMENT
        )
        for seed in (0, 1)
    ]
    for each in made:
        assert torch.equal(each[~hole], given.images[~hole])
    assert (made[0] != made[1])[hole].float().mean() > 0.9


def test_the_blank_is_the_low_end_of_the_window_but_for_faint_noise():
    given = batch()
    shown = []
    generator = lambda values: (shown.append(values), values[:, :1])[1]  # noqa: E731
    latent = NARROW.latent(3, torch.Generator().manual_seed(0))
    NARROW.synthesise(generator, latent, given, MOMENT)
    hole = holes.shown(given)[1]
    noise = latent[:, : 181 * 181].view(3, 1, 181, 181)[..., :24, :24]
    assert torch.equal(shown[0][:, :1], torch.where(hole > 0, -1 + 0.1 * noise, given.images))
    assert torch.equal(shown[0][:, 1:], hole)


def test_the_region_of_interest_is_about_the_lesion():
    given = batch()
    hole = holes.shown(given)[1]
    found = NARROW.region(given.images, hole)
    for number in range(
        3
    ):  # the hole is 4 to 13 (and so on) by 2 to 10: the middle at 8.5, which rounds to even, and 6
        top = 8 + number - 6 + (number % 2)
        assert torch.equal(found[number], given.images[number, :, top : top + 12, 0:12])


class Told(nn.Module):
    """Discriminators whose logits are means of what they see."""

    def forward(self, images, hole):
        return 5 * images.mean((1, 2, 3)), 9 * NARROW.region(images, hole).mean((1, 2, 3))


@pytest.mark.parametrize("form", ["standard", "printed"])
def test_losses_are_equations_1_to_3_in_double_precision(form):
    method, given = replace(NARROW, ssim=form), batch()
    given = replace(given, images=given.images.double(), picture=given.picture.double())
    fake = replace(given, images=given.images.roll(1, 0), originals=given.images)
    networks = nn.ModuleDict({"discriminator": Told()})
    hole = holes.shown(given)[1]
    real, made = given.images, fake.images
    regions = [NARROW.region(each, hole) for each in (real, made)]

    def believed(images, slope):
        return 1 / (1 + np.exp(-slope * images.numpy().mean((1, 2, 3))))

    unlike = {"standard": dissimilarity, "printed": printed_dissimilarity}[form]
    expected = {
        "discriminator_whole_real": -np.log(believed(real, 5)).mean(),
        "discriminator_whole_fake": -np.log(1 - believed(made, 5)).mean(),
        "discriminator_roi_real": -np.log(believed(regions[0], 9)).mean(),
        "discriminator_roi_fake": -np.log(1 - believed(regions[1], 9)).mean(),
        "generator_whole": -np.log(believed(made, 5)).mean(),
        "generator_roi": -np.log(believed(regions[1], 9)).mean(),
        "generator_whole_ssim": float(unlike(made, real, window_px=11)),
        "generator_roi_ssim": float(unlike(regions[1], regions[0], window_px=11)),
    }
    found = {
        **method.discriminator_losses(networks, given, fake, MOMENT),
        **method.generator_losses(networks, fake, MOMENT),
    }
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx(expected, rel=1e-9)


def test_slices_smaller_than_the_region_of_interest_are_refused():
    with pytest.raises(LesionForgeError, match="12 pixels an axis or more, but 11×24 came"):
        NARROW.check_shape((11, 24))
    with pytest.raises(LesionForgeError, match="2-D patches"):
        NARROW.check_shape((16, 16, 16))
    assert build(shape=(13, 31))["discriminator"](torch.zeros(2, 1, 13, 31), torch.ones(2, 1, 13, 31))[1].shape == (2,)
