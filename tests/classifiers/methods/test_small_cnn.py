import torch
from torch import nn

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.networks import parameter_count


def test_the_published_network_has_about_55_thousand_parameters():
    convolutions = 9 * (1 * 32 + 32 * 32 + 32 * 48 + 48 * 64) + 32 + 32 + 48 + 64
    dense = 4 * 4 * 64 * 3 + 3
    network = SmallCNN().build((64, 64), 3)
    assert parameter_count(network) == convolutions + dense == 54_227


def test_four_convolutions_each_pooled_and_dropped_out_then_one_dense_layer():
    kinds = [type(layer) for layer in SmallCNN().build((64, 64), 3)]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Dropout] * 4 + [nn.Flatten, nn.Linear]
    assert {layer.p for layer in SmallCNN().build((64, 64), 3) if isinstance(layer, nn.Dropout)} == {0.25}


def test_sides_need_not_be_equal_nor_powers_of_two():
    assert SmallCNN().build((35, 50), 2)(torch.zeros(5, 1, 35, 50)).shape == (5, 2)
