"""Verbs that run experiments and report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, PatchesFolder, Run, Scale, Seed, Set, Window
from lesionforge.cli.running import (
    CpusPerTask,
    DryRun,
    Gpus,
    MemoryGb,
    MLflow,
    Ray,
    Store,
    TensorBoard,
    Workers,
    print_plan,
    run_and_report,
)

DEMO_DIFFICULTY = 0.6  # classic augmentation alone must leave something to gain


def demo(
    out: Run = Path("runs/demo"),
    patients: Annotated[int, typer.Option(min=9)] = 60,
    seed: Seed = 0,
    workers: Workers = 0,
) -> None:
    """Run the main job on the built-in CT phantom: experiment, verdict, report.

    Example: lesionforge demo --out runs/demo
    """
    from lesionforge.data.phantom import phantom_patches
    from lesionforge.experiments.protocols import usefulness
    from lesionforge.experiments.provenance import Source
    from lesionforge.tasks.running import Running

    INVOCATION.progress.say(f"computing a CT phantom of {patients} patients")
    patches = phantom_patches("lung", patients=patients, seed=seed, difficulty=DEMO_DIFFICULTY)
    source = Source(f"CT phantom, lung, {patients} patients", phantom=True, command=INVOCATION.command)
    described = usefulness.demo()
    typer.echo(run_and_report(described, patches, out, source=source, how=Running(workers)))


def experiment(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL|CONFIG", help="Or RUN/config.json: the same again.")],
    out: Run,
    data: Annotated[Path | None, typer.Option(help="Folder of patches; none: computed ones stand in.")] = None,
    scale: Scale = "desk",
    label: Annotated[
        list[str], typer.Option(metavar="CLASS=THEIRS", help="Which of their labels stand for a class of the paper's.")
    ] = [],  # noqa: B006 (typer copies it)
    window: Annotated[
        str, typer.Option(help="Range of intensities that networks see; by default the protocol's.")
    ] = "",
    generators: Annotated[str, typer.Option(metavar="A,B", help="Of `usefulness`: methods; see `methods`.")] = "",
    classifiers: Annotated[str, typer.Option(metavar="A,B", help="Of `usefulness`: methods.")] = "",
    amounts: Annotated[str, typer.Option(metavar="N,M", help="Of `usefulness`: samples of each class.")] = "",
    set_: Set = [],  # noqa: B006 (typer copies it)
    workers: Workers = 0,
    cpus_per_task: CpusPerTask = 1,
    gpus: Gpus = None,
    memory_gb: MemoryGb = 0.0,
    ray: Ray = "",
    store: Store = "",
    dry_run: DryRun = False,
    tensorboard: TensorBoard = False,
    mlflow: MLflow = "",
) -> None:
    """Run a protocol's experiment on your patches, and report. Killed, it goes on with the same command.

    A paper's protocol is about its classes: --label malignant=solid says that your solid lesions stand for malignant
    ones (several labels with commas). Without --data the phantom stands in, which says nothing about patients.

    Example: lesionforge experiment usefulness --data lung.patches --scale desk --out runs/lung
    """
    from lesionforge import settings
    from lesionforge.data import patches_file
    from lesionforge.experiments.protocol import (
        Asked,
        amounts_asked,
        check_patients,
        labels_asked,
        names_asked,
        protocol_named,
    )
    from lesionforge.experiments.provenance import Source
    from lesionforge.experiments.repeating import Described
    from lesionforge.tasks.running import Running

    labels, given = labels_asked(label), None if data is None else patches_file.load(data)
    if protocol.endswith(".json"):
        repeated = Described.read(Path(protocol))
        patches, described = repeated.patches(given, labels), repeated.experiment
        name = f"those of {protocol}"
    else:
        chosen = protocol_named(protocol)
        asked = Asked(window, names_asked(generators), names_asked(classifiers), amounts_asked(amounts))
        described = chosen.experiment(scale, asked, unit="HU" if given is None else given.unit)
        patches = chosen.patches(scale, given, labels)
        name = chosen.named(None if data is None else data.name, labels)
    described = settings.with_overrides(described, set_)
    check_patients(described, patches)
    how = Running(workers, cpus_per_task, gpus, memory_gb, ray, store)
    if dry_run:
        print_plan(described, patches, out, how=how)
        return
    source = Source(name, phantom=data is None, command=INVOCATION.command)
    typer.echo(run_and_report(described, patches, out, source=source, how=how, trackers=(tensorboard, mlflow)))


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
    workers: Workers = 0,
    cpus_per_task: CpusPerTask = 1,
    gpus: Gpus = None,
    store: Store = "",
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
    from lesionforge.experiments.provenance import Source
    from lesionforge.tasks.running import Running

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
    source = Source(patches.name, command=INVOCATION.command)
    how = Running(workers, cpus_per_task, gpus, store=store)
    page = run_and_report(described, real, out, source=source, given=given, how=how)
    typer.echo(release(out, described))
    typer.echo(page)


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]) -> None:
    """Write a finished run's figures and its self-contained HTML page.

    Example: lesionforge report runs/demo
    """
    from lesionforge.report.assessment_page import is_assessment, write_assessment_report
    from lesionforge.report.page import write_report

    typer.echo(write_assessment_report(run) if is_assessment(run) else write_report(run))
