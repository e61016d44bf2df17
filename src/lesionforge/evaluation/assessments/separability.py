"""Can a classifier tell samples from held-out patients? Two judges on each kind of features, beside their floor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.data.patch_table import Array
from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.evaluation.assessments.described import (
    RadiomicPlan,
    pyradiomics_is_there,
    radiomics_of_sides,
    texture_of,
)
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.evaluation.delong import auc_interval
from lesionforge.evaluation.estimate import Estimate
from lesionforge.evaluation.fidelity import Features
from lesionforge.evaluation.halves import halvings
from lesionforge.evaluation.roc import roc_band
from lesionforge.evaluation.separability import FOLDS, Judge, separated
from lesionforge.progress import SILENT, Progress

JUDGES: tuple[Judge, ...] = ("logistic", "forest")
FLOORS = 5  # halvings that the floor is averaged over


@dataclass(frozen=True, eq=False)
class Judged:
    """What judges found: tables ``auc`` and ``roc``, and the AUCs as text by judge and features."""

    tables: dict[str, pd.DataFrame]
    results: dict[str, Any]


def assess_separability(
    sides: Sides,
    *,
    networks: Mapping[str, Features] | None = None,
    plan: RadiomicPlan | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Assessment:
    """Let classifiers tell samples from the held-out patients of ``sides``; ``networks`` as in `assess_fidelity`."""
    sides = sides.only_held_out()
    features = {"texture": texture_of(sides)} | dict(networks or {})
    asked, warnings = sides.describe() | {"folds": FOLDS, "seed": seed}, sides.warnings
    judged = [physician(features, sides.patients, judges=JUDGES, seed=seed)]
    if pyradiomics_is_there():
        measured = radiomics_of_sides(sides, plan or RadiomicPlan(), progress=progress)
        asked |= {"radiomics": measured.facts}
        radiomic = {"radiomics": Features(measured.real, measured.synthetic)}
        judged.append(physician(radiomic, sides.patients[measured.real_rows], judges=JUDGES, seed=seed))
    tables = {name: pd.concat([each.tables[name] for each in judged], ignore_index=True) for name in ("auc", "roc")}
    sharpest = tables["auc"].iloc[int(tables["auc"]["estimate"].argmax())]
    return Assessment(
        "separability",
        "Can a classifier tell synthetic lesions from real ones?",
        asked,
        _sentences(sharpest),
        tables,
        results={"auc": {key: text for each in judged for key, text in each.results["auc"].items()}},
        warnings=warnings,
    )


def physician(features: Mapping[str, Features], patients: Array, *, judges: Sequence[Judge], seed: int = 0) -> Judged:
    """Let each judge tell the sets apart by each kind of features; its floor are two halves of the patients.

    Returns
    -------
    Tables ``auc`` (judge, taken_of, estimate, low, high, p_value, floor: mean AUC between halves) and ``roc`` (judge,
    taken_of, and the columns of `roc_band`).
    """
    rows, curves, texts = [], [], {}
    for name, each in features.items():
        cuts = halvings(patients, len(each.synthetic), count=FLOORS, seed=seed)
        for judge in judges:
            predictions = separated(each.real, patients, each.synthetic, judge=judge, seed=seed)
            auc = auc_interval(predictions)
            floors = [
                auc_interval(
                    separated(
                        each.real[cut.half],
                        patients[cut.half],
                        each.real[cut.other],
                        sources=patients[cut.other],
                        judge=judge,
                        seed=seed,
                    )
                ).value
                for cut in cuts
            ]
            rows.append([judge, name, auc.value, auc.low, auc.high, auc.p_value, float(np.mean(floors))])
            curves.append(roc_band(predictions, positive=1, seed=seed).assign(judge=judge, taken_of=name))
            texts[f"{judge} on {name}"] = _text(auc)
    columns = ["judge", "taken_of", "estimate", "low", "high", "p_value", "floor"]
    tables = {"auc": pd.DataFrame(rows, columns=columns), "roc": pd.concat(curves, ignore_index=True)}
    return Judged(tables, {"auc": texts})


def _text(auc: Estimate) -> str:
    return f"{auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f})"


def _sentences(sharpest: "pd.Series[Any]") -> tuple[str, ...]:
    judge = f"The sharpest judge ({sharpest['judge']} on {sharpest['taken_of']})"
    interval = f"{sharpest['estimate']:.2f} ({sharpest['low']:.2f} to {sharpest['high']:.2f})"
    return (
        f"{judge} tells samples from held-out patients with an AUC of {interval}.",
        f"Half of the patients it tells from the other half with {sharpest['floor']:.2f}; ½ is chance.",
    )
