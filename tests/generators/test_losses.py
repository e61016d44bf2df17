import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.generators.losses import slopes, taken_for_fake, taken_for_real

LOGITS = torch.linspace(-20, 20, 41, dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0, 0.1, 0.5])
def test_cross_entropy_of_the_source_worked_out_in_double_precision(smoothing):
    real = 1 / (1 + np.exp(-LOGITS.numpy()))
    expected = -((1 - smoothing) * np.log(real) + smoothing * np.log1p(-real)).mean()
    assert float(taken_for_real(LOGITS, smoothing=smoothing)) == pytest.approx(expected, rel=1e-7)
    assert float(taken_for_fake(LOGITS)) == pytest.approx(-np.log1p(-real).mean(), rel=1e-7)


def test_a_smoothed_discriminator_is_best_at_the_smoothed_target():
    values = [float(taken_for_real(torch.tensor([logit]), smoothing=0.1)) for logit in LOGITS]
    best = LOGITS[int(np.argmin(values))]
    assert float(torch.sigmoid(best)) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("shape", [(6, 6), (3, 4, 5)], ids=str)
def test_slopes_of_a_linear_score_are_its_weights(shape):
    weights = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images = torch.randn(5, 1, *shape, dtype=torch.float64)
    found = slopes(lambda shown: (shown * weights).flatten(1).sum(1), images)
    torch.testing.assert_close(found, weights.flatten().expand(5, -1))


def test_slopes_of_a_quadratic_score_grow_with_the_image_and_can_be_learnt_from():
    images = torch.randn(5, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    steep = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
    found = slopes(lambda shown: steep * shown.square().flatten(1).sum(1) / 2, images)
    torch.testing.assert_close(found.detach(), 1.5 * images.flatten(1))
    found.sum().backward()
    torch.testing.assert_close(steep.grad, images.sum())
    assert not images.requires_grad
