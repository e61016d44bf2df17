import numpy as np
import pytest
import torch

from lesionforge.classifiers.decisions.network import Network
from lesionforge.classifiers.methods.fully_connected_autoencoder import FullyConnectedAutoencoder
from lesionforge.networks import parameter_count


def test_the_published_layer():
    (layer,) = FullyConnectedAutoencoder().layers((40, 40))
    assert parameter_count(layer.encode) == 1600 * 1024 + 1024
    images = torch.zeros(2, 1, 40, 40)
    assert layer.decode(layer.encode(images)).shape == images.shape


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8)], ids=str)
def test_features_are_the_hidden_units(small_patches, shape):
    patches = small_patches(shape=shape)
    fitted = FullyConnectedAutoencoder(units=7, passes=2, decision=Network(epochs=2)).fit(patches)
    weight, bias = fitted.arrays["describe.0.1.weight"], fitted.arrays["describe.0.1.bias"]
    unit = np.clip((patches.images.reshape(len(patches), -1) + 1000) / 1400, 0, 1)
    expected = np.maximum(unit @ weight.T + bias, 0)
    np.testing.assert_allclose(fitted.features(patches, already_seen=True), expected, atol=1e-5)
