import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.classifiers.methods.diameter_only import DiameterOnly
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.classifiers.saliency import grad_cam, overlay, saliency
from lesionforge.data.hounsfield import default_window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError


class Average(nn.Module):
    def forward(self, maps):
        return maps.flatten(2).mean(dim=2)


def network(axes: int, *, inplace: bool = False) -> nn.Sequential:
    """Convolutions, a global average and one dense layer: there, Grad-CAM is the class activation map."""
    torch.manual_seed(0)
    convolution, pool = ((nn.Conv2d, nn.MaxPool2d), (nn.Conv3d, nn.MaxPool3d))[axes - 2]
    layers = [convolution(1, 4, 3, padding=1), nn.ReLU(inplace), pool(2), convolution(4, 6, 3, padding=1)]
    return nn.Sequential(*layers, nn.ReLU(inplace), Average(), nn.Linear(6, 3))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("inplace", [False, True])
def test_behind_a_global_average_it_is_the_class_activation_map(axes, inplace):
    made = network(axes, inplace=inplace)
    inputs = torch.rand(2, 1, *[8] * axes)
    with torch.no_grad():
        maps = made[:5](inputs)
    weight = (made[-1].weight[1] - made[-1].weight[[0, 2]].mean(dim=0)).detach()
    expected = torch.einsum("c,bc...->b...", weight, maps).relu() / maps[0, 0].numel()
    expected = nn.functional.interpolate(
        expected.unsqueeze(1), inputs.shape[2:], mode="bilinear" if axes == 2 else "trilinear"
    )[:, 0]
    torch.testing.assert_close(grad_cam(made, inputs, 1), expected)


def test_its_weights_are_finite_differences_of_the_score():
    """Where the maps go through more than an average: raise each place a little, and see what the logits do."""
    torch.manual_seed(1)
    before = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh())
    after = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 9, 5), nn.Tanh(), nn.Linear(5, 2))
    made = nn.Sequential(*before, *after).double()
    inputs = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        maps, step = before(inputs), 1e-6
        slopes = torch.zeros(maps.numel(), dtype=torch.float64)
        for place in range(maps.numel()):
            raised = torch.zeros(maps.numel(), dtype=torch.float64)
            raised[place] = step
            raised = raised.reshape(maps.shape)
            zero, one = ((after(maps + raised) - after(maps - raised)) / (2 * step))[0]
            slopes[place] = one - zero
    expected = (slopes.reshape(maps.shape) * maps).sum(dim=1).relu()
    torch.testing.assert_close(grad_cam(made, inputs, 1), expected, rtol=1e-6, atol=1e-9)


def test_what_the_classes_do_not_hang_on_is_not_looked_at():
    class WithAnOutline(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.outline = network(2), nn.Conv2d(1, 1, 1)

        def forward(self, images):
            self.drawn = self.outline(images)
            return self.body(images)

    made, inputs = WithAnOutline(), torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(grad_cam(made, inputs, 0), grad_cam(made.body, inputs, 0))
    with pytest.raises(LesionForgeError, match="no convolution"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), inputs, 0)


@pytest.fixture(scope="module")
def cornered():
    """A bright square in a corner is the second class, nothing the first."""
    rng = np.random.default_rng(0)
    images = rng.normal(-800, 20, (80, 16, 16))
    images[1::2, :6, 10:] += 700
    return Patches.of(images.astype(np.float32), patient=[f"p{n}" for n in range(80)], label=["none", "square"] * 40)


def test_it_looks_where_the_classes_differ(cornered):
    fitted = SmallCNN(channels=(8, 8), max_images=2500, batch_size=16, learning_rate=3e-3).fit(cornered)
    shown = cornered.rows([1, 3, 5])
    maps = saliency([fitted, fitted], shown, np.array([1, 1, 1]))
    assert maps.shape == (3, 16, 16)
    assert maps.max(axis=(1, 2)).tolist() == [1, 1, 1]
    for found in maps:
        y, x = np.unravel_index(found.argmax(), found.shape)
        assert y < 9
        assert x > 7
    picture = overlay(shown, maps, default_window("HU"), zoom=2)
    assert picture.shape == (3 * 32, 2 * 32, 3)
    assert picture.dtype == np.uint8
    with pytest.raises(LesionForgeError, match="takes patches of"):
        saliency([fitted], shown.centre_crop(8), np.array([1, 1, 1]))


def test_of_volumes_the_strongest_slice_is_drawn():
    patches = Patches.of(np.zeros((1, 3, 4, 4), np.float32), patient=["p"])
    maps = np.zeros((1, 3, 4, 4))
    maps[0, 2, 1, 1] = 1
    picture = overlay(patches, maps, default_window("HU"), zoom=1)
    assert picture.shape == (4, 8, 3)
    assert (picture[1, 5] != picture[0, 4]).any()


def test_without_a_network_there_is_no_picture(small_patches):
    patches = small_patches()
    fitted = DiameterOnly().fit(patches)
    with pytest.raises(LesionForgeError, match="needs a network"):
        saliency([fitted], patches, np.zeros(len(patches), int))
