"""Whom does it help? The difference of two classifiers in parts of the test set.

A part is a level of something known of each lesion: its scanner or kernel as they are, its size or the patient's age in
thirds. Parts are many and small, so their intervals are wide, and at a level that allows for all of them. That it
"helps" in one part and "cannot tell" in another says nothing about a difference between the parts.
"""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.bootstrap import RESAMPLES
from lesionforge.evaluation.estimate import LEVEL
from lesionforge.evaluation.predictions import Predictions, paired
from lesionforge.evaluation.statistics import compare

FEWEST_PATIENTS = 5  # of each class: a part with fewer is joined with the other rare ones, or not judged
PARTS = 3  # that numbers are cut into
UNKNOWN, OTHER = "unknown", "other"
COLUMNS = ("subgroup", "part", "lesions", "patients", "baseline", "other", "difference", "low", "high", "level")


def subgroup_table(
    baseline: Predictions,
    other: Predictions,
    groups: Mapping[str, "pd.Categorical[str]"],
    *,
    metric: str = "auc",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare two classifiers within each part of each subgroup.

    Parameters
    ----------
    groups
        By name, the part that each row of the test set belongs to (`parts_of`), [rows]; predictions say which row they
        are of.

    Returns
    -------
    `COLUMNS`, ``verdict`` and a row for each part; NaN and no verdict where a part has fewer than `FEWEST_PATIENTS`
    patients of a class. The level is 1 − 0.05/m for m parts that were judged.
    """
    baseline, other = paired(baseline, other)
    if short := [name for name, parts in groups.items() if len(parts) <= baseline.row.max()]:
        raise LesionForgeError(
            f"the subgroup {short[0]!r} must have a part for each row of the test set, but has {len(groups[short[0]])} "
            f"and row {baseline.row.max()} was predicted."
        )
    parts = [
        (name, str(part), np.asarray(of[baseline.row] == part))
        for name, of in groups.items()
        for part in of.categories
        if part in of[baseline.row]
    ]
    judged = [_enough(baseline.at(places)) for _, _, places in parts]
    level = 1 - (1 - LEVEL) / max(sum(judged), 1)
    rows = []
    for (name, part, places), enough in zip(parts, judged, strict=True):
        first, second = baseline.at(places), other.at(places)
        row = {"subgroup": name, "part": part, "lesions": len(np.unique(first.row)), "patients": first.n_patients}
        if enough:
            found = compare(first, second, metric=metric, resamples=resamples, seed=seed, level=level)
            row |= {key: value for key, value in asdict(found).items() if key in COLUMNS} | {"verdict": found.verdict}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*COLUMNS, "verdict"])


def parts_of(values: "pd.Series[Any]", patients: "pd.Series[str]") -> "pd.Categorical[str]":
    """Cut a column into parts: numbers into thirds, names as they are; names of few patients together as `OTHER`.

    No name of a single patient is left, and so no identifier.
    """
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return _thirds(values.to_numpy(dtype=np.float64))
    names = values.astype("str").where(values.notna() & (values.astype("str") != ""), UNKNOWN)
    counted = patients.groupby(names.to_numpy()).nunique()
    names = names.where(~names.isin(counted.index[counted < FEWEST_PATIENTS]) | (names == UNKNOWN), OTHER)
    kept = sorted(set(names) - {OTHER, UNKNOWN})
    return pd.Categorical(names, categories=[*kept, *(rest for rest in (OTHER, UNKNOWN) if rest in set(names))])


def _thirds(values: NDArray[np.float64]) -> "pd.Categorical[str]":
    """Name the third of the known values that each is in, by its bounds; what takes few values has fewer parts."""
    known = values[np.isfinite(values)]
    cuts = np.unique(np.quantile(known, np.arange(1, PARTS) / PARTS, method="higher")) if len(known) else np.array([])
    cuts = cuts[cuts > known.min()] if len(known) else cuts
    bounds = [f"{cut:.3g}" for cut in cuts]
    between = [f"{low} to {high}" for low, high in pairwise(bounds)]
    named = [f"below {bounds[0]}", *between, f"{bounds[-1]} and above"] if bounds else ["all alike"]
    named.append(UNKNOWN)
    places = np.where(np.isfinite(values), np.searchsorted(cuts, values, side="right"), len(named) - 1)
    return pd.Categorical([named[place] for place in places], categories=named)


def _enough(predictions: Predictions) -> bool:
    counts = [
        len(np.unique(predictions.patient[predictions.truth == code])) for code in range(len(predictions.classes))
    ]
    return min(counts) >= FEWEST_PATIENTS
