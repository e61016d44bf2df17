"""Who is in the phantom: patient k of a seed is always the same person, however many are asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lesionforge.data.phantom import liver, lung
from lesionforge.data.phantom.grid import Array, Grid
from lesionforge.data.phantom.scanner import CHEST_CT, LIVER_CT, ScanHabit, Scanner
from lesionforge.data.phantom.shapes import Shape, Wanted
from lesionforge.errors import LesionForgeError

# Steps of Roberts's R2 sequence and of the golden ratio: they fill the unit square and the unit interval evenly however
# many are taken, so classes keep their shares and no class gets the larger lesions, even in few patients.
CLASS_STEP, SIZE_STEP, LESION_STEP = 0.7548776662466927, 0.5698402909980532, 0.6180339887498949
SAME_CLASS_SHARE = 0.75  # of a patient's further lesions, those sure to be of the first one's class


class Lesion(Protocol):
    """A lesion that was drawn."""

    @property
    def shape(self) -> Shape:
        """Where it is, and its surface."""

    @property
    def facts(self) -> dict[str, str | float]:
        """What was drawn for it, by table column."""

    @property
    def roi_share(self) -> float | None:
        """Share of a patch's width that it spans, where patches are scaled to their lesion; None: native pixels."""


class Anatomy(Protocol):
    """A body with lesions, defined at every point."""

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The lesions, in the order of the labels they were drawn for."""

    def attenuation(self, grid: Grid) -> Array:
        """Attenuation at the grid's points, [Z, Y, X] in HU."""


@dataclass(frozen=True)
class Kind:
    """One kind of phantom: its classes with their shares of the patients, and how body and scan are drawn."""

    shares: Mapping[str, float]
    draw: Callable[[np.random.Generator, Wanted, float], Anatomy]
    habit: ScanHabit


KINDS: Mapping[str, Kind] = {
    "lung": Kind(lung.SHARES, lung.draw, CHEST_CT),
    "liver": Kind(liver.SHARES, liver.draw, LIVER_CT),
}


@dataclass(frozen=True)
class Patient:
    """One patient of the phantom."""

    name: str
    anatomy: Anatomy
    labels: tuple[str, ...]
    scanner: Scanner
    seeds: tuple[int, ...]

    def noise_rng(self, picture: int) -> np.random.Generator:
        """Noise of one picture of the patient: 0 is the scan, k the patch of lesion k."""
        return np.random.default_rng((*self.seeds, 1, picture))


@dataclass(frozen=True)
class Population:
    """What every patient of one phantom is drawn from.

    ``shares`` are the classes' shares of the patients (None: the kind's own); ``lesions_per_patient`` the fewest and
    the most lesions; ``difficulty`` from 0 (classes apart) to 1 (classes overlap in all but chance).

    Raises
    ------
    LesionForgeError
        A value is not what is said above.
    """

    kind: str
    seed: int = 0
    difficulty: float = 0.5
    shares: Mapping[str, float] | None = None
    lesions_per_patient: tuple[int, int] = (1, 3)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LesionForgeError(f"kind of phantom must be one of {', '.join(KINDS)}, but {self.kind!r} came.")
        if self.seed < 0:
            raise LesionForgeError(f"seed must be 0 or more, but {self.seed} came.")
        if not 0 <= self.difficulty <= 1:
            raise LesionForgeError(f"difficulty must lie between 0 and 1, but {self.difficulty} came.")
        classes = KINDS[self.kind].shares
        if self.shares is not None and (
            set(self.shares) != set(classes) or min(self.shares.values()) < 0 or not sum(self.shares.values()) > 0
        ):
            raise LesionForgeError(
                f"shares must give each of {', '.join(classes)} a number of 0 or more, but {dict(self.shares)} came."
            )
        fewest, most = self.lesions_per_patient
        if not 1 <= fewest <= most:
            raise LesionForgeError(
                f"lesions_per_patient must be (fewest, most) from 1 up, but ({fewest}, {most}) came."
            )

    def patient(self, number: int) -> Patient:
        """Draw patient ``number``."""
        seeds = (self.seed, list(KINDS).index(self.kind), number)
        rng = np.random.default_rng((*seeds, 0))
        wanted = self._wanted(number, rng)
        scanner = Scanner.drawn(rng, KINDS[self.kind].habit)
        anatomy = KINDS[self.kind].draw(rng, wanted, self.difficulty)
        labels = tuple(label for label, _ in wanted)
        return Patient(f"phantom-{self.kind}-{self.seed}-{number:04d}", anatomy, labels, scanner, seeds)

    def _wanted(self, number: int, rng: np.random.Generator) -> Wanted:
        """Classes of the patient's lesions, mostly one as in patients, and the quantiles of their sizes."""
        shares = KINDS[self.kind].shares if self.shares is None else self.shares
        classes = sorted(name for name in shares if shares[name] > 0)
        borders = np.cumsum([shares[name] for name in classes])
        first_class, first_size = np.random.default_rng(self.seed).random(2)
        own = (first_class + number * CLASS_STEP) % 1
        lesions = int(rng.integers(self.lesions_per_patient[0], self.lesions_per_patient[1] + 1))
        draws = [own] + [own if rng.random() < SAME_CLASS_SHARE else rng.random() for _ in range(lesions - 1)]
        which = np.searchsorted(borders[:-1], np.multiply(draws, borders[-1]), side="right")
        sizes = (first_size + number * SIZE_STEP + np.arange(lesions) * LESION_STEP) % 1
        return [(classes[k], float(size)) for k, size in zip(which, sizes, strict=True)]
