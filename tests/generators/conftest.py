"""Every method, small."""

import numpy as np
import pytest

from lesionforge import registry
from lesionforge.data.patches import Patches
from lesionforge.generators import methods


@pytest.fixture(scope="module", params=registry.names(methods))
def any_method(request, small_method):
    """Each method in turn, its networks small, 8 images a step."""
    return small_method(request.param, batch_size=8, critic_steps=1, stable_images=8, fade_images=8)


@pytest.fixture(scope="session")
def lesions():
    """Makes patches of 16×16 HU with a bright disc of some size each, and its mask; two classes, a patient each."""

    def make(patients=12, *, prefix="patient", seed=0, classes=("non-solid", "solid")):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:16, :16] - 7.5
        masks = np.hypot(y, x) < rng.uniform(3, 6, (patients, 1, 1))
        images = -800 + 600 * masks + rng.normal(0, 40, masks.shape)
        return Patches.of(
            images.round().astype(np.int16),
            patient=[f"{prefix}-{k:03}" for k in range(patients)],
            label=[classes[k % len(classes)] for k in range(patients)],
            masks=masks.astype(np.uint8),
            spacing_mm=0.7,
        )

    return make
