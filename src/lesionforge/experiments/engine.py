"""The engine: runs an experiment's tasks, keeps each one's result, and writes the run's folder.

A run's folder (`report` makes a page of it):

    config.json         the experiment, and the digest of the data; a run is continued only under the same
    tasks/NAME/         a finished task's result, whole or absent; a killed run goes on with those that are missing
    checkpoints/        generators (unfinished ones are continued) and classifiers
    tables/*.csv        predictions, scores, comparisons and effects, confusion, lines of regimes, training curves
    plates/CLASS/       real beside synthetic patches
    log.jsonl           what was done when
    provenance.json     software, data, folds, times: written last, so it marks a finished run
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import sklearn.metrics

from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.data.splits import repeated_kfold
from lesionforge.errors import StorageError
from lesionforge.evaluation.predictions import Predictions, concatenate
from lesionforge.evaluation.statistics import compare, compare_all, comparison_table
from lesionforge.evaluation.subgroups import parts_of, subgroup_table
from lesionforge.evaluation.tables import (
    confusion_table_by_regime,
    curve_table,
    fold_table_by_regime,
    prediction_table_by_regime,
    score_table_by_regime,
)
from lesionforge.experiments import preconditions
from lesionforge.experiments.described import to_json
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import UNCALIBRATED, Fold, summary
from lesionforge.experiments.tasks import Tasks, write_table
from lesionforge.networks import choose_device, thread_share
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import read_json, safe_name, storage_errors, write_json
from lesionforge.workers import side_by_side

CONFIG = "config.json"
PROVENANCE = "provenance.json"
SOFTWARE = ("lesionforge", "numpy", "pandas", "scikit-learn", "scipy", "torch")
COLLECTED = {  # tables, and what tasks of a stage left for them
    "classifier_training": ("classifiers", "training.csv"),
    "strangeness": ("classifiers", "strangeness.csv"),
    "embedding": ("embeddings", "embedding.csv"),
    "choices": ("choices", "choices.csv"),
    "tuning": ("tuning", "trials.csv"),
    "gan_training": ("generators", "training.csv"),
}
FEW_PATIENTS = 30  # of the rarest class: below, an interval is wide and a fold's test part a handful
SIZE_GIVES_AWAY = 0.7  # AUC of the diameter alone


@dataclass(frozen=True)
class Source:
    """Where an experiment's patches come from, for its report."""

    name: str
    phantom: bool = False
    command: str = ""


def run(
    experiment: Experiment,
    patches: Patches,
    out: Path | str,
    *,
    source: Source,
    given: Patches | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> Path:
    """Run an experiment on ``patches`` into the folder ``out``; continue it if it was begun there.

    Parameters
    ----------
    given
        Synthetic patches for the regimes that add them; their generators must not have seen these patients.
    workers
        Tasks done at the same time. The number of threads of each, and so the last digits of the
        numbers, depend on it.

    Raises
    ------
    LesionForgeError
        The patches do not allow the experiment: too few patients, a class too many, a size too small.
    StorageError
        ``out`` holds something else, or another experiment.
    """
    engine = _Engine(experiment, patches, Tasks(Path(out)), source, given, progress)
    engine.open()
    if (engine.out / PROVENANCE).exists():
        progress.say(f"{engine.out} holds this experiment already, finished.")
        return engine.out
    with engine.tasks.alone():
        engine.do_tasks(workers)
        engine.write_tables()
        engine.write_plates()
        engine.write_provenance(workers)
    return engine.out


@dataclass
class _Engine:
    experiment: Experiment
    patches: Patches
    tasks: Tasks
    source: Source
    given: Patches | None
    progress: Progress

    def __post_init__(self) -> None:
        experiment = self.experiment
        splits = repeated_kfold(
            self.patches,
            folds=experiment.folds,
            repeats=experiment.repeats,
            seed=experiment.seed,
            validation=experiment.validation,
            patients_per_class=experiment.patients_per_class,
        )
        wanted = [split for split in splits if split.fold < (experiment.folds_run or experiment.folds)]
        self.folds = [Fold(experiment, self.patches, split, self.tasks, self.given) for split in wanted]
        preconditions.check(self.folds[0])

    @property
    def out(self) -> Path:
        return self.tasks.out

    def open(self) -> None:
        """Make the run's folder, or check that it is this experiment's."""
        config = to_json(self.experiment) | {"data_digest": self.patches.digest}
        if self.given is not None:
            config["given_digest"] = self.given.digest
        if (self.out / CONFIG).exists():
            found = read_json(self.out / CONFIG, of="a run")
            changed = sorted(key for key in config.keys() | found.keys() if config.get(key) != found.get(key))
            if changed:
                raise StorageError(
                    f"{self.out} holds a run with other {', '.join(changed)}: take another folder or the same settings."
                )
            self.progress.say(f"continuing the run in {self.out}")
        elif self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise StorageError(f"{self.out} must be empty or a run to continue, but holds something else.")
        with storage_errors(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / CONFIG, config)
        self.tasks.log("opened", folds=len(self.folds))

    def do_tasks(self, workers: int) -> None:
        """Train what generators are needed, then fit the classifiers: what has been done is left as it is."""
        experiment, folds = self.experiment, self.folds
        parts = [
            (fold.of_portion(portion), generation)
            for fold in folds
            for generation in experiment.generators_used
            for portion in experiment.portions_of(generation.name)
        ]
        trainings = [
            partial(part.do_generator, generation, labels)
            for part, generation in parts
            for labels in part.generated(generation)
        ]
        self.do(trainings, workers)
        if experiment.tuning.trials:
            self.do([partial(fold.do_tuning, each) for fold in folds for each in experiment.classifiers], workers)
        for stage in experiment.stages:
            self.do([partial(fold.do_classifier, regime) for fold in folds for regime in stage], workers)
            choices = experiment.choices_after(stage)
            self.do([partial(fold.do_choice, choice) for fold in folds for choice in choices], workers)
        if experiment.embedded:
            shown = experiment.shown or experiment.names
            self.do([partial(folds[0].do_embedding, name) for name in shown], workers)

    def do(self, tasks: Sequence[Callable[..., None]], workers: int) -> None:
        """Do these tasks side by side; the processes share the threads that torch would use in one."""
        if not tasks:
            return
        workers = min(workers, len(tasks))
        with side_by_side(workers, begin=thread_share(workers)) as pool:
            pool.do(tasks, progress=self.progress)

    def predictions(self, name: str = "predictions.csv") -> dict[str, Predictions]:
        """Each regime's and each choice's predictions, over all folds."""
        return {
            regime: concatenate([Predictions.from_table(fold.predictions(regime, name)) for fold in self.folds])
            for regime in self.experiment.names
        }

    def calibration(self, regimes: dict[str, Predictions]) -> pd.DataFrame:
        """Compare each regime's calibrated predictions with what they were before, in how far they can be believed."""
        before = self.predictions(UNCALIBRATED)
        return pd.DataFrame(
            [
                {
                    "regime": name,
                    **asdict(compare(before[name], regimes[name], metric=metric, seed=self.experiment.seed)),
                }
                for name in regimes
                for metric in ("brier_error", "calibration_error")
            ]
        )

    def write_tables(self) -> None:
        """Score every regime, hold them against one another, and collect what the tasks left."""
        experiment, tables, regimes = self.experiment, self.out / "tables", self.predictions()
        scores = score_table_by_regime(regimes, seed=experiment.seed)
        write_table(tables / "predictions.csv", prediction_table_by_regime(regimes))
        write_table(tables / "scores.csv", scores)
        write_table(tables / "fold_scores.csv", fold_table_by_regime(regimes))
        write_table(tables / "confusion.csv", confusion_table_by_regime(regimes))
        if experiment.lines:
            lines = [(line.name, line.along, line.regimes, line.amounts) for line in experiment.lines]
            write_table(tables / "curves.csv", curve_table(scores, lines))
        if any(each.method.calibration != "none" for each in experiment.classifiers):
            write_table(tables / "calibration.csv", self.calibration(regimes))
        for name, (stage, file) in COLLECTED.items():
            collected = self.tasks.tables(stage, file)
            if len(collected):
                write_table(tables / f"{name}.csv", collected)
        if experiment.comparisons:
            self.write_comparisons(regimes)

    def write_comparisons(self, regimes: dict[str, Predictions]) -> None:
        """Hold regimes against one another; look at the last pair in every score and in every subgroup."""
        experiment, tables = self.experiment, self.out / "tables"
        metric, seed = experiment.metric, experiment.seed
        comparisons = comparison_table(regimes, pairs=experiment.comparisons, metric=metric, seed=seed)
        write_table(tables / "comparisons.csv", comparisons)
        for row in comparisons.itertuples():
            self.progress.say(f"{row.regime} against {row.against}: {row.sentence}")
        last, against = experiment.comparisons[-1]
        pair = regimes[against], regimes[last]
        named = {"regime": last, "against": against}
        effects = pd.DataFrame([named | asdict(found) for found in compare_all(*pair, seed=seed)])
        write_table(tables / "effects.csv", effects)
        known = self.patches.table
        groups = {name: parts_of(known[name], known["patient"]) for name in experiment.subgroups if name in known}
        if groups:
            by_part = subgroup_table(*pair, groups, metric=metric, seed=seed)
            write_table(tables / "subgroups.csv", by_part.assign(**named))

    def write_plates(self) -> None:
        """Keep some real and synthetic patches of the first fold to look at."""
        for generation in self.experiment.generators_used:
            fold = self.folds[0].making(generation)
            for label in fold.classes_of(generation):
                name = f"{safe_name(generation.name)}-{safe_name(label)}"
                patches_file.save(fold.plate(generation, label), self.out / "plates" / name, overwrite=True)

    def write_provenance(self, workers: int) -> None:
        """Write what was used and how long it took; this marks the run as finished."""
        seconds = self.tasks.seconds_by_stage()
        provenance = {
            "software": {name: version(name) for name in SOFTWARE} | {"python": platform.python_version()},
            "device": str(choose_device()),
            "workers": workers,
            "data": describe_data(self.patches, self.source),
            "folds": summary(self.folds),
            "started": self.tasks.started(),
            "seconds": round(sum(seconds.values()), 1),
            "seconds_by_stage": seconds,
            "command": self.source.command,
            "warnings": warnings_about(self.patches),
        }
        self.tasks.log("finished")
        write_json(self.out / PROVENANCE, provenance)


def describe_data(patches: Patches, source: Source) -> dict[str, Any]:
    """Say what the data is: its digest, and how many patients and lesions of each class. No identifiers."""
    summary = patches.summary
    classes = [
        {
            "label": label,
            "lesions": facts["patches"],
            "patients": facts["patients"],
            "median_diameter_mm": facts["median_diameter_mm"],
        }
        for label, facts in summary["labels"].items()
    ]
    shared = {key: summary[key] for key in ("digest", "unit", "shape")}
    return {"name": source.name, "phantom": source.phantom, "classes": classes, **shared}


def warnings_about(patches: Patches) -> list[str]:
    """Say what makes this data less telling than it looks."""
    found = []
    table = patches.table
    patients = table.groupby("label")["patient"].nunique()
    if patients.min() < FEW_PATIENTS:
        found.append(
            f"The class {patients.idxmin()!r} has {patients.min()} patients: intervals are wide, and a gain has to be "
            "large to be seen."
        )
    known = table[table["diameter_mm"].notna()]
    if len(patches.classes) == known["label"].nunique() == 2:
        positive = known["label"] == patches.classes[1]
        auc = float(sklearn.metrics.roc_auc_score(positive, known["diameter_mm"]))
        if max(auc, 1 - auc) >= SIZE_GIVES_AWAY:
            found.append(
                f"The diameter alone tells the classes apart with an AUC of {max(auc, 1 - auc):.2f}: part of every "
                "score below is size."
            )
    return found
