"""What networks on pictures [B, C, H, W] and on volumes [B, C, D, H, W] are built of alike."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.generators.convolutions import Convolution

# B batch, C channels, K classes, *shape pixels along two axes or three


def convolution(
    axes: int, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1
) -> nn.Module:
    """Make a convolution that keeps the shape or, with a stride, its share of 1/stride."""
    padding = dilation * (kernel - 1) // 2
    if axes == 3:
        return nn.Conv3d(inputs, outputs, kernel, stride, padding, dilation)
    if dilation == 1:
        return Convolution(inputs, outputs, kernel, stride, padding)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation)


def doubled(axes: int) -> nn.Module:
    """Make a layer that doubles the resolution, [B, C, *shape] → [B, C, *shape · 2].

    Linearly, where the papers repeat pixels: narrow networks do not learn to smooth the blocks away that this leaves.
    """
    return nn.Upsample(scale_factor=2, mode="bilinear" if axes == 2 else "trilinear")


def class_maps(labels: Tensor, classes: int, like: Tensor) -> Tensor:
    """One channel for each class, 1 everywhere in that of the image's class: [B] → [B, K, *shape] as ``like``."""
    one_hot = F.one_hot(labels, classes).to(like)
    return one_hot.view(*one_hot.shape, *[1] * (like.ndim - 2)).expand(-1, -1, *like.shape[2:])
