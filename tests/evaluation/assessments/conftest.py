"""A training set, held-out patients, and synthetic sets that copy nobody, or somebody."""

from collections.abc import Callable

import numpy as np
import pytest

from lesionforge.data.patches import Patches

Fake = Callable[..., Patches]


def _nodules(patients: int, *, seed: int) -> Patches:
    """Blobs of any size and brightness in noise, two of each patient and alike, 24×24."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), 2)
    y, x = np.mgrid[-12:12, -12:12]
    width, stretch = (rng.uniform(*ends, patients)[owner].reshape(-1, 1, 1) for ends in ((2.5, 5), (0.8, 1.25)))
    shape = np.exp(-((y * stretch) ** 2 + (x / stretch) ** 2) / (2 * width**2))
    hu = -850 + 800 * shape + rng.normal(0, 60, (len(owner), 24, 24))
    return Patches.of(
        hu.round().astype(np.int16),
        patient=[f"patient-{seed}-{number:03}" for number in owner],
        label="solid",
        spacing_mm=0.7,
        masks=(shape > 0.5).astype(np.uint8),
    )


@pytest.fixture(scope="session")
def real() -> Patches:
    """60 patients; the first 30 were trained on."""
    return _nodules(60, seed=0)


@pytest.fixture(scope="session")
def fake(real: Patches) -> Fake:
    """Make a synthetic set: fresh nodules, some of them copies."""
    others = _nodules(40, seed=1)

    def made(*, copies: int = 0, judged: bool = False, **columns: object) -> Patches:
        images = others.images.copy()
        images[:copies] = np.flip(real.images[:copies], 2)
        table = others.table.assign(origin="fake-1", patient="fake-1", **columns).drop(columns="source_pixels")
        exposure = real.rows(np.arange(60)).exposure
        if judged:
            exposure |= real.exposure.judged
        return Patches(images, table, masks=others.masks, generators={"fake-1": exposure})

    return made
