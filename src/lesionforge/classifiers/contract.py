"""What a classifier is: a frozen dataclass that fits, and what fitting leaves, which predicts.

The leak guard stands at both doors. `Classifier.fit` refuses patients that it is told will be scored;
`FittedClassifier.predict_proba` and `features` refuse patients that fitting has seen, unless the caller says that it
knows. Whatever fitting has learnt is arrays with names, so every classifier is saved the same way, without pickle:
the arrays as safetensors, all else as JSON. `lesionforge.classifiers.saved.load` opens it.

Validation patients decide three things: when fitting stops, how probabilities are calibrated, and how unlike the
training patches a patch may be before it is refused. The last two are beside what was learnt, in a file of their own.
"""

import copy
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
from lesionforge.classifiers.calibration import Calibration, CalibrationKind, calibrate, restored_calibration
from lesionforge.classifiers.familiarity import Familiarity, learnt_from, look
from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import Window, window_named
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.extras import check_extra
from lesionforge.networks import save_tensors
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import describe_files, digest, new_folder, write_json

# N patches, K classes, F features.

FORMAT = "lesionforge-classifier"
VERSION = 3
MANIFEST = "classifier.json"
WEIGHTS = "classifier.safetensors"
SAFEGUARDS = "safeguards.safetensors"
SPACING_FACTOR = 2.0  # a pixel may be so many times larger or smaller than those learnt from

Arrays = Mapping[str, NDArray[Any]]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Classifier(ABC):
    """Base of every method in ``classifiers/methods``; the fields of a subclass are its hyper-parameters."""

    paper: ClassVar[str]
    extra: ClassVar[str] = ""  # the optional extra of LesionForge that it needs
    window: str = "lung"
    calibration: CalibrationKind = "none"

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
            Other patients, real ones, for deciding when to stop, for calibrating probabilities, and for what is like
            the training patches. What is decided on them has seen them.
        scored_on
            The patients that the result will be scored on, so that a leak is found before the work is done.

        Raises
        ------
        LeakError
            Training would see a patient of ``scored_on``, directly or through a generator; or ``validation``
            holds a patient of ``train``.
        LesionForgeError
            There are fewer than two classes, unlabelled rows, or sets of different size or unit; calibration lacks
            validation patients of a class; or an optional extra is not installed.
        """
        self.check_installed()
        self.check_shape(train.shape)
        _check(train, validation)
        self._check_calibration(train, validation)
        exposure = train.exposure
        if validation is not None:
            exposure.learnt.refuse(validation.exposure, doing="validation")  # a generator may be chosen on the same
            exposure |= validation.exposure
        if scored_on is not None:
            exposure.refuse(scored_on.exposure, doing="fitting a classifier that will be scored")
        window = window_named(self.window, unit=train.unit)
        facts = Facts(train.classes, train.shape, window, _range(train.spacing_mm), exposure)
        fitted = self._fit(facts, train, validation, seed, progress)
        if validation is not None:
            fitted.safeguard(train, validation)
        return fitted

    def _check_calibration(self, train: Patches, validation: Patches | None) -> None:
        if self.calibration != "none" and (validation is None or set(train.classes) - set(validation.classes)):
            raise LesionForgeError(
                f"calibration={self.calibration} needs validation patients of every class, but "
                f"{'none came' if validation is None else f'those that came hold {validation.classes} alone'}: set "
                "more patients aside, or calibration=none."
            )

    @classmethod
    def check_installed(cls) -> None:
        """Raise LesionForgeError, with the way out, if the extra that this method needs is not installed."""
        if cls.extra:
            check_extra(cls.extra, needed_by=registry.name_of(cls))

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
        self.calibration: Calibration | None = None
        self.familiarity: Familiarity | None = None
        """What the training patches look like; None where no validation patients set the bound."""

    def safeguard(self, train: Patches, validation: Patches) -> None:
        """Calibrate probabilities and set the bound on what is like the training patches, on validation patients."""
        if self.method.calibration != "none":
            probability, truth = self._predict_proba(validation), self.facts.codes(validation)
            self.calibration = calibrate(self.method.calibration, probability, truth)
        self.familiarity = Familiarity.fit(self._described(learnt_from(train)), self._described(validation))

    @property
    def uncalibrated(self) -> "FittedClassifier":
        """The same without its calibration."""
        plain = copy.copy(self)
        plain.calibration = None
        return plain

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
        probability = self._predict_proba(patches)
        return probability if self.calibration is None else self.calibration.apply(probability)

    def strangeness(self, patches: Patches, *, already_seen: bool = False) -> FloatArray:
        """How unlike the training patches each patch is, [N]: above 1 it should be refused; NaN: unknown.

        Raises as `predict_proba` does.
        """
        self._admit(patches, already_seen=already_seen)
        if self.familiarity is None:
            return np.full(len(patches), np.nan)
        return self.familiarity.strangeness(self._described(patches))

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

    def _described(self, patches: Patches) -> tuple[FloatArray, ...]:
        return self._features(patches), *look(patches, self.facts.window)

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
    def safeguards(self) -> Arrays:
        """What was decided on validation patients, by name: ``calibration.…`` and ``familiarity.…``."""
        parts = {"calibration": self.calibration, "familiarity": self.familiarity}
        found = {name: part.arrays for name, part in parts.items() if part is not None}
        return {f"{name}.{key}": array for name, arrays in found.items() for key, array in arrays.items()}

    def put_safeguards(self, arrays: Arrays) -> None:
        """Take what `safeguards` gave; raise KeyError if it is incomplete."""
        if own := under("calibration.", arrays):
            self.calibration = restored_calibration(own)
        if own := under("familiarity.", arrays):
            self.familiarity = Familiarity.restored(own)

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers were learnt from the patches."""

    def save(self, path: Path | str, *, overwrite: bool = False) -> Path:
        """Write the classifier to the folder ``path``: settings, exposure and what was learnt, without pickle."""
        path = Path(path)
        with new_folder(path, overwrite=overwrite) as folder:
            for name, arrays in ((WEIGHTS, self.arrays), (SAFEGUARDS, self.safeguards)):
                save_tensors(folder / name, {key: torch.from_numpy(array) for key, array in arrays.items()})
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


def under(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with ``prefix``, under what is left of these."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


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
