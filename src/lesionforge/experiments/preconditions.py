"""What would stop a run after hours, found before anything is written."""

import numpy as np

from lesionforge.data.hounsfield import window_named
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.scores import measure
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.ingredients import Generation
from lesionforge.generators.real_batch import check_shown


def check(fold: Fold) -> None:
    """Check that the experiment of ``fold`` can be run on its patches, as far as one fold can tell.

    Raises
    ------
    LeakError
        The given synthetic patches have seen these patients.
    LesionForgeError
        Sizes, windows, classes, the metric or what augmentation needs do not fit.
    """
    experiment, patches, shape = fold.experiment, fold.patches, fold.train.shape
    if len(patches.classes) < 2:
        raise LesionForgeError(f"an experiment needs patches of 2 classes or more, but only {patches.classes} came.")
    for window in (experiment.window, *(each.method.window for each in experiment.classifiers)):
        window_named(window, unit=patches.unit)
    for contender in experiment.classifiers:
        contender.method.check_installed()
        contender.method.check_shape(shape)
    _check_class_names(experiment, patches.classes)
    for generation in experiment.generators_used:
        _check_generator(fold, generation)
    augmented_for_generators = any(each.patches for each in experiment.generators_used)
    if augmented_for_generators or any(regime.classic for regime in experiment.regimes):
        fold.augmented(patches, 0, "check")
    if experiment.choices:
        _check_choices(fold)
    _check_metric(experiment, patches.classes)
    _check_given(experiment, patches, shape, fold.given)


def _check_generator(fold: Fold, generation: Generation) -> None:
    """Check what the generators' training will."""
    shape, method = fold.train.shape, generation.method
    method.check_shape(shape)
    if generation.training.images:
        method.check_length(shape, generation.training.images)
    check_shown(method, fold.train, window_named(fold.experiment.window, unit=fold.patches.unit))


def _check_class_names(experiment: Experiment, classes: tuple[str, ...]) -> None:
    for regime in experiment.regimes:
        if unknown := sorted({*regime.classic_classes, *regime.synthetic_classes} - set(classes)):
            raise LesionForgeError(
                f"the regime {regime.name!r} adds patches of {', '.join(map(repr, unknown))}, but the patches' classes "
                f"are {', '.join(map(repr, classes))}: rename them, or change the regime."
            )


def _check_choices(fold: Fold) -> None:
    """A choice weighs a difference against its error over patients, and one patient of a class shows none."""
    validation = fold.validation
    counted = validation.table.groupby("label")["patient"].nunique()
    if len(counted) < len(fold.patches.classes) or counted.min() < 2:
        raise LesionForgeError(
            "a choice among regimes needs 2 validation patients of every class or more, but a fold has "
            f"{', '.join(f'{count} of {label!r}' for label, count in counted.items())}: raise validation (now "
            f"{fold.experiment.validation}), use fewer folds, or gather more patients."
        )


def _check_metric(experiment: Experiment, classes: tuple[str, ...]) -> None:
    known = measure(Predictions.of(classes, labels=classes, probability=np.eye(len(classes)), patients=classes))
    if experiment.metric not in known:
        raise LesionForgeError(f"metric must be one of {', '.join(known)}, but {experiment.metric!r} came.")


def _check_given(experiment: Experiment, patches: Patches, shape: tuple[int, ...], given: Patches | None) -> None:
    wanted = [regime.name for regime in experiment.regimes if regime.given]
    if given is None:
        if wanted:
            raise LesionForgeError(f"the regime {wanted[0]!r} trains on given patches, but none were given.")
        return
    given.exposure.refuse(patches.exposure, doing="cross-validation with given synthetic patches")
    if given.shape != shape or given.unit != patches.unit:
        raise LesionForgeError(
            f"given patches must be {shape} in {patches.unit} like the experiment's, but {given.shape} in {given.unit} "
            "came: sample a generator of that size, or set the experiment's size."
        )
    if strange := sorted(set(given.labels.tolist()) - set(patches.classes)):
        raise LesionForgeError(
            f"given patches must be labelled {' or '.join(patches.classes)}, but {', '.join(map(repr, strange))} came."
        )
