"""What a protocol is: an experiment at three scales, the classes that it is about, and a stand-in for its data.

A protocol is one file in ``protocols``, which ends in its `Protocol`. Its experiment runs on any patches: their labels
are mapped to its classes, and what the patches lack is said before anything is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from lesionforge import registry, settings
from lesionforge.data.hounsfield import default_window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.experiments import protocols
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.scale import SCALES, Scale

FEWEST_TO_CHOOSE = 2  # validation patients of a class, where something is chosen on them


@dataclass(frozen=True)
class Asked:
    """What a user asks of a protocol beside its scale; nothing said: as the protocol has it."""

    window: str = ""
    generators: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    amounts: tuple[int, ...] = ()  # samples of each class


@dataclass(frozen=True)
class Protocol:
    """``describe`` makes the experiment, ``stand_in`` the data where none is given."""

    describe: Callable[[Scale, Asked], Experiment]
    stand_in: Callable[[Scale], Patches]
    standing: str  # what stands for what in the stand-in
    classes: tuple[str, ...] = ()  # none: whichever the patches have
    axes: int = 2  # of a patch; 0: either
    window: str = "lung"  # of patches in HU
    open: bool = False  # whether generators, classifiers and amounts can be asked for

    def experiment(self, scale: str, asked: Asked = Asked(), *, unit: str = "HU") -> Experiment:
        """Describe the experiment at a scale, for patches in ``unit``.

        Raises
        ------
        LesionForgeError
            There is no such scale, or something was asked that this protocol settles itself.
        """
        chosen = scale_named(scale)
        settled = [name for name in ("generators", "classifiers", "amounts") if getattr(asked, name)]
        if settled and not self.open:
            raise LesionForgeError(
                f"this protocol settles its {' and '.join(settled)} as its paper does: ask `lesionforge experiment "
                "usefulness` for other ones, or change a setting with --set."
            )
        window = asked.window or (self.window if unit == "HU" else default_window(unit).name)
        return replace(self.describe(chosen, replace(asked, window=window)), scale=scale)

    def patches(self, scale: str, given: Patches | None, labels: Mapping[str, Sequence[str]]) -> Patches:
        """Return the patches that were given, with this protocol's classes, or else the stand-in."""
        if given is not None:
            return self.labelled(given, labels)
        if labels:
            raise LesionForgeError("labels stand for classes of given patches, but none were given: say --data too.")
        return self.stand_in(scale_named(scale))

    def named(self, given: str | None, labels: Mapping[str, Sequence[str]]) -> str:
        """Say in a report's first line what the patches are."""
        if given is None:
            return f"CT phantom in place of data: {self.standing}"
        standing = "; ".join(f"{' and '.join(map(repr, these))} as {name!r}" for name, these in labels.items())
        return given + (f", with {standing}" if standing else "")

    def labelled(self, patches: Patches, labels: Mapping[str, Sequence[str]]) -> Patches:
        """Give ``patches`` this protocol's classes; ``labels`` says which of theirs stand for each.

        Raises
        ------
        LesionForgeError
            The patches lack a class, or have other axes than the protocol's networks take.
        """
        if self.axes and len(patches.shape) != self.axes:
            raise LesionForgeError(
                f"this protocol's networks take {self.axes}-D patches, but {'×'.join(map(str, patches.shape))} came: "
                f"bring {'volumes' if self.axes == 3 else 'slices'} of the same lesions (`lesionforge ingest --help`)."
            )
        theirs = _mapping(labels, patches.classes, self.classes or tuple(labels))
        if not theirs:
            self._check_classes(patches.classes)
            return patches
        kept = patches.rows(np.flatnonzero(np.isin(patches.labels, list(theirs))))
        mapped = kept.with_columns(label=[theirs[label] for label in kept.labels.tolist()])
        self._check_classes(mapped.classes)
        return mapped

    def _check_classes(self, classes: tuple[str, ...]) -> None:
        if self.classes and set(classes) != set(self.classes):
            said = ", ".join(map(repr, classes)) or "none"
            example = f"--label {self.classes[0]!r}=THEIRS"
            raise LesionForgeError(
                f"this protocol is about the classes {', '.join(map(repr, self.classes))}, but the patches are "
                f"labelled {said}: say which labels stand for each class ({example}, once a class; several labels "
                "with commas)."
            )


def scale_named(name: str) -> Scale:
    """Return the scale of that name; raise LesionForgeError with the nearest name if there is none."""
    if name not in SCALES:
        raise LesionForgeError(f"there is no scale {name!r}{settings.nearest(name, SCALES)}")
    return SCALES[name]


def labels_asked(texts: Sequence[str]) -> dict[str, list[str]]:
    """Read ``CLASS=THEIRS,THEIRS`` texts."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, theirs = text.partition("=")
        if not equals or not theirs:
            raise LesionForgeError(f"a label must look like CLASS=THEIRS, but {text!r} came.")
        found.setdefault(name.strip(), []).extend(names_asked(theirs))
    return found


def names_asked(text: str) -> tuple[str, ...]:
    """Read names with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def amounts_asked(text: str) -> tuple[int, ...]:
    """Read amounts with commas."""
    try:
        amounts = tuple(int(name) for name in names_asked(text))
    except ValueError:
        raise LesionForgeError(f"amounts must be whole numbers with commas, but {text!r} came.") from None
    if any(amount < 1 for amount in amounts):
        raise LesionForgeError(f"amounts must be 1 or more, but {text!r} came.")
    return amounts


def protocol_named(name: str) -> Protocol:
    """Return the protocol of that name; raise LesionForgeError with the nearest name if there is none."""
    found: Protocol = registry.module_named(protocols, name).PROTOCOL
    return found


def patients_needed(experiment: Experiment) -> int:
    """Patients of every class without whom the experiment cannot be done at all."""
    needed = max(experiment.folds, experiment.patients_per_class)
    if experiment.choices:
        share = (1 - 1 / experiment.folds) * experiment.validation
        needed = max(needed, ceil(FEWEST_TO_CHOOSE / share))
    return needed


def check_patients(experiment: Experiment, patches: Patches) -> None:
    """Raise LesionForgeError if a class has too few patients for every fold of the experiment."""
    counted = patches.table.groupby("label")["patient"].nunique()
    needed, scarce = patients_needed(experiment), str(counted.idxmin())
    if counted[scarce] < needed:
        raise LesionForgeError(
            f"{experiment.protocol} needs {needed} patients of every class for its {experiment.folds} folds, but "
            f"{scarce!r} has {counted[scarce]}: gather more, leave that class out, or ask less (a smaller --scale, "
            "--set folds=2, patients_per_class=0 or a larger validation)."
        )


def _mapping(labels: Mapping[str, Sequence[str]], theirs: tuple[str, ...], classes: tuple[str, ...]) -> dict[str, str]:
    """Which class each of the patches' labels stands for."""
    if unknown := sorted(set(labels) - set(classes)):
        raise LesionForgeError(f"{unknown[0]!r} is no class of this protocol{settings.nearest(unknown[0], classes)}")
    found: dict[str, str] = {}
    for name, these in labels.items():
        for label in these:
            if label not in theirs:
                raise LesionForgeError(f"no patch is labelled {label!r}{settings.nearest(label, theirs)}")
            if label in found:
                raise LesionForgeError(
                    f"the label {label!r} can stand for one class, but {found[label]!r} and {name!r} came."
                )
            found[label] = name
    return found
