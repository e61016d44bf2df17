"""Splits of `Patches` by patient, always; there is no function that splits by image.

Patients who share an image are one person under two names, and stay together. A person with lesions of
several classes counts for each of them; where one class has to be chosen, it is the rarest, so that rare
classes are spread first. Which persons go where depends on the patients and the seed alone, not on the order
of the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

Rows = NDArray[np.int64]
Persons = NDArray[np.int64]

ATTEMPTS = 100  # shuffles tried before a split in which every part holds every class is given up
TEN_STEPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted row numbers of a `Patches` for each use; no person is in two of them."""

    train: Rows
    validation: Rows
    test: Rows
    repeat: int = 0
    fold: int = 0


def stratified_kfold(patches: Patches, *, folds: int, seed: int, validation: float = 0.0) -> list[Split]:
    """Test every row once: ``folds`` splits whose test parts are disjoint and each hold every class.

    Parameters
    ----------
    validation
        Share of each fold's training persons kept aside for early stopping and for choosing checkpoints.

    Raises
    ------
    LesionForgeError
        Rows are synthetic or unlabelled, or a class has too few patients for every part to hold it.
    """
    return repeated_kfold(patches, folds=folds, repeats=1, seed=seed, validation=validation)


def repeated_kfold(
    patches: Patches, *, folds: int, repeats: int, seed: int, validation: float = 0.0, patients_per_class: int = 0
) -> list[Split]:
    """Make ``repeats`` independent k-fold splits, repeat by repeat; see `stratified_kfold`.

    The first repeats of a longer run are those of a shorter one. With ``patients_per_class`` each repeat is of so many
    patients of each class, drawn anew (`balance_patients`); 0 takes all.
    """
    if folds < 2 or repeats < 1:
        raise LesionForgeError(f"cross-validation needs at least 2 folds and 1 repeat, but {folds} and {repeats} came.")
    if not 0 <= validation < 1:
        raise LesionForgeError(f"validation must be a share from 0 to below 1, but {validation} came.")
    everyone = _People(patches)
    splits = []
    for repeat in range(repeats):
        rng = _generator(seed, repeat)
        people = _People(patches, _balanced(patches, patients_per_class, rng)) if patients_per_class else everyone
        part = _deal(people, people.all, np.full(folds, 1 / folds), rng, into=f"{folds} folds")
        for fold in range(folds):
            train, kept = np.flatnonzero(part != fold), np.array([], dtype=np.int64)
            if validation > 0:
                shares = np.array([1 - validation, validation])
                side = _deal(people, train, shares, rng, into="the training and validation parts of a fold")
                train, kept = train[side == 0], train[side == 1]
            test = people.rows(np.flatnonzero(part == fold))
            splits.append(Split(people.rows(train), people.rows(kept), test, repeat, fold))
    return splits


def train_validation_test(patches: Patches, *, fractions: Sequence[float], seed: int) -> Split:
    """Split once, into shares of the persons that sum to 1; raises as `stratified_kfold` does."""
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (3,) or not (shares > 0).all() or not np.isclose(shares.sum(), 1):
        raise LesionForgeError(
            "fractions must be three shares above 0 that sum to 1 (training, validation, test), "
            f"but {tuple(fractions)} came."
        )
    people = _People(patches)
    part = _deal(people, people.all, shares, _generator(seed), into="training, validation and test")
    train, validation, test = (people.rows(np.flatnonzero(part == number)) for number in range(3))
    return Split(train, validation, test)


def train_validation(patches: Patches, *, validation: float, seed: int) -> Split:
    """Set a share of the persons aside, and none to be tested; raises as `stratified_kfold` does."""
    if not 0 < validation < 1:
        raise LesionForgeError(f"validation must be a share above 0 and below 1, but {validation} came.")
    people = _People(patches)
    shares = np.array([1 - validation, validation])
    part = _deal(people, people.all, shares, _generator(seed), into="training and validation")
    train, kept = (people.rows(np.flatnonzero(part == number)) for number in range(2))
    return Split(train, kept, test=np.array([], dtype=np.int64))


def nested_fractions(
    patches: Patches, rows: ArrayLike, *, fractions: Sequence[float] = TEN_STEPS, seed: int
) -> list[Rows]:
    """Cut training ``rows`` to growing shares of their persons: each share holds the smaller ones.

    Every share holds every class that ``rows`` have, so the smallest may exceed its fraction.

    Returns
    -------
    list of Rows
        Row numbers of ``patches``, one array for each of ``fractions``, in their order.
    """
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise LesionForgeError(f"fractions must be above 0 and at most 1, but {tuple(fractions)} came.")
    people = _People(patches, rows)
    rng = _generator(seed)
    shuffled = rng.permutation(people.all)
    first: list[int] = []
    for holds in people.holds.T[people.rarest_first]:
        if not holds[first].any():
            first.append(int(shuffled[holds[shuffled]][0]))
    own = people.own_class
    rank = np.empty(len(own))
    for label in np.unique(own):
        members = shuffled[own[shuffled] == label]
        rank[members] = (np.arange(len(members)) + rng.random()) / len(members)
    rank[first] = -1
    order = np.argsort(rank, kind="stable")
    counts = [max(len(first), round(fraction * len(order))) for fraction in fractions]
    return [people.rows(order[:count]) for count in counts]


def balance_patients(patches: Patches, *, seed: int, per_class: int | None = None) -> Rows:
    """Down-sample to as many patients of each class (Wang 2020, classes of 30, 30 and 30 patients).

    A person with lesions of several classes stands for the rarest of them, and only that class's lesions are
    kept: no class gains lesions through another one's patients.

    Parameters
    ----------
    per_class
        Patients of each class; by default as many as the class with fewest has.

    Returns
    -------
    Rows
        Sorted row numbers of ``patches``.
    """
    return _balanced(patches, per_class, _generator(seed))


def _balanced(patches: Patches, per_class: int | None, rng: np.random.Generator) -> Rows:
    people = _People(patches)
    own = people.own_class
    available = np.bincount(own, minlength=len(people.classes))
    count = int(available.min()) if per_class is None else per_class
    scarce = people.classes[int(available.argmin())]
    if not 1 <= count <= available.min():
        raise LesionForgeError(
            f"balanced classes need at least 1 patient each, and {scarce!r} has {available.min()} to stand "
            f"for it, but {count} came: ask for fewer, gather more, or leave that class out."
        )
    kept = []
    for number in range(len(people.classes)):
        chosen = rng.choice(np.flatnonzero(own == number), count, replace=False)
        rows = people.rows(chosen)
        kept.append(rows[patches.labels[rows] == people.classes[number]])
    return np.sort(np.concatenate(kept))


class _People:
    """Persons behind rows, numbered by their first patient name, and the classes that each holds."""

    def __init__(self, patches: Patches, rows: ArrayLike | None = None) -> None:
        self._numbers: Rows = np.arange(len(patches)) if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
        table = patches.table.iloc[self._numbers]
        labels = patches.labels[self._numbers]
        if patches.is_synthetic[self._numbers].any():
            raise LesionForgeError(
                "only real patches can be split, for a synthetic one has no patient of its own: split "
                "`patches.rows(~patches.is_synthetic)` and add synthetic ones to the training part."
            )
        if not len(labels) or (labels == "").any():
            raise LesionForgeError(
                f"every row must have a label, but {(labels == '').sum()} of {len(labels)} have none: label "
                "them or drop them with `patches.rows(patches.labels != '')`."
            )
        self._person = _persons(table["patient"].to_numpy(dtype=str), table["source_pixels"].to_numpy(dtype=str))
        names, codes = np.unique(labels, return_inverse=True)
        self.classes: list[str] = names.tolist()
        self.all: Persons = np.unique(self._person)
        self.lesions = np.zeros((len(self.all), len(self.classes)), dtype=np.int64)
        np.add.at(self.lesions, (self._person, codes), 1)
        self.holds = self.lesions > 0

    @property
    def rarest_first(self) -> NDArray[np.int64]:
        """Classes, by how many persons hold them."""
        return np.argsort(self.holds.sum(axis=0), kind="stable")

    @property
    def own_class(self) -> NDArray[np.int64]:
        """Return each person's rarest class."""
        order = self.rarest_first
        return np.asarray(order[self.holds[:, order].argmax(axis=1)])

    def rows(self, persons: Persons) -> Rows:
        """Return the row numbers of these persons, sorted."""
        return np.asarray(self._numbers[np.isin(self._person, persons)])


def _persons(patients: NDArray[np.str_], pixels: NDArray[np.str_]) -> Persons:
    """Join rows that share a patient or an image: the numbers of the connected groups, [N]."""
    names, patient = np.unique(patients, return_inverse=True)
    images, image = np.unique(pixels, return_inverse=True)
    size = len(names) + len(images)
    links = coo_array((np.ones(len(patients), dtype=bool), (patient, len(names) + image)), shape=(size, size))
    _, group = connected_components(links, directed=False)
    # Groups are renumbered by their first patient name, whatever order the search found them in.
    _, first, number = np.unique(group[: len(names)], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number][patient]


def _deal(
    people: _People, persons: Persons, shares: NDArray[np.float64], rng: np.random.Generator, *, into: str
) -> NDArray[np.int64]:
    """Give each of ``persons`` a part, so that every part has its share of every class, and at least one.

    Returns
    -------
    NDArray
        The part of each of ``persons``, by number.
    """
    counts = people.holds[persons].sum(axis=0)
    scarce = int(counts.argmin())
    if counts[scarce] < len(shares):
        raise LesionForgeError(
            f"{into} need at least {len(shares)} patients of every class, but {people.classes[scarce]!r} has "
            f"{counts[scarce]}: use fewer parts, gather more patients, or leave that class out."
        )
    for _ in range(ATTEMPTS):
        part = _deal_once(people, persons, shares, rng)
        if all(people.holds[persons[part == number]].any(axis=0).all() for number in range(len(shares))):
            return part
    raise LesionForgeError(
        f"{into} cannot each hold every class: the patients who hold {people.classes[scarce]!r} hold others "
        "too, and are too few. Use fewer parts or gather more patients."
    )


def _deal_once(
    people: _People, persons: Persons, shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal class by class, the rarest first, and in a class the persons with most lesions first."""
    part = np.full(len(persons), -1)
    for label in people.rarest_first:
        lesions = people.lesions[persons, label]
        quota = np.ceil(np.round(shares * np.count_nonzero(lesions), 9))
        given = np.bincount(part + 1, lesions, minlength=len(shares) + 1)[1:]
        holders = np.bincount(part[lesions > 0] + 1, minlength=len(shares) + 1)[1:]
        left = rng.permutation(np.flatnonzero((lesions > 0) & (part < 0)))
        left = left[np.argsort(-lesions[left], kind="stable")]
        for dealt, person in enumerate(left):
            # The last persons are kept for the parts that are still without this class. Otherwise a part takes
            # persons up to its share of them, and the part that lacks most lesions comes first.
            kept = (holders == 0) & (len(left) - dealt <= (holders == 0).sum())
            lacking = np.round(shares * lesions.sum() - given, 9)
            chosen = np.lexsort((rng.random(len(shares)), -lacking, holders >= quota, ~kept))[0]
            part[person] = chosen
            given[chosen] += lesions[person]
            holders[chosen] += 1
    return part


def _generator(seed: int, *keys: int) -> np.random.Generator:
    if seed < 0:
        raise LesionForgeError(f"seed must not be negative, but {seed} came.")
    return np.random.default_rng([seed, *keys])
