"""Verbs that run experiments and report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, PatchesFolder, Run, Scale, Seed, Set, Window
from lesionforge.errors import LesionForgeError

DEMO_DIFFICULTY = 0.6  # classic augmentation alone must leave something to gain


def demo(out: Run = Path("runs/demo"), patients: Annotated[int, typer.Option(min=9)] = 60, seed: Seed = 0) -> None:
    """Run the main job on the built-in CT phantom: experiment, verdict, report.

    Example: lesionforge demo --out runs/demo
    """
    from lesionforge.data.phantom import phantom_patches
    from lesionforge.experiments.protocols import usefulness

    INVOCATION.progress.say(f"computing a CT phantom of {patients} patients")
    patches = phantom_patches("lung", patients=patients, seed=seed, difficulty=DEMO_DIFFICULTY)
    typer.echo(
        _run_and_report(
            usefulness.smoke("lung"), patches, out, data=f"CT phantom, lung, {patients} patients", phantom=True
        )
    )


def experiment(
    protocol: str,
    data: Annotated[Path, typer.Option(help="Folder of patches.")],
    out: Run,
    scale: Scale = "desk",
    window: Window = "lung",
    generator: Annotated[str, typer.Option(help="Method that makes the synthetic lesions; see `methods`.")] = "dcgan",
    set_: Set = [],  # noqa: B006 (typer copies it)
) -> None:
    """Run a protocol's experiment on your patches, and report. Killed, it goes on with the same command.

    Example: lesionforge experiment usefulness --data lung.patches --scale desk --out runs/lung
    """
    from lesionforge import registry, settings
    from lesionforge.data import patches_file
    from lesionforge.experiments import protocols

    scales = registry.module_named(protocols, protocol).SCALES
    if scale not in scales:
        raise LesionForgeError(f"{protocol} has no scale {scale!r}{settings.nearest(scale, scales)}")
    described = settings.with_overrides(scales[scale](window, generator), set_)
    typer.echo(_run_and_report(described, patches_file.load(data), out, data=data.name))


def classify(
    method: str,
    patches: PatchesFolder,
    out: Run,
    synthetic: Annotated[Path | None, typer.Option("--with", help="Synthetic patches to add to the training.")] = None,
    folds: Annotated[int, typer.Option(min=2)] = 3,
    size: Annotated[int, typer.Option(help="Crop to so many pixels; 0: as they are.")] = 0,
    window: Window = "lung",
    tune: Annotated[
        int, typer.Option(min=0, help="Search settings on each fold's training patients, in so many trials.")
    ] = 0,
    seed: Seed = 0,
    set_: Set = [],  # noqa: B006
) -> None:
    """Cross-validate a classifier by patient, without and with a given synthetic set, report, and leave a model.

    The synthetic set's generators must not have seen these patients; `experiment` trains one for each fold. The model
    (RUN/model, for `predict`, `export` and `serve-model`) is all folds' classifiers together, of the last regime.
    Probabilities are calibrated on validation patients; --set calibration=none leaves them as the method gives them.

    Example: lesionforge classify small_cnn lung.patches --out runs/small_cnn --set max_images=60000
    """
    from lesionforge import registry, settings
    from lesionforge.classifiers import methods
    from lesionforge.classifiers.contract import Classifier
    from lesionforge.classifiers.tuning import TuningPlan
    from lesionforge.cli.use import release
    from lesionforge.data import patches_file
    from lesionforge.experiments.experiment import Experiment
    from lesionforge.experiments.ingredients import Contender, Regime

    kind: Any = registry.class_named(methods, method, Classifier)
    fresh = kind(window=window, calibration="temperature_and_bias")
    real = patches_file.load(patches)
    described = Experiment(
        protocol="classify",
        title=f"{method}, cross-validated",
        classifiers=(Contender(method, settings.with_overrides(fresh, set_)),),
        regimes=(Regime("raw"), *([Regime("raw+given", given=True)] if synthetic else [])),
        tuning=TuningPlan(trials=tune),
        size=size or min(real.shape),
        window=window,
        folds=folds,
        seed=seed,
    )
    given = patches_file.load(synthetic) if synthetic else None
    page = _run_and_report(described, real, out, data=patches.name, given=given)
    typer.echo(release(out, described))
    typer.echo(page)


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]) -> None:
    """Write a finished run's figures and its self-contained HTML page.

    Example: lesionforge report runs/demo
    """
    from lesionforge.report.assessment_page import is_assessment, write_assessment_report
    from lesionforge.report.page import write_report

    typer.echo(write_assessment_report(run) if is_assessment(run) else write_report(run))


def _run_and_report(
    described: Any, patches: Any, out: Path, *, data: str, phantom: bool = False, given: Any = None
) -> Path:
    import torch

    from lesionforge.experiments.engine import Source, run
    from lesionforge.report.page import write_report

    source = Source(data, phantom=phantom, command=INVOCATION.command)
    workers = min((described.folds_run or described.folds) * described.repeats, torch.get_num_threads())
    run(described, patches, out, source=source, given=given, workers=workers, progress=INVOCATION.progress)
    return write_report(out)
