"""Pixels that do not say where they come from, and a look at whether any number still does.

A generator gives intensities of its training window alone, unrounded or rounded in its own way; scans have padding
outside the field of view, 12 bits, and what their rescaling makes of them. So all items go through the same steps:
crop, cut off at the study's window, round to the same steps, 16-bit whole numbers. What is left are differences of
content, which the study is about. `tells` looks whether a number that no eye sees still sorts the items: for instance
how many pixels lie at the window's very edge.

N items.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.hounsfield import Window
from lesionforge.evaluation.delong import aucs
from lesionforge.reader_study.study import Pixels

CLEAR = 0.9  # an AUC, or its mirror, from which on a number gives an item away


def quantised(images: NDArray[np.generic], window: Window, step: float) -> Pixels:
    """Cut intensities off at the window's ends and round them to multiples of ``step``; any shape."""
    # Halves go up: to the even neighbour, a source in half the steps would leave every other step empty.
    steps = np.floor(np.clip(images.astype(np.float64), window.low, window.high) / step + 0.5)
    whole: Pixels = np.rint(steps * step).astype(np.int16)
    return whole


def tells(images: Pixels, synthetic: NDArray[np.bool_], *, patients: NDArray[np.generic]) -> pd.DataFrame:
    """How well one number of an item [N, …] says its origin, for a reader who opens the browser's tools.

    Returns
    -------
    pandas.DataFrame
        Columns ``number``, ``auc`` (½: it says nothing; 1 or 0: everything), ``low``, ``high``, ``clear``.
    """
    measured = pd.DataFrame([_measured(image) for image in images])
    found = aucs(measured.to_numpy().T, synthetic, patients=patients)
    rows = []
    for column, name in enumerate(measured):
        auc = found.estimate(column)
        rows.append((name, auc.value, auc.low, auc.high, max(auc.value, 1 - auc.value) >= CLEAR))
    return pd.DataFrame(rows, columns=["number", "auc", "low", "high", "clear"])


def _measured(image: Pixels) -> dict[str, float]:
    values, counts = np.unique(image, return_counts=True)
    edge = np.diff(np.concatenate([image[..., 0, :], image[..., -1, :]], axis=-1), axis=-1)
    return {
        "smallest value": float(values[0]),
        "largest value": float(values[-1]),
        "share at the smallest value": counts[0] / image.size,
        "share at the largest value": counts[-1] / image.size,
        "share of the commonest value": counts.max() / image.size,
        "different values": float(len(values)),
        "share of odd values": float((image % 2 != 0).mean()),
        "flat share of the upper and lower rim": float((edge == 0).mean()),
    }
