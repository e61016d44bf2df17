from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.errors import LesionForgeError
from lesionforge.generators import holes
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.holes import Hole
from lesionforge.generators.methods.class_aware_inpainting import ClassAwareInpainting, Critic, Critics, InPainted
from lesionforge.networks import seeded

pytestmark = pytest.mark.usefixtures("one_thread")

NARROW = ClassAwareInpainting(generator_width=4, discriminator_width=4, class_from_images=100)
SHAPES = [(16, 16), (8, 16, 12)]
BEFORE, AFTER = (Moment(seen, torch.Generator().manual_seed(0)) for seen in (99, 100))


def build(method=NARROW, shape=(16, 16), classes=2):
    with seeded("networks"):
        return method.build(shape, classes)


def batch(method=NARROW, shape=(16, 16), count=4):
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, *shape, generator=rng) * 2 - 1
    masks = torch.zeros_like(images)
    masks[(..., *(slice(side // 4, side // 2) for side in shape))] = 1
    made = Batch(images=images, labels=torch.arange(count) % 2, masks=masks)
    return replace(made, picture=method.picture(made))


def fakes(method, networks, given, seed=0):
    latent = method.latent(len(given.images), torch.Generator().manual_seed(seed))
    return method.fakes(networks["generator"], latent, given, BEFORE)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outside_the_hole_all_is_as_it_was_and_inside_it_follows_class_and_noise(shape):
    networks, given = build(shape=shape), batch(shape=shape)
    made = fakes(NARROW, networks, given)
    hole = holes.shown(given)[1] > 0
    assert torch.equal(made.images[~hole], given.images[~hole])
    assert (made.images[hole] != given.images[hole]).all()
    assert torch.equal(made.images[hole], made.refined[hole])
    others = {
        "class": fakes(NARROW, networks, replace(given, labels=1 - given.labels)),
        "noise": fakes(NARROW, networks, given, seed=1),
    }
    for name, other in others.items():
        changed = (other.images != made.images).flatten(1).sum(1)
        assert (changed > 0.9 * hole.flatten(1).sum(1)).all(), name
        assert not (other.images != made.images)[~hole].any()


@pytest.mark.parametrize("form", ["sphere", "mask"])
def test_another_diameter_or_shape_is_another_hole(form):
    method = replace(NARROW, hole=Hole(form=form))
    networks, given = build(method), batch(method)
    wider = replace(given, masks=torch.nn.functional.max_pool2d(given.masks, 3, 1, 1))
    wider = replace(wider, picture=method.picture(wider))
    first, second = (fakes(method, networks, each) for each in (given, wider))
    kept = [made.images == given.images for made in (first, second)]
    assert (kept[0] | ~kept[1]).all()
    assert kept[1].sum() < kept[0].sum()


def test_training_and_sampling_make_the_same_of_the_same_noise():
    networks, given = build(), batch()
    latent = NARROW.latent(4, torch.Generator().manual_seed(0))
    sampled = NARROW.synthesise(networks["generator"], latent, given, AFTER)
    assert torch.equal(sampled, fakes(NARROW, networks, given).images)


class Told(nn.Module):
    """An hour-glass that notes what it was shown and returns the same for every pixel."""

    def __init__(self, grey):
        super().__init__()
        self.grey = grey

    def forward(self, patch, told):
        self.patch, self.told = patch, told
        return torch.full_like(patch, self.grey)


def test_the_coarse_network_sees_noise_in_the_hole_and_the_fine_one_the_coarse_lesion():
    networks, given = build(), batch()
    generator = networks["generator"]
    generator.coarse, generator.fine = Told(0.25), Told(0.5)
    latent = NARROW.latent(4, torch.Generator().manual_seed(0))
    made = NARROW.fakes(generator, latent, given, BEFORE)
    surroundings, hole = holes.shown(given)
    noise = latent[:, : 181 * 181].view(4, 1, 181, 181)[..., :16, :16]
    assert torch.equal(generator.coarse.patch, torch.where(hole > 0, noise, surroundings))
    assert torch.equal(generator.fine.patch, torch.where(hole > 0, 0.25, surroundings))
    for network in (generator.coarse, generator.fine):
        assert torch.equal(network.told[:, :1], hole)
        assert torch.equal(network.told[:, 1:].mean((2, 3)), torch.eye(2)[given.labels])
    assert torch.equal(made.images, torch.where(hole > 0, 0.5, surroundings))


class Judge(nn.Module):
    """A critic: its score and logits are linear in the mean grey of what it sees, and in the class it is told."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, images, labels=None):
        mean = images.flatten(1).mean(1)
        told = 0 if labels is None else labels
        return self.slope * mean + told, torch.stack([mean, 2 * mean, -mean], dim=1) * self.slope


def judged(given, slopes=(40.0, 8.0)):
    """Networks with critics that tests can work out, and fakes of them."""
    critics = Critics(NARROW, (16, 16), 2)
    critics.each = nn.ModuleList(Judge(slope) for slope in slopes)
    fake = InPainted(
        images=given.images.roll(1, 0) / 2,
        originals=given.images,
        labels=given.labels,
        picture=given.picture,
        coarse=given.images.roll(2, 0),
        refined=given.images.roll(3, 0),
    )
    return nn.ModuleDict({"discriminator": critics}), fake


def cross_entropy(logits, classes):
    return np.mean([np.log(np.exp(row).sum()) - row[c] for row, c in zip(logits, classes, strict=True)])


def views(images):
    """The whole, and the box of half its side about the hole at 3 to 8, whose middle rounds to 6."""
    return {"whole": images, "local": images[..., 2:10, 2:10]}


@pytest.mark.parametrize("tells_classes", [False, True])
def test_losses_are_equations_1_to_5_in_double_precision(tells_classes):
    given = batch()
    given = replace(given, images=given.images.double(), picture=given.picture.double())
    networks, fake = judged(given)
    moment = AFTER if tells_classes else BEFORE
    found = NARROW.discriminator_losses(networks, given, fake, moment) | NARROW.generator_losses(networks, fake, moment)
    real, made, labels = given.images.numpy(), fake.images.numpy(), given.labels.numpy()
    hole = holes.shown(given)[1].numpy()
    assert np.flatnonzero(hole[0, 0].any(0)).tolist() == list(range(3, 9))  # so boxes begin at 6 − 4
    expected = {}
    for (name, of_real), of_fake, slope in zip(views(real).items(), views(made).values(), (40, 8), strict=True):
        means = [slope * each.reshape(4, -1).mean(1) for each in (of_real, of_fake)]
        expected[f"discriminator_{name}"] = (means[1] + labels).mean() - (means[0] + labels).mean()
        expected[f"discriminator_penalty_{name}"] = 10 * (slope / np.sqrt(of_real[0].size) - 1) ** 2
        expected[f"generator_{name}"] = -(means[1] + labels).mean()
        if tells_classes:
            logits = [np.stack([mean, 2 * mean, -mean], 1) for mean in means]
            fooled = cross_entropy(logits[0], labels + 1) + cross_entropy(logits[1], 0 * labels)
            expected[f"discriminator_class_{name}"] = fooled / 2
            expected[f"generator_class_{name}"] = cross_entropy(logits[1], labels + 1)
    for name, output in (("coarse", fake.coarse), ("refined", fake.refined)):
        away = np.abs(output.numpy() - real)
        expected[f"generator_{name}_l1"] = 10 * (away[hole > 0].mean() + away.mean())  # holes are of one size
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx(expected, rel=1e-9)


def test_the_penalty_is_of_points_between_a_fake_and_its_real_image():
    given = batch()
    networks, fake = judged(given)
    shown = []
    networks["discriminator"].each[0].forward = lambda images, labels: (
        shown.append(images),
        (images.sum((1, 2, 3)), 0),
    )[1]
    networks["discriminator"].excess(torch.lerp(fake.images, given.images, 0.25), holes.shown(given)[1], given.labels)
    assert torch.allclose(shown[0], 0.75 * fake.images + 0.25 * given.images)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_critics_score_is_told_the_class_and_its_class_head_is_not(shape):
    critic = Critic(NARROW, shape, 2)
    images = batch(shape=shape).images
    (first, _), (second, _) = (critic(images, torch.full((4,), label)) for label in (0, 1))
    assert (first != second).all()
    score, logits = critic(images)
    assert (score.shape, logits.shape) == ((4,), (4, 3))
    assert torch.equal(logits, critic(images)[1])


def test_the_class_loss_begins_when_it_is_said_and_no_earlier_end_is_taken():
    assert [NARROW.tells_classes(moment) for moment in (BEFORE, AFTER)] == [False, True]
    assert NARROW.least_images((16, 16)) == 100
    NARROW.check_length((16, 16), 101)
    with pytest.raises(LesionForgeError, match="after 100 images, but the training ends after 100:"):
        NARROW.check_length((16, 16), 100)


def test_the_published_size_is_made():
    with torch.device("meta"):
        networks = ClassAwareInpainting().build((32, 64, 64), 2)
        one = torch.zeros(1, 1, 32, 64, 64)
        labels = torch.zeros(1, dtype=torch.int64)
        coarse = networks["generator"].coarse(one, torch.cat([one, one, one], dim=1))
        scores, logits = networks["discriminator"](one, torch.ones(1, 1, 32, 64, 64, device="cpu"), labels)
    assert coarse.shape == one.shape
    assert (scores.shape, logits.shape) == ((1, 2), (1, 2, 3))
