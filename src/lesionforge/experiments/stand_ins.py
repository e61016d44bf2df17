"""Computed patches that stand in for a paper's data where none are given, and which lesions stand for which class.

The phantom's lesions are made from stated physics, so a run on them shows that a protocol works and how its page looks;
it says nothing about patients. See `lesionforge.data.phantom`.
"""

from collections.abc import Mapping

import numpy as np

from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.phantom import phantom_patches

DIFFICULTY = 0.6  # classic augmentation alone must leave something to gain
SIDES_AWAY = 4  # a patch without a nodule is cut so many sevenths of its side from one, along both axes


def liver(*, patients: int, size: int) -> Patches:
    """Liver lesions of three classes: cyst, hemangioma, metastasis."""
    return phantom_patches("liver", patients=patients, size=size, difficulty=DIFFICULTY)


def textures(
    classes: Mapping[str, str], *, patients: int, size: int | tuple[int, int, int], non_solid: float = 0.7
) -> Patches:
    """Lung nodules, each of the class that stands for its texture (ground-glass, part-solid, solid)."""
    shares = {"non-solid": non_solid, "solid": 1 - non_solid}
    drawn = phantom_patches("lung", patients=patients, size=size, difficulty=DIFFICULTY, shares=shares)
    return drawn.with_columns(label=[classes[texture] for texture in drawn.table["texture"]])


def candidates(*, patients: int, size: int) -> Patches:
    """Patches with a nodule in the middle, and as many beside one, in lung, vessels and chest wall."""
    apart = -(-SIDES_AWAY * size // 7)
    whole = phantom_patches(
        "lung", patients=patients, size=size + 2 * apart, difficulty=DIFFICULTY, lesions_per_patient=(1, 2)
    )
    assert whole.masks is not None  # the phantom draws them
    corner = (slice(None), slice(0, size), slice(0, size))
    beside = whole.with_images(whole.images[corner], whole.masks[corner])
    free = ~whole.masks[corner].any(axis=(1, 2))
    without = beside.rows(np.flatnonzero(free)).with_columns(label="no nodule", diameter_mm=np.nan)
    return concatenate([whole.centre_crop(size).with_columns(label="nodule"), without])
