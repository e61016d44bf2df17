"""Verbs that make and show patches."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, Json, Out, PatchesFolder, Seed, Set, Window, lines
from lesionforge.errors import LesionForgeError


def ingest(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Scans with annotations, pictures, or arrays.")],
    out: Out,
    format_: Annotated[str, typer.Option("--format", help="See `methods`; auto: say what is recognised.")] = "auto",
    select: Annotated[list[str], typer.Option(metavar="RULE", help="Lesions to keep; may be repeated.")] = [],  # noqa: B006
    label: Annotated[str, typer.Option(help="Column, labelling, or JSON with the rule of each class.")] = "",
    cut: Annotated[str, typer.Option(help="How patches are cut from scans; see `methods`.")] = "largest_slices",
    size: Annotated[str, typer.Option(help="Pixels, as 64 or 32,64,64 (z,y,x). [as they are, or as published]")] = "",
    set_: Set = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="End at the first scan that cannot be used.")] = False,
    seed: Seed = 0,
) -> None:
    """Read scans with annotations, pictures or arrays into patches. Killed, it goes on with the same command.

    Example: lesionforge ingest LIDC-IDRI/ --select rated --label malignancy --size 64 --out lidc.patches
    """
    from lesionforge.data import ingestion

    request = ingestion.Request(
        format_=format_,
        select=tuple(select),
        label=label,
        cut=cut,
        size=_whole_numbers(size),
        settings=tuple(set_),
        seed=seed,
        strict=strict,
    )
    typer.echo(ingestion.ingest(source, out, request, workers=workers, progress=INVOCATION.progress))


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise LesionForgeError(f"a size must be whole numbers, as 64 or 32,64,64, but {text!r} came.") from None


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


def augment(
    recipe: str,
    patches: PatchesFolder,
    out: Out,
    count: Annotated[int | None, typer.Option(min=1, help="Patches to make. [all that the recipe makes]")] = None,
    label: Annotated[str | None, typer.Option(help="Augment this class alone.")] = None,
    seed: Seed = 0,
    set_: Set = [],  # noqa: B006
) -> None:
    """Augment patches by a paper's classic recipe. The table keeps every parameter, so the set can be made again.

    Example: lesionforge augment wang_2020 lung.patches --set output_size=64 --out lung.augmented
    """
    from lesionforge.augment import classic
    from lesionforge.data import patches_file

    chosen = patches_file.load(patches)
    chosen = chosen if label is None else chosen.with_label(label)
    patches_file.save(classic.augment(chosen, recipe, seed=seed, count=count, overrides=set_), out)
    typer.echo(out)


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
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines(facts)))


def _contact_sheet(patches: Any, png: Path, window: str) -> None:
    from lesionforge.data.contact_sheet import contact_sheet, save_png
    from lesionforge.data.hounsfield import window_named

    if patches.is_synthetic.any() and not png.name.startswith("synthetic"):
        raise LesionForgeError(f"a picture with synthetic patches must say so: name it synthetic_{png.name}.")
    save_png(png, contact_sheet(patches.images[:100], window_named(window, unit=patches.unit), zoom=2))
    INVOCATION.progress.say(f"wrote {png}")
