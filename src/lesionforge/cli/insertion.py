"""Verbs that put lesions into whole scans."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, Device, Json, Out, Seed, lines, three_numbers
from lesionforge.errors import LesionForgeError

PainterFolder = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT|PATCHES", help="An in-painting method's checkpoint; or real lesions with masks, to copy."
    ),
]
Label = Annotated[str | None, typer.Option(help="Class of the lesions, where there is a choice.")]
As = Annotated[str, typer.Option("--as", help="dicom or nifti; auto: as the scan came.")]
Attached = Annotated[str, typer.Option(help="any, free (of surface and vessels), surface (the pleura) or vessel.")]
Margin = Annotated[float, typer.Option(help="Around the lesion, painted alone.")]
Rim = Annotated[float, typer.Option(help="Beyond, over which it fades into the scan.")]
ShapesLike = Annotated[
    Path | None,
    typer.Option(metavar="PATCHES", help="Outlines of these lesions, turned and scaled. [computed, lobed]"),
]
Format = Annotated[str, typer.Option("--format", help="Of the scan; see `methods`.")]


def insert(
    painter: PainterFolder,
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="A folder with a DICOM series, or a volume file.")],
    out: Out,
    at: Annotated[
        list[str], typer.Option(metavar="X,Y,Z", help="Where, in mm: left, back, head (LPS); may be repeated.")
    ] = [],  # noqa: B006
    at_voxel: Annotated[
        list[str], typer.Option(metavar="X,Y,Z", help="Where, in voxels from right, front and feet, from 0.")
    ] = [],  # noqa: B006
    sites: Annotated[int, typer.Option(min=0, help="Find so many places instead.")] = 0,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Or just where this mask is, a lesion for each part of it.")
    ] = None,
    diameter_mm: Annotated[float, typer.Option(help="Of every lesion; of a mask's, its own.")] = 8.0,
    shapes_like: ShapesLike = None,
    label: Label = None,
    attached: Attached = "any",
    within: Annotated[
        Path | None, typer.Option(metavar="MASK", help="Organ other than the lungs, a volume file.")
    ] = None,
    kind: As = "auto",
    series: Annotated[str, typer.Option(help="How the series instance UID ends, where there are several.")] = "",
    format_: Format = "auto",
    margin_mm: Margin = 1.0,
    rim_mm: Rim = 2.5,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Put synthetic lesions into a scan: the scan as DICOM or NIfTI, their masks, pictures, and what was put where.

    Voxels outside the lesions and their rims stay as they are. No identifier of the patient is taken over.

    Example: lesionforge insert nodules.pix2pix LIDC-IDRI-0001/ --sites 2 --diameter-mm 9 --out synthetic.lidc1
    """
    from lesionforge.storage import refuse_existing
    from lesionforge.synthesis.insertion.files import kind_for, write_inserted
    from lesionforge.synthesis.insertion.hosts import check_inside, find_host, read_organ
    from lesionforge.synthesis.insertion.into_scans import check_sizes
    from lesionforge.synthesis.insertion.into_scans import insert as put
    from lesionforge.synthesis.insertion.sites import Site, find_sites, lungs_about
    from lesionforge.synthesis.insertion.traced import given

    refuse_existing(out)
    if (bool(at or at_voxel), bool(sites), mask is not None).count(True) != 1:
        raise LesionForgeError(
            "say where lesions are to be, with --at or --at-voxel, or with --mask, or how many, with --sites."
        )
    chosen, rules = _choice(kind, ("auto", "dicom", "nifti"), of="--as"), _rules(attached)
    manner = _manner(painter, device, label, shapes_like, (margin_mm, rim_mm), seed)
    host = find_host(scan, series=series, format_=format_, progress=INVOCATION.progress)
    kind_for(host, chosen)
    organ = None if within is None else read_organ(within, host.scan)
    if mask is not None:
        if shapes_like is not None or not manner.painter.follows_masks:
            raise LesionForgeError("a mask is what a lesion is to look like: leave --shapes-like out, and do not copy.")
        places, outlines = given(mask, host.scan.geometry)
        manner = replace(manner, outlines=outlines)
        check_inside(host.scan, places, organ)
    elif sites:
        check_sizes(host.scan, [diameter_mm], manner)
        ground = lungs_about(host.scan) if organ is None else organ
        places = find_sites(host.scan, ground, [diameter_mm] * sites, rules=rules, known=host.known, seed=seed)
    else:
        check_sizes(host.scan, [diameter_mm], manner)
        points = [three_numbers(text, of="--at") for text in at]
        points += [_voxel(host.scan, text) for text in at_voxel]
        places = tuple(Site(point, diameter_mm) for point in points)
        check_inside(host.scan, places, organ)
    record = write_inserted(host, put(host.scan, places, manner), manner, out, kind=chosen)
    facts = {"out": str(out), "lesions": {str(each["number"]): _shown(each) for each in record["lesions"]}}
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines(facts)))


def populate(
    painter: PainterFolder,
    scans: Annotated[
        Path, typer.Argument(metavar="SCANS|PATCHES", help="Folder of scans, of any format that is known; or patches.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the cohort; one begun there is continued.")],
    lesions: Annotated[int, typer.Option(min=1, help="In all; dealt out to the scans, or patches.")] = 100,
    diameter_mm: Annotated[str, typer.Option(metavar="MM|MM-MM", help="Of each lesion, or from which to which.")] = "",
    diameters_like: Annotated[
        Path | None, typer.Option(metavar="PATCHES", help="Or as those of these lesions are distributed.")
    ] = None,
    shapes_like: ShapesLike = None,
    label: Label = None,
    attached: Attached = "any",
    kind: As = "auto",
    format_: Format = "auto",
    margin_mm: Margin = 1.0,
    rim_mm: Rim = 2.5,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Put many synthetic lesions of a class into many scans. Killed, it goes on with the same command.

    Besides the scans it leaves a table of all lesions, and them as patches that say whose lungs they lie in.

    Example: lesionforge populate nodules.pix2pix LIDC-IDRI/ --lesions 500 --diameter-mm 6-14 --out synthetic.lidc
    """
    from lesionforge.data import patches_file
    from lesionforge.synthesis.insertion.diameters import Diameters, LogNormal
    from lesionforge.synthesis.insertion.hosts import find_hosts
    from lesionforge.synthesis.insertion.synthetic_cohort import SyntheticCohort, make_cohort

    if bool(diameter_mm) == (diameters_like is not None):
        raise LesionForgeError("say how large lesions are to be, with --diameter-mm or with --diameters-like.")
    diameters: Diameters = (
        _between(diameter_mm)
        if diameters_like is None
        else LogNormal.like(patches_file.load(diameters_like), label or "")
    )
    manner = _manner(painter, device, label, shapes_like, (margin_mm, rim_mm), seed)
    kinds = _choice(kind, ("auto", "dicom", "nifti"), of="--as")
    plan = SyntheticCohort(lesions, diameters, rules=_rules(attached), kind=kinds)
    found = find_hosts(scans, format_=format_, progress=INVOCATION.progress)
    table = make_cohort(found.cases, manner, plan, out, progress=INVOCATION.progress)
    typer.echo(f"{out}: {len(table)} of {lesions} lesions in {table['folder'].nunique()} hosts")


def _manner(
    painter: Path, device: str, label: str | None, shapes_like: Path | None, widths_mm: tuple[float, float], seed: int
) -> Any:
    from lesionforge.data import patches_file
    from lesionforge.synthesis.insertion.blending import Blending
    from lesionforge.synthesis.insertion.manner import Manner
    from lesionforge.synthesis.insertion.outlines import Lobed
    from lesionforge.synthesis.insertion.traced import Traced

    opened = open_painter(painter, device)
    if shapes_like is not None and not opened.follows_masks:
        raise LesionForgeError("copies of lesions have outlines of their own: leave --shapes-like out.")
    outlines = Lobed() if shapes_like is None else Traced(patches_file.load(shapes_like))
    return Manner(opened, label, outlines, Blending(*widths_mm), seed)


def open_painter(path: Path, device: str) -> Any:
    """Open a checkpoint, or lesions to copy."""
    from lesionforge.data import patches_file
    from lesionforge.generators import checkpoint
    from lesionforge.networks import choose_device
    from lesionforge.synthesis.insertion.copy_paste import CopyPaste
    from lesionforge.synthesis.insertion.painter import CheckpointPainter

    if (path / patches_file.MANIFEST).exists():
        return CopyPaste(patches_file.load(path))
    return CheckpointPainter(checkpoint.load(path, device=choose_device(device)))


def _rules(attached: str) -> Any:
    from lesionforge.synthesis.insertion.sites import SiteRules

    return SiteRules(attached=_choice(attached, ("any", "free", "surface", "vessel"), of="--attached"))


def _choice(text: str, known: tuple[str, ...], *, of: str) -> Any:
    if text not in known:
        raise LesionForgeError(f"{of} must be one of {', '.join(known)}, but {text!r} came.")
    return text


def _voxel(scan: Any, text: str) -> tuple[float, float, float]:
    x, y, z = three_numbers(text, of="--at-voxel")
    left, back, head = map(float, scan.geometry.to_world((z, y, x)))
    return left, back, head


def _between(text: str) -> Any:
    from lesionforge.synthesis.insertion.diameters import Between

    low, _, high = text.partition("-")
    try:
        return Between(float(low), float(high or low))
    except ValueError as error:
        if isinstance(error, LesionForgeError):
            raise
        raise LesionForgeError(f"--diameter-mm must be a number, or two as 6-14, but {text!r} came.") from None


def _shown(lesion: dict[str, Any]) -> dict[str, Any]:
    names = ("label", "position_mm", "asked_diameter_mm", "measured_diameter_mm", "slices")
    return {name: lesion[name] for name in names}
