"""What a classifier is: a frozen dataclass that fits, and what fitting leaves, which predicts.

The leak guard stands at both doors. `Classifier.fit` refuses patients that it is told will be scored;
`FittedClassifier.predict_proba` refuses patients that fitting has seen, unless the caller says that it knows.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import Window, window_named
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress

# N patches, K classes.


@dataclass(frozen=True)
class Classifier(ABC):
    """Base of every method in ``classifiers/methods``; the fields of a subclass are its hyper-parameters."""

    paper: ClassVar[str]
    window: str = "lung"

    def fit(
        self,
        train: Patches,
        *,
        validation: Patches | None = None,
        scored_on: Patches | None = None,
        seed: int = 0,
        progress: Progress = SILENT,
    ) -> "FittedClassifier":
        """Learn the labels of ``train``.

        Parameters
        ----------
        validation
            Other patients, real ones, for deciding when to stop. What is decided on them has seen them.
        scored_on
            The patients that the result will be scored on, so that a leak is found before the work is done.

        Raises
        ------
        LeakError
            Training would see a patient of ``scored_on``, directly or through a generator; or ``validation``
            holds a patient of ``train``.
        LesionForgeError
            There are fewer than two classes, unlabelled rows, or sets of different size or unit.
        """
        self.check_shape(train.shape)
        _check(train, validation)
        exposure = train.exposure
        if validation is not None:
            exposure.refuse(validation.exposure, doing="validation")
            exposure |= validation.exposure
        if scored_on is not None:
            exposure.refuse(scored_on.exposure, doing="fitting a classifier that will be scored")
        window = window_named(self.window, unit=train.unit)
        facts = Facts(train.classes, train.shape, window, exposure)
        return self._fit(facts, train, validation, seed, progress)

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise LesionForgeError if patches of this shape (pixels an axis) cannot be learnt from."""

    @abstractmethod
    def _fit(
        self, facts: "Facts", train: Patches, validation: Patches | None, seed: int, progress: Progress
    ) -> "FittedClassifier":
        """Learn from checked sets."""


@dataclass(frozen=True)
class Facts:
    """What a fitted classifier was fitted on."""

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    window: Window
    exposure: Exposure

    def codes(self, patches: Patches) -> NDArray[np.int64]:
        """Number of each row's class, [N]; raise LesionForgeError for labels that were not learnt."""
        unknown = sorted(set(patches.labels.tolist()) - set(self.classes))
        if unknown:
            raise LesionForgeError(f"labels must be among {', '.join(self.classes)}, but {', '.join(unknown)!r} came.")
        return np.searchsorted(self.classes, patches.labels)


class FittedClassifier(ABC):
    """A classifier that has learnt."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def predict_proba(self, patches: Patches, *, already_seen: bool = False) -> NDArray[np.float64]:
        """Probability of each class, [N, K], in the order of ``facts.classes``.

        Raises
        ------
        LeakError
            Fitting has seen a patient of ``patches``: such probabilities must not be scored. Pass
            ``already_seen=True`` where nothing is scored (a picture, an ensemble's weights).
        LesionForgeError
            The patches have another size or unit than what was learnt from.
        """
        if not already_seen:
            self.facts.exposure.refuse(patches.exposure, doing="scoring")
        if patches.shape != self.facts.shape or patches.unit != self.facts.window.unit:
            raise LesionForgeError(
                f"this classifier takes patches of {self.facts.shape} in {self.facts.window.unit}, but {patches.shape} "
                f"in {patches.unit} came: crop or resize them as the training set was."
            )
        return self._predict_proba(patches)

    @abstractmethod
    def _predict_proba(self, patches: Patches) -> NDArray[np.float64]:
        """Probabilities of patches that fit."""

    @abstractmethod
    def save(self, path: Path, *, overwrite: bool = False) -> Path:
        """Write the classifier to the folder ``path``, without pickle."""

    @property
    @abstractmethod
    def history(self) -> pd.DataFrame:
        """How fitting went: a row a check, at least ``images_shown``; may be empty."""


def _check(train: Patches, validation: Patches | None) -> None:
    if "" in train.labels:
        raise LesionForgeError(
            f"every training row needs a label, but {(train.labels == '').sum()} of {len(train)} have none: "
            "leave them out with `patches.rows(patches.labels != '')`."
        )
    if len(train.classes) < 2:
        raise LesionForgeError(f"a classifier needs 2 classes or more, but only {train.classes} came.")
    if validation is not None and (validation.shape != train.shape or validation.unit != train.unit):
        raise LesionForgeError(
            f"training and validation patches must have one size and unit, but {train.shape} in {train.unit} and "
            f"{validation.shape} in {validation.unit} came."
        )
    if validation is not None and (len(validation) == 0 or validation.is_synthetic.any()):
        raise LesionForgeError("validation needs real patches, one or more: a generator's cannot tell when to stop.")
