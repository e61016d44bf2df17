from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.classifiers.autoencoding import Layer
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.classifiers.methods.convolutional_autoencoder import ConvolutionalAutoencoder
from lesionforge.data.patches import Patches
from lesionforge.errors import TrainingDivergedError

SMALL = ConvolutionalAutoencoder(channels=6, passes=6, batch_size=8, learning_rate=5e-3, decision=Logistic())


def patches(count: int = 64) -> Patches:
    """Discs at random places."""
    rng = np.random.default_rng(0)
    y, x = np.indices((16, 16))
    at = rng.uniform(3, 13, (2, count, 1, 1))
    hu = -900 + 1000 * (np.hypot(y - at[0], x - at[1]) < 3.5)
    return Patches.of(hu, patient=[f"p{k}" for k in range(count)], label=["a", "b"] * (count // 2))


@pytest.fixture(scope="module")
def fitted():
    return SMALL.fit(patches())


def test_each_layer_learns_to_reconstruct_its_input_one_after_the_other(fitted):
    history = fitted.history.dropna(subset="layer")
    assert history["layer"].tolist() == [1] * 6 + [2] * 6 + [3] * 6
    for _, errors in history.groupby("layer")["reconstruction_error"]:
        assert errors.iloc[-1] < 0.8 * errors.iloc[0]
    shown = fitted.history["images_shown"]
    assert shown.tolist() == [64 * k for k in range(1, 20)]  # and one row of the decision


def test_layers_that_have_been_learnt_stay_as_they_are():
    train = patches()
    first_alone = replace(SMALL, kernels=(5,)).fit(train).arrays
    all_three = SMALL.fit(train).arrays
    # Another number of layers draws other initial weights after the first one's, which are the same.
    for name in ("describe.0.0.weight", "describe.0.0.bias"):
        np.testing.assert_allclose(all_three[name], first_alone[name], atol=1e-6)


def test_labels_play_no_part():
    train = patches()
    turned = train.with_columns(label=["b", "a"] * 32)
    one, other = (SMALL.fit(each).features(train, already_seen=True) for each in (train, turned))
    np.testing.assert_array_equal(one, other)


def test_denoising_sees_noise_and_is_asked_for_the_clean_input():
    """What the layers encode and what they are held against is recorded."""
    seen, wanted = [], []

    class Watching(torch.nn.Identity):
        def forward(self, images):
            seen.append(images)
            return images

    class Watched(torch.nn.Conv2d):
        def forward(self, images):
            return super().forward(images)

    class Method(ConvolutionalAutoencoder):
        def layers(self, shape):
            return [Layer(Watching(), Watched(1, 1, 1), torch.nn.Identity())]

        def _pass(self, layer, before, images, optimiser, rng):
            wanted.append(images)
            return super()._pass(layer, before, images, optimiser, rng)

    train = patches()
    for noise in (0.0, 0.5):
        seen.clear()
        method = Method(noise=noise, passes=1, batch_size=64)
        method.learn(train, _facts(train), seed=0, progress=_silent())
        order = np.random.default_rng(0).permutation(64)
        difference = seen[0] - wanted[-1][torch.from_numpy(order)]
        assert float(difference.std()) == pytest.approx(noise * float(wanted[-1].std()), rel=0.02)


def test_a_rate_that_is_too_high_is_named():
    with pytest.raises(TrainingDivergedError, match="--set learning_rate"):
        replace(SMALL, learning_rate=1e6).fit(patches())


def _facts(train):
    from lesionforge.classifiers.contract import Facts
    from lesionforge.data.hounsfield import WINDOWS

    return Facts(train.classes, train.shape, WINDOWS["lung"], (), train.exposure)


def _silent():
    from lesionforge.progress import SILENT

    return SILENT
