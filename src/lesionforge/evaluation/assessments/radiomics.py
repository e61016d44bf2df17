"""Which radiomic features differ, and can a classifier tell by them? 93 tests, and the "radiomics physician"."""

from typing import Any

import pandas as pd

from lesionforge.distances.radiomics import names
from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.evaluation.assessments.described import RadiomicPlan, radiomics_of_sides
from lesionforge.evaluation.assessments.separability import physician
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.evaluation.fidelity import Features
from lesionforge.evaluation.halves import HALVINGS
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.evaluation.radiomics import compare_features, summary
from lesionforge.progress import SILENT, Progress

SHOWN = 3  # features that are drawn, of the closest and of the farthest


def assess_radiomics(
    sides: Sides,
    *,
    plan: RadiomicPlan | None = None,
    halvings: int = HALVINGS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Assessment:
    """Compare the radiomic features of samples with those of the held-out patients of ``sides``."""
    sides = sides.only_held_out()
    measured = radiomics_of_sides(sides, plan or RadiomicPlan(), progress=progress)
    patients = sides.patients[measured.real_rows]
    table = compare_features(measured.real, patients, measured.synthetic, names(), count=halvings, seed=seed)
    judged = physician(
        {"radiomics": Features(measured.real, measured.synthetic)}, patients, judges=("logistic",), seed=seed
    )
    ranked = table.sort_values("ks", kind="stable")["feature"].tolist()
    drawn = [*ranked[:SHOWN], *ranked[-SHOWN:]]
    columns = [names().index(feature) for feature in drawn]
    found = summary(table)
    (auc,) = judged.results["auc"].values()
    return Assessment(
        "radiomics",
        "Do synthetic lesions have the radiomic features of real ones?",
        sides.describe() | {"radiomics": measured.facts, "halvings": halvings, "seed": seed},
        _sentences(found, auc),
        {
            "features": table,
            "values_real": _values(measured.real, columns, drawn),
            "values_synthetic": _values(measured.synthetic, columns, drawn),
            **judged.tables,
        },
        results={**found, **judged.results},
        warnings=(*sides.warnings, *_not_measured(measured.facts)),
    )


def _values(features: FloatArray, columns: list[int], drawn: list[str]) -> pd.DataFrame:
    return pd.DataFrame(features[:, columns], columns=drawn)


def _not_measured(facts: dict[str, Any]) -> list[str]:
    """Warn of lesions left out: what cannot be measured is not like the rest."""
    counts = {name: facts[f"{name}_not_measured"] for name in ("real", "synthetic")}
    return [
        f"Of the {name} patches {count} have no lesion that can be measured; they were left out."
        for name, count in counts.items()
        if count
    ]


def _sentences(found: dict[str, float], auc: str) -> tuple[str, ...]:
    published, strict = (found[f"alike_{column}"] for column in ("p_value", "p_patient_bh"))
    medians = f"{found['median_ks_halved']:.2f}; between two halves of the real patients {found['median_ks_floor']:.2f}"
    return (
        f"{published} of {found['features']} features do not differ at 5 %, lesions taken as independent as published.",
        f"With one lesion a patient, and corrected for all features, {strict} do not.",
        f"The median Kolmogorov–Smirnov distance is {medians}.",
        f"A logistic regression on them tells samples from real lesions with an AUC of {auc}.",
    )
