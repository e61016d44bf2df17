"""Answers as arrays: what each reader said of each item, first and again, beside its truth.

R readers, N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.evaluation.agreement import NOT_RATED
from lesionforge.reader_study.ledger import Ledger
from lesionforge.reader_study.study import Study

IntArray = NDArray[np.int64]
SEVERAL = 2


@dataclass(frozen=True, eq=False)
class Readings:
    """Answers that count; `NOT_RATED` where there is none."""

    readers: tuple[str, ...]
    items: IntArray  # [N], numbers of the items that anyone has read
    ratings: IntArray  # [R, N]
    again: IntArray  # [R, N], of repeats
    labels: IntArray  # [R, N], positions in the study's classes
    real: NDArray[np.bool_]  # [N]
    patients: NDArray[np.str_]  # [N], a name of its own for every synthetic item
    classes: IntArray  # [N], the truth

    @property
    def in_common(self) -> NDArray[np.bool_]:
        """Items that every reader has read, [N]."""
        return np.asarray((self.ratings != NOT_RATED).all(axis=0))

    def enough(self, rows: NDArray[np.bool_]) -> bool:
        """Whether these items are of two patients of each origin or more, so that an interval can be had."""
        sides = (rows & self.real, rows & ~self.real)
        return all(len(np.unique(self.patients[side])) >= SEVERAL for side in sides)

    def of(self, readers: Sequence[int]) -> "Readings":
        """Return the answers of these readers."""
        picked = list(readers)
        names = tuple(self.readers[number] for number in picked)
        answers = (self.ratings[picked], self.again[picked], self.labels[picked])
        return Readings(names, self.items, *answers, self.real, self.patients, self.classes)


def answer_table(ledger: Ledger) -> pd.DataFrame:
    """Every answer, practice and repeats included, with the item's truth."""
    study = ledger.study
    rows = [row | _truth(study, row["item"]) for row in ledger.answers()]
    table = pd.DataFrame(rows)
    if rows:
        table.insert(6, "answer", [study.design.words[row["rating"]] for row in rows])
    return table


def readings(table: pd.DataFrame, study: Study) -> Readings:
    """Bring `answer_table` into arrays; practice is left out."""
    counted = table[table["kind"] != "training"]
    names = tuple(dict.fromkeys(counted["reader"]))
    items = np.unique(counted["item"].to_numpy(dtype=np.int64))
    arrays = {
        name: np.full((len(names), len(items)), NOT_RATED, dtype=np.int64) for name in ("reading", "repeat", "label")
    }
    positions = {label: code for code, label in enumerate(study.classes)}
    for row in counted.to_dict("records"):
        place = names.index(row["reader"]), int(np.searchsorted(items, row["item"]))
        arrays[row["kind"]][place] = row["rating"]
        if row["kind"] == "reading" and study.design.ask_class:
            arrays["label"][place] = positions[row["answered_class"]]
    of = [study.items[item] for item in items]
    patients = [item.patient if item.real else f"synthetic {number}" for number, item in zip(items, of, strict=True)]
    return Readings(
        names,
        items,
        arrays["reading"],
        arrays["repeat"],
        arrays["label"],
        np.array([item.real for item in of], dtype=bool),
        np.array(patients, dtype=str),
        np.array([positions[item.label] for item in of], dtype=np.int64),
    )


def _truth(study: Study, number: int) -> dict[str, Any]:
    item = study.items[number]
    return {"origin": item.origin, "class": item.label, "patient": item.patient}
