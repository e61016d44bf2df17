"""Can a detector of seams tell inserted lesions from real ones? And what does inserting cost?

    python benchmarks/insertion.py train --data DATA --out CHECKPOINT
    python benchmarks/insertion.py seams --data DATA --painter CHECKPOINT [CHECKPOINT …] --out TABLE.csv
    python benchmarks/insertion.py cost --painter CHECKPOINT --scan FOLDER

*Seams.* Real solid nodules of LIDC-IDRI (``lidc_maxslice``) that lie free in the lung, and lesions of the same
diameters, inserted into the lungs of the same patients, a nodule's length from theirs, beside vessels or not; none of
these patients taught a painter, or lent a lesion to be copied, or its outline. Every painter is asked for lobed
outlines, with noise matched and without; the first besides for balls and for outlines of real nodules. A random forest
sees nothing but the rim: in shells of a pixel or two about the edge (half-way between lesion and lung, found in the
same way in both) how steep the picture is, relative to the lesion's contrast, how strong its grain and how far
neighbouring pixels agree. It is cross-validated by patient; the AUC's interval is by patient, too. 0.5: it cannot tell
them apart. Beside it: plain copy and paste, with a hard edge. And whether size is what was asked for: the median of
measured over asked diameter, and their correlation; of real nodules, of the diameter of what is as bright as their core
over that of the mask that readers drew.

*Cost.* Processor time to read a series, insert a lesion and write everything, beside a plain copy through pydicom.
"""

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pydicom
import torch
from inpainting import LARGEST, share_of
from lidc_maxslice import NON_SOLID
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

from lesionforge import registry
from lesionforge.augment.recipes.wang_2020 import Wang2020
from lesionforge.data.geometry import Geometry
from lesionforge.data.hounsfield import LUNG_PARENCHYMA_HU, SOFT_TISSUE_HU, WINDOWS
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.scan import Scan
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.data.splits import train_validation
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.delong import auc_interval
from lesionforge.evaluation.predictions import Predictions
from lesionforge.generators import checkpoint
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.synthesis.insertion.blending import USUAL, Blending, outline
from lesionforge.synthesis.insertion.copy_paste import CopyPaste
from lesionforge.synthesis.insertion.files import write_inserted
from lesionforge.synthesis.insertion.hosts import find_host
from lesionforge.synthesis.insertion.into_scans import insert, with_lesions
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.noise import GRAIN
from lesionforge.synthesis.insertion.outlines import Balls
from lesionforge.synthesis.insertion.painter import CheckpointPainter
from lesionforge.synthesis.insertion.sites import SiteRules, find_sites, lungs_about
from lesionforge.synthesis.insertion.traced import Traced

SIDE, LARGEST_MM, AUGMENTED = 32, 14.0, 3_000
HARD = Blending(margin_mm=0.0, rim_mm=0.0, match_noise=False)
HALF_WAY = (LUNG_PARENCHYMA_HU + SOFT_TISSUE_HU) / 2
SHELLS_PX = (-3.0, -1.5, -0.5, 0.5, 1.5, 2.5, 4.0, 6.0)
FREE = 0.15  # share of what lies 3 to 6 pixels from a nodule that may be dense
FOLDS, TREES = 5, 200
T = TypeVar("T")


def solid(data: Path) -> tuple[Patches, Patches]:
    """Solid nodules of the painter's patients, and of those that `benchmarks/inpainting.py` does not teach, either."""
    patches = load_arrays(data / "lidc_maxslice", mapping=NON_SOLID)
    patches = patches.rows(share_of(patches) <= LARGEST)
    split = train_validation(patches, validation=0.25, seed=0)
    taught, others = (patches.rows(rows).with_label("solid") for rows in (split.train, split.validation))
    small = taught.rows(taught.table["diameter_mm"].to_numpy() < LARGEST_MM)
    return small, others.rows(others.table["diameter_mm"].to_numpy() < LARGEST_MM)


def train_painter(data: Path, out: Path, images: int) -> None:
    taught, _ = solid(data)
    augmented = Wang2020(output_size=SIDE).augment(taught, seed=0, count=AUGMENTED)
    method = Pix2Pix(condition="erased", generator_width=16, discriminator_width=8, batch_size=8, learning_rate=4e-4)
    plan = TrainingPlan(images=images, checkpoint_every_images=4_000)
    train(
        method, concatenate([taught.centre_crop(SIDE), augmented]), out, plan=plan, window=WINDOWS["lung"], resume=True
    )


def as_scan(patches: Patches, row: int) -> Scan:
    """A patch as a scan of one slice."""
    y, x = patches.spacing_mm[row]
    geometry = Geometry((1, *patches.shape), (1.0, y, x), (0.0, 0.0, 0.0))
    return Scan(np.asarray(patches.images[row])[None], geometry, str(patches.patients[row]), f"patch {row}")


class Seen(NamedTuple):
    """One lesion: its patient, the statistics of its rim, the diameters that were asked for and measured."""

    patient: str
    rim: NDArray[np.float64]
    asked_mm: float
    measured_mm: float


def inserted(patches: Patches, manner: Manner) -> Iterator[Seen]:
    """Rim statistics of a lesion of each patch's own diameter, inserted beside its own."""
    for row in range(len(patches)):
        scan, diameter = as_scan(patches, row), float(patches.table["diameter_mm"][row])
        lung = ndimage.binary_erosion(scan.voxels[0] < HALF_WAY, iterations=1)
        nodule = ndimage.distance_transform_edt(patches.masks[row] == 0, sampling=patches.spacing_mm[row])
        within = (ndimage.binary_closing(lung, iterations=3) & (nodule > diameter))[None]
        within[:, :8], within[:, -8:], within[..., :8], within[..., -8:] = False, False, False, False
        try:
            (site,) = find_sites(scan, within, [diameter], rules=SiteRules("any", from_middle_mm=-1e9), seed=row)
            (made,) = insert(scan, [site], replace(manner, seed=row))
        except LesionForgeError:
            continue  # there is no room, or it is too small
        centre = scan.geometry.to_index(site.position_mm)[1:]
        statistics = rim(with_lesions(scan, [made]).voxels[0], centre, diameter, patches.spacing_mm[row])
        if statistics is not None:
            yield Seen(scan.patient, statistics, diameter, made.lesion.diameter_mm)


def real(patches: Patches) -> Iterator[Seen]:
    for row in range(len(patches)):
        centre = np.array(ndimage.center_of_mass(patches.masks[row]))
        diameter = float(patches.table["diameter_mm"][row])
        statistics = rim(np.asarray(patches.images[row]), centre, diameter, patches.spacing_mm[row])
        if statistics is not None:
            mask, spacing = patches.masks[row][None] > 0, (1.0, *patches.spacing_mm[row])
            weight = USUAL.weight(mask, spacing, slice_by_slice=True)
            bright = outline(np.asarray(patches.images[row])[None], mask, weight, spacing)
            measured = np.nan if bright is None else 2 * np.sqrt(bright.sum() * np.prod(spacing) / np.pi)
            yield Seen(str(patches.patients[row]), statistics, diameter, measured)


def rim(
    image: NDArray[np.int16], centre: NDArray[np.float64], diameter_mm: float, spacing_mm: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Steepness, grain and agreement of neighbours in each shell; None: no lesion that lies free in the lung."""
    hu = image.astype(np.float64).clip(-1024)
    steps = [(np.arange(n) - c) * s for n, c, s in zip(image.shape, centre, spacing_mm, strict=True)]
    away_mm = np.hypot(*np.meshgrid(*steps, indexing="ij"))
    inside = np.median(hu[away_mm <= max(diameter_mm / 4, spacing_mm.max())])
    lung = np.median(hu[(away_mm > diameter_mm / 2 + 2) & (away_mm < diameter_mm / 2 + 6)])
    bright = (ndimage.gaussian_filter(hu, 0.7) > (inside + lung) / 2) & (away_mm < diameter_mm)
    pieces, _ = ndimage.label(bright)
    core = pieces[(away_mm <= spacing_mm.max()) & bright]
    if not core.size or inside - lung < 200:
        return None
    mask = pieces == np.bincount(core).argmax()
    edge = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
    edge = np.where(mask, edge + 0.5, edge - 0.5)
    around = (edge > 3) & (edge <= 6)
    if not around.any() or (hu[around] > HALF_WAY).mean() > FREE or mask.sum() < 12:
        return None
    slope = np.hypot(*np.gradient(hu)) / (inside - lung)
    grain = ndimage.correlate(hu, GRAIN)
    calm = hu - ndimage.gaussian_filter(hu, 1.0)
    found = []
    for low, high in pairwise(SHELLS_PX):
        shell = (edge > low) & (edge <= high)
        if shell.sum() < 3:
            return None
        agreement = np.mean(calm[:, :-1][shell[:, :-1]] * calm[:, 1:][shell[:, :-1]]) / (np.mean(calm[shell] ** 2) + 1)
        found += [slope[shell].mean(), slope[shell].std(), np.log1p(np.abs(grain[shell]).mean()), agreement]
    return np.array(found)


def sizes(lesions: list[Seen]) -> dict[str, str]:
    asked, measured = (np.array(values) for values in zip(*(each[2:] for each in lesions), strict=True))
    known = np.isfinite(measured)
    share, r = np.median(measured[known] / asked[known]), np.corrcoef(asked[known], measured[known])[0, 1]
    return {"measured of asked": f"{share:.2f}", "r": f"{r:.2f}"}


def told_apart(real_ones: list[Seen], inserted_ones: list[Seen]) -> str:
    patients, features = (np.array([each[k] for each in real_ones + inserted_ones]) for k in (0, 1))
    labels = np.array(["real"] * len(real_ones) + ["synthetic"] * len(inserted_ones))
    score, fold_of = np.empty(len(labels)), np.empty(len(labels), int)
    for fold, (taught, tested) in enumerate(
        GroupKFold(FOLDS, shuffle=True, random_state=0).split(features, labels, patients)
    ):
        forest = RandomForestClassifier(TREES, min_samples_leaf=3, class_weight="balanced", random_state=0)
        score[tested] = forest.fit(features[taught], labels[taught]).predict_proba(features[tested])[:, 1]
        fold_of[tested] = fold
    predictions = Predictions.of(
        ("real", "synthetic"),
        labels=labels,
        probability=np.column_stack([1 - score, score]),
        patients=patients,
        fold=fold_of,
    )
    auc = auc_interval(predictions)
    return f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})"


def seams(data: Path, painters: list[Path], out: Path, nodules: int) -> None:
    taught, others = solid(data)
    others = others.rows(np.arange(min(nodules, len(others))))
    manners = {
        "copy and paste, hard edge (plain)": Manner(CopyPaste(taught.centre_crop(SIDE)), "solid", blending=HARD),
        "copy and paste, blended": Manner(CopyPaste(taught.centre_crop(SIDE)), "solid"),
    }
    in_painters = [CheckpointPainter(checkpoint.load(painter)) for painter in painters]
    names = [registry.name_of(painter.checkpoint.method) for painter in in_painters]
    manners |= {name: Manner(painter, "solid") for name, painter in zip(names, in_painters, strict=True)}
    calm = replace(USUAL, match_noise=False)
    manners |= {f"{name}, no noise matched": replace(manners[name], blending=calm) for name in names}
    first = manners[names[0]]
    manners[f"{names[0]}, balls"] = replace(first, outlines=Balls())
    manners[f"{names[0]}, outlines of real nodules"] = replace(first, outlines=Traced(taught))
    manners[f"{names[0]}, hard edge"] = replace(first, blending=HARD)
    for manner in manners.values():
        manner.exposure.refuse(others.exposure, doing="judging seams")
    real_ones = list(real(others))
    rows = [{"inserted by": "nobody: real", "lesions": len(real_ones), "AUC (95 %)": "", **sizes(real_ones)}]
    print(rows[0], flush=True)
    for name, manner in manners.items():
        made = list(inserted(others, manner))
        auc = told_apart(real_ones, made)
        rows.append({"inserted by": name, "lesions": len(made), "AUC (95 %)": auc, **sizes(made)})
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(out, index=False)


def cost(painter: Path, scan: Path, turns: int) -> None:
    opened = CheckpointPainter(checkpoint.load(painter))
    manner = Manner(opened, opened.labels[-1])
    files = sorted(scan.rglob("*.dcm"))
    spent: defaultdict[str, list[float]] = defaultdict(list)

    def timed(name: str, do: Callable[[], T]) -> T:
        start = time.process_time()
        result = do()
        spent[name].append(time.process_time() - start)
        return result

    def copy(folder: Path) -> None:
        for number, file in enumerate(files):
            pydicom.dcmread(file).save_as(folder / f"{number}.dcm")

    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            timed("plain copy", lambda: copy(Path(folder)))
            host = timed("reading", lambda: find_host(scan, format_="dicom"))
            organ = timed("finding lungs", lambda: lungs_about(host.scan))  # noqa: B023
            sites = timed("finding a place", lambda: find_sites(host.scan, organ, [10.0]))  # noqa: B023
            made = timed("painting and blending", lambda: insert(host.scan, sites, manner))  # noqa: B023
            timed("writing", lambda: write_inserted(host, made, manner, Path(folder) / "out"))  # noqa: B023
    medians = {name: float(np.median(seconds)) for name, seconds in spent.items()}
    whole = sum(medians.values()) - medians["plain copy"]
    disk = medians["reading"] + medians["writing"]
    size = host.scan.voxels.nbytes / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print({name: f"{seconds:.2f} s" for name, seconds in medians.items()})
    print(f"{len(files)} slices: {whole:.2f} s, {whole / medians['plain copy']:.1f} times a plain copy; ", end="")
    print(f"{disk / whole:.0%} of it reading and writing; voxels {size:.0f} MiB, peak memory {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "seams", "cost"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--painter", type=Path, nargs="+")
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--nodules", type=int, default=10_000, help="look at so many only")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "train":
        train_painter(arguments.data, arguments.out, arguments.images)
    elif arguments.what == "seams":
        seams(arguments.data, arguments.painter, arguments.out, arguments.nodules)
    else:
        cost(arguments.painter[0], arguments.scan, arguments.turns)


if __name__ == "__main__":
    main()
