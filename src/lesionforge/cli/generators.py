"""Verbs that train generators and draw from them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, Device, Out, PatchesFolder, Seed, Set, Window


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
        progress=INVOCATION.progress,
    )
    typer.echo(out)


def sample(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder that `train` made.")],
    out: Out,
    n: Annotated[int, typer.Option("--n", min=1, help="How many patches.")] = 1000,
    label: Annotated[str | None, typer.Option(help="Class to make, where the checkpoint can choose.")] = None,
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
    patches_file.save(draw(opened, n, seed=seed, label=label, progress=INVOCATION.progress), out)
    typer.echo(out)
