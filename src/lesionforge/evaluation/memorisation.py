"""Has a generator learnt its training images by heart? Nearest neighbours with calibrated p-values.

How near is too near depends on the lesions: smooth ones are near to everything. So a sample is asked how much nearer it
comes to training images than to images of *held-out* patients, whom training has not seen: the ratio of both distances.
Every real lesion, in training or held out, is asked the same, its own patient left out of all that it is held against,
which shows what ratios fresh patients have.

*Of a sample*, the p-value is the share of real patients, a patient's lesions sharing one vote, whose ratio is as small
or smaller, the sample counted in: a conformal p-value (V. Vovk et al. 2005; with groups Y. Lee, R. Barber, R. Willett
2023), at most α in a share α of samples that are like fresh patients. *Of the set*, those samples are counted whose
ratio is below the smallest (or the 5 % quantile) of one lesion of each real patient. If samples were drawn as patients
are, how many come out below is known exactly (a beta-binomial, as of order statistics), so that a few copies among a
thousand samples are found, and chance alone flags a set in at most 5 % of cases.

The ratio is not fooled by blur or noise, which move samples away from all patients alike. A copy that was changed
beyond flips, turns and small shifts is not found by its pixels; it may be by its features.

N samples, T training images, M held-out ones, R = T + M real ones of P patients, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import betabinom

from lesionforge.data.patch_table import Array
from lesionforge.distances.neighbours import SMALLEST, Nearest, nearest
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.delong import aucs
from lesionforge.evaluation.estimate import Estimate
from lesionforge.evaluation.multiplicity import holm
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.evaluation.radiomics import one_a_patient

LEAST_PATIENTS = 20  # held out: with fewer no copying could be told from chance
TAILS = (0.0, 0.05)  # quantiles of real patients' ratios that samples are counted below

Patients = NDArray[np.generic]


@dataclass(frozen=True)
class Search:
    """Under which changes a copy is still looked for."""

    flips: bool = False
    shift: int = 0  # pixels along each axis
    angles: Sequence[float] = (0.0,)  # degrees

    def __call__(self, queries: Array, references: Array, unlike: tuple[Patients, Patients] | None = None) -> Nearest:
        """Find the nearest reference of each query, of another patient if patients of both are given."""
        return nearest(queries, references, flips=self.flips, shift=self.shift, angles=self.angles, unlike=unlike)


AS_THEY_ARE = Search()  # of features
AUGMENTED = Search(flips=True, shift=1, angles=tuple(15.0 * step for step in range(12)))  # of images: all around


@dataclass(frozen=True, eq=False)
class Real:
    """Real images [R, *shape] or features [R, F], their patients [R], and which of them were trained on [R]."""

    images: Array
    patients: Patients
    trained_on: NDArray[np.bool_]

    def __post_init__(self) -> None:
        held_out = len(np.unique(self.patients[~self.trained_on]))
        if held_out < LEAST_PATIENTS or not self.trained_on.any():
            raise LesionForgeError(
                f"memorisation needs training images and {LEAST_PATIENTS} held-out patients or more, but "
                f"{int(self.trained_on.sum())} and {held_out} came: set more patients aside before training."
            )


@dataclass(frozen=True, eq=False)
class Memory:
    """What was found in one space, pixels or features."""

    samples: pd.DataFrame  # a row for each: real_row, distance, distance_held_out, ratio, p_value, copy
    real: pd.DataFrame  # a row for each real image: trained_on, distance, distance_held_out, ratio
    sets: pd.DataFrame  # a row for each of `TAILS`: patients_below, samples_below, expected, p_value
    overall: Estimate  # how often a sample's ratio is below a real one's: ½ if samples come no nearer than patients do

    @property
    def p_value(self) -> float:
        """Of the set, over both tails."""
        return float(holm(self.sets["p_value"]).min())


def memory(
    samples: Array,
    real: Real,
    *,
    search: Search = AS_THEY_ARE,
    calibration: pd.DataFrame | None = None,
    seed: int = 0,
) -> Memory:
    """Hold samples [N, …] against the real images that were trained on, and those that were not.

    ``calibration`` is what `real_distances` gave for the same real images and search, if it is at hand already.

    Raises
    ------
    LesionForgeError
        There are no samples, or shapes differ.
    """
    if not len(samples):
        raise LesionForgeError("memorisation needs samples, but none came.")
    trained_on = np.flatnonzero(real.trained_on)
    found, apart = (search(samples, real.images[part]) for part in (trained_on, ~real.trained_on))
    ratio = _ratio(found.distance, apart.distance)
    calibration = real_distances(real, search=search) if calibration is None else calibration
    theirs = calibration["ratio"].to_numpy()
    one_each = theirs[one_a_patient(real.patients, seed=seed)]
    table = pd.DataFrame(
        {
            "real_row": trained_on[found.index],
            "distance": found.distance,
            "distance_held_out": apart.distance,
            "ratio": ratio,
            "p_value": conformal_p(ratio, theirs, real.patients),
            "copy": ratio < theirs.min(),
        }
    )
    tails = pd.DataFrame([_tail(ratio, one_each, tail) for tail in TAILS])
    return Memory(table, calibration, tails, _nearer(ratio, theirs, real.patients))


def real_distances(real: Real, *, search: Search) -> pd.DataFrame:
    """Distances of each real image to the nearest trained on and the nearest held out, of other patients: R rows."""
    distances = [
        search(real.images, real.images[part], (real.patients, real.patients[part])).distance
        for part in (real.trained_on, ~real.trained_on)
    ]
    return pd.DataFrame(
        {
            "trained_on": real.trained_on,
            "distance": distances[0],
            "distance_held_out": distances[1],
            "ratio": _ratio(*distances),
        }
    )


def membership(scores: FloatArray, trained_on: NDArray[np.bool_], patients: Patients) -> Estimate:
    """AUC of guessing from scores [R] who was in the training set: ½ says that nothing leaks; over patients.

    A score is higher for members: what a discriminator says of real images, or `nearness`.
    """
    return aucs(scores, trained_on, patients=patients).estimate()


def nearness(samples: Array, real: Real, calibration: pd.DataFrame, *, search: Search = AS_THEY_ARE) -> FloatArray:
    """How near samples come to each real image, beside how near held-out ones of other patients do: [R].

    An attack on samples alone: D. Chen et al., "GAN-Leaks", CCS 2020. ``calibration`` is what `real_distances` gave.
    """
    apart = calibration["distance_held_out"].to_numpy()
    return -np.log(np.maximum(_ratio(search(real.images, samples).distance, apart), SMALLEST))


def conformal_p(ratio: FloatArray, real: FloatArray, patients: Patients) -> FloatArray:
    """Share of real patients with ratios [R] as small as each of [N], lesions of a patient sharing one vote."""
    _, code, count = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.argsort(real, kind="stable")
    votes = np.concatenate([[0.0], np.cumsum(1 / count[code[order]])])
    below = votes[np.searchsorted(real[order], ratio, side="right")]
    return np.asarray((1 + below) / (1 + len(count)))


def _ratio(distance: FloatArray, apart: FloatArray) -> FloatArray:
    return np.asarray(distance / np.maximum(apart, SMALLEST))


def _tail(ratio: FloatArray, one_each: FloatArray, quantile: float) -> dict[str, float]:
    """Count samples below the j-th smallest of P patients' ratios: as chance has it, BetaBinomial(N, j, P + 1 − j)."""
    patients = len(one_each)
    place = max(1, round(quantile * patients))
    below = int((ratio < np.sort(one_each)[place - 1]).sum())
    chance = betabinom(len(ratio), place, patients + 1 - place)
    return {
        "patients_below": place,
        "samples_below": below,
        "expected": float(chance.mean()),
        "p_value": float(chance.sf(below - 1)),
    }


def _nearer(ratio: FloatArray, real: FloatArray, patients: Patients) -> Estimate:
    owners = np.concatenate([[f"sample {number}" for number in range(len(ratio))], np.asarray(patients, dtype=str)])
    return aucs(-np.concatenate([ratio, real]), np.arange(len(owners)) < len(ratio), patients=owners).estimate()
