"""Verbs that hold a synthetic set against real patients, each with a report page of its own."""

import inspect
import os
import time
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

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
Networks = Annotated[
    list[Path], typer.Option("--network", metavar="CLASSIFIER", help="Also compare by its features; may be repeated.")
]
Halvings = Annotated[int, typer.Option(min=3, help="Random halvings of the patients: the floor, and intervals.")]
Masks = Annotated[str, typer.Option(help="Lesions as drawn, grown or measured; auto: drawn if both sets have masks.")]
BinWidth = Annotated[float, typer.Option(help="Of the grey levels of radiomic texture, in the images' unit.")]
ResampleMm = Annotated[float, typer.Option(min=0, help="In-plane spacing for radiomics; 0: as the patches are.")]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps radiomic features for further runs.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")]
Layouts = Annotated[
    list[str], typer.Option("--layout", metavar="NAME", help="t-sne, or umap (an extra); may be repeated.")
]
Discriminator = Annotated[
    Path | None, typer.Option(metavar="CSV", help="Column score: the discriminator's for each row of REAL.")
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every verb is asked; further questions are fields of its subclasses."""

    real: Real
    synthetic: Synthetic
    out: Out
    label: Label = None
    window: Window = "lung"
    seed: Seed = 0

    def sides(self) -> Any:
        """Open both sets, before the work and not after it."""
        from lesionforge.data import patches_file
        from lesionforge.data.hounsfield import window_named
        from lesionforge.evaluation.assessments.sides import Sides
        from lesionforge.storage import refuse_existing

        refuse_existing(self.out)
        known, made = patches_file.load(self.real), patches_file.load(self.synthetic)
        return Sides.of(known, made, window=window_named(self.window, unit=known.unit), label=self.label)


@dataclass(frozen=True, kw_only=True)
class AskedOfNetworks(Asked):
    """What verbs are asked that take features of networks."""

    network: Networks = field(default_factory=list)

    def features(self, sides: Any) -> dict[str, Any]:
        """What classifiers make of both sets; those that have seen the held-out patients refuse.

        The generators' training patients they may have seen: samples of a fold belong before the fold's network.
        """
        from lesionforge.classifiers.saved import load
        from lesionforge.evaluation.fidelity import Features

        held_out = sides.only_held_out()
        found = {}
        for path in self.network:
            classifier = load(path)
            made = classifier.features(held_out.synthetic, already_seen=True)
            found[path.name] = Features(classifier.features(held_out.real), made)
        return found


@dataclass(frozen=True, kw_only=True)
class AskedOfRadiomics(Asked):
    """What verbs are asked that measure lesions."""

    masks: Masks = "auto"
    bin_width: BinWidth = 25.0
    resample_mm: ResampleMm = 0.0
    cache: Cache = None
    workers: Workers = 0

    def plan(self) -> Any:
        """How lesions are outlined and measured."""
        from lesionforge.distances.radiomics import RadiomicSettings
        from lesionforge.evaluation.assessments.described import RadiomicPlan
        from lesionforge.settings import from_json

        asked: dict[str, Any] = {"bin_width": self.bin_width, "resample_mm": self.resample_mm or None}
        masks = from_json(RadiomicPlan, {"masks": self.masks}).masks
        return RadiomicPlan(masks, from_json(RadiomicSettings, asked), self.cache, self.workers or os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class AskedOfFidelity(AskedOfNetworks, AskedOfRadiomics):
    """What `fidelity` is asked."""

    halvings: Halvings = 20


@dataclass(frozen=True, kw_only=True)
class AskedOfFeatures(AskedOfRadiomics):
    """What `radiomics` is asked."""

    halvings: Halvings = 20


@dataclass(frozen=True, kw_only=True)
class AskedOfJudges(AskedOfNetworks, AskedOfRadiomics):
    """What `separability` is asked."""


@dataclass(frozen=True, kw_only=True)
class AskedOfMemory(Asked):
    """What `memorisation` is asked."""

    discriminator: Discriminator = None


@dataclass(frozen=True, kw_only=True)
class AskedOfPlaces(AskedOfNetworks):
    """What `embedding` is asked."""

    layout: Layouts = field(default_factory=lambda: ["t-sne"])


A = TypeVar("A", bound=Asked)


def verb(assess: Callable[[A], Any]) -> Callable[[A], Any]:
    """Make a verb whose arguments and options are the fields of what ``assess`` takes; it ends in a page.

    Raises LesionForgeError, before anything is opened, where options do not fit.
    """
    (hint,) = (kind for name, kind in get_type_hints(assess, include_extras=True).items() if name != "return")
    hints = get_type_hints(hint, include_extras=True)

    def command(**options: Any) -> None:
        from lesionforge.report.assessment_page import write_assessment_report

        start = time.monotonic()
        asked = hint(**options)
        found = assess(asked)
        found.write(asked.out, command=INVOCATION.command, seconds=time.monotonic() - start)
        for sentence in found.sentences:
            INVOCATION.progress.say(sentence)
        typer.echo(write_assessment_report(asked.out))

    parameters = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=_default(each), annotation=hints[each.name]
        )
        for each in fields(hint)
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {each.name: hints[each.name] for each in fields(hint)}
    command.__name__, command.__doc__ = assess.__name__, assess.__doc__
    evaluate.command()(command)
    return assess


def _default(of: Any) -> Any:
    if of.default_factory is not MISSING:
        return of.default_factory()
    return inspect.Parameter.empty if of.default is MISSING else of.default


@verb
def fidelity(asked: AskedOfFidelity) -> Any:
    """How near are samples to held-out patients, and how varied? Each measure beside that of two halves of patients.

    Example: lesionforge evaluate fidelity lung.patches solid.synthetic --label solid --out runs/fidelity
    """
    from lesionforge.evaluation.assessments.fidelity import assess_fidelity

    sides = asked.sides()
    return assess_fidelity(
        sides,
        networks=asked.features(sides),
        plan=asked.plan(),
        halvings=asked.halvings,
        seed=asked.seed,
        progress=INVOCATION.progress,
    )


@verb
def radiomics(asked: AskedOfFeatures) -> Any:
    """Which of 93 radiomic features differ, and does a logistic regression on them tell samples from real lesions?

    Example: lesionforge evaluate radiomics lung.patches solid.synthetic --label solid --out runs/radiomics
    """
    from lesionforge.evaluation.assessments.radiomics import assess_radiomics

    return assess_radiomics(
        asked.sides(), plan=asked.plan(), halvings=asked.halvings, seed=asked.seed, progress=INVOCATION.progress
    )


@verb
def separability(asked: AskedOfJudges) -> Any:
    """Can a classifier tell samples from held-out patients? A linear judge and a random forest, in folds by patient.

    Example: lesionforge evaluate separability lung.patches solid.synthetic --label solid --out runs/separability
    """
    from lesionforge.evaluation.assessments.separability import assess_separability

    sides = asked.sides()
    networks = asked.features(sides)
    return assess_separability(
        sides, networks=networks, plan=asked.plan(), seed=asked.seed, progress=INVOCATION.progress
    )


@verb
def memorisation(asked: AskedOfMemory) -> Any:
    """Are training patients copied, or given away? Nearest neighbours with calibrated p-values, and a statement.

    REAL must hold the training patients and others. Example: lesionforge evaluate memorisation lung.patches
    solid.synthetic --label solid --out runs/memorisation
    """
    from lesionforge.evaluation.assessments.memorisation import assess_memorisation

    sides = asked.sides()
    scores = None if asked.discriminator is None else _scores(asked.discriminator, asked.real, asked.label)
    return assess_memorisation(sides, discriminator=scores, seed=asked.seed, progress=INVOCATION.progress)


@verb
def embedding(asked: AskedOfPlaces) -> Any:
    """Where do samples lie among held-out patients, as texture and as networks see them? By class and by origin.

    Example: lesionforge evaluate embedding lung.patches solid.synthetic --out runs/embedding --network
    runs/lung/checkpoints/repeat0-fold0-classifier-raw
    """
    from lesionforge.evaluation.assessments.embedding import assess_embedding

    sides = asked.sides()
    return assess_embedding(
        sides,
        networks=asked.features(sides),
        layouts=asked.layout,
        seed=asked.seed,
        progress=INVOCATION.progress,
    )


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
