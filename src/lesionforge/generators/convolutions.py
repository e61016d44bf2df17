"""Convolutions that a CPU differentiates faster: PyTorch's, with the same weights, and the same numbers to rounding.

Three products make up a convolution at any depth of differentiation, each linear in both of its factors: of images
with a kernel (``_Convolve``), of features with a kernel (``_Spread``: the transposed convolution), and of images with
features (``_Correlate``: the gradient of a kernel). The gradients of each are the other two. PyTorch's own second
derivative, which a gradient penalty takes, works a kernel's gradient out as a convolution whose channels are the images
of the batch, and copies them into that order first.

Features spread over fewer than four channels, as in a generator's last layer and for the slopes of a discriminator at
its images, are filled up to sixteen with zeros by oneDNN; a matrix product, whose columns are then laid over each
other, is not.

Between a dense layer and a convolution the order of features in memory changes; `Seed` and `Flat` see to it that
nothing beyond, forward or backward, has to walk two orders at once.

All this is for CPUs in their own precision: elsewhere PyTorch does what it does.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F  # noqa: N812

# B batch, C channels of images, K channels of features, H W pixels of images, h w of features, k kernel's side

MANY_CHANNELS = 4

_without_kernels: ContextVar[bool] = ContextVar("_without_kernels", default=False)
_plain: ContextVar[bool] = ContextVar("_plain", default=False)


def convolve(
    images: Tensor, kernel: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0
) -> Tensor:
    """[B, C, H, W], [K, C, k, k] → [B, K, h, w], as `torch.nn.functional.conv2d`."""
    if left_to_torch(images):
        return F.conv2d(images, kernel, bias, stride, padding)
    return _convolved(images, kernel, bias, stride, padding)


def spread(
    features: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
) -> Tensor:
    """[B, K, h, w], [K, C, k, k] → [B, C, H, W], as `torch.nn.functional.conv_transpose2d`."""
    if left_to_torch(features):
        return F.conv_transpose2d(features, kernel, bias, stride, padding, output_padding)
    sides = [
        (side - 1) * stride - 2 * padding + width + output_padding
        for side, width in zip(features.shape[2:], kernel.shape[2:], strict=True)
    ]
    shape = torch.Size([len(features), kernel.shape[1], *sides])
    return _spread(features, kernel, bias, stride, padding, shape)


class Convolution(nn.Conv2d):
    """`convolve` as a layer: one stride and one padding for both axes, neither groups nor dilation."""

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] → [B, K, h, w]."""
        stride, padding = self.stride[0], int(self.padding[0])
        return convolve(images, self.weight, self.bias, stride=stride, padding=padding)


class Upconvolution(nn.ConvTranspose2d):
    """`spread` as a layer: one stride and one padding for both axes, neither groups nor dilation."""

    def forward(self, features: Tensor, _output_size: list[int] | None = None) -> Tensor:
        """[B, K, h, w] → [B, C, H, W]."""
        stride, padding, more = self.stride[0], int(self.padding[0]), self.output_padding[0]
        return spread(features, self.weight, self.bias, stride=stride, padding=padding, output_padding=more)


class Seed(nn.Unflatten):
    """[B, C·h·w] → [B, C, h, w], laid out as the convolutions that follow."""

    def forward(self, features: Tensor) -> Tensor:
        """As `torch.nn.Unflatten`."""
        features = super().forward(features)
        return features if left_to_torch(features) else _channels_last(features)


class Flat(nn.Flatten):
    """[B, C, h, w] → [B, C·h·w], whose gradient is laid out as the convolutions before."""

    def forward(self, features: Tensor) -> Tensor:
        """As `torch.nn.Flatten`."""
        if features.requires_grad and not left_to_torch(features):
            features.register_hook(_channels_last)  # type: ignore[no-untyped-call]
        return super().forward(features)


def _channels_last(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last)


def kernels_left_out() -> AbstractContextManager[None]:
    """Backward passes inside the block need no kernel's gradient; unlike PyTorch's own, ours would not notice."""
    return _switched_on(_without_kernels)


def plain() -> AbstractContextManager[None]:
    """Leave everything inside the block to PyTorch, to compare with it."""
    return _switched_on(_plain)


@contextmanager
def _switched_on(switch: ContextVar[bool]) -> Iterator[None]:
    token = switch.set(True)
    try:
        yield
    finally:
        switch.reset(token)


def left_to_torch(values: Tensor) -> bool:
    """Whether this is not for a CPU, or not in its own precision, or for torch's compiler, which knows its own best."""
    if torch.compiler.is_compiling() or values.device.type != "cpu":
        return True
    return torch.is_autocast_enabled("cpu") or _plain.get()


class _Convolve(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(images, kernel)
        ctx.steps = stride, padding
        return F.conv2d(images, kernel, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, kernel = ctx.saved_tensors
        for_images, for_kernel, for_bias = _needed(ctx)
        return (
            _spread(gradient, kernel, None, *ctx.steps, images.shape) if for_images else None,
            _correlated(images, gradient, *ctx.steps, kernel.shape) if for_kernel else None,
            gradient.sum((0, 2, 3)) if for_bias else None,
            None,
            None,
        )


class _Spread(Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, kernel: Tensor, bias: Tensor | None, stride: int, padding: int, shape: torch.Size
    ) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.steps = stride, padding
        if shape[1] < MANY_CHANNELS:
            columns = kernel.flatten(1).T @ features.flatten(2)
            images = F.fold(columns, shape[2:], kernel.shape[2:], 1, padding, stride)
            return images if bias is None else images.add_(bias[:, None, None])
        reached = [
            (side - 1) * stride - 2 * padding + width
            for side, width in zip(features.shape[2:], kernel.shape[2:], strict=True)
        ]
        more = [side - least for side, least in zip(shape[2:], reached, strict=True)]
        return F.conv_transpose2d(features, kernel, bias, stride, padding, more)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, kernel = ctx.saved_tensors
        for_features, for_kernel, for_bias = _needed(ctx)
        return (
            _convolved(gradient, kernel, None, *ctx.steps) if for_features else None,
            _correlated(gradient, features, *ctx.steps, kernel.shape) if for_kernel else None,
            gradient.sum((0, 2, 3)) if for_bias else None,
            None,
            None,
            None,
        )


class _Correlate(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, features: Tensor, stride: int, padding: int, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(images, features)
        ctx.steps = stride, padding
        kernel = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)  # its layout alone counts
        gradient: Tensor
        _, gradient, _ = torch.ops.aten.convolution_backward(
            features, images, kernel, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [False, True, False]
        )
        return gradient

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, features = ctx.saved_tensors
        for_images, for_features, *_ = ctx.needs_input_grad
        return (
            _spread(features, gradient, None, *ctx.steps, images.shape) if for_images else None,
            _convolved(images, gradient, None, *ctx.steps) if for_features else None,
            None,
            None,
            None,
        )


_convolved: Callable[..., Tensor] = _Convolve.apply
_spread: Callable[..., Tensor] = _Spread.apply
_correlated: Callable[..., Tensor] = _Correlate.apply


def _needed(ctx: Any) -> tuple[bool, bool, bool]:
    """Whether the gradients of what was convolved, of the kernel and of the bias are asked for."""
    of_values, of_kernel, of_bias, *_ = ctx.needs_input_grad
    left_out = _without_kernels.get()
    return of_values, of_kernel and not left_out, of_bias and not left_out
