"""3-D nodules of LIDC-IDRI in cubes of 51 voxels at 1 mm, labelled as one reader rated them.

A cube is a patient's only one. The ratings are an opinion, not pathology, and larger nodules are called malignant more
often: a baseline on the diameter alone belongs beside every score.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import ArraysMapping, load_arrays

MALIGNANCY = {"benign": "malignancy <= 2", "malignant": "malignancy >= 4"}
MALIGNANCY_OF_ALL = {"benign": "malignancy <= 3", "malignant": "malignancy >= 4"}  # Yang et al. 2019
NON_SOLID = {"non-solid": "texture <= 3", "solid": "texture > 3"}

_FILE = ArraysMapping(
    images="cubes_hu.npz:hu",
    masks="cubes_hu.npz:mask",
    table="metadata.csv",
    index="index",
    patient="case_index",
    diameter_mm="equiv_diam_mm",
)


def cubes(
    folder: Path, *, labels: Mapping[str, str], spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Patches:
    """Nodules that a label's rule holds for, averaged to a coarser spacing (z, y, x).

    Of each axis as many whole voxels are kept as its 51 mm hold. The file's axes are (y, x, z).
    """
    whole = load_arrays(folder, mapping=replace(_FILE, labels=labels))
    shape = tuple(int(side / spacing) for side, spacing in zip(whole.shape, spacing_mm, strict=True))

    def averaged(each: np.ndarray) -> np.ndarray:
        volumes = torch.from_numpy(np.moveaxis(each, -1, 1).astype(np.float32)).unsqueeze(1)
        return F.adaptive_avg_pool3d(volumes, shape).squeeze(1).numpy()

    masks = (averaged(whole.masks) >= 0.5).astype(np.uint8)
    return whole.with_images(averaged(whole.images), masks, spacing_mm=spacing_mm)
