import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from lesionforge.classifiers.resnet import PLANS, ResNet
from lesionforge.networks import channels_last, parameter_count

# As torchvision's and MONAI's networks of these names have, with one dense layer for three classes.
PARAMETERS = {
    ("resnet18", 2): 11_178_051,
    ("resnet50", 2): 23_514_179,
    ("resnext101", 2): 42_134_851,
    ("resnet18", 3): 33_205_443,
    ("resnet50", 3): 46_205_123,
    ("resnet101", 3): 85_251_267,
    ("resnet152", 3): 117_409_987,
}


@pytest.mark.parametrize(("name", "axes"), PARAMETERS, ids=str)
def test_parameters_are_those_of_other_implementations(name, axes):
    with torch.device("meta"):
        network = ResNet(PLANS[name], 3, inputs=3, stem_stride=(1, 2, 2)[-axes:])
    assert parameter_count(network) == PARAMETERS[name, axes]


def test_names_are_those_of_published_files():
    with torch.device("meta"):
        names = set(ResNet(PLANS["resnet50"], 3, inputs=3, stem_stride=(1, 2, 2)).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer4.2.bn3.weight"} < names
    assert {"layer3.5.conv2.weight", "fc.weight", "fc.bias"} < names
    assert len(names) == 320  # torchvision's resnet50, in another number of axes


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext101"])
def test_the_forward_pass_is_that_of_the_papers_written_out(name):
    """With torch's functions, in doubles: the stride in a bottleneck's middle, the projection where sizes change."""
    torch.manual_seed(0)
    plan, width = PLANS[name], 32 if name == "resnext101" else 4
    network = ResNet(plan, 3, inputs=1, width=width).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    weights = network.state_dict()

    def norm(maps, at):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, offset = (weights[f"{at}.{key}"].reshape(1, -1, 1, 1) for key in keys)
        return (maps - mean) / (var + 1e-5).sqrt() * scale + offset

    def block(maps, at, stride):
        kernels = 3 if plan.bottleneck else 2
        made = maps
        for k in range(1, kernels + 1):
            kernel = weights[f"{at}.conv{k}.weight"]
            made = F.conv2d(
                made,
                kernel,
                stride=stride if k == kernels - 1 else 1,
                padding=kernel.shape[-1] // 2,
                groups=plan.groups if k == 2 else 1,
            )
            made = norm(made, f"{at}.bn{k}")
            made = made.relu() if k < kernels else made
        if f"{at}.downsample.0.weight" in weights:
            maps = norm(F.conv2d(maps, weights[f"{at}.downsample.0.weight"], stride=stride), f"{at}.downsample.1")
        return (maps + made).relu()

    images = torch.rand(2, 1, 33, 40, dtype=torch.float64)
    maps = norm(F.conv2d(images, weights["conv1.weight"], stride=2, padding=3), "bn1").relu()
    maps = F.max_pool2d(maps, 3, 2, 1)
    for stage in range(4):
        for number in range(plan.blocks[stage]):
            maps = block(maps, f"layer{stage + 1}.{number}", 2 if stage and not number else 1)
    expected = maps.mean(dim=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    torch.testing.assert_close(network(images), expected)


def test_volumes_are_halved_five_times_but_depth_only_four():
    network = ResNet(PLANS["resnet18"], 2, inputs=3, stem_stride=(1, 2, 2), width=2).eval()
    sizes = []
    network.layer4.register_forward_hook(lambda _module, _inputs, maps: sizes.append(tuple(maps.shape)))
    network(torch.rand(1, 3, 32, 64, 64))
    assert sizes == [(1, 16, 2, 2, 2)]


def test_narrow_networks_laid_out_for_a_cpu_learn_and_do_not_crash():
    network = channels_last(ResNet(PLANS["resnet18"], 2, inputs=1, width=8))
    network(torch.randn(2, 1, 64, 64)).sum().backward()
    gradient = network.get_submodule("layer2.0.downsample.0").weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
