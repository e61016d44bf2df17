"""Verbs that look at what there is: patches, checkpoints, scans."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.cli.options import INVOCATION, Json, Set, Window, lines, three_numbers
from lesionforge.errors import LesionForgeError, StorageError

Series = Annotated[str, typer.Option(help="How the series instance UID ends, where a folder holds several.")]
SLICES_SHOWN = 16


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATCHES|SCAN|CHECKPOINT")],
    png: Annotated[Path | None, typer.Option(help="Write a contact sheet of patches, slices or samples here.")] = None,
    window: Window = "lung",
    series: Series = "",
    as_json: Json = False,
) -> None:
    """Say what is in a folder of patches, a scan or a generator's checkpoint: labels, patients, size, origin.

    Example: lesionforge inspect lung.patches --png lung.png
    """
    from lesionforge.data import patches_file
    from lesionforge.generators import checkpoint

    if (path / checkpoint.MANIFEST).exists():
        facts = _checkpoint(path, png, window)
    elif (path / patches_file.MANIFEST).exists():
        patches = patches_file.load(path)
        facts = patches.summary
        if png:
            _draw_patches(patches, png, window)
    elif path.exists():
        facts = _scan(path, png, window, series)
    else:
        raise StorageError(f"{path} must be a folder of patches, a scan or a checkpoint, but there is none.")
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines(facts)))


def annotate(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="A volume file, or a folder of a DICOM series.")],
    at: Annotated[str, typer.Option(metavar="X,Y,Z", help="A point in the lesion, in mm: left, back, head (LPS).")],
    out: Annotated[Path, typer.Option("--out", help="Folder to make: mask, measures and picture.")],
    series: Series = "",
    as_json: Json = False,
    set_: Set = [],  # noqa: B006
) -> None:
    """Outline the lesion at a point by region growing: mask, diameters, volume and a picture in three planes.

    Example: lesionforge annotate scan.nii.gz --at -61.2,71.5,-89.4 --out nodule
    """
    from lesionforge import settings
    from lesionforge.data.annotation.annotate import annotate as outline
    from lesionforge.data.annotation.region_growing import Growing
    from lesionforge.data.open_scan import open_scan

    point = three_numbers(at, of="--at")
    growing = settings.with_overrides(Growing(), set_)
    found = outline(open_scan(scan, series=series), point, out, settings=growing)
    typer.echo(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(lines(found)))


def _checkpoint(path: Path, png: Path | None, window: str) -> dict[str, Any]:
    from lesionforge.generators import checkpoint
    from lesionforge.synthesis.sample import sample as draw

    manifest = checkpoint.read_manifest(path)
    subject = manifest["subject"]
    if png:
        opened = checkpoint.load(path)
        if opened.method.pictured:
            raise LesionForgeError(
                f"{manifest['method']} must be shown what to make: draw patches by `lesionforge sample --conditions` "
                "and inspect those."
            )
        _draw_patches(draw(opened, 64), png, window)
    shown = ("id", "method", "settings", "images_seen", "choice")
    return {key: manifest[key] for key in shown if key in manifest} | {
        "label": " or ".join(subject["labels"]),
        "shape": subject["shape"],
        "patients_seen": len(subject["exposure"]["patients"]),
        "plausible": {
            label: {name: f"{values[0]:g} to {values[-1]:g}" for name, values in ranges.items() if name != "brighter"}
            for label, ranges in zip(subject["labels"] or [""], subject["ranges"], strict=True)
        },
    }


def _scan(path: Path, png: Path | None, window: str, series: str) -> dict[str, Any]:
    import numpy as np

    from lesionforge.data.open_scan import open_scan

    scan = open_scan(path, series=series)
    if png:
        chosen = np.linspace(0, len(scan.voxels) - 1, min(SLICES_SHOWN, len(scan.voxels))).round().astype(int)
        _draw(scan.voxels[chosen], png, window, unit=scan.unit)
    low, high = (float(scan.voxels.min()), float(scan.voxels.max()))
    return {
        "voxels": list(scan.geometry.shape),
        "spacing_mm": list(scan.geometry.spacing_mm),
        "origin_mm": list(scan.geometry.origin_mm),
        "oblique": not np.allclose(np.abs(scan.geometry.direction), np.eye(3)[::-1], atol=1e-4),
        "unit": scan.unit,
        "range": f"{low:g} to {high:g}",
        **scan.facts,
    }


def _draw_patches(patches: Any, png: Path, window: str) -> None:
    if patches.is_synthetic.any() and not png.name.startswith("synthetic"):
        raise LesionForgeError(f"a picture with synthetic patches must say so: name it synthetic_{png.name}.")
    makers = " and ".join(patches.generators)
    about = f"Synthetic patches among these were made by {makers}." if makers else ""
    _draw(patches.images[:100], png, window, unit=patches.unit, zoom=2, about=about)


def _draw(images: Any, png: Path, window: str, *, unit: str, zoom: int = 1, about: str = "") -> None:
    from lesionforge.data.contact_sheet import contact_sheet, save_png
    from lesionforge.data.hounsfield import window_named

    save_png(png, contact_sheet(images, window_named(window, unit=unit), zoom=zoom), about=about)
    INVOCATION.progress.say(f"wrote {png}")
