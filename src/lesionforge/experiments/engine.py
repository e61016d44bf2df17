"""The engine: runs an experiment's tasks, keeps each one's result, and writes the run's folder.

A run's folder (`report` makes a page of it):

    config.json         the experiment, and the digest of the data; a run is continued only under the same
    tasks.json          its tasks, their keys, and what code they are for
    store/              results by key (`store`), unless a store was named that other runs share
    checkpoints/        generators and classifiers, by the names of their tasks
    tables/*.csv        predictions, scores, comparisons and effects, confusion, lines of regimes, training curves
    plates/NAME/        real beside synthetic patches
    assessments/NAME/   what samples of each generator are beside the first fold's test patients
    reading/            real and synthetic patches for a reader study, if the experiment lays them out
    log.jsonl, logs/    what was done when, and what each task told
    failed.json         tasks that failed or were left out, until the same command has done them
    provenance.json     software, data, folds, times: written last, so it marks a finished run

What experiments are made of is unfolded into tasks in `unfold`; this is what is done with them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.data.splits import repeated_kfold
from lesionforge.errors import StorageError
from lesionforge.experiments import preconditions
from lesionforge.experiments.assessing import deliver
from lesionforge.experiments.described import to_json
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.fold_patches import CHECKPOINT
from lesionforge.experiments.fold_work import RunData
from lesionforge.experiments.provenance import Source, describe_data, software, summary, warnings_about
from lesionforge.experiments.published_scale import differences
from lesionforge.experiments.reading import deliver_reading
from lesionforge.experiments.results import Results
from lesionforge.experiments.run_tables import RunTables
from lesionforge.experiments.unfold import unfold
from lesionforge.networks import choose_device
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import new_folder, read_json, safe_name, storage_errors, write_json
from lesionforge.tasks.board import board_on
from lesionforge.tasks.code_version import code_version
from lesionforge.tasks.forecast import Forecast
from lesionforge.tasks.graph import Graph
from lesionforge.tasks.journal import LOGS, RunLog, TaskLogs
from lesionforge.tasks.running import Running
from lesionforge.tasks.schedule import Listener, Outcome, Schedule, TasksFailedError
from lesionforge.tasks.store import Store, linked_copy

CONFIG = "config.json"
TASKS = "tasks.json"
FAILED = "failed.json"
PROVENANCE = "provenance.json"


def run(
    experiment: Experiment,
    patches: Patches,
    out: Path | str,
    *,
    source: Source,
    given: Patches | None = None,
    how: Running = Running(),
    listeners: Sequence[Listener] = (),
    progress: Progress = SILENT,
) -> Path:
    """Run an experiment on ``patches`` into the folder ``out``; continue it if it was begun there.

    Parameters
    ----------
    given
        Synthetic patches for the regimes that add them; their generators must not have seen these patients.
    listeners
        Whoever else is told how the run goes.

    Raises
    ------
    LesionForgeError
        The patches do not allow the experiment: too few patients, a class too many, a size too small.
    StorageError
        ``out`` holds something else, or another experiment; or nothing can be written any more.
    TasksFailedError
        Some tasks failed. What the others left is in the tables; the same call tries the failed ones again.
    """
    engine = _Engine(experiment, RunData(patches, given), Path(out), source, how, progress)
    how.check()
    engine.open()
    if engine.is_finished:
        progress.say(f"{engine.out} holds this experiment already, finished.")
        return engine.out
    with engine.alone():
        outcome = engine.do_tasks(listeners)
        engine.write(outcome)
        for listener in listeners:
            listener.written(engine.out / "tables")
    if outcome.failed:
        raise TasksFailedError(engine.failure(outcome))
    return engine.out


def planned(
    experiment: Experiment, patches: Patches, out: Path, *, given: Patches | None = None, how: Running = Running()
) -> tuple[Graph, list[Fold], set[str]]:
    """Return the tasks of a run, its folds, and the keys of what is done already; writes nothing.

    Raises
    ------
    LesionForgeError
        As of `run`, as far as it can be known before.
    """
    engine = _Engine(experiment, RunData(patches, given), out, Source(""), how, SILENT)
    present = how.store_at(out).present({task.key for task in engine.graph})
    return engine.graph, engine.folds, present


@dataclass
class _Engine:
    experiment: Experiment
    data: RunData
    out: Path
    source: Source
    how: Running
    progress: Progress

    def __post_init__(self) -> None:
        experiment = self.experiment
        splits = repeated_kfold(
            self.data.patches,
            folds=experiment.folds,
            repeats=experiment.repeats,
            seed=experiment.seed,
            validation=experiment.validation,
            patients_per_class=experiment.patients_per_class,
        )
        wanted = [split for split in splits if split.fold < (experiment.folds_run or experiment.folds)]
        self.folds = [Fold(experiment, self.data.patches, split, self.data.given) for split in wanted]
        self.run_log = RunLog(self.out)
        preconditions.check(self.folds[0])

    @cached_property
    def graph(self) -> Graph:
        """The tasks."""
        return unfold(self.folds, self.how.resources)

    @cached_property
    def store(self) -> Store:
        """Where results are kept."""
        return self.how.opened_store(self.out)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return (self.out / PROVENANCE).exists() and not (self.out / FAILED).exists()

    def open(self) -> None:
        """Make the run's folder, or check that it is this experiment's."""
        config = to_json(self.experiment) | {"data_digest": self.data.patches.digest}
        if self.data.given is not None:
            config["given_digest"] = self.data.given.digest
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
        self.run_log.write("opened", folds=len(self.folds))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work in the run's folder alone.

        Raises
        ------
        StorageError
            Another process works here.
        """
        try:
            with FileLock(self.out / ".lock", timeout=0):
                yield
        except Timeout:
            raise StorageError(
                f"another process is working on the run in {self.out}: wait for it, or stop it."
            ) from None

    def do_tasks(self, listeners: Sequence[Listener]) -> Outcome:
        """Do every task whose result is not there."""
        self._write_tasks()
        forecast = Forecast(self.how.at_once)
        with board_on(self.progress, forecast) as board, self.how.executor(self.data) as executor:
            told = (forecast, self.run_log, TaskLogs(self.out / LOGS), board, *listeners)
            return Schedule(self.graph, self.store, executor, told).run()

    def _write_tasks(self) -> None:
        if (self.out / TASKS).exists() and read_json(self.out / TASKS, of="a run")["code"] != code_version():
            self.progress.say("this LesionForge is not the one that this run was begun with: its tasks are done anew")
        tasks = {task.name: {"stage": task.stage, "key": task.key, "needs": list(task.needs)} for task in self.graph}
        write_json(self.out / TASKS, {"code": code_version(), "tasks": tasks})

    def write(self, outcome: Outcome) -> None:
        """Write all that comes of the results that are there; what is missing is told beside them."""
        results = Results(self.graph, self.store)
        folds = [replace(fold, results=results) for fold in self.folds]
        tables = RunTables(folds, results, self.out / "tables")
        if outcome.failed:
            write_json(self.out / FAILED, {"failed": _told(outcome), "left_out": outcome.skipped})
        if not tables.regimes:
            return
        tables.write(self.progress)
        self._write_plates(folds[0])
        deliver(folds[0], self.out)
        deliver_reading(folds[0], self.out)
        self._write_checkpoints(results)
        self._write_provenance(results, outcome, set(self.experiment.names) - tables.regimes.keys())

    def _write_plates(self, fold: Fold) -> None:
        """Keep some real and synthetic patches of the first fold to look at."""
        for generation in self.experiment.generators_used:
            part = fold.making(generation)
            for label in part.classes_of(generation):
                if part.generator_name(generation, part.labels_with(generation, label)) in part.results:
                    name = f"{safe_name(generation.name)}-{safe_name(label)}"
                    patches_file.save(part.plate(generation, label), self.out / "plates" / name, overwrite=True)

    def _write_checkpoints(self, results: Results) -> None:
        """Put generators and classifiers where people find them."""
        for name, result in results.items():
            if (result / CHECKPOINT).exists():
                with new_folder(self.out / "checkpoints" / name, overwrite=True) as folder:
                    linked_copy(result / CHECKPOINT, folder)

    def _write_provenance(self, results: Results, outcome: Outcome, unscored: set[str]) -> None:
        """Write what was used and how long it took; this marks the run as finished, if nothing failed."""
        seconds = results.seconds_by_stage
        provenance = {
            "software": software(),
            "device": str(choose_device()),
            "workers": self.how.at_once,
            "data": describe_data(self.data.patches, self.source),
            "folds": summary(self.folds),
            "started": self.run_log.opened(),
            "seconds": round(sum(seconds.values()), 1),
            "seconds_by_stage": seconds,
            "tasks": {"all": len(self.graph), "found_done": len(outcome.present), "failed": len(outcome.failed)},
            "command": self.source.command,
            "differences": differences(self.experiment),
            "warnings": warnings_about(self.data.patches, scale=self.experiment.scale)
            + self._warnings(outcome, unscored),
        }
        if not outcome.failed:
            (self.out / FAILED).unlink(missing_ok=True)
            self.run_log.write("finished")
        write_json(self.out / PROVENANCE, provenance)

    def _warnings(self, outcome: Outcome, unscored: set[str]) -> list[str]:
        if not outcome.failed:
            return []
        names = ", ".join(repr(name) for name in self.experiment.names if name in unscored) or "none"
        return [f"{self.failure(outcome)} Not scored for that: {names}."]

    def failure(self, outcome: Outcome) -> str:
        """Say what failed."""
        first, *others = [f"{task}: {why}" for task, why in _told(outcome).items()]
        more = f" ({len(others)} more in {FAILED})" if others else ""
        return (
            f"{len(outcome.failed)} of {len(self.graph)} tasks failed and {len(outcome.skipped)} that need them were "
            f"left out. {first}{more}. What they told is in {self.out / LOGS}; the same command tries them again."
        )


def _told(outcome: Outcome) -> dict[str, str]:
    return {name: failure.message for name, failure in outcome.failed.items()}
