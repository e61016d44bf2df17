from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.classifiers.methods.resnet_3d import ResNet3D, random_crops
from lesionforge.errors import LesionForgeError, StorageError

QUICK = ResNet3D(network="resnet18", width=4, batch_size=4, max_images=16, check_every_images=8)


@pytest.fixture
def train(small_patches):
    return small_patches(patients=8, per_patient=1, shape=(8, 8, 8))


def backbone(**changes):
    return replace(QUICK, **changes).build((8, 8, 8), 400).backbone


def test_video_networks_are_shown_what_hara_showed_them():
    network, images, shown = QUICK.build((8, 8, 8), 2).eval(), torch.rand(2, 1, 8, 8, 8), []
    network.backbone.register_forward_pre_hook(lambda _module, inputs: shown.append(inputs[0]))
    network(images)
    for channel, mean in enumerate([114.7748, 107.7354, 99.4750]):
        torch.testing.assert_close(shown[0][:, channel], 255 * images[:, 0] - mean, rtol=1e-5, atol=1e-4)


def test_medicalnets_networks_are_shown_standardised_volumes():
    network, images, shown = replace(QUICK, channels=1).build((8, 8, 8), 2).eval(), torch.rand(2, 1, 8, 8, 8), []
    network.backbone.register_forward_pre_hook(lambda _module, inputs: shown.append(inputs[0]))
    network(images)
    torch.testing.assert_close(shown[0].mean(dim=(1, 2, 3, 4)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(shown[0].var(dim=(1, 2, 3, 4), correction=0), torch.ones(2), atol=1e-3, rtol=0)
    assert torch.isfinite(network(torch.zeros(1, 1, 8, 8, 8))).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_of_weights_is_where_fitting_starts(train, tmp_path, channels):
    torch.manual_seed(7)
    published = backbone(channels=channels).state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in published.items()}}, tmp_path / "w.pth")
    fitted = replace(QUICK, channels=channels, pretrained=str(tmp_path / "w.pth"), learning_rate=1e-12).fit(train)
    torch.testing.assert_close(fitted.network.backbone.layer4[1].conv2.weight, published["layer4.1.conv2.weight"])


def test_weights_for_other_channels_are_refused_with_the_way_out(train, tmp_path):
    torch.save(backbone(channels=1).state_dict(), tmp_path / "w.pth")
    with pytest.raises(LesionForgeError, match="set channels=1"):
        replace(QUICK, pretrained=str(tmp_path / "w.pth")).fit(train)


def test_weights_of_another_depth_are_refused_unless_taken_in_part(train, tmp_path):
    torch.save(backbone(network="resnet34").state_dict(), tmp_path / "w.pth")
    method = replace(QUICK, pretrained=str(tmp_path / "w.pth"))
    with pytest.raises(StorageError, match="must be those of 3-D resnet18"):
        method.fit(train)
    replace(method, partly=True).fit(train)


def test_shortcuts_without_weights_are_another_network(train, tmp_path):
    """As MedicalNet's of 18 and 34 layers have: zeros are appended where channels grow."""
    weights = {name: tensor for name, tensor in backbone().state_dict().items() if "downsample" not in name}
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(StorageError, match=r"layer2\.0\.downsample"):
        replace(QUICK, pretrained=str(tmp_path / "w.pth")).fit(train)


def test_the_published_loss_is_plain_and_can_be_weighted(train):
    assert not ResNet3D().class_weights
    rare = train.rows([0, 2, 4, 6, 1])  # four benign, one malignant
    losses = [
        replace(QUICK, class_weights=weighted, batch_size=8, max_images=5, learning_rate=1e-12)
        .fit(rare)
        .history["train_loss"]
        .item()
        for weighted in (False, True)
    ]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_crops_are_scaled_back_to_the_patch():
    ramp = torch.linspace(0, 1, 16).expand(4, 1, 8, 8, 16).contiguous()
    torch.manual_seed(0)
    cropped = random_crops(ramp, most=0.5)
    assert cropped.shape == ramp.shape
    step = (cropped[..., 1:] - cropped[..., :-1])[..., 2:-2]
    for each in step:  # of a ramp, a crop is a ramp again, flatter by the share of the axis that is left
        assert each.std() < 1e-5
        assert 0.5 / 15 - 1e-6 <= each.mean() <= 1 / 15 + 1e-6
    assert step.mean(dim=(1, 2, 3, 4)).std() > 1e-3  # each its own


def test_no_crop_leaves_volumes_as_they_are():
    images = torch.rand(2, 1, 8, 9, 10)
    torch.testing.assert_close(random_crops(images, most=0.0), images, rtol=1e-4, atol=1e-5)


def test_predictions_are_not_cropped(train):
    fitted = QUICK.fit(train)
    first, second = (fitted.predict_proba(train, already_seen=True) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("shape", [(64, 64), (7, 64, 64)], ids=str)
def test_pictures_and_thin_volumes_are_refused(shape):
    with pytest.raises(LesionForgeError, match="8 voxels or more"):
        ResNet3D().check_shape(shape)
