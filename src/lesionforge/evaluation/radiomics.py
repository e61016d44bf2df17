"""Radiomic features of synthetic lesions beside real ones: which of them differ?

Y. Wang et al. 2022 compare each of 93 features by the Kolmogorov–Smirnov test and report how many do not differ
significantly (58 of 93). That count hangs on how many lesions there are, on how often a test of 93 errs, and on lesions
of one patient not being independent. So beside the published p-value stand: those adjusted for all features; that of
one lesion a patient, which is what the test's theory is about; and the statistic between two halves of the real
patients, the floor that a perfect generator would reach.

M real lesions, N synthetic ones, F features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.halves import HALVINGS, halvings
from lesionforge.evaluation.multiplicity import benjamini_hochberg, holm
from lesionforge.evaluation.predictions import FloatArray

ALPHA = 0.05


def compare_features(
    real: FloatArray,
    patients: NDArray[np.generic],
    synthetic: FloatArray,
    names: Sequence[str],
    *,
    count: int = HALVINGS,
    seed: int = 0,
) -> pd.DataFrame:
    """Kolmogorov–Smirnov of each feature, [M, F] against [N, F].

    Returns
    -------
    A row for each feature, in order: ``feature``, ``family`` (what its name begins with), ``ks`` (largest distance of
    the two distribution functions, 0 to 1), ``ks_halved`` (the same of half of the patients and as many samples) and
    ``ks_floor`` (of that half and the other one; both are means over halvings),
    ``p_value`` (lesions taken as independent, as published), ``p_holm``, ``p_bh`` (Benjamini–Hochberg), ``p_patient``
    (one real lesion drawn of each patient), ``p_patient_bh``, and the medians of both sets.

    Raises
    ------
    LesionForgeError
        There is a feature or patient too few for what came, or a value that is not finite.
    """
    if real.shape[1:] != (len(names),) or synthetic.shape[1:] != (len(names),) or len(real) != len(patients):
        raise LesionForgeError(
            f"features of {len(names)} names must be [lesions, {len(names)}], with a patient for each real one, but "
            f"{real.shape}, {synthetic.shape} and {len(patients)} patients came."
        )
    if not (np.isfinite(real).all() and np.isfinite(synthetic).all()):
        raise LesionForgeError("features must be finite to be compared: leave out lesions that could not be measured.")
    cuts = halvings(patients, len(synthetic), count=count, seed=seed)
    one_each = one_a_patient(patients, seed=seed)
    rows = []
    for name, ours, theirs in zip(names, real.T, synthetic.T, strict=True):
        found, of_patients = _ks(ours, theirs), _ks(ours[one_each], theirs)
        halved = np.mean([_ks(ours[cut.half], theirs[cut.synthetic]).statistic for cut in cuts])
        floor = np.mean([_ks(ours[cut.half], ours[cut.other]).statistic for cut in cuts])
        medians = float(np.median(ours)), float(np.median(theirs))
        p_values = found.pvalue, of_patients.pvalue
        rows.append([name, name.partition("_")[0], found.statistic, halved, floor, *p_values, *medians])
    columns = ["feature", "family", "ks", "ks_halved", "ks_floor", "p_value", "p_patient"]
    columns += ["median_real", "median_synthetic"]
    table = pd.DataFrame(rows, columns=columns)
    table["p_holm"], table["p_bh"] = holm(table["p_value"]), benjamini_hochberg(table["p_value"])
    table["p_patient_bh"] = benjamini_hochberg(table["p_patient"])
    return table


def summary(table: pd.DataFrame) -> dict[str, float]:
    """How many features of `compare_features` do not differ at 5 %, under each way of counting."""
    alike = {f"alike_{column}": int((table[column] >= ALPHA).sum()) for column in table if str(column).startswith("p_")}
    medians = {f"median_{column}": float(table[column].median()) for column in ("ks", "ks_halved", "ks_floor")}
    return {"features": len(table), **alike, **medians}


def one_a_patient(patients: NDArray[np.generic], *, seed: int) -> NDArray[np.intp]:
    """Row of one lesion of each patient, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(patients))
    _, first = np.unique(patients[order], return_index=True)
    return np.sort(order[first])


def _ks(real: FloatArray, synthetic: FloatArray) -> Any:
    return ks_2samp(real, synthetic, method="asymp")
