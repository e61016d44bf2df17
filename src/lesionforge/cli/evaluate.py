"""Verbs that hold a synthetic set against real patients, each with a report page of its own."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, Out, Seed, Window
from lesionforge.errors import LesionForgeError

HELP = (
    "Hold synthetic patches against real ones: REAL may hold the training patients too, who are told apart by what the "
    "generators say that they have seen. Makes a folder with tables, figures and one page."
)
evaluate = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=HELP)

Real = Annotated[Path, typer.Argument(metavar="REAL", help="Folder of real patches, some of held-out patients.")]
Synthetic = Annotated[Path, typer.Argument(metavar="SYNTHETIC", help="Folder of synthetic patches.")]
Label = Annotated[str | None, typer.Option(help="Compare this class alone.")]
Network = Annotated[
    list[Path], typer.Option("--network", metavar="CLASSIFIER", help="Also compare by its features; may be repeated.")
]
Halvings = Annotated[int, typer.Option(min=3, help="Random halvings of the patients: the floor, and intervals.")]
Masks = Annotated[str, typer.Option(help="Lesions as drawn, grown or measured; auto: drawn if both sets have masks.")]
BinWidth = Annotated[float, typer.Option(help="Of the grey levels of radiomic texture, in the images' unit.")]
ResampleMm = Annotated[float, typer.Option(min=0, help="In-plane spacing for radiomics; 0: as the patches are.")]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps radiomic features for further runs.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")]


@evaluate.command()
def fidelity(
    real: Real,
    synthetic: Synthetic,
    out: Out,
    label: Label = None,
    window: Window = "lung",
    network: Network = [],  # noqa: B006 (typer copies it)
    masks: Masks = "auto",
    bin_width: BinWidth = 25.0,
    resample_mm: ResampleMm = 0.0,
    cache: Cache = None,
    workers: Workers = 0,
    halvings: Halvings = 20,
    seed: Seed = 0,
) -> None:
    """How near are samples to held-out patients, and how varied? Each measure beside that of two halves of patients.

    Example: lesionforge evaluate fidelity lung.patches solid.synthetic --label solid --out runs/fidelity
    """
    from lesionforge.evaluation.assessments.fidelity import assess_fidelity

    start = time.monotonic()
    sides = _sides(real, synthetic, out, label, window)
    found = assess_fidelity(
        sides,
        networks=_features(network, sides.only_held_out()),
        plan=_plan(masks, bin_width, resample_mm, cache, workers),
        halvings=halvings,
        seed=seed,
        progress=INVOCATION.progress,
    )
    _finish(found, out, start)


@evaluate.command()
def radiomics(
    real: Real,
    synthetic: Synthetic,
    out: Out,
    label: Label = None,
    window: Window = "lung",
    masks: Masks = "auto",
    bin_width: BinWidth = 25.0,
    resample_mm: ResampleMm = 0.0,
    cache: Cache = None,
    workers: Workers = 0,
    halvings: Halvings = 20,
    seed: Seed = 0,
) -> None:
    """Which of 93 radiomic features differ, and does a logistic regression on them tell samples from real lesions?

    Example: lesionforge evaluate radiomics lung.patches solid.synthetic --label solid --out runs/radiomics
    """
    from lesionforge.evaluation.assessments.radiomics import assess_radiomics

    start = time.monotonic()
    sides = _sides(real, synthetic, out, label, window)
    plan = _plan(masks, bin_width, resample_mm, cache, workers)
    found = assess_radiomics(sides, plan=plan, halvings=halvings, seed=seed, progress=INVOCATION.progress)
    _finish(found, out, start)


@evaluate.command()
def separability(
    real: Real,
    synthetic: Synthetic,
    out: Out,
    label: Label = None,
    window: Window = "lung",
    network: Network = [],  # noqa: B006
    masks: Masks = "auto",
    bin_width: BinWidth = 25.0,
    resample_mm: ResampleMm = 0.0,
    cache: Cache = None,
    workers: Workers = 0,
    seed: Seed = 0,
) -> None:
    """Can a classifier tell samples from held-out patients? A linear judge and a random forest, in folds by patient.

    Example: lesionforge evaluate separability lung.patches solid.synthetic --label solid --out runs/separability
    """
    from lesionforge.evaluation.assessments.separability import assess_separability

    start = time.monotonic()
    sides = _sides(real, synthetic, out, label, window)
    found = assess_separability(
        sides,
        networks=_features(network, sides.only_held_out()),
        plan=_plan(masks, bin_width, resample_mm, cache, workers),
        seed=seed,
        progress=INVOCATION.progress,
    )
    _finish(found, out, start)


@evaluate.command()
def memorisation(
    real: Real,
    synthetic: Synthetic,
    out: Out,
    label: Label = None,
    window: Window = "lung",
    discriminator: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Column score: the discriminator's for each row of REAL.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Are training patients copied, or given away? Nearest neighbours with calibrated p-values, and a statement.

    REAL must hold the training patients and others. Example: lesionforge evaluate memorisation lung.patches
    solid.synthetic --label solid --out runs/memorisation
    """
    from lesionforge.evaluation.assessments.memorisation import assess_memorisation

    start = time.monotonic()
    sides = _sides(real, synthetic, out, label, window)
    scores = None if discriminator is None else _scores(discriminator, real, label)
    found = assess_memorisation(sides, discriminator=scores, seed=seed, progress=INVOCATION.progress)
    _finish(found, out, start)


def _sides(real: Path, synthetic: Path, out: Path, label: str | None, window: str) -> Any:
    from lesionforge.data import patches_file
    from lesionforge.data.hounsfield import window_named
    from lesionforge.evaluation.assessments.sides import Sides
    from lesionforge.storage import refuse_existing

    refuse_existing(out)  # before the work, not after it
    known, made = patches_file.load(real), patches_file.load(synthetic)
    return Sides.of(known, made, window=window_named(window, unit=known.unit), label=label)


def _plan(masks: str, bin_width: float, resample_mm: float, cache: Path | None, workers: int) -> Any:
    from lesionforge.distances.radiomics import RadiomicSettings
    from lesionforge.evaluation.assessments.described import RadiomicPlan
    from lesionforge.settings import from_json

    asked: dict[str, Any] = {"bin_width": bin_width, "resample_mm": resample_mm or None}
    plan = from_json(RadiomicPlan, {"masks": masks})
    return RadiomicPlan(plan.masks, from_json(RadiomicSettings, asked), cache, workers or os.cpu_count() or 1)


def _features(networks: list[Path], sides: Any) -> dict[str, Any]:
    """What classifiers make of both sets; those that have seen the real patients refuse."""
    from lesionforge.classifiers.saved import load
    from lesionforge.evaluation.fidelity import Features

    found = {}
    for path in networks:
        classifier = load(path)
        found[path.name] = Features(*(classifier.features(each) for each in (sides.real, sides.synthetic)))
    return found


def _scores(path: Path, real: Path, label: str | None) -> Any:
    from lesionforge.data import patches_file
    from lesionforge.evaluation.tables import read_table

    table, patches = read_table(path), patches_file.load(real)
    if "score" not in table or len(table) != len(patches):
        raise LesionForgeError(
            f"{path} must have a column score with a row for each of {len(patches)} real patches, but has "
            f"{len(table)} rows and the columns {', '.join(map(str, table.columns))}."
        )
    scores = table["score"].to_numpy(dtype=float)
    return scores if label is None else scores[patches.labels == label]


def _finish(found: Any, out: Path, start: float) -> None:
    from lesionforge.report.assessment_page import write_assessment_report

    found.write(out, command=INVOCATION.command, seconds=time.monotonic() - start)
    for sentence in found.sentences:
        INVOCATION.progress.say(sentence)
    typer.echo(write_assessment_report(out))
