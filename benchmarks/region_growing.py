"""Dice of grown lesions with readers' masks on real CT, beside a fixed threshold and beside other readers.

    python benchmarks/region_growing.py DATA [--half held-out|developed-on|all]

DATA is the folder of real CT that LESIONFORGE_DATA names. A seed is put into the middle of each mask, or at random into
its deeper half (``random``), and the lesion grown there with the default settings is compared with the mask. The
baseline is the voxels above −400 HU that hang together with the seed (or with the nearest such voxel within reach, as
ours may move too), once as they are and once with our margin around them. Nothing grown, or an error, counts as 0. The
settings were chosen on the patients of one half (by a hash of their name); the other half is reported.
``lidc_cubes51`` has no names of patients, only of cases.

Readers among themselves: every pair of readers who outlined the same nodule, from the XML files alone, in whole
volumes and on the slice of the pair's largest area. An outline's own pixels do not count, as LIDC prescribes; in the
masks of the three image sets they do, so the last rows, on whole scans with consensus masks, are the strictest.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from lidc_xml import documents
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.annotation.leak_control import component_at, depth_mm, distance_mm, peak
from lesionforge.data.annotation.region_growing import Growing, grow
from lesionforge.data.formats.lidc_findings import find_findings, region_of
from lesionforge.data.formats.lidc_xml import NODULE, parse_reading
from lesionforge.data.formats.volume_file import read_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Scan
from lesionforge.data.sources.lidc import Lidc
from lesionforge.errors import LesionForgeError

BASELINE_HU = -400
METHODS = ["ours", "ours, random seed", "fixed", "fixed + margin"]
TEXTURES = {"ground-glass": (0, 2.5), "part-solid": (2.5, 4), "solid": (4, 6)}
SIZES = {"< 5 mm": (0, 5), "5–8 mm": (5, 8), "8–12 mm": (8, 12), "> 12 mm": (12, np.inf)}


@dataclass(frozen=True, eq=False)
class Example:
    """A nodule with one reader's mask (or, in the volumes, several readers')."""

    owner: str
    scan: Scan
    mask: NDArray[np.bool_]
    texture: float


def slices(data: Path) -> Iterator[Example]:
    table, arrays = read_set(data / "lidc_maxslice")
    for row in table[table["mask_pixels_outside_crop"] == 0].itertuples():
        spacing_mm = (1.0, row.pixel_spacing_mm, row.pixel_spacing_mm)
        yield example(row.patient_id, arrays["hu"][row.Index], arrays["mask"][row.Index], spacing_mm, row.texture_mean)


def cubes(data: Path) -> Iterator[Example]:
    table, arrays = read_set(data / "lidc_cubes51", axes=(0, 3, 1, 2))
    for row in table.itertuples():
        yield example(str(row.case_index), arrays["hu"][row.Index], arrays["mask"][row.Index], (1.0,) * 3, row.texture)


def volumes(data: Path) -> Iterator[Example]:
    folder = data / "lidc_voi3d"
    for row in pd.read_csv(folder / "metadata.csv").itertuples():
        image, mask = (folder / kind / f"{row.voi}.nii.gz" for kind in ("image", "mask"))
        scan = read_volume(image, patient="", name=row.voi)
        yield Example(
            row.patient_id, scan, read_volume(mask, patient="", name="", unit="").voxels > 0, row.Texture_value
        )


def read_set(folder: Path, axes: tuple[int, ...] | None = None) -> tuple[pd.DataFrame, dict[str, NDArray[np.int16]]]:
    """Return table and arrays [N, z, y, x] of a set; a single slice gets a z of its own."""
    (file,) = folder.glob("*.npz")
    with np.load(file) as stored:
        arrays = {name: stored[name].transpose(axes) if axes else stored[name][:, np.newaxis] for name in stored.files}
    return pd.read_csv(folder / "metadata.csv"), arrays


def example(
    owner: str, hu: NDArray[np.int16], mask: NDArray[np.uint8], spacing_mm: tuple[float, float, float], texture: float
) -> Example:
    geometry = Geometry(hu.shape, spacing_mm, (0.0, 0.0, 0.0))
    return Example(owner, Scan(hu, geometry, patient="", name=""), mask > 0, texture)


def held_out(owner: str) -> bool:
    return hashlib.sha256(owner.encode()).digest()[0] % 2 == 1


def middle(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    centre = np.argwhere(mask).mean(axis=0)
    return peak(-distance_mm(mask.shape, centre, spacing_mm), mask)


def anywhere_deep(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], seed: int) -> tuple[int, int, int]:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    z, y, x = map(int, np.random.default_rng(seed).choice(np.argwhere(depth >= depth.max() / 2)))
    return z, y, x


def ours(scan: Scan, seed: tuple[int, int, int]) -> NDArray[np.bool_]:
    try:
        lesion = grow(scan, tuple(scan.geometry.to_world(seed)))
    except LesionForgeError:
        return np.zeros(scan.voxels.shape, dtype=bool)
    return lesion.mask_within((0, 0, 0), scan.voxels.shape)


def fixed(scan: Scan, seed: tuple[int, int, int]) -> NDArray[np.bool_]:
    away_mm = distance_mm(scan.voxels.shape, seed, scan.geometry.spacing_mm)
    bright = scan.voxels >= BASELINE_HU
    near = bright & (away_mm <= Growing().reach_mm)
    return component_at(bright, peak(-away_mm, near)) if near.any() else near


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def measured(examples: Iterator[Example]) -> pd.DataFrame:
    rows = []
    for number, case in enumerate(examples):
        spacing_mm = case.scan.geometry.spacing_mm
        area_mm2 = case.mask.sum(axis=(1, 2)).max() * spacing_mm[1] * spacing_mm[2]
        plain = fixed(case.scan, middle(case.mask, spacing_mm))
        seed, random = middle(case.mask, spacing_mm), anywhere_deep(case.mask, spacing_mm, number)
        rows.append(
            {
                "texture": named(case.texture, TEXTURES),
                "size": named(2 * np.sqrt(area_mm2 / np.pi), SIZES),
                "ours": dice(ours(case.scan, seed), case.mask),
                "ours, random seed": dice(ours(case.scan, random), case.mask),
                "fixed": dice(plain, case.mask),
                "fixed + margin": dice(depth_mm(~plain, spacing_mm) <= Growing().margin_mm, case.mask),
            }
        )
    return pd.DataFrame(rows)


def named(value: float, ranges: dict[str, tuple[float, float]]) -> str:
    return next((name for name, (low, high) in ranges.items() if low <= value < high), "unrated")


def show(title: str, table: pd.DataFrame, columns: list[str]) -> None:
    print(f"\n{title}\n")
    print("| | n | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 2) + "|")
    groups = [("all", table)]
    for by, names in (("texture", TEXTURES), ("size", SIZES)):
        groups += [(name, table[table[by] == name]) for name in names if by in table]
    if "size" in table:
        groups.append(("solid ≥ 5 mm", table[(table["texture"] == "solid") & (table["size"] != "< 5 mm")]))
    for name, rows in groups:
        if len(rows):
            quartiles = [rows[column].quantile([0.5, 0.25, 0.75]) for column in columns]
            cells = [f"{median:.2f} ({low:.2f}–{high:.2f})" for median, low, high in quartiles]
            print(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")


def readers(archive: Path) -> pd.DataFrame:
    """Dice of each pair of readers who outlined the same nodule."""
    rows = []
    for document in documents(archive):
        try:
            reading = parse_reading(document)
        except LesionForgeError:
            continue
        for finding in find_findings(reading.marks):
            marks = finding.marked_as(NODULE)
            texture = np.mean([mark.ratings.get("texture", np.nan) for mark in marks]) if marks else np.nan
            regions = [region_of(mark) for mark in marks]
            for a, b in combinations(regions, 2):
                shared = {uid: len(np.intersect1d(a[uid], b[uid])) for uid in a.keys() & b.keys()}
                sizes = {uid: len(a.get(uid, ())) + len(b.get(uid, ())) for uid in a.keys() | b.keys()}
                largest = max(sizes, key=lambda uid: sizes[uid])
                rows.append(
                    {
                        "texture": named(texture, TEXTURES),
                        "largest slice": 2 * shared.get(largest, 0) / sizes[largest],
                        "volume": 2 * sum(shared.values()) / sum(sizes.values()),
                    }
                )
    return pd.DataFrame(rows)


def whole_scans(folder: Path) -> None:
    print("\nWhole scans, consensus of half of the readers (texture: Dice)\n")
    for case in Lidc().find(folder).cases:
        scan = case.scan()
        for lesion in case.annotations().lesions:
            if lesion.mask is not None:
                mask = lesion.mask_within((0, 0, 0), scan.voxels.shape)
                grown = ours(scan, middle(mask, scan.geometry.spacing_mm))
                print(f"- texture {lesion.facts['texture_mean']}, {lesion.diameter_mm:.1f} mm: {dice(grown, mask):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--half", choices=("held-out", "developed-on", "all"), default="held-out")
    asked = parser.parse_args()
    wanted: dict[str, Callable[[str], bool]] = {
        "held-out": held_out,
        "developed-on": lambda owner: not held_out(owner),
        "all": lambda _: True,
    }
    for read in (slices, cubes, volumes):
        chosen = (case for case in read(asked.data) if wanted[asked.half](case.owner))
        show(f"{read.__name__}, {asked.half}: Dice, median (quartiles)", measured(chosen), METHODS)
    (archive,) = (asked.data / "lidc_xml").glob("*.tar*")
    show("Readers among themselves, in pairs", readers(archive), ["volume", "largest slice"])
    whole_scans(asked.data / "lidc_dicom")


if __name__ == "__main__":
    main()
