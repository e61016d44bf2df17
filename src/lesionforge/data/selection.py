"""Which lesions of a cohort are used, and what class they have: the papers' rules by name, or rules of your own.

A step of a selection is a rule over the columns of `Annotations.table` (see `lesionforge.data.rules`), or a name
from `SELECTIONS`; a labelling is a column, a set of rules for each class, or a name from `LABELLINGS`. What each step
removes is counted, and the counts are kept as a flow.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.rules import class_of, matches
from lesionforge.errors import LesionForgeError
from lesionforge.settings import nearest

READERS = (1, 2, 3, 4)  # LIDC's, in the order of a nodule's columns
EXTENTS = ("extent_x_mm", "extent_y_mm", "extent_z_mm")
TUKEY = 1.5  # interquartile ranges above the third quartile: beyond lies an outlier

Kept = NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """A named selection: its steps, and where it comes from."""

    about: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Labelling:
    """Named classes: the rule of each. Lesions that meet none are left out."""

    about: str
    rules: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """What was left after a step of a selection."""

    rule: str
    lesions: int
    scans: int
    patients: int

    def __str__(self) -> str:
        return f"{self.rule}: {self.lesions} lesions in {self.scans} scans of {self.patients} patients"


def no_size_outliers(table: pd.DataFrame) -> Kept:
    """Leave out lesions larger than Q3 + 1.5 IQR along x, y or z (CALM, section 3.1)."""
    sizes = table[list(EXTENTS)]
    low, high = sizes.quantile(0.25), sizes.quantile(0.75)
    return np.asarray((sizes <= high + TUKEY * (high - low)).all(axis=1), dtype=bool)


def largest_per_patient(table: pd.DataFrame) -> Kept:
    """Keep the largest lesion of each patient; of equals the first."""
    order = table["diameter_mm"].fillna(0).sort_values(ascending=False, kind="stable").index
    first = table.loc[order].drop_duplicates("patient").index
    return np.asarray(table.index.isin(first))


def _readers_who(condition: str) -> str:
    """Rule for the number of readers whose rating meets a condition: ``texture <= 2``."""
    name, _, rest = condition.partition(" ")
    return " + ".join(f"({name}_{reader} {rest})" for reader in READERS)


WHOLE_COHORT: Mapping[str, Callable[[pd.DataFrame], Kept]] = {
    function.__name__: function for function in (no_size_outliers, largest_per_patient)
}

SELECTIONS: Mapping[str, Selection] = {
    "nodules": Selection("contoured nodules, no small ones and no other marks", ("kind == 'nodule'",)),
    "ground_glass": Selection(
        "texture 1 or 2 from 2 readers at least (Wang et al. 2022)",
        ("nodules", f"{_readers_who('texture <= 2')} >= 2"),
    ),
    "calm": Selection(
        "3 readers at least, slices of 2.5 mm at most, no outliers of size (CALM)",
        ("nodules", "slice_thickness_mm <= 2.5", "readers >= 3", "no_size_outliers"),
    ),
    "rated": Selection("3 readers at least, the field's usual demand", ("nodules", "readers >= 3")),
}

LABELLINGS: Mapping[str, Labelling] = {
    "malignancy": Labelling(
        "median rating 4 or more malignant, 2 or less benign, between them left out (the field's usual rule)",
        {"benign": "malignancy_median <= 2", "malignant": "malignancy_median >= 4"},
    ),
    "majority_malignancy": Labelling(
        "malignant where more than half of the readers give 4 or more, else benign (Yang et al. 2019)",
        {
            "benign": f"2 * ({_readers_who('malignancy >= 4')}) <= readers",
            "malignant": f"2 * ({_readers_who('malignancy >= 4')}) > readers",
        },
    ),
    "solidity": Labelling(
        "mean texture of 3 or less non-solid, above it solid",
        {"non-solid": "texture_mean <= 3", "solid": "texture_mean > 3"},
    ),
}


def select(table: pd.DataFrame, rules: Sequence[str], *, label: str = "") -> tuple[pd.DataFrame, list[Step]]:
    """Return the rows that meet every rule, labelled, and the flow of what each step left.

    Parameters
    ----------
    table
        A row for each lesion of the cohort.
    rules
        In this order; a rule over the cohort (`no_size_outliers`) sees what those before it left.
    label
        A column, a name of `LABELLINGS`, or JSON with the rule of each class; empty: the labels that the source gave.

    Raises
    ------
    LesionForgeError
        A rule cannot be followed, or nothing is left.
    """
    flow = [_step("found", table)]
    for rule in _expanded(rules):
        kept = WHOLE_COHORT[rule](table) if rule in WHOLE_COHORT else matches(rule, table)
        table = table[kept].reset_index(drop=True)
        flow.append(_step(rule, table))
        _refuse_nothing(flow)
    if label:
        table = _labelled(table, label)
        flow.append(_step(f"labelled by {label}", table))
        _refuse_nothing(flow)
    return table, flow


def _expanded(rules: Sequence[str]) -> Iterator[str]:
    for rule in rules:
        if rule in SELECTIONS:
            yield from _expanded(SELECTIONS[rule].steps)
        elif rule.isidentifier() and rule not in WHOLE_COHORT:
            raise LesionForgeError(f"there is no selection {rule!r}{nearest(rule, [*SELECTIONS, *WHOLE_COHORT])}")
        else:
            yield rule


def _labelled(table: pd.DataFrame, label: str) -> pd.DataFrame:
    if label in table.columns:
        labelled = table.assign(label=[_plain_text(value) for value in table[label]])
    else:
        labelled = table.assign(label=class_of(_rules_of(label), table))
    return labelled[labelled["label"] != ""].reset_index(drop=True)


def _rules_of(label: str) -> Mapping[str, str]:
    if label in LABELLINGS:
        return LABELLINGS[label].rules
    try:
        rules = json.loads(label)
    except json.JSONDecodeError:
        raise LesionForgeError(
            f"there is no column or labelling {label!r}{nearest(label, LABELLINGS)} Or give the rule of each class as "
            'JSON: {"small": "diameter_mm < 8", "large": "diameter_mm >= 8"}.'
        ) from None
    if not isinstance(rules, dict) or not all(isinstance(rule, str) for rule in rules.values()):
        raise LesionForgeError(f"a labelling must give the rule of each class as text, but {label!r} came.")
    return rules


def _plain_text(value: object) -> str:
    """Write a class as text: 3, not 3.0, where a column of whole numbers was read as fractions; missing: empty."""
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _step(rule: str, table: pd.DataFrame) -> Step:
    scans, patients = (table[name].nunique() if len(table) else 0 for name in ("scan", "patient"))
    return Step(rule, len(table), scans, patients)


def _refuse_nothing(flow: Sequence[Step]) -> None:
    if not flow[-1].lesions:
        raise LesionForgeError(
            f"no lesion is left after {flow[-1].rule!r}; before it there were {flow[-2].lesions}: use a wider rule."
        )
