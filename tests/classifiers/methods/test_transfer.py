from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.classifiers.methods import transfer
from lesionforge.classifiers.methods.transfer import Transfer
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.networks import parameter_count

PARAMETERS = {"vgg16": 14_714_688 + 3 * 512 + 3, "resnet50": 23_508_032 + 3 * 2048 + 3, "mobilenet": 2_223_872 + 3_843}
QUICK = Transfer(backbone="mobilenet", pretrained="none", batch_size=4, max_images=8, check_every_images=4)


@pytest.fixture
def train(small_patches):
    return small_patches(patients=8, per_patient=1, shape=(32, 32))


@pytest.mark.parametrize("backbone", PARAMETERS)
def test_networks_are_those_of_the_papers_table(backbone):
    """Torchvision's own, without their dense layers, and one for three classes."""
    assert parameter_count(Transfer(backbone=backbone).build((64, 64), 3)) == PARAMETERS[backbone]


@pytest.mark.parametrize("backbone", PARAMETERS)
def test_grey_becomes_three_channels_with_imagenets_statistics(backbone):
    network = Transfer(backbone=backbone).build((32, 32), 2).eval()
    images, shown = torch.rand(2, 1, 32, 32), []
    network.backbone.register_forward_pre_hook(lambda _module, inputs: shown.append(inputs[0]))
    network(images)
    for channel, (mean, sd) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        torch.testing.assert_close(shown[0][:, channel], (images[:, 0] - mean) / sd)


@pytest.mark.parametrize("backbone", PARAMETERS)
def test_names_are_those_of_published_files(backbone):
    some = {
        "vgg16": {"features.0.weight", "features.28.bias"},
        "resnet50": {"layer1.0.downsample.1.running_var", "layer4.2.conv3.weight"},
        "mobilenet": {
            "features.0.1.weight",
            "features.1.conv.0.0.weight",
            "features.17.conv.3.bias",
            "features.18.0.weight",
        },
    }
    count = {"vgg16": 26, "resnet50": 318, "mobilenet": 312}  # without those of the last dense layers
    names = {name for name in transfer.BACKBONES[backbone](2).state_dict() if not name.startswith("fc.")}
    assert some[backbone] < names
    assert len(names) == count[backbone]


def test_a_file_of_weights_is_where_fitting_starts(train, tmp_path):
    torch.manual_seed(7)
    published = transfer.BACKBONES["mobilenet"](1000)
    torch.save(published.state_dict(), tmp_path / "w.pth")
    method = replace(QUICK, pretrained=str(tmp_path / "w.pth"), learning_rate=1e-12)
    fitted = method.fit(train)
    found = fitted.network.backbone.features[18][0].weight
    torch.testing.assert_close(found, published.features[18][0].weight)
    (tmp_path / "w.pth").unlink()
    assert method.restored(fitted.facts, fitted.arrays).parameters == fitted.parameters  # needs the file no more


def test_imagenet_is_the_default_and_asked_for_by_torchvisions_file_name(train, monkeypatch):
    asked = []

    def imagenet_weights(file):
        asked.append(file)
        return transfer.BACKBONES["mobilenet"](1000).state_dict()

    monkeypatch.setattr(transfer, "imagenet_weights", imagenet_weights)
    replace(QUICK, pretrained=Transfer().pretrained).fit(train)
    assert asked == ["mobilenet_v2-b0353104.pth"]


def test_weights_of_another_backbone_are_refused(train, tmp_path):
    torch.save(transfer.BACKBONES["vgg16"](2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(StorageError, match="must be those of mobilenet"):
        replace(QUICK, pretrained=str(tmp_path / "w.pth")).fit(train)


def test_frozen_only_the_new_layer_learns_and_norms_stand_still(train):
    method = replace(QUICK, frozen_images=8, learning_rate=0.1)
    frozen, thawed = (replace(method, max_images=count).fit(train) for count in (8, 16))
    untouched = replace(method, learning_rate=1e-30).fit(train)
    start = untouched.network.state_dict()
    for name, tensor in frozen.network.state_dict().items():
        assert torch.equal(tensor, start[name]) == (not name.startswith("backbone.fc.")), name
    changed = [name for name, tensor in thawed.network.state_dict().items() if not torch.equal(tensor, start[name])]
    assert "backbone.features.0.0.weight" in changed
    assert "backbone.features.0.1.running_mean" in changed
    assert frozen.parameters == thawed.parameters == parameter_count(QUICK.build((32, 32), 2))


def test_fitting_stops_ten_epochs_after_the_best(train, small_patches):
    validation = small_patches(patients=4, per_patient=1, shape=(32, 32), prefix="validation", seed=1)
    method = replace(QUICK, max_images=0, check_every_images=8, learning_rate=1e-30, patience_epochs=2)
    assert Transfer().patience_epochs == 10
    for module in method.build((32, 32), 2).modules():
        assert not isinstance(module, nn.Dropout)  # without noise and with so small a step, only norms move
    history = method.fit(train, validation=validation).history
    best = history.loc[history["validation_loss"].idxmin(), "images_shown"]
    assert history["images_shown"].iloc[-1] - best == 2 * len(train)


@pytest.mark.parametrize("shape", [(31, 64), (64, 64, 64), (64,)], ids=str)
def test_what_five_halvings_would_leave_nothing_of_is_refused(shape):
    with pytest.raises(LesionForgeError, match="32 pixels or more"):
        Transfer().check_shape(shape)


def test_without_weights_nothing_is_fetched(train, monkeypatch):
    monkeypatch.setattr(transfer, "imagenet_weights", pytest.fail)
    probability = QUICK.fit(train).predict_proba(train, already_seen=True)
    assert np.isfinite(probability).all()
