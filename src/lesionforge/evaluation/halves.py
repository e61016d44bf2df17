"""The floor that a distance is read against: the same distance between two halves of the real patients.

Distances between sets of a few hundred lesions are above 0 though the sets are of one kind, and of no use alone. So the
real patients are cut in two at random; a generator's samples, as many as a half has lesions, are compared with one
half, and so is the other half. What samples add to the floor is theirs.

This is done for several halvings. By how much a statistic varies between random halves of the patients is how much it
would vary with other patients in the full number (P. McCarthy, "Pseudo-replication: half samples", Rev. Int. Stat.
Inst. 37 (1969); J. Shao, C. Wu, Ann. Statist. 17 (1989), the jackknife that leaves out half), and so the spread of the
differences over halvings is their standard error.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.estimate import LEVEL, Estimate, student
from lesionforge.evaluation.predictions import FloatArray

HALVINGS = 20

Rows = NDArray[np.intp]


class Halving(NamedTuple):
    """Rows of one half of the patients, of the other, and of the synthetic set: the latter two as many."""

    half: Rows
    other: Rows
    synthetic: Rows


def halvings(patients: NDArray[np.generic], synthetic: int, *, count: int = HALVINGS, seed: int = 0) -> list[Halving]:
    """Cut ``patients`` [M] in two at random, ``count`` times, and draw from ``synthetic`` rows as many as a half has.

    Raises
    ------
    LesionForgeError
        There are fewer than four patients, no synthetic rows, or fewer than two halvings are asked for.
    """
    names, code = np.unique(patients, return_inverse=True)
    if len(names) < 4 or synthetic < 1 or count < 2:
        raise LesionForgeError(
            "a floor needs four real patients or more, a synthetic row and two halvings or more, but "
            f"{len(names)} patients, {synthetic} rows and {count} halvings came."
        )
    found = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        first = rng.permutation(len(names)) < len(names) // 2
        half, other = np.flatnonzero(first[code]), np.flatnonzero(~first[code])
        drawn = min(len(other), synthetic)
        found.append(Halving(half, _drawn(rng, other, drawn), _drawn(rng, np.arange(synthetic), drawn)))
    return found


@dataclass(frozen=True)
class AgainstFloor:
    """A measure of samples, the same of real patients, and what lies between: means over halvings, with intervals."""

    value: Estimate
    floor: Estimate
    excess: Estimate  # value − floor


def against_floor(values: FloatArray, floors: FloatArray, *, level: float = LEVEL) -> AgainstFloor:
    """Sum up a measure over halvings, [H] each."""

    def over_halvings(each: FloatArray) -> Estimate:
        return student(float(each.mean()), float(each.std(ddof=1)), df=len(each) - 1, level=level)

    return AgainstFloor(over_halvings(values), over_halvings(floors), over_halvings(values - floors))


def _drawn(rng: np.random.Generator, rows: Rows, count: int) -> Rows:
    return np.sort(rng.choice(rows, count, replace=False))
