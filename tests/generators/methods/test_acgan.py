import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.generators.contract import Batch, Moment
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.state import TrainingPlan, TrainingState
from lesionforge.networks import seeded

pytestmark = pytest.mark.usefixtures("one_thread")

MOMENT = Moment(0, torch.Generator())


class Told(nn.Module):
    """A discriminator that says what it was given: the first pixel is its logit, the next ones those of the classes."""

    def forward(self, images):
        rows = images.flatten(1)
        return rows[:, 0], rows[:, 1:4]


@pytest.fixture(scope="module")
def published():
    with seeded("published"):
        return ACGAN().build((64, 64), 10)


def test_the_published_networks(published):
    assert published["generator"].layers[0].in_features == 110
    widths = [(c.in_channels, c.out_channels, c.stride[0]) for c in convolutions(published["discriminator"])]
    assert widths == [(1, 16, 2), (16, 32, 1), (32, 64, 2), (64, 128, 1), (128, 256, 2), (256, 512, 1)]
    dropouts = [m.p for m in published["discriminator"].modules() if isinstance(m, nn.Dropout)]
    assert dropouts == [0.5] * 6
    source, classes = published["discriminator"](torch.zeros(3, 1, 64, 64))
    assert (source.shape, classes.shape) == ((3,), (3, 10))
    method = ACGAN()
    group = method.optimiser("generator", [nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (method.batch_size, group["lr"], group["betas"]) == (100, 2e-4, (0.5, 0.999))


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_losses_are_the_cross_entropies_of_source_and_class_in_double_precision():
    told = torch.randn(2, 7, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 2])
    real, fake = (Batch(images=images, labels=labels) for images in told)
    networks = nn.ModuleDict({"discriminator": Told()})

    def source(batch):
        return 1 / (1 + np.exp(-batch.images.flatten(1)[:, 0].numpy()))

    def of_class(batch):
        odds = np.exp(batch.images.flatten(1)[:, 1:].numpy())
        return -np.log((odds / odds.sum(axis=1, keepdims=True))[np.arange(7), labels.numpy()]).mean()

    expected = {
        "discriminator_real": -np.log(source(real)).mean(),
        "discriminator_fake": -np.log(1 - source(fake)).mean(),
        "discriminator_class_real": of_class(real),
        "discriminator_class_fake": of_class(fake),
        "generator": -np.log(source(fake)).mean(),
        "generator_class": of_class(fake),
    }
    method = ACGAN()
    found = {
        **method.discriminator_losses(networks, real, fake, MOMENT),
        **method.generator_losses(networks, fake, MOMENT),
    }
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx(expected, rel=1e-9)


def test_the_class_is_appended_to_the_noise():
    method = ACGAN(latent_size=2, generator_width=2)
    seen = []
    generator = method.build((8, 8), 3)["generator"]
    generator.layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    given = Batch(images=torch.zeros(0), labels=torch.tensor([2, 0]))
    method.synthesise(generator, torch.tensor([[0.5, -0.5], [0.1, 0.2]]), given, MOMENT)
    torch.testing.assert_close(seen[0], torch.tensor([[0.5, -0.5, 0, 0, 1], [0.1, 0.2, 1, 0, 0]]))


def test_the_auxiliary_head_is_a_classifier():
    """After a little training it tells apart patches that it has not seen, one at a time."""
    rng = np.random.default_rng(0)

    def patches(count):
        bright = np.arange(count) % 2
        images = rng.normal(-600, 60, (count, 16, 16)) + 350 * bright[:, None, None]
        label = np.where(bright, "bright", "dark")
        return Patches.of(images.astype(np.int16), patient=[f"p{k}" for k in range(count)], label=label)

    def tensors(of):
        return torch.from_numpy(window.to_symmetric(of.images)).unsqueeze(1)

    method = ACGAN(batch_size=16, generator_width=16, discriminator_width=2, latent_size=4, learning_rate=2e-3)
    window, seen, unseen = WINDOWS["lung"], patches(64), patches(40)
    state = TrainingState(method, seen, window=window, plan=TrainingPlan(), device=torch.device("cpu"))
    with seeded():
        for _ in range(60):
            state.step()
    before = {name: value.clone() for name, value in state.networks.state_dict().items()}
    classifier = method.as_classifier(state.networks["discriminator"], tensors(seen).split(16))
    logits = torch.cat([method.class_logits(classifier, image[None]) for image in tensors(unseen)])
    predicted = np.array(state.labels)[logits.argmax(1).numpy()]
    assert state.labels == ("bright", "dark")
    assert (predicted == unseen.labels).mean() > 0.95
    assert not logits.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in state.networks.state_dict().items())
