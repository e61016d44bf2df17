"""Benign or malignant: 3-D nodules of LIDC-IDRI in cubes of 51 voxels at 1 mm, as one reader rated them.

A cube is a patient's only one. The reader's rating is an opinion, not pathology, and larger nodules are rated higher:
a baseline on the diameter alone belongs beside every score.
"""

from pathlib import Path

import numpy as np

from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import ArraysMapping, load_arrays

_FILE = ArraysMapping(
    images="cubes_hu.npz:hu",
    masks="cubes_hu.npz:mask",
    table="metadata.csv",
    index="index",
    patient="case_index",
    diameter_mm="equiv_diam_mm",
    labels={"benign": "malignancy <= 2", "malignant": "malignancy >= 4"},
)


def malignancy(folder: Path, *, size: tuple[int, int, int]) -> Patches:
    """Rated 1 or 2 against 4 or 5, cropped to ``size`` (z, y, x). The file's axes are (y, x, z)."""
    patches = load_arrays(folder, mapping=_FILE)
    images, masks = (np.moveaxis(each, -1, 1) for each in (patches.images, patches.masks))
    return patches.with_images(images, masks, spacing_mm=1.0).centre_crop(size)
