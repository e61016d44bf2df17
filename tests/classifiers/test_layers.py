import pytest
import torch
from torch import nn

from lesionforge.classifiers.mobilenet import MobileNetV2
from lesionforge.classifiers.resnet import PLANS, ResNet

NETWORKS = {
    "mobilenet": lambda: MobileNetV2(2),
    "resnet50": lambda: ResNet(PLANS["resnet50"], 2, inputs=3, width=16),
    "resnext101": lambda: ResNet(PLANS["resnext101"], 2, inputs=3, width=16),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_new_networks_show_norms_what_their_running_averages_begin_with(name):
    """A variance of 1, or what is learnt in a few steps does not come out when the averages are used."""
    torch.manual_seed(0)
    network = NETWORKS[name]().train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    variances = []
    for norm in norms:
        norm.register_forward_pre_hook(lambda _norm, inputs: variances.append(inputs[0].var().item()))
    with torch.no_grad():
        network(torch.randn(8, 3, 64, 64))
    assert len(variances) == len(norms)
    logs = torch.tensor(variances).log10()
    assert logs.median().abs() < 0.3
    assert logs.min() > -1
