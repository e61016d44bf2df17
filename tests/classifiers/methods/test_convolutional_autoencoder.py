import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.classifiers.methods.convolutional_autoencoder import ConvolutionalAutoencoder
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.networks import parameter_count

SMALL = ConvolutionalAutoencoder(channels=4, passes=2, batch_size=8)


def patches(shape: tuple[int, ...] = (16, 16)) -> Patches:
    rng = np.random.default_rng(0)
    codes = np.arange(24) % 2
    hu = rng.normal(-700, 60, (24, *shape)) + 400 * codes.reshape(-1, *[1] * len(shape))
    return Patches.of(hu, patient=[f"p{k}" for k in range(24)], label=[f"class {c}" for c in codes])


def test_the_published_layers():
    layers = ConvolutionalAutoencoder().layers((40, 40))
    counts = [parameter_count(layer.encode) for layer in layers]
    assert counts == [50 * 25 + 50, 50 * 50 * 9 + 50, 50 * 50 * 9 + 50]
    maps, shapes = torch.zeros(2, 1, 40, 40), []
    for layer in layers:
        assert [type(part) for part in layer.encode] == [nn.Conv2d, nn.ReLU]
        encoded = layer.encode(maps)
        assert layer.decode(encoded).shape == maps.shape
        maps = layer.lead_on(encoded)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(50, 20, 20), (50, 10, 10), (50, 5, 5)]


def test_features_are_the_last_poolings_output(facts_of):
    train = patches()
    fitted = SMALL.fit(train)
    weights = {n.removeprefix("describe."): torch.from_numpy(a) for n, a in fitted.arrays.items() if "describe" in n}
    maps = torch.from_numpy(np.clip((train.images + 1000) / 1400, 0, 1)).float().unsqueeze(1)
    for number in range(3):
        kernel, offsets = (weights[f"{2 * number}.0.{kind}"] for kind in ("weight", "bias"))
        maps = nn.functional.conv2d(maps, kernel, offsets, padding=kernel.shape[-1] // 2)
        maps = nn.functional.max_pool2d(torch.relu(maps), 2)
    np.testing.assert_allclose(fitted.features(train, already_seen=True), maps.flatten(1).numpy(), atol=1e-5)


def test_volumes_are_learnt_from_as_well():
    volumes = patches((8, 16, 16))
    fitted = SMALL.fit(volumes)
    assert fitted.features(volumes, already_seen=True).shape == (24, 4 * 1 * 2 * 2)
    assert (fitted.predict_proba(volumes, already_seen=True).argmax(axis=1) == np.arange(24) % 2).mean() > 0.9


def test_flat_volumes_are_refused_by_their_size():
    with pytest.raises(LesionForgeError, match="3×16×16"):
        SMALL.check_shape((3, 16, 16))
