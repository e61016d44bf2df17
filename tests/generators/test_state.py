"""How a step is computed changes what comes out by rounding alone."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.methods.progressive_wgan import ProgressiveWGAN
from lesionforge.generators.methods.wgan_gp import WGANGP
from lesionforge.generators.small_data import SmallData
from lesionforge.generators.state import TrainingPlan, TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"generator_width": 16, "discriminator_width": 4}
GROWING = ProgressiveWGAN(batch_size=6, width=8, latent_size=8, stable_images=8, fade_images=8, deviation_group=1)
# Neither gathers statistics over a batch.
INDEPENDENT = [GROWING, Pix2Pix(batch_size=6, **SMALL, small_data=SmallData(translation=0.2, cutout=0.2, contrast=0.1))]


@pytest.fixture(scope="module")
def start(lesions):
    """Makes the state of a training."""

    def make(method, **plan):
        cpu = torch.device("cpu")
        return TrainingState(method, lesions(), window=WINDOWS["lung"], plan=TrainingPlan(**plan), device=cpu)

    return make


def assert_close(state, expected, *, atol=1e-6, rtol=1e-4):
    for name, weights in expected.networks.state_dict().items():
        torch.testing.assert_close(state.networks.state_dict()[name], weights, atol=atol, rtol=rtol)


@pytest.mark.parametrize("method", INDEPENDENT, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("accumulate", [2, 4, 6])  # in fours, parts differ in size
def test_a_batch_in_parts_makes_the_same_step(start, method, accumulate):
    whole, parts = start(method), start(method, accumulate=accumulate)
    for _ in range(3):
        assert whole.step() == parts.step()
    # Adam's first steps are as long for the least of gradients, whose sign may be one of rounding.
    assert_close(parts, whole, atol=2 * method.learning_rate if method is not GROWING else 1e-5)
    assert parts.take_mean_losses() == pytest.approx(whole.take_mean_losses(), rel=1e-3)


def test_gradients_of_parts_add_up_to_the_whole_ones(start, monkeypatch):
    """Before any optimiser blurs them; also where the parts' shares differ."""
    found = {}
    for accumulate in (1, 4):
        state = start(INDEPENDENT[1], accumulate=accumulate)
        for optimiser in state.optimisers.values():
            monkeypatch.setattr(optimiser, "step", lambda: None)
            monkeypatch.setattr(optimiser, "zero_grad", lambda **_: None)
        state.step()
        found[accumulate] = [weight.grad for weight in state.networks.parameters()]
    for part, whole in zip(found[4], found[1], strict=True):
        assert whole.abs().max() > 0
        torch.testing.assert_close(part, whole, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "method", [DCGAN(batch_size=6, **SMALL), WGANGP(batch_size=6, critic_steps=1, **SMALL), GROWING]
)
def test_bfloat16_is_near_float32(start, method):
    exact, rough = start(method), start(method, precision="bfloat16")
    exact.step()
    rough.step()
    assert {tensor.dtype for tensor in rough.networks.state_dict().values() if tensor.is_floating_point()} == {
        torch.float32
    }
    losses = exact.take_mean_losses()
    assert rough.take_mean_losses() == pytest.approx(losses, rel=0.03, abs=0.03)
    assert rough.take_mean_losses() != losses
    assert_close(rough, exact, atol=2 * method.learning_rate)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of torch's own making
def test_compiled_networks_train_as_the_others_do(start, monkeypatch):
    """With a backend that changes nothing: what is tested is that the graphs are found, not the compiler."""
    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda network: compile_(network, backend="eager"))
    method = DCGAN(batch_size=6, **SMALL, small_data=SmallData(r1=1))
    plain, compiled = start(method), start(replace(method), compile=True)
    for _ in range(2):
        plain.step()
        compiled.step()
    assert_close(compiled, plain)
