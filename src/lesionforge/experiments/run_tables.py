"""The tables of a run, from what its tasks left.

A regime is scored if its classifier was fitted in every fold; where a task failed, the tables are of the others.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

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
from lesionforge.experiments.classifier_tasks import CHOICES, EMBEDDING, STRANGENESS, TRIALS
from lesionforge.experiments.fold import PREDICTIONS, UNCALIBRATED, Fold
from lesionforge.experiments.generator_tasks import CURVES
from lesionforge.experiments.results import Results, write_table
from lesionforge.progress import Progress

COLLECTED = {  # tables, and what tasks of a stage left for them
    "classifier_training": ("classifiers", CURVES),
    "strangeness": ("classifiers", STRANGENESS),
    "embedding": ("embeddings", EMBEDDING),
    "choices": ("choices", CHOICES),
    "tuning": ("tuning", TRIALS),
    "gan_training": ("generators", CURVES),
}


@dataclass(frozen=True)
class RunTables:
    """Writes the tables of a run of ``folds`` into a folder; the folds hold the results."""

    folds: Sequence[Fold]
    results: Results
    folder: Path

    @cached_property
    def regimes(self) -> dict[str, Predictions]:
        """Each regime's and each choice's predictions over all folds, if they are there for all."""
        return self._predictions(PREDICTIONS)

    def write(self, progress: Progress) -> None:
        """Score every regime, hold them against one another, and collect what the tasks left."""
        experiment, regimes = self.folds[0].experiment, self.regimes
        scores = score_table_by_regime(regimes, seed=experiment.seed)
        self._write("predictions", prediction_table_by_regime(regimes))
        self._write("scores", scores)
        self._write("fold_scores", fold_table_by_regime(regimes))
        self._write("confusion", confusion_table_by_regime(regimes))
        lines = [(line.name, line.along, line.regimes, line.amounts) for line in experiment.lines]
        if whole := [line for line in lines if set(line[2]) <= regimes.keys()]:
            self._write("curves", curve_table(scores, whole))
        if before := self._predictions(UNCALIBRATED):
            self._write("calibration", self._calibration(before))
        for name, (stage, file) in COLLECTED.items():
            collected = self.results.tables(stage, file)
            if len(collected):
                self._write(name, collected)
        if pairs := [pair for pair in experiment.comparisons if set(pair) <= regimes.keys()]:
            self._write_comparisons(pairs, progress)

    def _write_comparisons(self, pairs: Sequence[tuple[str, str]], progress: Progress) -> None:
        """Hold regimes against one another; look at the last pair in every score and in every subgroup."""
        experiment, regimes = self.folds[0].experiment, self.regimes
        metric, seed = experiment.metric, experiment.seed
        comparisons = comparison_table(regimes, pairs=pairs, metric=metric, seed=seed)
        self._write("comparisons", comparisons)
        for row in comparisons.itertuples():
            progress.say(f"{row.regime} against {row.against}: {row.sentence}")
        last, against = pairs[-1]
        pair = regimes[against], regimes[last]
        named = {"regime": last, "against": against}
        self._write("effects", pd.DataFrame([named | asdict(found) for found in compare_all(*pair, seed=seed)]))
        known = self.folds[0].patches.table
        groups = {name: parts_of(known[name], known["patient"]) for name in experiment.subgroups if name in known}
        if groups:
            by_part = subgroup_table(*pair, groups, metric=metric, seed=seed)
            self._write("subgroups", by_part.assign(**named))

    def _calibration(self, before: dict[str, Predictions]) -> pd.DataFrame:
        """Compare each regime's calibrated predictions with what they were before, in how far they can be believed."""
        seed = self.folds[0].experiment.seed
        return pd.DataFrame(
            [
                {"regime": name, **asdict(compare(before[name], self.regimes[name], metric=metric, seed=seed))}
                for name in before
                for metric in ("brier_error", "calibration_error")
            ]
        )

    def _predictions(self, file: str) -> dict[str, Predictions]:
        """Predictions in the files of that name, by regime or choice, where every fold has one."""
        names = self.folds[0].experiment.names
        found = {name: [fold.predictions(name, file) for fold in self.folds if fold.has(name, file)] for name in names}
        return {name: concatenate(parts) for name, parts in found.items() if len(parts) == len(self.folds)}

    def _write(self, name: str, table: pd.DataFrame) -> None:
        write_table(self.folder / f"{name}.csv", table)
