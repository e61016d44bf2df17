"""Contextual attention: a hole's features, rebuilt from those of its surroundings that are most like them.

J. Yu, Z. Lin, J. Yang, X. Shen, X. Lu, T. S. Huang, "Generative image inpainting with contextual attention", CVPR 2018,
section 3.2, along two axes or three. Each place is held against each place outside the hole by the cosine of the angle
between their patches of features; the softmax of that says how much of which patch is put there, and where patches
overlap, their mean counts. Theirs compares places at half the resolution to save memory; here all are compared, which
takes the square of their number: 256² for 64×64 pixels whose features are a quarter as fine.

Patches need not be cut out. The product of two patches is the sum of the products of their places, two by two; and to
put patches over each other, weighed, is to weigh places by the sum of the weights of the patches that hold them. Both
are `summed_alongside`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# B batch, C channels, *shape places along two axes or three, P places in all

REACH = 1  # of a patch: 3 places along each axis
LEAST_SQUARE = 1e-8  # of a patch's norm


def attend(features: Tensor, hole: Tensor, *, sharpness: float = 10.0, coherence: int = 1) -> Tensor:
    """Fill the hole in features [B, C, *shape] with those around it; elsewhere they stay as they are.

    Parameters
    ----------
    hole
        [B, 1, *shape], above 0 where anything of a place's pixels is to be made up.
    sharpness
        λ of softmax(λ·cos), by which the most alike outweighs the others (equation 3 and the published code).
    coherence
        Attention moves along with its place: what neighbours so many places away along an axis attend to, moved
        likewise, is added (the paper's propagation); 0 is off.
    """
    shape = features.shape[2:]
    places = features.flatten(2).mT  # [B, P, C]
    products = summed_alongside(places @ places.mT, shape, reach=REACH)
    norms = products.diagonal(dim1=1, dim2=2).clamp(min=LEAST_SQUARE).sqrt()
    likeness = products / (norms.unsqueeze(1) * norms.unsqueeze(2))  # of each place (row) to each (column)
    likeness = summed_alongside(likeness, shape, reach=coherence)
    pooled = F.max_pool2d if len(shape) == 2 else F.max_pool3d
    made_up = pooled(hole, 2 * REACH + 1, 1, REACH).flatten(2) > 0  # [B, 1, P]: patches that hold any such place
    weights = torch.softmax((sharpness * likeness).masked_fill(made_up, -torch.inf), dim=2)
    weights = weights.masked_fill(made_up, 0)  # all, and not a number, where a hole leaves no patch untouched
    overlaps = pooled_count(shape, like=features)
    rebuilt = (summed_alongside(weights, shape, reach=REACH) @ places).mT.view_as(features) / overlaps
    return torch.where(hole > 0, rebuilt, features)


def pooled_count(shape: Sequence[int], *, like: Tensor) -> Tensor:
    """How many patches about places within the borders hold each place, [*shape]."""
    count = torch.ones((), device=like.device, dtype=like.dtype)
    for axis, size in enumerate(shape):
        at = torch.arange(size, device=like.device)
        along = (at + REACH).clamp(max=size - 1) - (at - REACH).clamp(min=0) + 1
        count = count.unsqueeze(-1) * along.to(like) if axis else along.to(like)
    return count


def summed_alongside(pairs: Tensor, shape: Sequence[int], *, reach: int) -> Tensor:
    """Add to each pair of places the pairs that lie alike beside both, up to ``reach`` away along each axis.

    [B, P, P] → [B, P, P]: Σ over o of x[p + o, q + o], as far as both are within the borders.
    """
    total = pairs.view(len(pairs), *shape, *shape)
    for axis, size in enumerate(shape):
        both, before = (1 + axis, 1 + len(shape) + axis), total
        for step in range(1, min(reach, size - 1) + 1):
            ahead, behind = (_narrowed(before, both, start, size - step) for start in (step, 0))
            total = total + _widened(ahead, both, (0, step)) + _widened(behind, both, (step, 0))
    return total.reshape(pairs.shape)


def _narrowed(values: Tensor, axes: tuple[int, int], start: int, length: int) -> Tensor:
    return values.narrow(axes[0], start, length).narrow(axes[1], start, length)


def _widened(values: Tensor, axes: tuple[int, int], zeros: tuple[int, int]) -> Tensor:
    """Put so many zeros before and after, along both axes."""
    padding = [0] * (2 * values.ndim)
    for axis in axes:
        at = 2 * (values.ndim - 1 - axis)
        padding[at : at + 2] = zeros
    return F.pad(values, padding)
