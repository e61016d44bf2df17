"""Ours beside PyTorch's in double precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.generators.convolutions import (
    Convolution,
    Flat,
    Seed,
    Upconvolution,
    convolve,
    kernels_left_out,
    plain,
    spread,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def layers(draw):
    """Sizes of a convolution with at least one output pixel: batch, channels, features, side, kernel, stride, …"""
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2))
    height, width = (draw(st.integers(max(1, kernel - 2 * padding), 9)) for _ in range(2))
    batch, channels, features = (draw(st.integers(1, most)) for most in (3, 6, 6))
    return (batch, channels, height, width), (features, channels, kernel, kernel), stride, padding


def double(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def derivatives(layer, values, kernel, bias):
    """Result, first derivatives, and derivatives of their squares: all, in one list."""
    leaves = [tensor.clone().requires_grad_(True) for tensor in (values, kernel, bias)]
    result = layer(*leaves)
    slope = double(*result.shape, seed=1)
    first = torch.autograd.grad((result.tanh() * slope).sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(found.square().sum() for found in first), leaves)
    return [result, *first, *second]


@settings(deadline=None, max_examples=40)
@given(layers(), st.sampled_from([torch.contiguous_format, torch.channels_last]))
def test_both_derivatives_are_torchs(sizes, order):
    image_shape, kernel_shape, stride, padding = sizes
    images = double(*image_shape).contiguous(memory_format=order)
    kernel, bias = double(*kernel_shape, seed=2).contiguous(memory_format=order), double(kernel_shape[0], seed=3)
    features = F.conv2d(images, kernel, bias, stride, padding).detach()
    more = image_shape[2] - ((features.shape[2] - 1) * stride - 2 * padding + kernel_shape[2])
    pairs = [
        (
            lambda *leaves: convolve(*leaves, stride=stride, padding=padding),
            lambda *leaves: F.conv2d(*leaves, stride, padding),
            (images, kernel, bias),
        ),
        (
            lambda *leaves: spread(*leaves, stride=stride, padding=padding, output_padding=more),
            lambda *leaves: F.conv_transpose2d(*leaves, stride, padding, more),
            (features, kernel, double(kernel_shape[1], seed=4)),
        ),
    ]
    for ours, torchs, leaves in pairs:
        for found, expected in zip(derivatives(ours, *leaves), derivatives(torchs, *leaves), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_layers_are_torchs_with_the_same_weights():
    ours = nn.Sequential(
        Convolution(2, 5, 3, 2, 1), Flat(), Seed(1, (5, 4, 4)), Upconvolution(5, 2, 5, 2, 2, 1)
    ).double()
    torchs = nn.Sequential(
        nn.Conv2d(2, 5, 3, 2, 1), nn.Flatten(), nn.Unflatten(1, (5, 4, 4)), nn.ConvTranspose2d(5, 2, 5, 2, 2, 1)
    ).double()
    torchs.load_state_dict(ours.state_dict())
    images = double(3, 2, 8, 8).requires_grad_(True)
    found, expected = ours(images), torchs(images)
    torch.testing.assert_close(found, expected)
    with plain():
        assert torch.equal(ours(images), expected)
    for own, known in zip(
        torch.autograd.grad(found.square().sum(), [images, *ours.parameters()]),
        torch.autograd.grad(expected.square().sum(), [images, *torchs.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(own, known)


def test_kernels_are_left_out_where_nobody_asks_for_them(monkeypatch):
    """A gradient penalty's first pass: the slope by the images, which is differentiated by the kernels only then."""
    layer, images = Convolution(2, 3, 3, 1, 1).double(), double(2, 2, 6, 6).requires_grad_(True)
    loss = layer(images).square().sum()
    with kernels_left_out():
        of_images, of_kernel = torch.autograd.grad(loss, [images, layer.weight], create_graph=True, allow_unused=True)
    assert of_kernel is None
    (of_slope,) = torch.autograd.grad(of_images.square().sum(), layer.weight)
    assert of_slope.abs().max() > 0
