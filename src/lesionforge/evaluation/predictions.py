"""`Predictions`: what a classifier said of test rows; the one type that evaluation takes.

N counts predictions (a row of the test set in one repeat of the cross-validation), K classes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lesionforge.data.exposure import patient_digest
from lesionforge.errors import LesionForgeError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

PROBABILITY = "p_"  # a table's column p_<class> holds the probability of that class
ARRAYS = ("truth", "probability", "patient", "row", "fold", "repeat")
_SUM_TOLERANCE = 1e-3  # softmax in half precision ends this near to 1
_DIGEST = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of test rows, with all that an honest score needs to know of them.

    `Predictions.of` makes one from labels and patient identifiers.

    Parameters
    ----------
    classes
        The K class names, in the order of the columns of ``probability``. Of two classes the second is the
        *positive* one: sensitivity is its recall.
    truth
        [N], positions in ``classes``.
    probability
        [N, K], rows that sum to 1.
    patient
        [N], digests (`lesionforge.data.exposure.patient_digest`): predictions are written into run folders,
        and those hold no patient identifiers.
    row
        [N], position in the set of patches: what pairs the predictions of two classifiers.
    fold, repeat
        [N]. In one repeat of the cross-validation a row is predicted once, and a patient is in one fold.

    Raises
    ------
    LesionForgeError
        The arrays do not fit what is said above.
    """

    classes: tuple[str, ...]
    truth: IntArray
    probability: FloatArray
    patient: NDArray[np.str_]
    row: IntArray
    fold: IntArray
    repeat: IntArray

    def __post_init__(self) -> None:
        _check_probability(self.probability, len(self.classes), len(set(self.classes)))
        count = len(self.probability)
        for name in ("truth", "patient", "row", "fold", "repeat"):
            shape = getattr(self, name).shape
            if shape != (count,):
                raise LesionForgeError(f"{name} must have a value for each of {count} predictions, but has {shape}.")
        if self.truth.min() < 0 or self.truth.max() >= len(self.classes):
            raise LesionForgeError(f"truth must hold positions in the {len(self.classes)} classes, 0 the first.")
        if not all(_DIGEST.fullmatch(patient) for patient in np.unique(self.patient)):
            raise LesionForgeError(
                "patients of predictions must be digests, since predictions are written to files, but "
                "identifiers came: `Predictions.of` takes identifiers and keeps digests."
            )
        _check_folds(self.patient, self.row, self.fold, self.repeat)

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        *,
        labels: ArrayLike,
        probability: ArrayLike,
        patients: ArrayLike,
        row: ArrayLike | None = None,
        fold: ArrayLike = 0,
        repeat: ArrayLike = 0,
    ) -> "Predictions":
        """Predictions from class names and patient identifiers, which only survive as digests.

        ``labels`` and ``patients`` are [N]; ``row`` counts from 0 if not given; ``fold`` and ``repeat`` are
        one number or [N].
        """
        names, ids = np.asarray(labels, dtype=str), np.asarray(patients, dtype=str)
        count = len(names)
        return cls(
            tuple(classes),
            truth=_codes(names, tuple(classes)),
            probability=np.asarray(probability, dtype=np.float64),
            patient=np.array([patient_digest(patient) for patient in ids.tolist()], dtype=str),
            row=np.arange(count) if row is None else np.asarray(row, dtype=np.int64),
            fold=_each(fold, count),
            repeat=_each(repeat, count),
        )

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def predicted(self) -> IntArray:
        """The most probable class of each row, [N]; of equally probable ones the first."""
        return np.asarray(self.probability.argmax(axis=1), dtype=np.int64)

    @property
    def n_patients(self) -> int:
        """How many patients there are."""
        return len(np.unique(self.patient))

    @property
    def n_repeats(self) -> int:
        """How often the cross-validation was repeated, each time with networks trained anew."""
        return len(np.unique(self.repeat))

    def by_repeat(self) -> "list[tuple[IntArray, Predictions]]":
        """Return the positions of each repeat's predictions, and those predictions."""
        places = [np.flatnonzero(self.repeat == repeat) for repeat in np.unique(self.repeat)]
        return [(rows, self.at(rows)) for rows in places]

    def at(self, places: IntArray | NDArray[np.bool_]) -> "Predictions":
        """Return the predictions at these places, by number or by a mask [N]."""
        return Predictions(self.classes, **{name: getattr(self, name)[places] for name in ARRAYS})

    def in_order(self) -> "Predictions":
        """Return the same predictions, sorted by repeat and row."""
        return self.at(np.lexsort((self.row, self.repeat)))

    def to_table(self) -> pd.DataFrame:
        """Return a row for each prediction: repeat, fold, row, patient, label, p_<class>…."""
        columns = {name: getattr(self, name) for name in ("repeat", "fold", "row", "patient")}
        columns["label"] = np.array(self.classes)[self.truth]
        probabilities = {f"{PROBABILITY}{name}": self.probability[:, k] for k, name in enumerate(self.classes)}
        return pd.DataFrame(columns | probabilities)

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> "Predictions":
        """Read what `to_table` gave; the order of the probability columns is the order of the classes."""
        columns = ("repeat", "fold", "row", "patient", "label")
        if missing := [name for name in columns if name not in table]:
            raise LesionForgeError(f"a table of predictions must have the columns {', '.join(missing)}; add them.")
        probabilities = [name for name in table if str(name).startswith(PROBABILITY)]
        classes = tuple(str(name).removeprefix(PROBABILITY) for name in probabilities)
        return cls(
            classes,
            truth=_codes(table["label"].to_numpy(dtype=str), classes),
            probability=table[probabilities].to_numpy(dtype=np.float64),
            patient=table["patient"].to_numpy(dtype=str),
            **{name: table[name].to_numpy(dtype=np.int64) for name in ("row", "fold", "repeat")},
        )


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Join the predictions of folds and repeats; all must name the same classes in the same order."""
    if not parts:
        raise LesionForgeError("concatenate needs at least one set of predictions, but none came.")
    if len({part.classes for part in parts}) > 1:
        raise LesionForgeError("predictions to join must have the same classes in the same order: fit them alike.")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Predictions(parts[0].classes, **arrays)


def paired(baseline: Predictions, other: Predictions) -> tuple[Predictions, Predictions]:
    """Both in one order of rows, to be compared row by row.

    Raises
    ------
    LesionForgeError
        The two were not tested on the same rows in the same folds.
    """
    if baseline.classes != other.classes:
        raise LesionForgeError("classifiers to compare must know the same classes in the same order: fit them alike.")
    first, second = baseline.in_order(), other.in_order()
    for name in ("repeat", "row", "fold", "patient", "truth"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise LesionForgeError(
                "classifiers can be compared only on the same test rows, but these "
                f"({len(first)} and {len(second)} predictions) differ in {name}: test both on equal splits."
            )
    return first, second


def _codes(names: NDArray[np.str_], classes: tuple[str, ...]) -> IntArray:
    unknown = sorted(set(names.tolist()) - set(classes))
    if unknown:
        raise LesionForgeError(f"labels must be among {', '.join(classes)}, but {', '.join(map(repr, unknown))} came.")
    position = {name: code for code, name in enumerate(classes)}
    return np.array([position[name] for name in names.tolist()], dtype=np.int64)


def _each(value: ArrayLike, count: int) -> IntArray:
    values = np.asarray(value, dtype=np.int64)
    return np.full(count, values) if values.ndim == 0 else values


def _check_probability(probability: FloatArray, names: int, distinct: int) -> None:
    if names < 2 or distinct < names:
        raise LesionForgeError(f"classes must be at least two different names, but {names} came, {distinct} different.")
    if probability.ndim != 2 or probability.shape[1] != names or len(probability) == 0:
        raise LesionForgeError(f"probability must have shape [N, {names}], N above 0, but has {probability.shape}.")
    if not np.isfinite(probability).all():
        bad = int((~np.isfinite(probability)).any(axis=1).sum())
        raise LesionForgeError(
            f"probability must be finite, but {bad} of {len(probability)} rows hold NaN or infinity: the "
            "classifier diverged; train it with a lower learning rate."
        )
    off = np.abs(probability.sum(axis=1) - 1)
    if probability.min() < 0 or off.max() > _SUM_TOLERANCE:
        raise LesionForgeError(
            "probability must be at least 0 and sum to 1 in each row, but some rows do not: apply a softmax first."
        )


def _check_folds(patient: NDArray[np.str_], row: IntArray, fold: IntArray, repeat: IntArray) -> None:
    table = pd.DataFrame({"patient": patient, "row": row, "fold": fold, "repeat": repeat})
    if twice := int(table.duplicated(["repeat", "row"]).sum()):
        raise LesionForgeError(
            f"a row must be predicted once in a repeat of the cross-validation, but {twice} are predicted "
            "again: number the repeats."
        )
    spread = table.groupby(["repeat", "patient"])["fold"].nunique()
    if torn := int((spread > 1).sum()):
        raise LesionForgeError(
            f"a patient must be in one fold of a repeat, but {torn} are in several: split by patient, not by image."
        )
