"""One interpolation for any chain of affine steps, batched over patches, on torch's default device.

Conventions. Positions are in pixels from the *lesion's pixel*, which is n // 2 along an axis of n pixels, as
in `Patches.centre_crop` (35 of 71, 32 of 64), and not from the array's centre, which for an even n lies
between two pixels: turning about the latter would move the lesion by up to a pixel between augmentations, and
no crop of an odd patch to an even one would be free of interpolation. The price: in an even patch a flip or a
quarter turn needs one row that lies outside it; a patch larger than the result has that row.

Outside a patch lies its mirror image, and beyond that the image's far edge: tissue rather than a black
corner, which would teach a network the angle.
"""

# N patches, A axes (2 or 3), n pixels of an axis in the source, m in the result

from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from lesionforge.augment.transform import Array, Pixels, Shape


def resample(images: Array, masks: Array | None, pull: NDArray[np.float64], *, shape: Shape) -> Pixels:
    """Look up every pixel of the result in its source.

    Images are interpolated with Keys' bicubic kernel (a = −0.75, 4×4 pixels) in 2-D and linearly in 3-D; the
    kernel's overshoot is cut at the lowest and highest intensity of the source patch. Whole numbers are
    computed in float32 and rounded, which leaves pixels that need no interpolation exactly as they were.
    Masks take the nearest pixel.

    Parameters
    ----------
    images
        [N, (z,) y, x].
    masks
        As ``images``, or None.
    pull
        [N, A+1, A+1] homogeneous matrices from a position (z, y, x, 1) in the result to one in the source.
    shape
        Pixels along each axis of the result.
    """
    grid = _mirrored(_grid(pull, images.shape[1:], shape))
    source = _to_torch(images)
    result = _look_up(source, grid, "bicubic" if len(shape) == 2 else "bilinear")
    across = tuple(range(1, source.ndim))
    result = torch.minimum(torch.maximum(result, source.amin(across, keepdim=True)), source.amax(across, keepdim=True))
    if images.dtype.kind in "iu":
        result = result.round_()
    changed = result.cpu().numpy().astype(images.dtype)
    if masks is None:
        return changed, None
    return changed, _look_up(_to_torch(masks), grid, "nearest").cpu().numpy().astype(masks.dtype)


def _to_torch(images: Array) -> torch.Tensor:
    return torch.from_numpy(images.astype(np.float32)).to(torch.get_default_device())


def _look_up(source: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    return grid_sample(source[:, None], grid, mode=mode, padding_mode="border", align_corners=True)[:, 0]


def _grid(pull: NDArray[np.float64], source: Shape, target: Shape) -> torch.Tensor:
    """Find each pixel of the result in the source, [N, *m, A], as torch counts: (x, y, z) in [−1, 1]."""
    axes = len(source)
    grid = torch.empty(len(pull), *target, axes)
    for axis, n in enumerate(source):
        unit = 2 / max(n - 1, 1)
        # A position is a sum of A short terms, one along each axis of the result: no product per pixel.
        terms = [
            (pull[:, axis, along, None] * (np.arange(m) - m // 2) * unit).reshape(
                -1, *(m if other == along else 1 for other in range(axes))
            )
            for along, m in enumerate(target)
        ]
        terms[0] = terms[0] + ((pull[:, axis, -1] + n // 2) * unit - 1).reshape(-1, *(1,) * axes)
        *first, last = (_to_torch(term) for term in terms)
        torch.add(reduce(torch.add, first), last, out=grid[..., axes - 1 - axis])
    return grid


def _mirrored(grid: torch.Tensor) -> torch.Tensor:
    """Fold positions outside [−1, 1] back at its ends; those inside stay bit-identical."""
    return grid.clamp(-1, 1).mul_(2).sub_(grid)
