"""One fold of an experiment: its training sets, its generators, its classifiers, its predictions.

Everything here is made from the fold's training patients; the test patients come in once, to be predicted, and
the leak guard of the classifier's contract checks that this is so.
"""

from pathlib import Path

import numpy as np

from lesionforge.classifiers.contract import Classifier, FittedClassifier
from lesionforge.classifiers.tuning import with_values
from lesionforge.data import patches_file
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.splits import Rows
from lesionforge.evaluation.predictions import FloatArray, Predictions
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments.fold_patches import CHECKPOINT, FoldPatches, fold_name
from lesionforge.experiments.ingredients import Contender, Generation, Regime
from lesionforge.progress import Progress
from lesionforge.storage import read_json, safe_name

CHOSEN = "chosen.json"  # settings, or a regime
SAMPLES = "patches"  # in the result of a task that draws samples
PREDICTIONS = "predictions.csv"  # of the test patients
VALIDATION = "validation.csv"  # predictions that choices are made on
UNCALIBRATED = "uncalibrated.csv"  # predictions before calibration, beside those after it


class Fold(FoldPatches):
    """A split of ``patches`` (at their source's size) under an experiment."""

    def sample_name(self, generation: Generation, label: str, count: int) -> str:
        """Name the task of sampling a class."""
        of_generator = self.generator_name(generation, (label,)).replace("generator", "samples", 1)
        return f"{of_generator}-{count}"

    def classifier_name(self, regime: Regime) -> str:
        """Name the task of fitting a regime's classifier."""
        return _classifier_name(self.name, regime.name)

    def tuning_name(self, contender: Contender) -> str:
        """Name the task of choosing a classifier's settings."""
        return f"{self.name}-tuning-{safe_name(contender.name)}"

    def choice_name(self, choice: str) -> str:
        """Name the task of making a choice."""
        return f"{self.name}-choice-{safe_name(choice)}"

    def checkpoint_of_classifier(self, regime: Regime) -> Path:
        """Where a regime's classifier is."""
        return self.results[self.classifier_name(regime)] / CHECKPOINT

    def predictions(self, name: str, file: str = PREDICTIONS) -> Predictions:
        """What the classifier of a regime or a choice said of this fold's test patients, once it has run."""
        return Predictions.from_table(read_table(self.results[self.classifier_name(self.regime_named(name))] / file))

    def has(self, name: str, file: str = PREDICTIONS) -> bool:
        """Whether the classifier of a regime or a choice has left a file; a task may have failed."""
        if name in {choice.name for choice in self.experiment.choices} and self.choice_name(name) not in self.results:
            return False
        task = self.classifier_name(self.regime_named(name))
        return task in self.results and (self.results[task] / file).exists()

    def regime_named(self, name: str) -> Regime:
        """The regime of that name, or the one that this fold's validation patients chose where it names a choice."""
        if name in {choice.name for choice in self.experiment.choices}:
            name = read_json(self.results[self.choice_name(name)] / CHOSEN, of="a choice")["regime"]
        (regime,) = (regime for regime in self.experiment.regimes if regime.name == name)
        return regime

    def tuned(self, contender: Contender) -> Classifier:
        """Return a classifier with the settings that were chosen on this fold's training patients."""
        if not self.experiment.tuning.trials:
            return contender.method
        values = read_json(self.results[self.tuning_name(contender)] / CHOSEN, of="a search's result")
        return with_values(contender.method, values)

    def sampled(self, generation: Generation, label: str, count: int) -> Patches:
        """Return the samples of a class that a task has drawn."""
        return patches_file.load(self.results[self.sample_name(generation, label, count)] / SAMPLES)

    def training_set(self, regime: Regime) -> Patches:
        """Join what a regime trains on."""
        here = self.of_portion(regime.portion)
        classic = self.regime_named(regime.classic_of).classic if regime.classic_of else regime.classic
        parts = [here.train] if regime.real else []
        if classic:
            of_classes = np.isin(here.source.labels, regime.classic_classes or self.patches.classes)
            parts.append(here.augmented(here.source.rows(of_classes), classic, "classifier"))
        if regime.synthetic_per_class:
            generation, classes = self.experiment.generator_of(regime), regime.synthetic_classes or self.patches.classes
            parts += [here.sampled(generation, label, regime.synthetic_per_class) for label in classes]
        if regime.given and self.given is not None:
            parts.append(self.given)
        return concatenate(parts)

    def fit(self, regime: Regime, progress: Progress) -> FittedClassifier:
        """Fit the classifier under a regime. Regimes of a fold start from the same weights."""
        return self.tuned(self.experiment.classifier_of(regime)).fit(
            self.training_set(regime),
            validation=self.validation if len(self.split.validation) else None,
            scored_on=self.test,
            seed=self.seed("classifier"),
            progress=progress,
        )

    def predict(self, fitted: FittedClassifier) -> Predictions:
        """Predict the test patients."""
        return self._predictions(fitted.facts.classes, self.test, self.split.test, fitted.predict_proba(self.test))

    def predict_validation(self, fitted: FittedClassifier) -> Predictions:
        """Predict the validation patients, to choose among regimes: fitting has stopped where it did best on them."""
        probability = fitted.predict_proba(self.validation, already_seen=True)
        return self._predictions(fitted.facts.classes, self.validation, self.split.validation, probability)

    def _predictions(
        self, classes: tuple[str, ...], patches: Patches, rows: Rows, probability: FloatArray
    ) -> Predictions:
        return Predictions.of(
            classes,
            labels=patches.labels,
            probability=probability,
            patients=patches.patients,
            row=rows,
            fold=self.split.fold,
            repeat=self.split.repeat,
        )


def checkpoint_names(regime: str, *, folds: int, repeats: int) -> list[str]:
    """Names of all folds' classifiers of a regime, in a run's ``checkpoints``."""
    return [_classifier_name(fold_name(repeat, fold), regime) for repeat in range(repeats) for fold in range(folds)]


def _classifier_name(fold: str, regime: str) -> str:
    return f"{fold}-classifier-{safe_name(regime)}"
