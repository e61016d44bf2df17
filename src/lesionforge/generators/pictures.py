"""What a method may be shown of a lesion before it makes an image: its outline, its edges, or all that is around it.

All are made from images in [−1, 1] of one window, so an intensity or a slope means the same Hounsfield units in every
patch: 1 is half the window's width. A picture lies in [−1, 1] as well, and −1 is "nothing here".
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# B batch, H W pixels, *shape pixels along two axes or three

NOTHING = -1.0
GAUSSIAN_REACH = 3  # standard deviations
NEIGHBOUR_AHEAD = (5, 8, 7, 6)  # of the middle of a 3×3 field numbered by rows: to the right, then by turns of 45°


def outline(masks: Tensor) -> Tensor:
    """1 in the lesion, −1 around it, [B, 1, *shape] → [B, 1, *shape]."""
    return masks * 2 - 1


def edges(images: Tensor, *, smoothing_px: float, least_slope: float) -> Tensor:
    """1 on an edge, −1 elsewhere, [B, 1, H, W] → [B, 1, H, W].

    J. Canny, "A computational approach to edge detection", IEEE TPAMI 8 (1986), without its hysteresis: the image is
    smoothed by a Gaussian of ``smoothing_px`` standard deviation; a pixel is on an edge where the slope a pixel (by
    Sobel's operator) is ``least_slope`` or more, and highest among the pixel and its two neighbours across the edge.
    """
    along_x, along_y = _gradient(_smoothed(images, smoothing_px))
    slope = torch.hypot(along_x, along_y)
    turns = torch.round(torch.atan2(along_y, along_x) * (4 / math.pi)).long() % 4  # of 45°, either way along it
    ahead = torch.tensor(NEIGHBOUR_AHEAD, device=images.device)[turns]
    field = F.unfold(_padded(slope, 1, 1), 3).view(len(images), 9, *images.shape[2:])
    # Of two equal neighbours one is the edge, so that it is one pixel thin.
    highest = (slope >= field.gather(1, ahead)) & (slope > field.gather(1, 8 - ahead))
    return torch.where(highest & (slope >= least_slope), 1.0, NOTHING).to(images)


def erased(images: Tensor, masks: Tensor, *, margin_px: int) -> Tensor:
    """The image without its lesion and ``margin_px`` around it, and 1 where it was, [B, 1, *shape] → [B, 2, *shape]."""
    widened = F.max_pool2d if masks.ndim == 4 else F.max_pool3d
    hole = widened(masks, 2 * margin_px + 1, 1, margin_px)
    return torch.cat([torch.where(hole > 0, NOTHING, images), outline(hole)], dim=1)


def _smoothed(images: Tensor, sd_px: float) -> Tensor:
    reach = math.ceil(GAUSSIAN_REACH * sd_px)
    bell = torch.exp(-torch.arange(-reach, reach + 1).to(images).square() / (2 * sd_px**2))
    bell = (bell / bell.sum()).view(1, 1, 1, -1)
    along_x = F.conv2d(_padded(images, 0, reach), bell)
    return F.conv2d(_padded(along_x, reach, 0), bell.mT)


def _gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes a pixel along x and along y, by Sobel's operator."""
    sobel = torch.tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]]).to(images) / 8
    around = _padded(images, 1, 1)
    return F.conv2d(around, sobel), F.conv2d(around, sobel.mT)


def _padded(images: Tensor, rows: int, columns: int) -> Tensor:
    return F.pad(images, (columns, columns, rows, rows), mode="replicate")
