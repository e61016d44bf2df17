"""The tasks of the 2-D benchmark: LIDC-IDRI nodules on the axial slice of their largest area, in HU.

``load_arrays(folder, mapping=NON_SOLID)`` reads one, and
``python benchmarks/lidc_maxslice.py NON_SOLID --data DATA --size 64 --out lung.patches`` writes it as patches, which
every verb of the command line takes. Always split by patient. The ratings are radiologists' opinions, not
pathology, and where size decides (malignancy), a baseline on the diameter alone belongs beside every score.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import ArraysMapping, load_arrays

_NODULES = ArraysMapping(
    images="images_hu.npz:hu",
    masks="images_hu.npz:mask",
    table="metadata.csv",
    index="index",
    patient="patient_id",
    scan="series_uid",
    diameter_mm="equiv_diam_mm",
    spacing_mm=("pixel_spacing_mm",),
)

_TWO_SAW_GROUND_GLASS = "(texture_1 <= 2) + (texture_2 <= 2) + (texture_3 <= 2) + (texture_4 <= 2) >= 2"

NON_SOLID = replace(
    _NODULES,
    labels={
        "non-solid": "n_raters >= 2 and texture_mean <= 3",
        "solid": "n_raters >= 2 and texture_mean > 3",
    },
)
"""Part-solid and ground-glass against solid: a rare class that size does not give away."""

MALIGNANCY_OF_MEDIUM_SIZE = replace(
    _NODULES,
    labels={
        "benign": "n_raters >= 3 and malignancy_mean < 2.5 and 7 <= equiv_diam_mm <= 15",
        "malignant": "n_raters >= 3 and malignancy_mean > 3.5 and 7 <= equiv_diam_mm <= 15",
    },
)
"""Nodules of 7 to 15 mm that at least three radiologists called benign or malignant; size still tells a lot."""

MALIGNANCY = replace(
    _NODULES,
    labels={
        "benign": "n_raters >= 2 and malignancy_mean < 3",
        "malignant": "n_raters >= 2 and malignancy_mean > 3",
    },
)
"""Nodules that at least two radiologists called rather benign or rather malignant, of all sizes."""


def size_matched(patches: Patches, *, caliper_mm: float = 0.5) -> Patches:
    """Of two classes, as many pairs as can be made of nodules whose diameters differ by ``caliper_mm`` at most.

    Of all ways to pair the most, that of the smallest differences in all: no nodule is in two pairs.
    """
    first, second = (np.flatnonzero(patches.labels == label) for label in patches.classes)
    diameters = patches.table["diameter_mm"].to_numpy()
    apart = np.abs(diameters[first][:, None] - diameters[second][None])
    rows, columns = linear_sum_assignment(np.where(apart <= caliper_mm, apart, apart.size * caliper_mm))
    paired = apart[rows, columns] <= caliper_mm
    return patches.rows(np.sort(np.concatenate([first[rows[paired]], second[columns[paired]]])))


GROUND_GLASS = replace(
    _NODULES,
    labels={
        "ground-glass": _TWO_SAW_GROUND_GLASS,
        "other": f"n_raters >= 2 and not ({_TWO_SAW_GROUND_GLASS})",
    },
)
"""Texture 1 or 2 from at least two radiologists (Wang 2022), against the others that two have rated."""

TASKS = {
    "NON_SOLID": NON_SOLID,
    "MALIGNANCY_OF_MEDIUM_SIZE": MALIGNANCY_OF_MEDIUM_SIZE,
    "MALIGNANCY": MALIGNANCY,
    "GROUND_GLASS": GROUND_GLASS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds lidc_maxslice")
    parser.add_argument("--size", type=int, default=71, help="pixels along an edge")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    patches = load_arrays(asked.data / "lidc_maxslice", mapping=TASKS[asked.task])
    patches_file.save(patches.centre_crop(asked.size), asked.out)


if __name__ == "__main__":
    main()
