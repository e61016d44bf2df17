import torch
from torch import nn

from lesionforge.classifiers.methods.calm_cnn import CalmCNN
from lesionforge.networks import parameter_count


def test_it_is_the_encoder_of_the_autoencoder_with_a_dense_layer():
    network = CalmCNN().build((40, 40), 2)
    assert [type(layer) for layer in network] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d] * 3 + [nn.Flatten, nn.Linear]
    assert parameter_count(network) == 50 * 26 + 2 * 50 * (9 * 50 + 1) + 2 * (50 * 5 * 5 + 1)
    assert network(torch.rand(3, 1, 40, 40)).shape == (3, 2)


def test_the_optimiser_is_that_of_the_papers_other_network():
    group = CalmCNN().optimiser([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (1e-3, 1e-4)
