"""Training curves and scores for TensorBoard and MLflow, for those who watch all their trainings there.

Curves come when a task is done, scores when all are. Both packages are optional extras.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments.generator_tasks import CURVES
from lesionforge.extras import check_extra
from lesionforge.progress import SILENT, Progress
from lesionforge.tasks.graph import Task
from lesionforge.tasks.schedule import Listener

STEPS = ("images_seen", "images_shown")
AT_ONCE = 1_000  # numbers that MLflow takes in one message

Numbers = Sequence[tuple[str, float, int]]  # name, value, step


class Tracker(Listener, ABC):
    """Passes numbers on as they come; where that fails, the run goes on without."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lost = progress, False

    @abstractmethod
    def track(self, numbers: Numbers) -> None:
        """Pass numbers on."""

    @abstractmethod
    def close(self) -> None:
        """Say that there will be no more."""

    def done(self, task: Task, result: Path) -> None:
        """Pass on the training curves that the task left, if it did."""
        if (result / CURVES).exists():
            curves = read_table(result / CURVES)
            step = next(name for name in STEPS if name in curves)
            rows = curves[curves["value"].notna()].to_dict("records")
            self._pass_on([(f"{task.name}/{row['term']}", float(row["value"]), int(row[step])) for row in rows])

    def written(self, tables: Path) -> None:
        """Pass scores on, if there are any."""
        if (tables / "scores.csv").exists():
            scores = read_table(tables / "scores.csv")
            rows = scores[scores["estimate"].notna()].to_dict("records")
            self._pass_on([(f"scores/{row['regime']}/{row['metric']}", float(row["estimate"]), 0) for row in rows])

    def _pass_on(self, numbers: Numbers) -> None:
        if self._lost:
            return
        try:
            self.track(numbers)
        except Exception as error:  # noqa: BLE001 (of whatever is behind it)
            self._lost = True
            self._progress.say(
                f"{type(self).__name__} takes no more numbers ({type(error).__name__}): the run goes on without it"
            )


class TensorBoard(Tracker):
    """Writes event files into a folder."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        super().__init__(progress)
        check_extra("tensorboard", needed_by="--tensorboard")
        self._folder = folder

    @cached_property
    def _writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._folder))

    def track(self, numbers: Numbers) -> None:
        """Write numbers."""
        for name, value, step in numbers:
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class MLflow(Tracker):
    """Sends numbers to a tracking server; a run that is continued goes on under the same name there.

    Raises
    ------
    LesionForgeError
        The server cannot be used.
    """

    def __init__(self, uri: str, out: Path, progress: Progress) -> None:
        super().__init__(progress)
        check_extra("mlflow", needed_by="--mlflow")
        from mlflow import MlflowClient

        try:
            self._client: Any = MlflowClient(tracking_uri=uri)
            self._run = self._opened(str(out.resolve()), out.name)
        except Exception as error:  # of whatever the server's kind of storage raises
            raise LesionForgeError(
                f"MLflow's tracking server {uri} cannot be used ({type(error).__name__}): check the address, or leave "
                "--mlflow out."
            ) from error

    def _opened(self, place: str, name: str) -> str:
        found = self._client.get_experiment_by_name("lesionforge")
        experiment = found.experiment_id if found else self._client.create_experiment("lesionforge")
        runs = self._client.search_runs([experiment], f"tags.folder = {place!r}")
        run = runs[0] if runs else self._client.create_run(experiment, run_name=name, tags={"folder": place})
        return str(run.info.run_id)

    def track(self, numbers: Numbers) -> None:
        """Send numbers."""
        from mlflow.entities import Metric

        now = int(time.time() * 1_000)
        metrics = [Metric(re.sub(r"[^\w\-./ ]", "_", name), value, now, step) for name, value, step in numbers]
        for start in range(0, len(metrics), AT_ONCE):
            self._client.log_batch(self._run, metrics=metrics[start : start + AT_ONCE])

    def close(self) -> None:
        """Say that the run has ended."""
        if not self._lost:
            self._client.set_terminated(self._run)


@contextmanager
def tracking(
    out: Path, *, tensorboard: bool = False, mlflow: str = "", progress: Progress = SILENT
) -> Iterator[list[Tracker]]:
    """Yield the trackers that are asked for, of the run in ``out``; what they need is checked before it begins."""
    trackers: list[Tracker] = []
    if tensorboard:
        trackers.append(TensorBoard(out / "tensorboard", progress))
    if mlflow:
        trackers.append(MLflow(mlflow, out, progress))
    try:
        yield trackers
    finally:
        for tracker in trackers:
            tracker.close()
