"""What a classifier is: a frozen dataclass that fits, and what fitting leaves, which predicts.

The leak guard stands at both doors. `Classifier.fit` refuses patients that it is told will be scored;
`FittedClassifier.predict_proba` and `features` refuse patients that fitting has seen, unless the caller says that it
knows. Whatever fitting has learnt is arrays with names, so every classifier is saved the same way, without pickle:
the arrays as safetensors, all else as JSON. `lesionforge.classifiers.saved.load` opens it.
"""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lesionforge import registry, settings
from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import Window, window_named
from lesionforge.data.patches import Patches
from lesionforge.environment import EXTRAS
from lesionforge.errors import LesionForgeError
from lesionforge.networks import save_tensors
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import describe_files, digest, new_folder, write_json

# N patches, K classes, F features.

FORMAT = "lesionforge-classifier"
VERSION = 2
MANIFEST = "classifier.json"
WEIGHTS = "classifier.safetensors"
SPACING_FACTOR = 2.0  # a pixel may be so many times larger or smaller than those learnt from

Arrays = Mapping[str, NDArray[Any]]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Classifier(ABC):
    """Base of every method in ``classifiers/methods``; the fields of a subclass are its hyper-parameters."""

    paper: ClassVar[str]
    extra: ClassVar[str] = ""  # the optional extra of LesionForge that it needs
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
            There are fewer than two classes, unlabelled rows, or sets of different size or unit; or an optional extra
            is not installed.
        """
        self.check_installed()
        self.check_shape(train.shape)
        _check(train, validation)
        exposure = train.exposure
        if validation is not None:
            exposure.learnt.refuse(validation.exposure, doing="validation")  # a generator may be chosen on the same
            exposure |= validation.exposure
        if scored_on is not None:
            exposure.refuse(scored_on.exposure, doing="fitting a classifier that will be scored")
        window = window_named(self.window, unit=train.unit)
        facts = Facts(train.classes, train.shape, window, _range(train.spacing_mm), exposure)
        return self._fit(facts, train, validation, seed, progress)

    @classmethod
    def check_installed(cls) -> None:
        """Raise LesionForgeError, with the way out, if the extra that this method needs is not installed."""
        if cls.extra and importlib.util.find_spec(EXTRAS[cls.extra]) is None:
            raise LesionForgeError(
                f"{registry.name_of(cls)} needs the optional extra {cls.extra!r}, which is not installed: see "
                "`lesionforge doctor`."
            )

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise LesionForgeError if patches of this shape (pixels an axis) cannot be learnt from."""

    @abstractmethod
    def _fit(
        self, facts: "Facts", train: Patches, validation: Patches | None, seed: int, progress: Progress
    ) -> "FittedClassifier":
        """Learn from checked sets."""

    @abstractmethod
    def restored(self, facts: "Facts", arrays: Arrays) -> "FittedClassifier":
        """Make what `_fit` made from the arrays that it had learnt; raise StorageError if they do not fit."""


@dataclass(frozen=True)
class Facts:
    """What a fitted classifier was fitted on."""

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    window: Window
    spacing_mm: tuple[tuple[float, float], ...]  # least and greatest for each axis; empty: unknown
    exposure: Exposure

    def codes(self, patches: Patches) -> NDArray[np.int64]:
        """Number of each row's class, [N]; raise LesionForgeError for labels that were not learnt."""
        unknown = sorted(set(patches.labels.tolist()) - set(self.classes))
        if unknown:
            raise LesionForgeError(f"labels must be among {', '.join(self.classes)}, but {', '.join(unknown)!r} came.")
        return np.searchsorted(self.classes, patches.labels)

    def check_fit(self, patches: Patches) -> None:
        """Raise LesionForgeError if patches have another size, unit or spacing than those learnt from."""
        if patches.shape != self.shape or patches.unit != self.window.unit:
            raise LesionForgeError(
                f"this classifier takes patches of {self.shape} in {self.window.unit}, but {patches.shape} "
                f"in {patches.unit} came: crop or resize them as the training set was."
            )
        came = _range(patches.spacing_mm)
        for axis, learnt, other in zip(patches.axes, self.spacing_mm, came, strict=bool(self.spacing_mm and came)):
            if other[0] < learnt[0] / SPACING_FACTOR or other[1] > learnt[1] * SPACING_FACTOR:
                raise LesionForgeError(
                    f"this classifier has learnt from pixels of {learnt[0]:.3g} to {learnt[1]:.3g} mm along {axis}, "
                    f"but {other[0]:.3g} to {other[1]:.3g} mm came: resample them as the training set was."
                )


class FittedClassifier(ABC):
    """A classifier that has learnt."""

    def __init__(self, method: Classifier, facts: Facts, history: pd.DataFrame) -> None:
        self.method = method
        self.facts = facts
        self.history = history
        """How fitting went: a row a check, at least ``images_shown``; may be empty, and is when loaded."""

    def predict_proba(self, patches: Patches, *, already_seen: bool = False) -> FloatArray:
        """Probability of each class, [N, K], in the order of ``facts.classes``.

        Raises
        ------
        LeakError
            Fitting has seen a patient of ``patches``: such probabilities must not be scored. Pass
            ``already_seen=True`` where nothing is scored (a picture, an ensemble's weights).
        LesionForgeError
            The patches have another size, unit or spacing than what was learnt from.
        """
        self._admit(patches, already_seen=already_seen)
        return self._predict_proba(patches)

    def features(self, patches: Patches, *, already_seen: bool = False) -> FloatArray:
        """What the classifier decides from, [N, F]: a network's last hidden layer, or hand-crafted numbers.

        Raises as `predict_proba` does.
        """
        self._admit(patches, already_seen=already_seen)
        return self._features(patches)

    def _admit(self, patches: Patches, *, already_seen: bool) -> None:
        if not already_seen:
            self.facts.exposure.refuse(patches.exposure, doing="scoring")
        self.facts.check_fit(patches)

    @abstractmethod
    def _predict_proba(self, patches: Patches) -> FloatArray:
        """Probabilities of patches that fit."""

    @abstractmethod
    def _features(self, patches: Patches) -> FloatArray:
        """Features of patches that fit."""

    @property
    @abstractmethod
    def arrays(self) -> Arrays:
        """All that was learnt, by name: `Classifier.restored` needs no more."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers were learnt from the patches."""

    def save(self, path: Path | str, *, overwrite: bool = False) -> Path:
        """Write the classifier to the folder ``path``: settings, exposure and what was learnt, without pickle."""
        path = Path(path)
        with new_folder(path, overwrite=overwrite) as folder:
            save_tensors(folder / WEIGHTS, {name: torch.from_numpy(array) for name, array in self.arrays.items()})
            manifest = {
                "format": FORMAT,
                "version": VERSION,
                "method": registry.name_of(self.method),
                "settings": settings.to_json(self.method),
                "facts": settings.to_json(self.facts) | {"exposure": self.facts.exposure.to_json()},
                "files": describe_files(folder),
            }
            write_json(folder / MANIFEST, manifest | {"digest": digest(manifest)})
        return path


def _range(spacing_mm: FloatArray) -> tuple[tuple[float, float], ...]:
    """Least and greatest spacing of each axis; empty where no row's is known."""
    known = spacing_mm[~np.isnan(spacing_mm).any(axis=1)]
    return tuple((float(axis.min()), float(axis.max())) for axis in known.T) if len(known) else ()


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
