"""Settings chosen on training patients alone: a search inside the training part of a fold.

Settings that were chosen by looking at the test patients flatter every score (Varma & Simon, "Bias in error estimation
when using cross-validation for model selection", BMC Bioinformatics 7:91, 2006). So the training patients are split
once more, by patient, and a trial's score is that of its cross-validation among them; the test patients take no part,
and the leak guard watches over both splits.

The first trial is the method as it came; the others are drawn by Optuna's tree-structured Parzen estimator (Bergstra et
al., NIPS 2011), seeded anew for each trial from what came before. So a search that was killed goes on from the file of
its trials to the same end. Settings are kept as ``--set`` takes them: what was chosen can be had again by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lesionforge import registry, settings
from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.search import AnyOf, Around, Searched, searched
from lesionforge.data.patches import Patches
from lesionforge.data.splits import stratified_kfold
from lesionforge.errors import LesionForgeError, StorageError, TrainingDivergedError
from lesionforge.evaluation.predictions import Predictions, concatenate
from lesionforge.evaluation.scores import measure
from lesionforge.evaluation.statistics import less_is_better
from lesionforge.extras import check_extra
from lesionforge.networks import derived_seed
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import Count, CountOrZero
from lesionforge.storage import read_json, write_json

if TYPE_CHECKING:
    import optuna

C = TypeVar("C", bound=Classifier)


@dataclass(frozen=True)
class TuningPlan:
    """How settings are searched."""

    trials: CountOrZero = 0  # 0: settings stay as they are
    folds: Count = 3  # of the training patients


@dataclass(frozen=True)
class Trial:
    """Settings that were tried; ``score`` is None where training diverged."""

    values: dict[str, Any] = field(hash=False)
    score: float | None


@dataclass(frozen=True, eq=False)
class Search:
    """A search for the settings of ``method`` that give ``train`` the best ``metric``.

    Parameters
    ----------
    validation
        Other patients, for deciding when a fit stops; None: no fit stops early.
    scored_on
        The patients that the chosen settings will be scored on: the guard sees that no trial looks at them.
    """

    method: Classifier
    train: Patches
    plan: TuningPlan
    metric: str = "auc"
    validation: Patches | None = None
    scored_on: Patches | None = None
    seed: int = 0

    def run(self, file: Path, *, progress: Progress = SILENT) -> list[Trial]:
        """Try settings, from where ``file`` left off; return all trials, the method's own settings first.

        Raises
        ------
        LesionForgeError
            The method has nothing to search, Optuna is not installed, or the patches do not allow inner folds.
        StorageError
            ``file`` holds another search.
        """
        check_extra("tune", needed_by="tuning")
        space = list(searched(self.method))
        if not space:
            raise LesionForgeError(
                f"{registry.name_of(self.method)} names no setting that may be searched: set them with --set, and "
                "leave --tune out."
            )
        trials = self._resumed(file)
        name = f"tuning {registry.name_of(self.method)}"
        with progress.work(name, self.plan.trials, unit="trials", done=len(trials)) as advance:
            while len(trials) < self.plan.trials:
                trials.append(self._try(self._next(space, trials)))
                write_json(file, self._facts | {"trials": settings.to_json(trials)})
                advance(1, score=trials[-1].score if trials[-1].score is not None else np.nan)
        return trials

    @property
    def _facts(self) -> dict[str, Any]:
        """What makes a search this one."""
        return {
            "method": registry.name_of(self.method),
            "settings": settings.to_json(self.method),
            "data": self.train.digest,
            "metric": self.metric,
            "folds": self.plan.folds,
            "seed": self.seed,
        }

    def _resumed(self, file: Path) -> list[Trial]:
        if not file.exists():
            return []
        found = read_json(file, of="a search")
        trials = [settings.from_json(Trial, trial) for trial in found.pop("trials", [])]
        if found != self._facts:
            changed = sorted(key for key in found.keys() | self._facts.keys() if found.get(key) != self._facts.get(key))
            raise StorageError(f"{file} holds a search with other {', '.join(changed)}: take another folder.")
        return trials[: self.plan.trials]

    def _next(self, space: Sequence[Searched], trials: Sequence[Trial]) -> dict[str, Any]:
        """Return what to try after ``trials``: a function of these and the seed."""
        import optuna

        if not trials:
            return {each.name: each.own for each in space}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distributions = {each.name: _distribution(each) for each in space}
        sampler = optuna.samplers.TPESampler(seed=derived_seed(self.seed, "tuning", len(trials)) % 2**32)
        study = optuna.create_study(
            sampler=sampler, direction="minimize" if less_is_better(self.metric) else "maximize"
        )
        for trial in trials:
            state = optuna.trial.TrialState.FAIL if trial.score is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.create_trial(params=trial.values, distributions=distributions, value=trial.score, state=state)
            )
        return study.ask(distributions).params

    def _try(self, values: dict[str, Any]) -> Trial:
        """Cross-validate these settings among the training patients."""
        method, found = with_values(self.method, values), []
        for split in stratified_kfold(self.train, folds=self.plan.folds, seed=self.seed):
            held_out = self.train.rows(split.test)
            try:
                fitted = method.fit(
                    self.train.rows(split.train), validation=self.validation, scored_on=held_out, seed=self.seed
                )
            except TrainingDivergedError:
                return Trial(values, None)
            if self.scored_on is not None:
                fitted.facts.exposure.refuse(self.scored_on.exposure, doing="tuning")
            found.append(
                Predictions.of(
                    fitted.facts.classes,
                    labels=held_out.labels,
                    probability=fitted.predict_proba(held_out),
                    patients=held_out.patients,
                    row=split.test,
                    fold=split.fold,
                )
            )
        score = float(measure(concatenate(found))[self.metric])
        return Trial(values, score if np.isfinite(score) else None)


def chosen(trials: Sequence[Trial], *, metric: str = "auc") -> Trial:
    """Return the best trial; of equal ones the first.

    Raises
    ------
    TrainingDivergedError
        Training diverged in all of them.
    """
    done = [(trial.score, trial) for trial in trials if trial.score is not None]
    if not done:
        raise TrainingDivergedError(
            f"training diverged in each of {len(trials)} trials: set a lower learning rate before tuning "
            "(--set learning_rate=…)."
        )
    best = (min if less_is_better(metric) else max)(score for score, _ in done)
    return next(trial for score, trial in done if score == best)


def with_values(method: C, values: dict[str, Any]) -> C:
    """Return the method with the settings of a trial."""
    return settings.with_overrides(method, [f"{name}={value}" for name, value in values.items()])


def _distribution(setting: Searched) -> "optuna.distributions.BaseDistribution":
    import optuna

    own, mark = setting.own, setting.mark
    if isinstance(mark, AnyOf):
        return optuna.distributions.CategoricalDistribution(setting.choices)
    if isinstance(mark, Around):
        return optuna.distributions.FloatDistribution(own / mark.factor, own * mark.factor, log=True)
    return optuna.distributions.FloatDistribution(min(own, mark.low), max(own, mark.high))
