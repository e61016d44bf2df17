"""What a reader study found: could readers tell real from synthetic, and do they agree.

In a *visual Turing test* readers see real and synthetic lesions in random order and say which is which, in two words or
on the four-level scale of Wang et al. 2022 (`lesionforge.evaluation.scales`). "Positive" is *real*, as in Wang et al.
2020, Table 2: the true-positive ratio is the share of real lesions called real, the false-positive ratio the share of
synthetic lesions called real. Readers who cannot tell have both alike, an accuracy of ½ and an AUC of ½; a
false-positive ratio alone says little, since a reader who always says "real" has 1.

Comparing readers with a classifier or two ways of showing is `lesionforge.evaluation.multireader.compare_readers`.

R readers, N lesions.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.agreement import NOT_RATED, Chance, Weights, agreement
from lesionforge.evaluation.delong import aucs
from lesionforge.evaluation.estimate import LEVEL, Estimate
from lesionforge.evaluation.multireader import average_over_readers, average_reader
from lesionforge.evaluation.predictions import IntArray
from lesionforge.evaluation.proportions import share, shares
from lesionforge.evaluation.scales import SCALE

AVERAGE = "average"


def turing_table(
    ratings: ArrayLike,
    real: ArrayLike,
    *,
    readers: Sequence[str],
    scale: Sequence[str] = SCALE,
    patients: ArrayLike | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Table 2 of Wang et al. 2020 with intervals: how well each reader, and the average one, tells real from synthetic.

    A reader's interval covers the choice of lesions; that of the average covers the choice of readers as well
    (`average_over_readers`), so it is wide if there are two.

    Parameters
    ----------
    ratings
        [R, N], positions in ``scale``, which runs from fake to real; its upper half means "real".
    real
        [N], whether a lesion is.
    patients
        [N], a name of its own for every synthetic lesion; every lesion by itself if not given.

    Returns
    -------
    pandas.DataFrame
        Columns reader, metric (true_positive_ratio, false_positive_ratio, accuracy, auc), estimate, low, high.

    Raises
    ------
    LesionForgeError
        Lengths differ, a rating is not on the scale, or real or synthetic lesions are of fewer than two patients.
    """
    given, is_real = _checked(ratings, real, readers, len(scale))
    patient = np.arange(len(is_real)) if patients is None else np.asarray(patients)
    called_real = given >= len(scale) / 2
    everything = np.ones(len(is_real), dtype=bool)
    asked = {
        "true_positive_ratio": (called_real, is_real),
        "false_positive_ratio": (called_real, ~is_real),
        "accuracy": (called_real == is_real, everything),
    }
    rows: list[tuple[str, str, Estimate]] = []
    for number, reader in enumerate(readers):
        rows += [
            (reader, name, share(yes[number, of], patients=patient[of], level=level))
            for name, (yes, of) in asked.items()
        ]
        rows.append((reader, "auc", aucs(given[number], is_real, patients=patient).estimate(level=level)))
    if len(readers) > 1:
        for name, (yes, of) in asked.items():
            found = shares(yes[:, of], patients=patient[of])
            rows.append((AVERAGE, name, average_over_readers(found.value, found.covariance, level=level)))
        rows.append((AVERAGE, "auc", average_reader(given, is_real, patients=patient, level=level)))
    return _table(("reader", "metric"), rows, floor=0.0)


def confidence_table(
    ratings: ArrayLike, real: ArrayLike, *, readers: Sequence[str], scale: Sequence[str] = SCALE
) -> pd.DataFrame:
    """Confusion by confidence (Wang et al. 2022, Fig. 4): reader, origin, rating, count, share of the origin."""
    given, is_real = _checked(ratings, real, readers, len(scale))
    rows = [
        {"reader": reader, "origin": origin, "rating": word, "count": int(count), "share": count / max(of.sum(), 1)}
        for reader, ratings_of_one in zip(readers, given, strict=True)
        for origin, of in (("real", is_real), ("synthetic", ~is_real))
        for word, count in zip(scale, np.bincount(ratings_of_one[of], minlength=len(scale)), strict=True)
    ]
    return pd.DataFrame(rows)


def agreement_table(
    ratings: ArrayLike,
    *,
    readers: Sequence[str],
    classes: int,
    weights: Weights = "identity",
    patients: ArrayLike | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Agreement of each pair of readers and of all: columns first, second, coefficient, estimate, low, high.

    Pairs have the share of equal ratings, Cohen's kappa and Gwet's coefficient; all of three or more (named "all")
    Fleiss' and Gwet's. The truth can be one of the readers, a reader's second session another: then the rows of those
    pairs are the class agreement with the truth and the intra-reader agreement. ``ratings`` is [R, N], with
    `lesionforge.evaluation.agreement.NOT_RATED` where a reader has not read a lesion.
    """
    given = np.asarray(ratings)
    if given.ndim != 2 or len(given) != len(readers) or len(set(readers)) < len(readers):
        raise LesionForgeError(
            f"ratings must be [readers, lesions] of {len(readers)} different readers, but {given.shape}."
        )
    patient = np.arange(given.shape[1]) if patients is None else np.asarray(patients)

    def coefficients(rows: NDArray[np.generic], *kinds: Chance) -> Iterator[tuple[str, Estimate]]:
        for kind in kinds:
            yield kind, agreement(rows, classes=classes, chance=kind, weights=weights, patients=patient, level=level)

    found: list[tuple[str, str, str, Estimate]] = []
    for one, other in combinations(range(len(given)), 2):
        pair, both = given[[one, other]], (given[[one, other]] != NOT_RATED).all(axis=0)
        equal = share(pair[0, both] == pair[1, both], patients=patient[both], level=level)
        values = [("equal", equal), *coefficients(pair, "cohen", "gwet")]
        found += [(readers[one], readers[other], kind, value) for kind, value in values]
    if len(given) > 2:
        found += [("all", "all", kind, value) for kind, value in coefficients(given, "fleiss", "gwet")]
    return _table(("first", "second", "coefficient"), found, floor=-1.0)


def _checked(
    ratings: ArrayLike, real: ArrayLike, readers: Sequence[str], levels: int
) -> tuple[IntArray, NDArray[np.bool_]]:
    given, is_real = np.asarray(ratings), np.asarray(real, dtype=bool)
    if given.shape != (len(readers), len(is_real)) or is_real.ndim != 1:
        raise LesionForgeError(
            f"ratings must be [readers, lesions], here {(len(readers), len(is_real))}, but {given.shape} came."
        )
    if levels < 2 or levels % 2 or not np.isin(given, np.arange(levels)).all():
        raise LesionForgeError(
            f"ratings must be positions in a scale of an even number of levels, here 0 to {levels - 1}, but others "
            "came: leave out lesions that a reader has not rated."
        )
    return given.astype(np.int64), is_real


def _table(names: tuple[str, ...], rows: Sequence[tuple[object, ...]], *, floor: float) -> pd.DataFrame:
    """Key columns, then estimate, low, high; an average's interval ends where its numbers do."""
    table = pd.DataFrame([row[:-1] for row in rows], columns=list(names))
    for column, field in (("estimate", "value"), ("low", "low"), ("high", "high")):
        table[column] = np.clip([getattr(row[-1], field) for row in rows], floor, 1.0)
    return table
