"""How near a synthetic set comes to real patients, by many measures, each beside its floor.

No measure sees all: blur and noise show in the spectrum and the finest level of the sliced Wasserstein distance, a
shifted scale in the histogram, collapse in recall, coverage and the diversity, and copies of training images in none of
them (`lesionforge.evaluation.memorisation`). Features are taken as they come: texture of whole patches, radiomics of
lesions, or what a network makes of them, computed by the caller; they are standardised by the real set.

M real patches, N synthetic ones, F features, H halvings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from lesionforge.data.hounsfield import Window
from lesionforge.data.patch_table import Array
from lesionforge.distances.frechet import extrapolated, frechet_distance
from lesionforge.distances.kernel import Standardised, kernel_distance
from lesionforge.distances.manifold import NEIGHBOURS, manifold
from lesionforge.distances.ms_ssim import ms_ssim, random_pairs
from lesionforge.distances.sliced_wasserstein import sliced_wasserstein
from lesionforge.distances.spectrum import (
    frequencies,
    histogram_distance,
    histograms,
    radial_spectrum,
    spectrum_distance_db,
)
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.estimate import student
from lesionforge.evaluation.halves import HALVINGS, AgainstFloor, Halving, against_floor, halvings
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.progress import SILENT, Progress

PAIRS = 200  # of a set, for its diversity
DIRECTIONS, NEIGHBOURHOODS = 64, 32  # of the sliced Wasserstein distance: beside its floor, fewer than published do
BINS = 140  # of the histogram: 10 HU each in a lung window
BAND_RESAMPLES = 400
LEAST_PATCHES = 2 * (NEIGHBOURS + 1)  # of a set: half of it must have neighbours

BETTER = {
    "frechet": "less",
    "frechet_at_infinity": "less",
    "kernel": "less",
    "precision": "more",
    "recall": "more",
    "density": "more",
    "coverage": "more",
    "sliced_wasserstein": "less",
    "ms_ssim_of_pairs": "as real",
    "spectrum_db": "less",
    "histogram": "less",
}
WRITTEN = (
    ("ms_ssim", "MS-SSIM"),
    ("frechet", "Fréchet"),
    ("wasserstein", "Wasserstein"),
    ("_db", " in dB"),
    ("_", " "),
)
Measured = dict[tuple[str, str], float]  # by measure, and what it was taken of


def measure_title(measure: str) -> str:
    """Return a measure's name as a sentence has it: Fréchet at infinity, MS-SSIM of pairs."""
    for plain, written in WRITTEN:
        measure = measure.replace(plain, written)
    return measure


class Features(NamedTuple):
    """Feature vectors of both sets: [M, F] and [N, F]."""

    real: FloatArray
    synthetic: FloatArray


@dataclass(frozen=True, eq=False)
class Sets:
    """The two sets: images in one unit, and the patient of each real one."""

    real: Array
    patients: Array
    synthetic: Array
    window: Window

    def __post_init__(self) -> None:
        for name, images in (("real", self.real), ("synthetic", self.synthetic)):
            if len(images) < LEAST_PATCHES:
                raise LesionForgeError(
                    f"fidelity needs {LEAST_PATCHES} patches or more of each set, but {len(images)} {name} ones came."
                )
        if self.real.shape[1:] != self.synthetic.shape[1:]:
            raise LesionForgeError(
                f"real and synthetic patches must have one size, but {self.real.shape[1:]} and "
                f"{self.synthetic.shape[1:]} came: crop or resize them alike."
            )


def fidelity_table(
    sets: Sets,
    features: Mapping[str, Features],
    *,
    images: bool = True,
    count: int = HALVINGS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Measure a synthetic set and its floor over ``count`` halvings of the real patients, with ``images`` or without.

    Returns
    -------
    A row for each measure and what it was ``taken_of`` (the name of the features, or of the images' level): ``better``
    (less, more, or as real), ``value`` with ``low`` and ``high``, ``floor`` with its own, ``excess`` (value − floor)
    with its own, and ``apart``: whether the interval of the excess leaves out 0.

    Raises
    ------
    LesionForgeError
        Sets are too small or of two sizes, there are fewer than four patients, or features are not finite.
    """
    described = {name: _standardised(name, each, sets) for name, each in features.items()}
    pictures = _Images.of(sets) if images else None
    values: list[Measured] = []
    floors: list[Measured] = []
    cuts = halvings(sets.patients, len(sets.synthetic), count=count, seed=seed)
    with progress.work("fidelity", len(cuts), unit="halvings") as advance:
        for number, cut in enumerate(cuts):
            for is_floor, into in ((False, values), (True, floors)):
                found = {} if pictures is None else dict(pictures.compared(cut, is_floor=is_floor, seed=seed + number))
                groups = sets.patients[cut.half], sets.patients[cut.other] if is_floor else None
                for name, each in described.items():
                    other = each.real[cut.other] if is_floor else each.synthetic[cut.synthetic]
                    found |= dict(_of_features(name, each.real[cut.half], other, groups, seed=seed + number))
                into.append(found)
            advance(1)
    rows = [
        _row(key, against_floor(np.array([v[key] for v in values]), np.array([f[key] for f in floors])))
        for key in values[0]
    ]
    return pd.DataFrame(rows)


def kernel_table(sets: Sets, features: Mapping[str, Features]) -> pd.DataFrame:
    """Kernel distance of the whole sets, unbiased at any size: taken_of, value, low, high (jackknife over patients).

    Pairs of lesions of one patient are left out; a synthetic patch is its own patient.
    """
    rows = []
    for name, each in features.items():
        standard = _standardised(name, each, sets)
        found = kernel_distance(standard.real, standard.synthetic, groups=sets.patients)
        interval = student(found.value, found.standard_error)
        rows.append([name, found.value, interval.low, interval.high])
    return pd.DataFrame(rows, columns=["taken_of", "value", "low", "high"])


def spectrum_table(sets: Sets) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean power by ring of frequency in dB, and mean share by bin of intensity, of both sets.

    Columns …, real, real_low, real_high, and the same of synthetic: means with pointwise 95 % intervals over patients,
    or over samples.
    """
    images = _Images.of(sets)
    ring = pd.DataFrame({"cycles_per_pixel": frequencies(sets.real.shape[1:])})
    edges = np.linspace(sets.window.low, sets.window.high, BINS + 1)
    owners = {"real": sets.patients, "synthetic": np.arange(len(sets.synthetic))}
    power = {name: _means(each, owners[name]) for name, each in zip(owners, images.power, strict=True)}
    shares = {name: _means(each, owners[name]) for name, each in zip(owners, images.shares, strict=True)}
    return (
        ring.assign(**_banded({name: 10 * np.log10(np.maximum(each, 1e-12)) for name, each in power.items()})),
        pd.DataFrame({"from": edges[:-1], "to": edges[1:]}).assign(**_banded(shares)),
    )


def _means(values: FloatArray, owners: Array) -> FloatArray:
    """Mean of ``values`` [N, R], and percentiles of the mean over owners drawn with replacement, [3, R]."""
    names, owner = np.unique(owners, return_inverse=True)
    even = np.full(len(names), 1 / len(names))
    drawn = np.random.default_rng(0).multinomial(len(names), even, size=BAND_RESAMPLES)[:, owner]
    means = drawn @ values / drawn.sum(axis=1, keepdims=True)
    return np.stack([values.mean(axis=0), *np.quantile(means, [0.025, 0.975], axis=0)])


def _banded(means: dict[str, FloatArray]) -> dict[str, FloatArray]:
    return {
        f"{name}{end}": of for name, each in means.items() for end, of in zip(("", "_low", "_high"), each, strict=True)
    }


@dataclass(frozen=True, eq=False)
class _Images:
    """What is computed once of every image, of the real ones and the synthetic ones."""

    sets: Sets
    power: tuple[FloatArray, FloatArray]
    shares: tuple[FloatArray, FloatArray]

    @classmethod
    def of(cls, sets: Sets) -> "_Images":
        low, high = sets.window.low, sets.window.high
        power = [radial_spectrum(each.clip(low, high)) for each in (sets.real, sets.synthetic)]
        shares = [histograms(each, low=low, high=high, bins=BINS) for each in (sets.real, sets.synthetic)]
        return cls(sets, (power[0], power[1]), (shares[0], shares[1]))

    def compared(self, cut: Halving, *, is_floor: bool, seed: int) -> Iterator[tuple[tuple[str, str], float]]:
        """Compare half of the real patients with the other half, or with samples."""
        which, rows = (0, cut.other) if is_floor else (1, cut.synthetic)
        window = self.sets.window
        other = (self.sets.synthetic if which else self.sets.real)[rows].clip(window.low, window.high)
        half = self.sets.real[cut.half].clip(window.low, window.high)
        if half.ndim == 3:
            swd = sliced_wasserstein(half, other, neighbourhoods=NEIGHBOURHOODS, directions=DIRECTIONS, seed=seed)
            for side, distance in swd.items():
                yield ("sliced_wasserstein", f"{side} px"), 1000 * distance
        groups = np.arange(len(rows)) if which else self.sets.patients[rows]
        first, second = random_pairs(PAIRS, groups, seed=seed)
        alike = ms_ssim(other[first], other[second], low=window.low, high=window.high)
        yield ("ms_ssim_of_pairs", "images"), float(alike.mean())
        yield ("spectrum_db", "images"), spectrum_distance_db(self.power[0][cut.half], self.power[which][rows])
        width = (window.high - window.low) / BINS
        shares = self.shares[0][cut.half], self.shares[which][rows]
        yield ("histogram", f"pixels, {window.unit}"), histogram_distance(*shares, width=width)


def _of_features(
    name: str, half: FloatArray, other: FloatArray, groups: tuple[Array, Array | None], *, seed: int
) -> Iterator[tuple[tuple[str, str], float]]:
    yield ("frechet", name), frechet_distance(half, other)
    yield ("frechet_at_infinity", name), extrapolated(half, other, seed=seed).at_infinity
    yield ("kernel", name), kernel_distance(half, other, groups=groups[0], other_groups=groups[1]).value
    for measure, share in vars(manifold(half, other)).items():
        yield (measure, name), share


def _standardised(name: str, features: Features, sets: Sets) -> Features:
    for each, images in zip(features, (sets.real, sets.synthetic), strict=True):
        if each.ndim != 2 or len(each) != len(images) or not np.isfinite(each).all():
            raise LesionForgeError(
                f"{name} features must be finite and a row for each of {len(images)} patches, but {each.shape} came"
                f"{'' if np.isfinite(each).all() else ', with NaN or infinity'}."
            )
    scale = Standardised.by(features.real)
    return Features(scale(features.real), scale(features.synthetic))


def _row(key: tuple[str, str], found: AgainstFloor) -> dict[str, object]:
    measure, taken_of = key
    row: dict[str, object] = {"measure": measure, "taken_of": taken_of, "better": BETTER[measure]}
    for name in ("value", "floor", "excess"):
        estimate = getattr(found, name)
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row | {"apart": bool(found.excess.low > 0 or found.excess.high < 0)}
