import torch
from torch import nn

from lesionforge.classifiers.methods.lesion_cnn import LesionCNN
from lesionforge.classifiers.network import MeanImage
from lesionforge.networks import parameter_count


def test_the_published_network_has_about_1_3_million_parameters():
    convolutions = 25 * (1 * 64 + 64 * 64 + 64 * 64) + 3 * 64
    dense = 8 * 8 * 64 * 256 + 256 + 256 * 3 + 3
    assert parameter_count(LesionCNN().build((64, 64), 3)) == convolutions + dense == 1_256_195


def test_three_pairs_of_convolution_and_pooling_then_two_dense_layers():
    kinds = [type(layer) for layer in LesionCNN().build((64, 64), 3)]
    pairs = [nn.Conv2d, nn.ReLU, nn.MaxPool2d] * 3
    assert kinds == [MeanImage, *pairs, nn.Flatten, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]


def test_the_optimiser_is_nesterovs_as_published():
    group = LesionCNN().optimiser([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"]) == (1e-3, 0.9, True)


def test_sides_need_not_be_equal_nor_powers_of_two():
    assert LesionCNN().build((35, 50), 2)(torch.zeros(5, 1, 35, 50)).shape == (5, 2)
