"""One fold of an experiment: its training sets, its generators, its classifiers, its predictions.

Everything here is made from the fold's training patients; the test patients come in once, to be predicted, and
the leak guard of the classifier's contract checks that this is so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from lesionforge.augment.recipes.frid_adar_2018 import FridAdar2018
from lesionforge.classifiers.contract import Classifier, FittedClassifier
from lesionforge.classifiers.tuning import Search, chosen, with_values
from lesionforge.data.exposure import patient_digest
from lesionforge.data.hounsfield import window_named
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.splits import Split
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments.experiment import Experiment, Regime
from lesionforge.experiments.tasks import Tasks, write_table
from lesionforge.generators import checkpoint
from lesionforge.generators.training import train
from lesionforge.generators.training_folder import read_curves
from lesionforge.generators.watch import LEAST_PATCHES
from lesionforge.networks import derived_seed
from lesionforge.progress import Progress
from lesionforge.storage import read_json, safe_name, write_json
from lesionforge.synthesis.sample import sample

PLATE_PATCHES = 24
CHOSEN = "chosen.json"  # settings
UNCALIBRATED = "uncalibrated.csv"  # predictions before calibration, beside those after it


@dataclass(frozen=True, eq=False)
class Fold:
    """A split of ``patches`` (at their source's size) under an experiment."""

    experiment: Experiment
    patches: Patches
    split: Split
    tasks: Tasks
    given: Patches | None = None

    @property
    def generated(self) -> list[tuple[str, ...]]:
        """The classes that each generator of the fold makes: one, or all where they can be asked for."""
        assert self.experiment.generator is not None  # checked by the experiment
        classes = self.patches.classes
        return [classes] if self.experiment.generator.conditional else [(label,) for label in classes]

    def do_generator(self, labels: tuple[str, ...], *, progress: Progress) -> None:
        """Do the task of training the generator of these classes, unless it has been done."""
        make = partial(self._generator_result, labels, progress.within(self.name))
        self.tasks.do(self._generator_task(labels), stage="generators", make=make)

    def do_classifier(self, regime: Regime, *, progress: Progress) -> None:
        """Do the task of fitting one regime's classifier and predicting the test patients, unless it has been done."""
        make = partial(self._classifier_result, regime, progress.within(self.name))
        self.tasks.do(self._classifier_task(regime), stage="classifiers", make=make)

    def do_tuning(self, *, progress: Progress) -> None:
        """Do the task of choosing the classifier's settings, unless it has been done."""
        make = partial(self._tuning_result, progress.within(self.name))
        self.tasks.do(self._tuning_task, stage="tuning", make=make)

    def checkpoint_of_classifier(self, regime: Regime) -> Path:
        """Where a regime's classifier is."""
        return self.tasks.out / "checkpoints" / self._classifier_task(regime)

    def predictions(self, regime: Regime, name: str = "predictions.csv") -> pd.DataFrame:
        """What a regime's classifier said of this fold's test patients, once it has been run."""
        return read_table(self.tasks.result(self._classifier_task(regime)) / name)

    @property
    def _tuning_task(self) -> str:
        return f"{self.name}-tuning"

    def _generator_task(self, labels: tuple[str, ...]) -> str:
        return f"{self.name}-generator-{safe_name(', '.join(labels))}"

    def _classifier_task(self, regime: Regime) -> str:
        return _classifier_name(self.name, regime.name)

    def _generator_result(self, labels: tuple[str, ...], progress: Progress, folder: Path) -> None:
        self.train_generator(labels, progress)
        curves = read_curves(self.checkpoint_of(labels[0]))
        write_table(folder / "training.csv", self._of_this_fold(curves).assign(label=", ".join(labels)))

    def _classifier_result(self, regime: Regime, progress: Progress, folder: Path) -> None:
        fitted = self.fit(regime, progress)
        fitted.save(self.checkpoint_of_classifier(regime), overwrite=True)
        write_table(folder / "predictions.csv", self.predict(fitted).to_table())
        strangeness = pd.DataFrame({"row": self.split.test, "strangeness": fitted.strangeness(self.test)})
        write_table(folder / "strangeness.csv", self._of_this_fold(strangeness).assign(regime=regime.name))
        if fitted.calibration is not None:
            write_table(folder / UNCALIBRATED, self.predict(fitted.uncalibrated).to_table())
        curves = fitted.history.melt("images_shown", var_name="term")
        write_table(folder / "training.csv", self._of_this_fold(curves).assign(regime=regime.name))

    def _tuning_result(self, progress: Progress, folder: Path) -> None:
        """Search; trials are kept in ``checkpoints`` as they are done, so that a killed search goes on."""
        search = Search(
            self.experiment.classifier,
            self.train,
            self.experiment.tuning,
            metric=self.experiment.metric,
            validation=self.validation if len(self.split.validation) else None,
            scored_on=self.test,
            seed=self.seed("tuning"),
        )
        trials = search.run(self.tasks.out / "checkpoints" / f"{self._tuning_task}.json", progress=progress)
        rows = [{"trial": number, "score": trial.score, **trial.values} for number, trial in enumerate(trials)]
        write_table(folder / "trials.csv", self._of_this_fold(pd.DataFrame(rows)))
        write_json(folder / CHOSEN, chosen(trials, metric=self.experiment.metric).values)

    @cached_property
    def classifier(self) -> Classifier:
        """The experiment's classifier, with the settings that were chosen on this fold's training patients."""
        if not self.experiment.tuning.trials:
            return self.experiment.classifier
        values = read_json(self.tasks.result(self._tuning_task) / CHOSEN, of="a search's result")
        return with_values(self.experiment.classifier, values)

    def _of_this_fold(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(repeat=self.split.repeat, fold=self.split.fold)

    @property
    def name(self) -> str:
        """Names this fold's files."""
        return _fold_name(self.split.repeat, self.split.fold)

    @cached_property
    def source(self) -> Patches:
        """Training patches at the source's size: what lies around the crop fills the corners of rotated ones."""
        return self.patches.rows(self.split.train)

    @cached_property
    def train(self) -> Patches:
        """Training patches, cropped."""
        return self.source.centre_crop(self.experiment.size)

    @cached_property
    def validation(self) -> Patches:
        """Patients who decide when fitting stops, cropped."""
        return self.patches.rows(self.split.validation).centre_crop(self.experiment.size)

    @cached_property
    def test(self) -> Patches:
        """Patients to be scored on, cropped."""
        return self.patches.rows(self.split.test).centre_crop(self.experiment.size)

    def seed(self, *purpose: object) -> int:
        """Seed for one purpose in this fold."""
        return derived_seed(self.experiment.seed, self.split.repeat, self.split.fold, *purpose) % 2**31

    def augmented(self, source: Patches, count: int, purpose: str) -> Patches:
        """Classically augment ``source`` by paper D's recipe; at most its 480 of each lesion."""
        recipe = FridAdar2018(output_size=self.experiment.size)
        count = min(count, recipe.per_lesion * len(source))
        return recipe.augment(source, seed=self.seed("augment", purpose), count=count)

    def checkpoint_of(self, label: str) -> Path:
        """Where the generator that makes this class is."""
        (labels,) = (labels for labels in self.generated if label in labels)
        return self.tasks.out / "checkpoints" / self._generator_task(labels)

    def train_generator(self, labels: tuple[str, ...], progress: Progress) -> None:
        """Train the generator of these classes on this fold's training patients, or continue to."""
        plan = self.experiment.generator_training
        assert self.experiment.generator is not None  # checked by the experiment
        train(
            self.experiment.generator,
            concatenate([part for label in labels for part in self._generator_parts(label)]),
            self.checkpoint_of(labels[0]),
            plan=plan.with_seed(self.seed("generator", *labels)),
            window=window_named(self.experiment.window, unit=self.patches.unit),
            validation=self.validation_of(labels),
            resume=True,
            progress=progress,
        )

    def _generator_parts(self, label: str) -> list[Patches]:
        """Return what a generator learns a class from: its lesions, and as many augmented ones for every class."""
        of_class = self.source.with_label(label)
        augmented = self.augmented(of_class, self.experiment.generator_patches, "generator")
        return [of_class.centre_crop(self.experiment.size), augmented]  # cropping is what the recipe did to the others

    def validation_of(self, labels: tuple[str, ...]) -> Patches | None:
        """Validation patches of these classes, on which their generator is chosen; None if too few of any for that."""
        of_classes = [self.validation.rows(self.validation.labels == label) for label in labels]
        enough = all(len(of_class) >= LEAST_PATCHES for of_class in of_classes)
        return concatenate(of_classes) if enough else None

    def samples(self, label: str, count: int) -> Patches:
        """Sample a class; a smaller ``count`` gives the first rows of a larger one.

        A generator that is shown something is shown this fold's training lesions, classically augmented so that each
        sample has its own, as long as the recipe has so many.
        """
        opened, conditions = checkpoint.load(self.checkpoint_of(label)), None
        if opened.method.pictured:
            conditions = self.augmented(self.source.with_label(label), count, "conditions")
        return sample(opened, count, seed=self.seed("sample", label), label=label, conditions=conditions)

    def training_set(self, regime: Regime) -> Patches:
        """Join what a regime trains on."""
        parts = [self.train]
        if regime.classic:
            parts.append(self.augmented(self.source, regime.classic, "classifier"))
        if regime.synthetic_per_class:
            parts += [self.samples(label, regime.synthetic_per_class) for label in self.patches.classes]
        if regime.given and self.given is not None:
            parts.append(self.given)
        return concatenate(parts)

    def fit(self, regime: Regime, progress: Progress) -> FittedClassifier:
        """Fit the classifier under a regime. Regimes of a fold start from the same weights."""
        return self.classifier.fit(
            self.training_set(regime),
            validation=self.validation if len(self.split.validation) else None,
            scored_on=self.test,
            seed=self.seed("classifier"),
            progress=progress,
        )

    def predict(self, fitted: FittedClassifier) -> Predictions:
        """Predict the test patients."""
        return Predictions.of(
            fitted.facts.classes,
            labels=self.test.labels,
            probability=fitted.predict_proba(self.test),
            patients=self.test.patients,
            row=self.split.test,
            fold=self.split.fold,
            repeat=self.split.repeat,
        )

    def plate(self, label: str) -> Patches:
        """Some real training lesions of a class and some synthetic ones, under digests instead of patients' names."""
        real = self.train.with_label(label)
        chosen = np.random.default_rng(self.seed("plate")).permutation(len(real))[:PLATE_PATCHES]
        shown = real.rows(np.sort(chosen))
        digests = [patient_digest(patient) for patient in shown.patients]
        anonymous = Patches.of(shown.images, patient=digests, label=label, spacing_mm=shown.spacing_mm, unit=shown.unit)
        return concatenate([anonymous, self.samples(label, PLATE_PATCHES)])


def checkpoint_names(regime: str, *, folds: int, repeats: int) -> list[str]:
    """Names of all folds' classifiers of a regime, in a run's ``checkpoints``."""
    return [_classifier_name(_fold_name(repeat, fold), regime) for repeat in range(repeats) for fold in range(folds)]


def _fold_name(repeat: int, fold: int) -> str:
    return f"repeat{repeat}-fold{fold}"


def _classifier_name(fold: str, regime: str) -> str:
    return f"{fold}-classifier-{safe_name(regime)}"


def summary(folds: Sequence[Fold]) -> list[dict[str, int]]:
    """Count the patients and lesions of each part of each fold."""
    return [
        {"repeat": fold.split.repeat, "fold": fold.split.fold}
        | {
            f"{part}_{what}": count
            for part, patches in (("train", fold.train), ("validation", fold.validation), ("test", fold.test))
            for what, count in (("patients", int(patches.patients.nunique())), ("lesions", len(patches)))
        }
        for fold in folds
    ]
