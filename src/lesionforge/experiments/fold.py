"""One fold of an experiment: its training sets, its generators, its classifiers, its predictions.

Everything here is made from the fold's training patients; the test patients come in once, to be predicted, and
the leak guard of the classifier's contract checks that this is so.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lesionforge.classifiers import saved
from lesionforge.classifiers.contract import Classifier, FittedClassifier
from lesionforge.classifiers.tuning import Search, chosen, with_values
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.splits import Rows
from lesionforge.evaluation.predictions import FloatArray, Predictions
from lesionforge.evaluation.saturation import saturation
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments.embedding import embedding_of
from lesionforge.experiments.fold_patches import FoldPatches, fold_name
from lesionforge.experiments.ingredients import Choice, Contender, Regime
from lesionforge.experiments.tasks import write_table
from lesionforge.progress import Progress
from lesionforge.storage import read_json, safe_name, write_json

CHOSEN = "chosen.json"  # settings, or a regime
VALIDATION = "validation.csv"  # predictions that choices are made on
UNCALIBRATED = "uncalibrated.csv"  # predictions before calibration, beside those after it


class Fold(FoldPatches):
    """A split of ``patches`` (at their source's size) under an experiment."""

    def do_classifier(self, regime: Regime, *, progress: Progress) -> None:
        """Do the task of fitting one regime's classifier and predicting the test patients, unless it has been done."""
        make = partial(self._classifier_result, regime, progress.within(self.name))
        self.tasks.do(self._classifier_task(regime), stage="classifiers", make=make)

    def do_tuning(self, contender: Contender, *, progress: Progress) -> None:
        """Do the task of choosing a classifier's settings, unless it has been done."""
        make = partial(self._tuning_result, contender, progress.within(self.name))
        self.tasks.do(self._tuning_task(contender), stage="tuning", make=make)

    def do_choice(self, choice: Choice, *, progress: Progress) -> None:
        """Do the task of choosing among fitted regimes on the validation patients, unless it has been done."""
        del progress  # takes a moment
        self.tasks.do(self._choice_task(choice.name), stage="choices", make=partial(self._choice_result, choice))

    def do_embedding(self, name: str, *, progress: Progress) -> None:
        """Do the task of laying out what a regime's or a choice's classifier makes of patches, unless it was done."""
        del progress  # takes seconds
        make = partial(self._embedding_result, name)
        self.tasks.do(f"{self.name}-embedding-{safe_name(name)}", stage="embeddings", make=make)

    def checkpoint_of_classifier(self, regime: Regime) -> Path:
        """Where a regime's classifier is."""
        return self.tasks.out / "checkpoints" / self._classifier_task(regime)

    def predictions(self, name: str, file: str = "predictions.csv") -> pd.DataFrame:
        """What the classifier of a regime or a choice said of this fold's test patients, once it has run."""
        return read_table(self.tasks.result(self._classifier_task(self.regime_named(name))) / file)

    def regime_named(self, name: str) -> Regime:
        """The regime of that name, or the one that this fold's validation patients chose where it names a choice."""
        if name in {choice.name for choice in self.experiment.choices}:
            name = read_json(self.tasks.result(self._choice_task(name)) / CHOSEN, of="a choice")["regime"]
        (regime,) = (regime for regime in self.experiment.regimes if regime.name == name)
        return regime

    def _tuning_task(self, contender: Contender) -> str:
        return f"{self.name}-tuning-{safe_name(contender.name)}"

    def _choice_task(self, choice: str) -> str:
        return f"{self.name}-choice-{safe_name(choice)}"

    def _classifier_task(self, regime: Regime) -> str:
        return _classifier_name(self.name, regime.name)

    def _classifier_result(self, regime: Regime, progress: Progress, folder: Path) -> None:
        fitted = self.fit(regime, progress)
        fitted.save(self.checkpoint_of_classifier(regime), overwrite=True)
        write_table(folder / "predictions.csv", self.predict(fitted).to_table())
        if self.experiment.choices:
            write_table(folder / VALIDATION, self.predict_validation(fitted).to_table())
        strangeness = pd.DataFrame({"row": self.split.test, "strangeness": fitted.strangeness(self.test)})
        write_table(folder / "strangeness.csv", self.of_this_fold(strangeness).assign(regime=regime.name))
        if fitted.calibration is not None:
            write_table(folder / UNCALIBRATED, self.predict(fitted.uncalibrated).to_table())
        curves = fitted.history.melt("images_shown", var_name="term")
        write_table(folder / "training.csv", self.of_this_fold(curves).assign(regime=regime.name))

    def _tuning_result(self, contender: Contender, progress: Progress, folder: Path) -> None:
        """Search; trials are kept in ``checkpoints`` as they are done, so that a killed search goes on."""
        search = Search(
            contender.method,
            self.train,
            self.experiment.tuning,
            metric=self.experiment.metric,
            validation=self.validation if len(self.split.validation) else None,
            scored_on=self.test,
            seed=self.seed("tuning"),
        )
        trials = search.run(self.tasks.out / "checkpoints" / f"{self._tuning_task(contender)}.json", progress=progress)
        rows = [{"trial": number, "score": trial.score, **trial.values} for number, trial in enumerate(trials)]
        write_table(folder / "trials.csv", self.of_this_fold(pd.DataFrame(rows)).assign(classifier=contender.name))
        write_json(folder / CHOSEN, chosen(trials, metric=self.experiment.metric).values)

    def _choice_result(self, choice: Choice, folder: Path) -> None:
        said = [Predictions.from_table(self.predictions(name, VALIDATION)) for name in choice.among]
        found = saturation(said, metric=self.experiment.metric, seed=self.seed("choice"))
        table = found.assign(choice=choice.name, regime=choice.among)
        write_table(folder / "choices.csv", self.of_this_fold(table))
        write_json(folder / CHOSEN, {"regime": table.loc[table["chosen"], "regime"].item()})

    def _embedding_result(self, name: str, folder: Path) -> None:
        fitted = saved.load(self.checkpoint_of_classifier(self.regime_named(name)))
        embedded = embedding_of(fitted, self.looked_at(), seed=self.seed("embedding"))
        write_table(folder / "embedding.csv", embedded.assign(regime=name))

    def tuned(self, contender: Contender) -> Classifier:
        """Return a classifier with the settings that were chosen on this fold's training patients."""
        if not self.experiment.tuning.trials:
            return contender.method
        values = read_json(self.tasks.result(self._tuning_task(contender)) / CHOSEN, of="a search's result")
        return with_values(contender.method, values)

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
            parts += [here.samples(generation, label, regime.synthetic_per_class) for label in classes]
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
