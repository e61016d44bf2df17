from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.classifiers.methods.acgan_head import ACGANHead
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.generators.training_folder import STATE

GAN = ACGAN(latent_size=4, generator_width=16, discriminator_width=2, batch_size=8)
PLAN = TrainingPlan(images=32)


@pytest.fixture(scope="module")
def patches(small_patches):
    return small_patches(patients=8)


@pytest.fixture(scope="module")
def others(small_patches):
    return small_patches(patients=4, prefix="test", seed=1)


@pytest.fixture(scope="module")
def trained(patches, tmp_path_factory):
    return train(GAN, patches, tmp_path_factory.mktemp("acgan") / "trained", plan=PLAN)


def test_a_given_checkpoint_gives_what_training_it_gives(patches, others, trained):
    fitted = ACGANHead(gan=GAN, max_images=32).fit(patches, seed=0)
    given = ACGANHead(checkpoint=str(trained)).fit(patches)
    np.testing.assert_array_equal(given.predict_proba(others), fitted.predict_proba(others))
    assert given.method.gan == GAN
    assert list(fitted.history["images_shown"]) == [32]


def test_it_says_what_the_discriminators_class_head_says(patches, others):
    fitted = ACGANHead(gan=GAN, max_images=32).fit(patches)
    window = fitted.facts.window
    images = torch.from_numpy(window.to_symmetric(others.images)).unsqueeze(1)
    with torch.no_grad():
        expected = GAN.class_logits(fitted.network.discriminator, images).softmax(dim=1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(others), expected, atol=1e-6)


def test_patients_of_a_given_checkpoint_count_as_seen(patches, others, trained):
    fitted = ACGANHead(checkpoint=str(trained)).fit(others)
    with pytest.raises(LeakError):
        fitted.predict_proba(patches)


def test_a_checkpoint_of_something_else_is_refused(patches, small_patches, trained, tmp_path):
    head = ACGANHead(checkpoint=str(trained))
    for other in (
        small_patches(patients=8, classes=("a", "b", "c")),
        small_patches(patients=8, shape=(16, 16)),
    ):
        with pytest.raises(LesionForgeError, match="leave checkpoint empty"):
            head.fit(other)
    with pytest.raises(LesionForgeError, match="leave checkpoint empty"):
        replace(head, window="mediastinum").fit(patches)
    dcgan = DCGAN(latent_size=4, generator_width=16, discriminator_width=2, batch_size=8)
    path = train(dcgan, patches, tmp_path / "dcgan", plan=PLAN)
    with pytest.raises(LesionForgeError, match="one of dcgan"):
        replace(head, checkpoint=str(path)).fit(patches)


def test_a_checkpoint_without_its_discriminator_is_refused(patches, tmp_path):
    path = train(GAN, patches, tmp_path / "acgan", plan=PLAN)
    (path / STATE).unlink()
    with pytest.raises(StorageError, match=STATE):
        ACGANHead(checkpoint=str(path)).fit(patches)
    with pytest.raises(StorageError):
        ACGANHead(checkpoint=str(tmp_path / "nowhere")).fit(patches)


def test_shapes_are_those_of_the_gan():
    with pytest.raises(LesionForgeError, match="acgan makes square"):
        ACGANHead().check_shape((36, 36))
