import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.classifiers.methods.densenet_2d import DenseNet2D
from lesionforge.classifiers.methods.densenet_3d import DenseNet3D
from lesionforge.classifiers.methods.densesharp import DenseSharp
from lesionforge.errors import LesionForgeError
from lesionforge.networks import parameter_count

METHODS = [(DenseNet2D(), (32, 32)), (DenseNet3D(), (3, 32, 32)), (DenseSharp(), (3, 32, 32))]
IDS = ["densenet_2d", "densenet_3d", "densesharp"]


def keras_total(network: nn.Module) -> int:
    """Parameters as Keras counts them: with the norms' running means and variances."""
    norms = [module for module in network.modules() if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d))]
    return parameter_count(network) + sum(2 * norm.num_features for norm in norms)


@pytest.mark.parametrize(
    ("method", "shape", "published", "total"),
    [
        (DenseNet2D(), (32, 32), 116, 116_867),
        (DenseNet3D(), (32, 32, 32), 405, 405_171),
        (DenseSharp(), (32, 32, 32), 599, 599_012),
        (DenseSharp(), (3, 32, 32), 599, 599_012),
    ],
    ids=["densenet_2d", "densenet_3d", "densesharp", "densesharp on three slices"],
)
def test_parameters_are_those_published(method, shape, published, total):
    """As published: thousands in Keras' count, cut off; of three classes."""
    found = keras_total(method.build(shape, 3))
    assert found == total
    assert found // 1000 == published


@pytest.mark.parametrize(("method", "shape"), METHODS, ids=IDS)
def test_each_layer_sees_all_before_it_and_blocks_halve_the_resolution(method, shape):
    network = method.build(shape, 2).eval()
    outputs = network.block_outputs(torch.rand(2, 1, *shape))
    channels = 32
    for number, maps in enumerate(outputs):
        channels = (channels // 2 if number else channels) + 4 * 16
        assert maps.shape[:2] == (2, channels)
        assert maps.shape[2:] == tuple(-(-side // 2**number) for side in shape)


def test_the_forward_pass_is_that_of_the_paper_written_out():
    """Norm, ReLU, 1×1, norm, ReLU, 3×3, and beside it what came; 2-D, with torch's functions and in doubles."""
    torch.manual_seed(0)
    network = DenseNet2D(blocks=(2, 1)).build((8, 8), 3).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
    weights = network.state_dict()

    def norm_relu(maps, name):
        of = {key: weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        mean, var, scale, offset = (value.reshape(1, -1, 1, 1) for value in of.values())
        return ((maps - mean) / (var + 1e-5).sqrt() * scale + offset).clamp(min=0)

    def layer(maps, name):
        narrow = F.conv2d(norm_relu(maps, f"{name}.0"), weights[f"{name}.2.weight"])
        made = F.conv2d(
            norm_relu(narrow, f"{name}.3"), weights[f"{name}.5.weight"], weights[f"{name}.5.bias"], padding=1
        )
        return torch.cat([maps, made], dim=1)

    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    maps = F.conv2d(2 * images - 1, weights["first.weight"], weights["first.bias"], padding=1)
    maps = layer(layer(maps, "blocks.0.0.layers"), "blocks.0.1.layers")
    maps = F.conv2d(
        norm_relu(maps, "transitions.0.0"), weights["transitions.0.2.weight"], weights["transitions.0.2.bias"]
    )
    maps = layer(F.avg_pool2d(maps, 2), "blocks.1.0.layers")
    expected = norm_relu(maps, "last.0").mean(dim=(2, 3)) @ weights["head.weight"].T + weights["head.bias"]
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize(("method", "shape"), METHODS, ids=IDS)
def test_other_numbers_of_axes_and_too_few_pixels_are_refused(method, shape):
    for other in (shape[1:], (*shape, 32), tuple(7 for _ in shape), (2, *shape[1:])):
        with pytest.raises(LesionForgeError, match=f"takes {len(shape)}-D patches .* {'×'.join(map(str, other))} came"):
            method.check_shape(other)
    method.check_shape(shape)
