"""What lies between, and nearer to the middle of, the latent vectors that samples are made of.

A generator that has learnt its images by heart leaps from one to another on the way between two latent vectors; one
that has learnt how lesions vary changes step by step (Wang et al. 2020 show such strips).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lesionforge import registry
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LesionForgeError
from lesionforge.synthesis.sampler import Sampler

# n strips, K steps, Z latent size

PARALLEL = 1e-6  # sine of the angle below which there is no arc to go along


def strips(sampler: Sampler, count: int, *, steps: int = 8) -> Patches:
    """Go from sample k to sample ``count`` + k in ``steps`` images, both ends among them; a strip after the other.

    A strip keeps the class, and the condition, of the sample that it starts from. The table's ``strip_from``,
    ``strip_to`` (numbers of samples) and ``strip_share`` (of the way) say where each image lies.

    Raises
    ------
    LesionForgeError
        There is no strip or no way, or the method's latent vectors have nothing between them.
    """
    method = sampler.checkpoint.method
    if count < 1 or steps < 2:
        raise LesionForgeError(f"there must be 1 strip of 2 steps at least, but {count} of {steps} came.")
    if method.prior == "dropout":
        raise LesionForgeError(
            f"strips show what lies between latent vectors, but those of {registry.name_of(method)} say what is "
            "dropped and what not: there is nothing between."
        )
    start = np.arange(count)
    share = torch.linspace(0, 1, steps)
    ends = sampler.latent(start), sampler.latent(start + count)
    between = linear(*ends, share) if method.prior == "uniform" else spherical(*ends, share)
    rows = start.repeat(steps)
    images = sampler.images(between.flatten(0, 1), rows)
    where = {"strip_from": rows, "strip_to": rows + count, "strip_share": np.tile(share.double().numpy(), count)}
    return sampler.patches(images, rows, **where, **sampler.judged(images, rows))


def linear(first: Tensor, last: Tensor, share: Tensor) -> Tensor:
    """Points on the line from ``first`` to ``last``, [n, Z] each, at each share [K] of the way: [n, K, Z].

    All of them lie in the cube that uniform latent vectors are drawn from.
    """
    return torch.lerp(first[:, None], last[:, None], share.to(first)[None, :, None])


def spherical(first: Tensor, last: Tensor, share: Tensor) -> Tensor:
    """Points on the arc, as of `linear`.

    T. White, "Sampling generative networks", 2016, section 2.1: the middle of a line between two vectors from N(0, 1)
    in many dimensions is so much shorter than any vector that training has seen.
    """
    share = share.to(first)[None, :, None]
    angle = torch.arccos(torch.cosine_similarity(first, last).clamp(-1, 1))[:, None, None]
    sine = torch.sin(angle)
    along = (torch.sin((1 - share) * angle) * first[:, None] + torch.sin(share * angle) * last[:, None]) / sine
    return torch.where(sine > PARALLEL, along, torch.lerp(first[:, None], last[:, None], share))


def truncations(sampler: Sampler, count: int, truncations: Sequence[float]) -> Patches:
    """Draw the first ``count`` samples at each truncation; those of one sample lie side by side.

    Raises
    ------
    LesionForgeError
        As of `Sampler`, or there is nothing to draw.
    """
    if not truncations:
        raise LesionForgeError("there must be one truncation at least, but none came.")
    drawn = [list(replace(sampler, truncation=each).parts(count)) for each in truncations]
    together = concatenate([part for parts in drawn for part in parts])
    return together.rows(np.arange(len(together)).reshape(len(truncations), count).T.ravel())


def chosen_rows(sampler: Sampler, numbers: Sequence[int]) -> Patches:
    """Draw again the rows of these numbers, as they are in any sample of the sampler's seed.

    Raises
    ------
    LesionForgeError
        A number is negative, or there is none.
    """
    if not numbers or min(numbers) < 0:
        raise LesionForgeError(f"rows must be numbers of 0 or more, but {', '.join(map(str, numbers)) or 'none'} came.")
    size = sampler.batch_size
    starts = np.unique(np.array(numbers) // size) * size
    rows = (starts[:, None] + np.arange(size)).ravel()
    return sampler.part(rows).rows(np.searchsorted(rows, numbers))
