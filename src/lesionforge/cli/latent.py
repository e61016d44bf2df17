"""Verbs that look into a generator: between its samples, towards their mean, and beside its training patches."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.generators import CheckpointFolder, Conditions, Label, open_sampler
from lesionforge.cli.options import Device, Json, Out, PatchesFolder, Seed, lines
from lesionforge.errors import LesionForgeError

HELP = "Look into a generator: what lies between its samples, and beside them. Makes patches with a picture of them."
latent = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=HELP)

Count = Annotated[int, typer.Option("--n", min=1, help="How many.")]


@latent.command()
def strips(
    checkpoint: CheckpointFolder,
    out: Out,
    n: Count = 8,
    steps: Annotated[int, typer.Option(min=2, help="Images in a strip, both ends among them.")] = 8,
    label: Label = None,
    conditions: Conditions = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Go from sample to sample in small steps. A generator that knows its images by heart leaps.

    Example: lesionforge latent strips solid.dcgan --n 6 --out solid.strips
    """
    from lesionforge.synthesis.latent import strips as draw

    sampler = open_sampler(checkpoint, device=device, seed=seed, label=label, conditions=conditions)
    drawn = draw(sampler, n, steps=steps)
    table = drawn.table
    places = zip(table["strip_from"], table["strip_to"], table["strip_share"], strict=True)
    captions = [f"{first} to {last}: {share:.2f}" for first, last, share in places]
    _save(drawn, out, "strips", sampler, columns=steps, captions=captions, as_json=as_json)


@latent.command()
def truncation(
    checkpoint: CheckpointFolder,
    out: Out,
    n: Count = 8,
    psi: Annotated[str, typer.Option(help="Shares of the distance from the mean, with commas.")] = "0.5,0.7,0.8,0.9,1",
    label: Label = None,
    conditions: Conditions = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw the same samples nearer and nearer to the mean: more typical, and less varied.

    Example: lesionforge latent truncation solid.wgan --n 6 --psi 0.4,0.7,1 --out solid.truncated
    """
    from lesionforge.synthesis.latent import truncations

    sampler = open_sampler(checkpoint, device=device, seed=seed, label=label, conditions=conditions)
    shares = _numbers(psi, float, of="--psi")
    drawn = truncations(sampler, n, shares)
    table = drawn.table
    captions = [f"{k}: psi {p:g}" for k, p in zip(table["sample_number"], table["sample_truncation"], strict=True)]
    _save(drawn, out, "truncation", sampler, columns=len(shares), captions=captions, as_json=as_json)


@latent.command()
def rows(
    checkpoint: CheckpointFolder,
    out: Out,
    numbers: Annotated[str, typer.Option("--rows", metavar="K,K,…", help="Numbers of the rows, sample_number.")],
    label: Label = None,
    conditions: Conditions = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw some rows of a sample again, as they are in its table: the same seed and number, the same patch.

    Example: lesionforge latent rows solid.dcgan --rows 3,17,40 --out solid.chosen
    """
    from lesionforge.synthesis.latent import chosen_rows

    sampler = open_sampler(checkpoint, device=device, seed=seed, label=label, conditions=conditions)
    drawn = chosen_rows(sampler, _numbers(numbers, int, of="--rows"))
    captions = [f"row {number}" for number in drawn.table["sample_number"]]
    _save(drawn, out, "rows", sampler, columns=0, captions=captions, as_json=as_json)


@latent.command()
def neighbours(
    checkpoint: CheckpointFolder,
    patches: PatchesFolder,
    out: Out,
    n: Count = 16,
    shift_px: Annotated[int, typer.Option(min=0, help="How far apart two may lie and still be compared.")] = 4,
    label: Label = None,
    conditions: Conditions = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Lay the nearest training patch beside each sample, whichever way it is turned over. PATCHES: the training set.

    Example: lesionforge latent neighbours solid.dcgan lung.patches --out solid.neighbours
    """
    from lesionforge.data import patches_file
    from lesionforge.synthesis.sheets import save_neighbours

    sampler = open_sampler(checkpoint, device=device, seed=seed, label=label, conditions=conditions)
    facts = save_neighbours(sampler, n, patches_file.load(patches), out, shift_px=shift_px)
    _print({"out": str(out), **facts}, as_json)


def _save(drawn: Any, out: Path, name: str, sampler: Any, *, columns: int, captions: list[str], as_json: bool) -> None:
    from lesionforge.synthesis.sheets import save_sheet

    save_sheet(drawn, out, name=name, window=sampler.checkpoint.subject.window, columns=columns, captions=captions)
    implausible = int((drawn.table["implausible"] != "").sum())
    _print({"out": str(out), "patches": len(drawn), "implausible": implausible}, as_json)


def _print(facts: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines(facts)))


def _numbers(text: str, kind: type[int] | type[float], *, of: str) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise LesionForgeError(f"{of} must be numbers with commas, but {text!r} came.") from None
