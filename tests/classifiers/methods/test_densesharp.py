from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.classifiers.methods.densesharp import DenseSharp, dice_loss
from lesionforge.classifiers.network import LabelledBatch
from lesionforge.errors import LesionForgeError

SMALL = DenseSharp(blocks=(1, 1, 1), growth=2, first_channels=4, batch_size=8, max_images=64, check_every_images=32)


@pytest.mark.parametrize("shape", [(3, 32, 32), (8, 8, 8), (13, 9, 51)], ids=str)
def test_the_outline_has_the_size_of_the_patch(shape):
    network = SMALL.build(shape, 3)
    logits, outline = network.logits_and_outline(torch.rand(2, 1, *shape))
    assert logits.shape == (2, 3)
    assert outline.shape == (2, 1, *shape)
    network.eval()
    images = torch.rand(2, 1, *shape)
    assert torch.equal(network(images), network.logits_and_outline(images)[0])


def test_the_dice_loss_is_that_of_the_overlap():
    mask = np.zeros((2, 1, 4, 4, 4))
    mask[0, :, 1:3] = 1
    probability = np.random.default_rng(0).random(mask.shape)
    of_each = [1 - (2 * (p * m).sum() + 1) / (p.sum() + m.sum() + 1) for p, m in zip(probability, mask, strict=True)]
    found = dice_loss(torch.from_numpy(probability), torch.from_numpy(mask))
    assert found.item() == pytest.approx(np.mean(of_each), rel=1e-12)
    assert dice_loss(torch.from_numpy(mask), torch.from_numpy(mask)).item() == pytest.approx(0, abs=1e-12)


def test_the_segmentation_counts_a_fifth():
    network = SMALL.build((3, 8, 8), 2).eval()
    batch = LabelledBatch(
        images=torch.rand(4, 1, 3, 8, 8),
        targets=torch.tensor([0, 1, 1, 0]),
        masks=torch.ones(4, 1, 3, 8, 8),
        class_weights=None,
    )
    losses = SMALL.losses(network, batch)
    logits, outline = network.logits_and_outline(batch.images)
    assert losses["class"].item() == pytest.approx(-logits.log_softmax(1)[range(4), batch.targets].mean().item())
    assert losses["segmentation"].item() == pytest.approx(0.2 * dice_loss(outline.sigmoid(), batch.masks).item())


def test_it_learns_to_outline_the_lesion(small_patches):
    train = small_patches(patients=8, shape=(4, 8, 8))
    bright = train.with_images(np.where(train.masks, 100, -900).astype(np.int16), train.masks)
    fitted = replace(SMALL, max_images=1_200).fit(bright)
    history = fitted.history
    assert list(history) == ["images_shown", "train_loss", "train_loss_class", "train_loss_segmentation"]
    np.testing.assert_allclose(history["train_loss"], history.filter(like="loss_").sum(axis=1), rtol=1e-6)
    with torch.no_grad():
        window = fitted.facts.window
        images = torch.from_numpy(window.to_unit_interval(bright.images)).unsqueeze(1)
        outline = fitted.network.logits_and_outline(images)[1].squeeze(1).numpy() > 0
    overlap = 2 * (outline & (bright.masks > 0)).sum() / (outline.sum() + bright.masks.sum())
    assert overlap > 0.9


def test_masks_are_needed_to_learn_and_not_to_predict(small_patches):
    train = small_patches(patients=8, shape=(4, 8, 8))
    test = small_patches(patients=4, shape=(4, 8, 8), prefix="test", seed=1)
    bare = test.with_images(test.images)
    with pytest.raises(LesionForgeError, match="needs a mask"):
        SMALL.fit(train.with_images(train.images))
    fitted = SMALL.fit(train, validation=bare)
    assert np.isfinite(fitted.history["validation_loss"]).all()
    np.testing.assert_array_equal(
        fitted.predict_proba(bare, already_seen=True), fitted.predict_proba(test, already_seen=True)
    )
