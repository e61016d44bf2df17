"""Verbs that train generators and draw from them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, Device, Json, Out, PatchesFolder, Seed, Set, Window
from lesionforge.errors import LesionForgeError

CheckpointFolder = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder that `train` made.")]
Label = Annotated[str | None, typer.Option(help="Class to make, where the checkpoint can choose.")]
Conditions = Annotated[
    Path | None, typer.Option(metavar="PATCHES", help="Real lesions to fulfil, for a method that is shown pictures.")
]


def train(
    method: str,
    patches: PatchesFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder of the checkpoint.")],
    label: Annotated[str | None, typer.Option(help="Train on this class alone.")] = None,
    images: Annotated[int, typer.Option(min=0, help="Images to show; 0: the method's epochs.")] = 0,
    validation: Annotated[
        Path | None, typer.Option(metavar="PATCHES", help="Patches of other patients, to keep the best generator by.")
    ] = None,
    validation_share: Annotated[
        float, typer.Option(min=0, max=1, help="Set so many of the patients aside for that instead.")
    ] = 0.0,
    watch: Annotated[
        list[str], typer.Option("--watch", metavar="KEY=VALUE", help="Change when and how that is measured.")
    ] = [],  # noqa: B006
    plan: Annotated[
        list[str],
        typer.Option(metavar="KEY=VALUE", help="Change what is kept and how to compute: accumulate, precision, …"),
    ] = [],  # noqa: B006
    window: Window = "lung",
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
    set_: Set = [],  # noqa: B006
) -> None:
    """Train a generator. The checkpoint remembers which patients it has seen.

    With validation patients its samples are measured on them now and then, and the best generator is kept; with
    --watch patience_images=40000 training ends when there was none better for so long.

    On several GPUs: torchrun --nproc-per-node 4 --no-python lesionforge train …

    Example: lesionforge train dcgan lung.patches --label solid --images 100000 --validation-share 0.2
    --set generator_width=256 --set discriminator_width=32 --out solid.dcgan
    """
    from lesionforge import registry, settings
    from lesionforge.data import patches_file
    from lesionforge.data.hounsfield import window_named
    from lesionforge.data.splits import train_validation
    from lesionforge.generators import methods, training
    from lesionforge.generators.contract import GenerativeMethod
    from lesionforge.generators.distributed import announces
    from lesionforge.generators.state import TrainingPlan, WatchPlan

    kind: Any = registry.class_named(methods, method, GenerativeMethod)
    chosen, held_out = patches_file.load(patches), None if validation is None else patches_file.load(validation)
    if validation_share:
        if held_out is not None:
            raise LesionForgeError("--validation names the validation patches, so --validation-share must be left out.")
        # All classes are split at once: the generator of each sets the same patients aside.
        split = train_validation(chosen, validation=validation_share, seed=seed)
        chosen, held_out = chosen.rows(split.train), chosen.rows(split.validation)
    if label is not None:
        chosen, held_out = chosen.with_label(label), None if held_out is None else held_out.with_label(label)
    training.train(
        settings.with_overrides(kind(), set_),
        chosen,
        out,
        plan=settings.with_overrides(
            TrainingPlan(images=images, seed=seed, watch=settings.with_overrides(WatchPlan(), watch)), plan
        ),
        window=window_named(window, unit=chosen.unit),
        validation=held_out,
        resume=resume,
        device=device,
        progress=INVOCATION.progress,
    )
    if announces():
        typer.echo(out)


def sample(
    checkpoint: CheckpointFolder,
    out: Out,
    n: Annotated[int, typer.Option("--n", min=1, help="How many patches; memory does not grow with them.")] = 1000,
    label: Label = None,
    conditions: Conditions = None,
    truncation: Annotated[float, typer.Option(help="From 0 to 1: more typical and less varied below 1.")] = 1.0,
    redraw: Annotated[bool, typer.Option("--redraw", help="Draw implausible patches anew.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw synthetic patches from a checkpoint. Their table says that they are, and from whom they were learnt.

    Each is held against the ranges of intensity and lesion size in the training set; the table's column implausible
    names what lies outside.

    Example: lesionforge sample solid.dcgan --n 1000 --out solid.synthetic
    """
    from lesionforge import settings
    from lesionforge.synthesis.sample import write_samples

    asked: dict[str, Any] = {"seed": seed, "label": label, "truncation": truncation, "redraw": redraw}
    sampler = open_sampler(checkpoint, device=device, conditions=conditions, **asked)
    written = write_samples(sampler, n, out, progress=INVOCATION.progress)
    typer.echo(json.dumps(settings.to_json(written) | {"out": str(out)}) if as_json else written)


def open_sampler(checkpoint: Path, *, device: str, conditions: Path | None = None, **asked: Any) -> Any:
    """Open a checkpoint, and the conditions if there are any, to draw as it is asked."""
    from lesionforge.data import patches_file
    from lesionforge.generators import checkpoint as checkpoints
    from lesionforge.networks import choose_device
    from lesionforge.synthesis.sampler import Sampler

    shown = None if conditions is None else patches_file.load(conditions)
    return Sampler(checkpoints.load(checkpoint, device=choose_device(device)), conditions=shown, **asked)
