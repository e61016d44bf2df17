"""A tiny experiment: everything in it happens, and takes about a second."""

from collections.abc import Callable

import numpy as np
import pytest

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data.patches import Patches
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Contender, Generation, Regime
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    """Raw against classic and DCGAN patches, 2 folds, 16×16 pixels."""
    return Experiment(
        protocol="tiny",
        title="A tiny experiment",
        generators=(
            Generation(
                "dcgan",
                DCGAN(batch_size=8, generator_width=16, discriminator_width=4, latent_size=5),
                TrainingPlan(images=48, log_every_images=16, checkpoint_every_images=24, grid_every_images=48),
                patches=6,
            ),
        ),
        classifiers=(
            Contender("small_cnn", SmallCNN(channels=(4, 4), batch_size=16, max_images=96, check_every_images=48)),
        ),
        regimes=(Regime("raw"), Regime("classic+dcgan", classic=8, synthetic_per_class=4)),
        size=16,
        folds=2,
        seed=3,
    )


@pytest.fixture(scope="session")
def cohort(small_patches: Callable[..., Patches]) -> Patches:
    """Ten patients, 20×20 pixels; lesions of one class are denser. Names that can be looked for."""
    patches = small_patches(patients=10, shape=(20, 20), prefix="secretname")
    dense = np.where(patches.labels == "malignant", 400, 0)[:, None, None] * patches.masks
    return patches.with_images((patches.images + dense).astype(np.int16), patches.masks).with_columns(
        scan=[f"secretscan-{k}" for k in range(len(patches))]
    )
