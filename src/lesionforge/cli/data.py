"""Verbs that make patches."""

from pathlib import Path
from typing import Annotated

import typer

from lesionforge.cli.options import INVOCATION, Out, PatchesFolder, Seed, Set, three_numbers
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
    scans: Annotated[bool, typer.Option("--scans", help="Whole scans with masks, as NIfTI, not patches.")] = False,
    spacing_mm: Annotated[str, typer.Option(metavar="Z,Y,X", help="Of whole scans' voxels.")] = "2.5,1.4,1.4",
    seed: Seed = 0,
) -> None:
    """Compute CT of lesions that are known in advance: patches, or whole scans that `ingest` reads.

    Example: lesionforge phantom --kind liver --patients 90 --out liver.patches
    """
    from lesionforge.data import patches_file
    from lesionforge.data.phantom import phantom_patches
    from lesionforge.data.phantom.scan_files import save_phantom_scans

    if scans:
        z, y, x = three_numbers(spacing_mm, of="--spacing-mm")
        save_phantom_scans(
            out,
            kind,
            patients=patients,
            seed=seed,
            spacing_mm=(z, y, x),
            difficulty=difficulty,
            progress=INVOCATION.progress,
        )
        typer.echo(out)
        return
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


def split(
    patches: PatchesFolder,
    out: Out,
    fractions: Annotated[
        str, typer.Option(metavar="A,B,C", help="Shares of the patients: training, validation, test.")
    ] = "0.6,0.15,0.25",
    seed: Seed = 0,
) -> None:
    """Deal the patients out into a folder with train.patches, validation.patches and test.patches.

    The same patients and seed give the same three parts, whatever the patches' size and however many there are.

    Example: lesionforge split lung.patches --fractions 0.6,0.15,0.25 --out lung.split
    """
    from lesionforge.data import patches_file
    from lesionforge.data.splits import train_validation_test
    from lesionforge.storage import new_folder

    chosen = patches_file.load(patches)
    dealt = train_validation_test(chosen, fractions=three_numbers(fractions, of="--fractions"), seed=seed)
    with new_folder(out) as folder:
        for name in ("train", "validation", "test"):
            patches_file.save(chosen.rows(getattr(dealt, name)), folder / f"{name}.patches")
    typer.echo(out)


def download(
    name: Annotated[str, typer.Argument(help="lidc-idri, or medmnist-NAME.")],
    out: Annotated[Path, typer.Option("--out", help="Folder; what is in it already stays.")],
    patient: Annotated[list[str], typer.Option(help="Of LIDC-IDRI, this patient; may be repeated.")] = [],  # noqa: B006
) -> None:
    """Fetch a public data set, with its licence and citation. Killed, it goes on with the same command.

    Example: lesionforge download medmnist-nodulemnist3d --out data
    """
    from lesionforge.data.download import download as fetch

    typer.echo(fetch(name, out, patients=patient, progress=INVOCATION.progress))
