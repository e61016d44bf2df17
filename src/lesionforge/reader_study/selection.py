"""Which lesions a study shows: as many of each class and origin, and no patient more often than need be.

Lesions are drawn patient by patient: everyone gives one before anyone gives a second. Training items come first, and
their patients give no others if there are enough of them, so that nobody is tested on a lesion's twin.

N lesions to choose from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.design import Design


@dataclass(frozen=True)
class Chosen:
    """A lesion that was chosen: number of its set, its row there, and whether it is for training."""

    set_number: int
    row: int
    training: bool


def candidates(sets: Sequence[Patches]) -> pd.DataFrame:
    """All lesions, a row each: ``set_number``, ``row``, ``patient``, ``label``, ``synthetic``."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "set_number": number,
                    "row": range(len(each)),
                    "patient": each.patients.to_numpy(),
                    "label": each.labels,
                    "synthetic": each.is_synthetic,
                }
            )
            for number, each in enumerate(sets)
        ],
        ignore_index=True,
    )


def classes_of(known: pd.DataFrame, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the classes to show: those asked for, or all that both origins have.

    Raises
    ------
    LesionForgeError
        A class is of one origin alone: it would give the answer away.
    """
    of_real, of_synthetic = (set(known.loc[known["synthetic"] == side, "label"]) for side in (False, True))
    both = of_real & of_synthetic
    if not both or not set(asked) <= both:
        raise LesionForgeError(
            "each class shown must have real and synthetic lesions, or the class would tell, but real ones are of "
            f"{_named(of_real)}, synthetic ones of {_named(of_synthetic)}, and asked for are "
            f"{_named(set(asked) or both)}."
        )
    return tuple(sorted(asked or both))


def select(known: pd.DataFrame, classes: Sequence[str], design: Design) -> list[Chosen]:
    """Draw the items of a study.

    Raises
    ------
    LesionForgeError
        A class has too few lesions of an origin.
    """
    rng = np.random.default_rng([design.seed, 1])
    set_number, row = known["set_number"].tolist(), known["row"].tolist()
    chosen = []
    for label in classes:
        for synthetic in (False, True):
            rows = known[(known["label"] == label) & (known["synthetic"] == synthetic)]
            count = design.count(synthetic)
            wanted = design.training_per_class + count
            if len(rows) < wanted:
                raise LesionForgeError(
                    f"{wanted} {'synthetic' if synthetic else 'real'} lesions of {_named({label})} are wanted, "
                    f"training items included, but there are {len(rows)}: ask for fewer, or bring more."
                )
            for at, training in _divided(rows, design.training_per_class, count, rng):
                chosen.append(Chosen(set_number[at], row[at], training))
    return [chosen[place] for place in rng.permutation(len(chosen))]


def _divided(rows: pd.DataFrame, trained_on: int, count: int, rng: np.random.Generator) -> Iterator[tuple[int, bool]]:
    """Yield index and use of the rows drawn: first those for training, then those that count."""
    order = list(_patient_by_patient(rows, rng))
    training, rest = order[:trained_on], order[trained_on:]
    trained = set(rows.loc[training, "patient"])
    patient_of = rows["patient"].to_dict()
    others = [at for at in rest if patient_of[at] not in trained]
    reading = others if len(others) >= count else rest
    yield from ((at, True) for at in training)
    yield from ((at, False) for at in reading[:count])


def _patient_by_patient(rows: pd.DataFrame, rng: np.random.Generator) -> Iterator[int]:
    """Yield index labels in rounds: one lesion of each patient, then a second of those who have one, …."""
    shuffled = rows.iloc[rng.permutation(len(rows))]
    by_patient: list[NDArray[np.intp]] = [of.index.to_numpy() for _, of in shuffled.groupby("patient", sort=False)]
    for of_round in zip_longest(*by_patient):
        yield from (int(at) for at in of_round if at is not None)


def _named(labels: set[str]) -> str:
    return ", ".join(repr(label) if label else "no label" for label in sorted(labels)) or "none"
