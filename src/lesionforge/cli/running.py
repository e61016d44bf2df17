"""What verbs that run experiments share: where tasks are done, who is told, what is printed in the end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionforge.cli.options import INVOCATION

if TYPE_CHECKING:
    from lesionforge.data.patches import Patches
    from lesionforge.experiments.experiment import Experiment
    from lesionforge.experiments.provenance import Source
    from lesionforge.tasks.running import Running

Workers = Annotated[int, typer.Option(min=0, help="Tasks at a time; 0: as many as GPUs or cores allow.")]
CpusPerTask = Annotated[int, typer.Option(min=1, help="Threads of each task; other numbers, other last digits.")]
Gpus = Annotated[int | None, typer.Option(min=0, help="GPUs to share out among tasks; all, unless said.")]
MemoryGb = Annotated[float, typer.Option(min=0, help="Memory that a task takes, if known: no more at a time than fit.")]
Ray = Annotated[str, typer.Option(metavar="ADDRESS|local", help="Have tasks done by this Ray cluster.")]
Store = Annotated[str, typer.Option(metavar="FOLDER|URL", help="Share results with other runs: a folder, or s3://….")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the tasks and what they would take, and do nothing.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write curves and scores to RUN/tensorboard.")]
MLflow = Annotated[str, typer.Option(metavar="URI", help="Send curves and scores to this MLflow tracking server.")]


def run_and_report(
    described: "Experiment",
    patches: "Patches",
    out: Path,
    *,
    source: "Source",
    given: "Patches | None" = None,
    how: "Running",
    trackers: tuple[bool, str] = (False, ""),
) -> Path:
    """Run an experiment and write its page, also of what is there when tasks failed; the error comes after that.

    ``trackers``: whether to write for TensorBoard, and MLflow's address.
    """
    from lesionforge.experiments.engine import run
    from lesionforge.experiments.trackers import tracking
    from lesionforge.report.page import write_report
    from lesionforge.tasks.schedule import TasksFailedError

    tensorboard, mlflow = trackers
    with tracking(out, tensorboard=tensorboard, mlflow=mlflow, progress=INVOCATION.progress) as listeners:
        try:
            run(
                described,
                patches,
                out,
                source=source,
                given=given,
                how=how,
                listeners=listeners,
                progress=INVOCATION.progress,
            )
        except TasksFailedError:
            if (out / "provenance.json").exists():
                typer.echo(write_report(out))
            raise
    return write_report(out)


def print_plan(described: "Experiment", patches: "Patches", out: Path, *, how: "Running") -> None:
    """Print every task, whether it is done, and what it would take; then the sum."""
    from lesionforge.experiments.costs import plan_table

    table, sentences = plan_table(described, patches, out, how=how)
    typer.echo(table.to_string(index=False))
    for sentence in sentences:
        typer.echo(sentence)
