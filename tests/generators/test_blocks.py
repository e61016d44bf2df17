import pytest
import torch

from lesionforge.generators.blocks import class_maps, convolution, doubled


@pytest.mark.parametrize("shape", [(8, 12), (8, 4, 12)], ids=str)
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (5, 1, 1), (3, 1, 4), (3, 2, 1), (4, 2, 1)])
def test_a_convolution_keeps_the_shape_or_its_share(shape, kernel, stride, dilation):
    made = convolution(len(shape), 2, 3, kernel, stride=stride, dilation=dilation)(torch.zeros(1, 2, *shape))
    assert made.shape == (1, 3, *(side // stride for side in shape))


@pytest.mark.parametrize("axes", [2, 3])
def test_doubling_goes_straight_from_one_pixel_to_the_next(axes):
    along = torch.tensor([0.0, 4.0, 8.0]).view(1, 1, *[1] * (axes - 1), 3).expand(1, 1, *[2] * (axes - 1), 3)
    twice = doubled(axes)(along)
    assert twice.shape == (1, 1, *[4] * (axes - 1), 6)
    assert twice.flatten(0, -2)[0].tolist() == [0, 1, 3, 5, 7, 8]  # quarters of the way on either side


def test_a_class_is_a_channel_of_ones():
    maps = class_maps(torch.tensor([2, 0]), 3, torch.zeros(2, 1, 4, 5))
    assert maps.shape == (2, 3, 4, 5)
    assert maps.mean((2, 3)).tolist() == [[0, 0, 1], [1, 0, 0]]
