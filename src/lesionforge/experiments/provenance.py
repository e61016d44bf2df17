"""Where a run's numbers come from: software, data, folds, and what makes them less telling than they look."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import sklearn.metrics

from lesionforge.data.patches import Patches
from lesionforge.experiments.fold import Fold
from lesionforge.tasks.code_version import code_version

SOFTWARE = ("lesionforge", "numpy", "pandas", "scikit-learn", "scipy", "torch")
FEW_PATIENTS = 30  # of the rarest class: below, an interval is wide and a fold's test part a handful
SIZE_GIVES_AWAY = 0.7  # AUC of the diameter alone

HARDLY_TRAINED = (
    "The scale is smoke: networks are narrow and hardly trained, so this page shows that everything runs and how "
    "results look, and not what synthetic lesions are worth. Take desk or paper for that."
)


@dataclass(frozen=True)
class Source:
    """Where an experiment's patches come from, for its report."""

    name: str
    phantom: bool = False
    command: str = ""


def software() -> dict[str, str]:
    """Versions of what computed, and the digest of our own code."""
    versions = {name: version(name) for name in SOFTWARE}
    return versions | {"python": platform.python_version(), "code": code_version()}


def describe_data(patches: Patches, source: Source) -> dict[str, Any]:
    """Say what the data is: its digest, and how many patients and lesions of each class. No identifiers."""
    summary = patches.summary
    classes = [
        {
            "label": label,
            "lesions": facts["patches"],
            "patients": facts["patients"],
            "median_diameter_mm": facts["median_diameter_mm"],
        }
        for label, facts in summary["labels"].items()
    ]
    shared = {key: summary[key] for key in ("digest", "unit", "shape")}
    return {"name": source.name, "phantom": source.phantom, "classes": classes, **shared}


def warnings_about(patches: Patches, *, scale: str = "") -> list[str]:
    """Say what makes a run at this scale on this data less telling than it looks."""
    found = [HARDLY_TRAINED] if scale == "smoke" else []
    table = patches.table
    patients = table.groupby("label")["patient"].nunique()
    if patients.min() < FEW_PATIENTS:
        found.append(
            f"The class {patients.idxmin()!r} has {patients.min()} patients: intervals are wide, and a gain has to be "
            "large to be seen."
        )
    known = table[table["diameter_mm"].notna()]
    if len(patches.classes) == known["label"].nunique() == 2:
        positive = known["label"] == patches.classes[1]
        auc = float(sklearn.metrics.roc_auc_score(positive, known["diameter_mm"]))
        if max(auc, 1 - auc) >= SIZE_GIVES_AWAY:
            found.append(
                f"The diameter alone tells the classes apart with an AUC of {max(auc, 1 - auc):.2f}: part of every "
                "score below is size."
            )
    return found


def summary(folds: Sequence[Fold]) -> list[dict[str, int]]:
    """Count the patients and lesions of each part of each fold."""
    return [
        {"repeat": fold.split.repeat, "fold": fold.split.fold}
        | {
            f"{part}_{what}": count
            for part, patches in (("train", fold.train), ("validation", fold.validation), ("test", fold.test))
            for what, count in (("patients", int(patches.patients.nunique())), ("lesions", len(patches)))
        }
        for fold in folds
    ]
