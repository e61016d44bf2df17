import pytest
import torch

from lesionforge.classifiers.methods.resnet_cad import ResNetCAD
from lesionforge.errors import LesionForgeError
from lesionforge.networks import parameter_count


def test_it_is_resnet_18_with_one_channel():
    network = ResNetCAD().build((64, 64), 2)
    assert parameter_count(network) == 11_176_512 - 2 * 49 * 64 + 2 * 512 + 2
    assert network(torch.rand(2, 1, 64, 64)).shape == (2, 2)


def test_other_patches_are_refused():
    for shape in ((15, 64), (32, 32, 32)):
        with pytest.raises(LesionForgeError, match="16 pixels or more"):
            ResNetCAD().check_shape(shape)
