"""The command line: parses, calls, prints. Everything here is also a plain Python call.

Exit codes: 0 done; 2 the input is wrong (one message); 1 our fault (a traceback); 130 interrupted, and resumable.
Heavy packages are imported by the verb that needs them, so that ``--help`` is quick.
"""

import json
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from lesionforge import __version__
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress, TerminalProgress

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Synthesise CT lesions, train classifiers with and without them, and say whether they helped.",
)

Out = Annotated[Path, typer.Option("--out", help="Folder to make; it must not exist yet.")]
Run = Annotated[Path, typer.Option("--out", help="Folder of the run; a run begun there is continued.")]
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Window = Annotated[str, typer.Option(help="Range of intensities that networks see: lung, mediastinum, liver, u8.")]
PatchesFolder = Annotated[Path, typer.Argument(metavar="PATCHES", help="Folder of patches.")]
Scale = Annotated[str, typer.Option(help="smoke (minutes), desk (an evening) or paper (as published).")]

INTERRUPTED = 130
DEMO_DIFFICULTY = 0.6  # classic augmentation alone must leave something to gain


@dataclass
class _Invocation:
    """How the program was called: what verbs need beyond their own arguments."""

    command: str = "lesionforge"
    progress: Progress = SILENT


_INVOCATION = _Invocation()


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _INVOCATION.command = shlex.join(["lesionforge", *arguments])
    try:
        app(arguments, prog_name="lesionforge")
    except LesionForgeError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None or "--debug" in arguments:
            raise
        typer.echo(f"error: {error.filename} cannot be read or written: {error.strerror}.", err=True)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            typer.echo(
                "interrupted; nothing is half-written. The same command continues a run, with --resume a training.",
                err=True,
            )
        raise
    raise AssertionError("the command line exits by itself")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001 (its callback comes before the missing verb is noticed)
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
) -> None:
    """Options before the verb."""
    _INVOCATION.progress = SILENT if quiet else TerminalProgress()


@app.command()
def demo(out: Run = Path("runs/demo"), patients: Annotated[int, typer.Option(min=9)] = 60, seed: Seed = 0) -> None:
    """Run the main job on the built-in CT phantom: experiment, verdict, report.

    Example: lesionforge demo --out runs/demo
    """
    from lesionforge.data.phantom import phantom_patches
    from lesionforge.experiments.protocols import usefulness

    _INVOCATION.progress.say(f"computing a CT phantom of {patients} patients")
    patches = phantom_patches("lung", patients=patients, seed=seed, difficulty=DEMO_DIFFICULTY)
    _run_and_report(usefulness.smoke("lung"), patches, out, data=f"CT phantom, lung, {patients} patients", phantom=True)


@app.command()
def experiment(
    protocol: str,
    data: Annotated[Path, typer.Option(help="Folder of patches.")],
    out: Run,
    scale: Scale = "desk",
    window: Window = "lung",
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
    described = settings.with_overrides(scales[scale](window), set_)
    _run_and_report(described, patches_file.load(data), out, data=data.name)


@app.command()
def classify(
    method: str,
    patches: PatchesFolder,
    out: Run,
    synthetic: Annotated[Path | None, typer.Option("--with", help="Synthetic patches to add to the training.")] = None,
    folds: Annotated[int, typer.Option(min=2)] = 3,
    size: Annotated[int, typer.Option(help="Crop to so many pixels; 0: as they are.")] = 0,
    window: Window = "lung",
    seed: Seed = 0,
    set_: Set = [],  # noqa: B006
) -> None:
    """Cross-validate a classifier by patient, without and with a given synthetic set, and report.

    The synthetic set's generators must not have seen these patients; `experiment` trains one for each fold.

    Example: lesionforge classify small_cnn lung.patches --out runs/small_cnn --set max_images=60000
    """
    from lesionforge import registry, settings
    from lesionforge.classifiers import methods
    from lesionforge.classifiers.contract import Classifier
    from lesionforge.data import patches_file
    from lesionforge.experiments.experiment import Experiment, Regime

    kind: Any = registry.class_named(methods, method, Classifier)
    real = patches_file.load(patches)
    described = Experiment(
        protocol="classify",
        title=f"{method}, cross-validated",
        classifier=settings.with_overrides(kind(window=window), set_),
        regimes=(Regime("raw"), *([Regime("raw+given", given=True)] if synthetic else [])),
        size=size or min(real.shape),
        window=window,
        folds=folds,
        seed=seed,
    )
    given = patches_file.load(synthetic) if synthetic else None
    _run_and_report(described, real, out, data=patches.name, given=given)


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of arrays with a table, or its mapping.")],
    out: Out,
    set_: Set = [],  # noqa: B006
    size: Annotated[int, typer.Option(help="Crop to so many pixels around the centre; 0: as they are.")] = 0,
) -> None:
    """Read npz/npy arrays with a CSV table into patches. What is where: arrays.json, or --set.

    Example: lesionforge ingest scans/ --out lung.patches --set images=hu.npz:hu --set patient=patient_id
    --set diameter_mm=diameter --set spacing_mm=pixel_mm
    --set 'labels={"small": "diameter < 8", "large": "diameter >= 8"}'
    """
    from lesionforge import settings
    from lesionforge.data import patches_file
    from lesionforge.data.sources.arrays import MAPPING_FILE, ArraysMapping, load_arrays, read_mapping

    file = source if source.suffix == ".json" else source / MAPPING_FILE
    mapping = read_mapping(file) if file.is_file() else ArraysMapping()
    patches = load_arrays(source, mapping=settings.with_overrides(mapping, set_), progress=_INVOCATION.progress)
    patches_file.save(patches.centre_crop(size) if size else patches, out)
    typer.echo(out)


@app.command()
def phantom(
    out: Out,
    kind: Annotated[str, typer.Option(help="lung or liver")] = "lung",
    patients: Annotated[int, typer.Option(min=1)] = 60,
    size: Annotated[int, typer.Option(min=16, help="Pixels along an edge.")] = 64,
    depth: Annotated[int, typer.Option(min=0, help="Slices of a 3-D patch; 0: 2-D.")] = 0,
    difficulty: Annotated[float, typer.Option(min=0, max=1, help="0: classes plainly apart; 1: hardly.")] = 0.5,
    seed: Seed = 0,
) -> None:
    """Compute CT patches of lesions that are known in advance.

    Example: lesionforge phantom --kind liver --patients 90 --out liver.patches
    """
    from lesionforge.data import patches_file
    from lesionforge.data.phantom import phantom_patches

    shape = (depth, size, size) if depth else size
    patches = phantom_patches(kind, patients=patients, size=shape, difficulty=difficulty, seed=seed)
    patches_file.save(patches, out)
    typer.echo(out)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATCHES|CHECKPOINT")],
    png: Annotated[Path | None, typer.Option(help="Write a contact sheet of patches, or of samples, here.")] = None,
    window: Window = "lung",
    as_json: Json = False,
) -> None:
    """Say what is in a folder of patches or a generator's checkpoint: by label, patients, size, origin.

    Example: lesionforge inspect lung.patches --png lung.png
    """
    from lesionforge.data import patches_file
    from lesionforge.generators import checkpoint
    from lesionforge.synthesis.sample import sample as draw

    if (path / checkpoint.MANIFEST).exists():
        manifest = checkpoint.read_manifest(path)
        subject = manifest["subject"]
        facts = {key: manifest[key] for key in ("id", "method", "settings", "images_seen")} | {
            "label": subject["label"],
            "shape": subject["shape"],
            "patients_seen": len(subject["exposure"]["patients"]),
        }
        shown = draw(checkpoint.load(path), 64) if png else None
    else:
        shown = patches_file.load(path)
        facts = shown.summary
    if png and shown:
        _contact_sheet(shown, png, window)
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(_lines(facts)))


@app.command()
def train(
    method: str,
    patches: PatchesFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder of the checkpoint.")],
    label: Annotated[str | None, typer.Option(help="Train on this class alone.")] = None,
    images: Annotated[int, typer.Option(min=0, help="Images to show; 0: the method's epochs.")] = 0,
    window: Window = "lung",
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
    set_: Set = [],  # noqa: B006
) -> None:
    """Train a generator. The checkpoint remembers which patients it has seen.

    Example: lesionforge train dcgan lung.patches --label solid --images 100000 --set generator_width=256
    --set discriminator_width=32 --out solid.dcgan
    """
    from lesionforge import registry, settings
    from lesionforge.data import patches_file
    from lesionforge.data.hounsfield import window_named
    from lesionforge.generators import methods, training
    from lesionforge.generators.contract import GenerativeMethod
    from lesionforge.generators.state import TrainingPlan

    kind: Any = registry.class_named(methods, method, GenerativeMethod)
    chosen = patches_file.load(patches)
    chosen = chosen if label is None else chosen.with_label(label)
    training.train(
        settings.with_overrides(kind(), set_),
        chosen,
        out,
        plan=TrainingPlan(images=images, seed=seed),
        window=window_named(window, unit=chosen.unit),
        resume=resume,
        device=device,
        progress=_INVOCATION.progress,
    )
    typer.echo(out)


@app.command()
def sample(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder that `train` made.")],
    out: Out,
    n: Annotated[int, typer.Option("--n", min=1, help="How many patches.")] = 1000,
    label: Annotated[str | None, typer.Option(help="Must be the class that the checkpoint makes.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw synthetic patches from a checkpoint. Their table says that they are, and from whom they were learnt.

    Example: lesionforge sample solid.dcgan --n 1000 --out solid.synthetic
    """
    from lesionforge.data import patches_file
    from lesionforge.generators import checkpoint as checkpoints
    from lesionforge.networks import choose_device
    from lesionforge.synthesis.sample import sample as draw

    opened = checkpoints.load(checkpoint, device=choose_device(device))
    patches_file.save(draw(opened, n, seed=seed, label=label, progress=_INVOCATION.progress), out)
    typer.echo(out)


@app.command()
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]) -> None:
    """Write a finished run's figures and its self-contained HTML page.

    Example: lesionforge report runs/demo
    """
    from lesionforge.report.page import write_report

    typer.echo(write_report(run))


@app.command()
def methods(as_json: Json = False) -> None:
    """List every generator, classifier and protocol, with its paper.

    Example: lesionforge methods
    """
    from lesionforge import registry
    from lesionforge.classifiers import methods as classifiers
    from lesionforge.classifiers.contract import Classifier
    from lesionforge.data import sources
    from lesionforge.experiments import protocols
    from lesionforge.generators import methods as generators
    from lesionforge.generators.contract import GenerativeMethod

    listed: dict[str, dict[str, str]] = {
        "sources": {name: _first_line(registry.module_named(sources, name)) for name in registry.names(sources)},
        "generators": {
            name: registry.class_named(generators, name, GenerativeMethod).paper  # type: ignore[type-abstract]
            for name in registry.names(generators)
        },
        "classifiers": {
            name: registry.class_named(classifiers, name, Classifier).paper  # type: ignore[type-abstract]
            for name in registry.names(classifiers)
        },
        "protocols": {name: _first_line(registry.module_named(protocols, name)) for name in registry.names(protocols)},
    }
    if as_json:
        typer.echo(json.dumps(listed, ensure_ascii=False))
        return
    for kind, found in listed.items():
        typer.echo(f"{kind}:")
        for name, about in found.items():
            typer.echo(f"  {name:16} {about}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, which devices there are, and what to do about gaps.

    Example: lesionforge doctor
    """
    from lesionforge.environment import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in found]))
        return
    for finding in found:
        typer.echo(f"{finding.name:14} {finding.state}" + (f"   → {finding.advice}" if finding.advice else ""))


def _run_and_report(
    described: Any, patches: Any, out: Path, *, data: str, phantom: bool = False, given: Any = None
) -> None:
    import torch

    from lesionforge.experiments.engine import Source, run
    from lesionforge.report.page import write_report

    source = Source(data, phantom=phantom, command=_INVOCATION.command)
    workers = min(described.folds * described.repeats, torch.get_num_threads())
    run(described, patches, out, source=source, given=given, workers=workers, progress=_INVOCATION.progress)
    typer.echo(write_report(out))


def _contact_sheet(patches: Any, png: Path, window: str) -> None:
    from lesionforge.data.contact_sheet import contact_sheet, save_png
    from lesionforge.data.hounsfield import window_named

    if patches.is_synthetic.any() and not png.name.startswith("synthetic"):
        raise LesionForgeError(f"a picture with synthetic patches must say so: name it synthetic_{png.name}.")
    save_png(png, contact_sheet(patches.images[:100], window_named(window, unit=patches.unit), zoom=2))
    _INVOCATION.progress.say(f"wrote {png}")


def _lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A line for each fact; facts of facts are indented."""
    for name, fact in facts.items():
        if isinstance(fact, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(fact, indent + "  ")
        else:
            shown = "×".join(map(str, fact)) if isinstance(fact, list) else "unknown" if fact is None else fact
            yield f"{indent}{name}: {shown}"


def _first_line(module: Any) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]
