import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lesionforge.generators import holes
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.flow_matching_inpainting import FlowMatchingInpainting
from lesionforge.networks import seeded

pytestmark = pytest.mark.usefixtures("one_thread")

NARROW = FlowMatchingInpainting(width=4)
SHAPES = [(16, 16), (8, 16, 12)]


def moment():
    return Moment(0, torch.Generator().manual_seed(0))


def build(method=NARROW, shape=(16, 16)):
    with seeded("networks"):
        return method.build(shape, 2)


def batch(shape=(16, 16), count=4):
    images = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    masks = torch.zeros_like(images)
    masks[(..., *(slice(side // 4, side // 2) for side in shape))] = 1
    made = Batch(images=images, labels=torch.arange(count) % 2, masks=masks)
    return replace(made, picture=NARROW.picture(made))


def latent(count=4, seed=0):
    return NARROW.latent(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outside_the_hole_all_is_as_it_was_and_inside_it_follows_class_and_noise(shape):
    generator, given = build(shape=shape)["generator"], batch(shape)
    hole = holes.shown(given)[1] > 0
    made = NARROW.synthesise(generator, latent(), given, moment())
    assert torch.equal(made[~hole], given.images[~hole])
    other_class = NARROW.synthesise(generator, latent(), replace(given, labels=1 - given.labels), moment())
    other_noise = NARROW.synthesise(generator, latent(seed=1), given, moment())
    for other in (other_class, other_noise):
        assert (other != made)[hole].float().mean() > 0.5  # what leaves [−1, 1] is cut off
        assert torch.equal(other[~hole], given.images[~hole])


def test_it_has_no_adversary():
    assert list(build()) == ["generator"]


class Flow(nn.Module):
    """Answers where a flow would end if it went straight on; its velocity is a formula of the place and the time."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, patch, hole, labels, time):
        time = time.view(-1, 1, 1, 1)
        return patch + (1 - time) * self.formula(patch, time)


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_straight_flow_is_followed_exactly_in_any_number_of_steps(solver, steps):
    given, noise = batch(), holes.noise(latent(), (16, 16))
    target = given.images.roll(1, 0)
    field = Flow(lambda place, time: target - noise)
    made = replace(NARROW, solver=solver, steps=steps).synthesise(field, latent(), given, moment())
    hole = holes.shown(given)[1] > 0
    torch.testing.assert_close(made[hole], target[hole], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_a_curved_flow_is_followed_to_the_solvers_order(solver, order):
    given, start = batch(), holes.noise(latent(), (16, 16)) / 50
    field = Flow(lambda place, time: place * 2 * time)  # x(1) = e·x(0)
    inside = holes.shown(given)[1] > 0
    errors = []
    for steps in (8, 16):
        made = replace(NARROW, solver=solver, steps=steps).synthesise(field, latent() / 50, given, moment())
        errors.append((made - math.e * start)[inside].abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_training_looks_at_the_line_from_noise_to_the_real_image():
    given, shown = batch(), {}

    def generator(patch, hole, labels, time):
        shown.update(patch=patch, hole=hole, labels=labels, time=time)
        return torch.zeros_like(patch)

    on_the_way = NARROW.fakes(generator, latent(), given, moment())
    noise, hole = holes.noise(latent(), (16, 16)), holes.shown(given)[1]
    time = shown["time"].view(-1, 1, 1, 1)
    place = (1 - time) * noise + time * given.images
    torch.testing.assert_close(shown["patch"], torch.where(hole > 0, place, given.images))
    assert torch.equal(shown["labels"], given.labels)
    torch.testing.assert_close(on_the_way.straight, given.images - noise)
    torch.testing.assert_close(on_the_way.images, torch.where(hole > 0, torch.zeros_like(place), given.images))
    assert ((shown["time"] > 0) & (shown["time"] < 1)).all()
    exact = NARROW.fakes(lambda *_: given.images, latent(), given, moment())
    assert torch.equal(exact.images, given.images)
    assert float(NARROW.generator_losses(nn.ModuleDict(), exact, moment())["generator"]) == pytest.approx(0, abs=1e-9)


def test_the_loss_is_the_squared_difference_in_each_hole():
    given, networks = batch(), build()
    given = replace(given, images=given.images.double(), picture=given.picture.double())
    on_the_way = NARROW.fakes(networks["generator"].double(), latent().double(), given, moment())
    away = (on_the_way.velocity - on_the_way.straight).detach().numpy() ** 2
    hole = holes.shown(given)[1].numpy() > 0
    expected = sum(each[inside].mean() for each, inside in zip(away, hole, strict=True)) / 4
    losses = NARROW.generator_losses(networks, on_the_way, moment())
    assert losses["generator"].item() == pytest.approx(float(expected), rel=1e-9)


def test_the_first_half_of_the_way_is_looked_at_more_often():
    times = []
    given = batch(count=256)
    NARROW.fakes(lambda p, h, k, time: (times.append(time), torch.zeros_like(p))[1], latent(256), given, moment())
    logit = times[0].logit()
    assert float(logit.mean()) == pytest.approx(-0.8, abs=0.2)
    assert float(logit.std()) == pytest.approx(1, abs=0.15)
