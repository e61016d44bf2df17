"""Terms that the losses of several methods are made of. Logits and scores are [B]."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lesionforge.generators.convolutions import kernels_left_out


def taken_for_real(logits: Tensor, *, smoothing: float = 0) -> Tensor:
    """Return the mean of −(1 − s)·log D − s·log(1 − D), with D the sigmoid of the logits and s the smoothing.

    T. Salimans et al., "Improved techniques for training GANs", NeurIPS 2016, section 3.4 (one-sided smoothing).
    """
    return (F.softplus(-logits) + smoothing * logits).mean()


def taken_for_fake(logits: Tensor) -> Tensor:
    """Return the mean of −log(1 − D)."""
    return F.softplus(logits).mean()


def slopes(score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return ∇ₓ score(x) at each image, [B, pixels], itself differentiable with respect to the weights.

    In float32 whatever the precision of the rest, and never by what `torch.compile` made, which differentiates once.
    """
    images = images.detach().requires_grad_(True)
    with torch.autocast(images.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        scores = score(images).sum()
        with kernels_left_out():
            (found,) = torch.autograd.grad(scores, images, create_graph=True)
    return found.flatten(1)
