"""Benign or malignant: 3-D nodules of LIDC-IDRI in cubes of 51 voxels at 1 mm, as one reader rated them.

A cube is a patient's only one. The reader's rating is an opinion, not pathology, and larger nodules are rated higher:
a baseline on the diameter alone belongs beside every score.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

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


def malignancy_of_all(folder: Path, spacing_mm: tuple[float, float, float]) -> Patches:
    """Rated 4 or 5 against all others, as Yang et al. 2019 have it, averaged to a coarser spacing (z, y, x).

    Of each axis as many whole voxels are kept as its 51 mm hold.
    """
    whole = load_arrays(
        folder, mapping=replace(_FILE, labels={"benign": "malignancy <= 3", "malignant": "malignancy >= 4"})
    )
    shape = tuple(int(side / spacing) for side, spacing in zip(whole.shape, spacing_mm, strict=True))

    def averaged(cubes: np.ndarray) -> np.ndarray:
        volumes = torch.from_numpy(np.moveaxis(cubes, -1, 1).astype(np.float32)).unsqueeze(1)
        return F.adaptive_avg_pool3d(volumes, shape).squeeze(1).numpy()

    masks = (averaged(whole.masks) >= 0.5).astype(np.uint8)
    return whole.with_images(averaged(whole.images), masks, spacing_mm=spacing_mm)
