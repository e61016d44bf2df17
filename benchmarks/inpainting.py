"""In-painting generators on real nodules: pictures for unseen patients, and whether they make what is asked for.

    python benchmarks/inpainting.py --data DATA --out runs/inpainting [--only class_aware_inpainting-2d …]

DATA is a folder that holds ``lidc_maxslice`` and ``lidc_cubes51``. A quarter of the patients is unseen: their patches
are the hosts of all pictures and measurements, the others' are learnt from. ``RUNS`` says which methods are trained, at
which reduced width and for how many images (``--images`` says otherwise), so that each takes some seven minutes of one
core and not days of a GPU: what comes out is an honest beginning, not a method's best. Left in the run's folder, for
each: the checkpoint with its log, ``steps.png`` (a host a column: real, erased, coarse if there is such a network,
finished), ``asked.png`` (a host a row: real, then each class at three diameters, then further noises), and a row of
``inpainting.csv`` (see `measured`). Volumes are shown, and judged where a judge takes slices, by their middle slice.
With ``--halved`` slices are averaged to 32×32 pixels first: a quarter of the time, for a quick look.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lidc_cubes51 import MALIGNANCY_OF_ALL, cubes
from lidc_maxslice import NON_SOLID
from numpy.typing import NDArray
from scipy import stats

from lesionforge import registry
from lesionforge.augment.recipes.wang_2020 import Wang2020
from lesionforge.classifiers.contract import FittedClassifier
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data.contact_sheet import contact_sheet, save_png
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.plausibility import measure
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.data.splits import train_validation
from lesionforge.distances.neighbours import copying, halved, nearest
from lesionforge.generators import checkpoint, holes, methods
from lesionforge.generators.checkpoint import Checkpoint
from lesionforge.generators.contract import GenerativeMethod, Moment
from lesionforge.generators.real_batch import real_batch
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.progress import TerminalProgress
from lesionforge.synthesis.sample import sample

WINDOW = WINDOWS["lung"]
AUGMENTED = 1_000  # patches of each class, by Wang et al.'s recipe
LARGEST = 0.25  # of a patch: larger lesions leave no surroundings to be put into
CUBE_MM = (3.0, 1.5, 1.5)  # Yang et al.'s proportions, coarser: 1 mm cubes of 51 voxels become 16×32×32 voxels
SLICES, CUBES = (64, 64), (16, 32, 32)
DIAMETERS = (3 / 16, 4 / 16, 5 / 16, 6 / 16, 7 / 16)  # of a patch's width, asked for in every host
HOSTS, NOISES, SHOWN = 40, 4, 12
JUDGE_PATCHES, JUDGE_EPOCHS = 1_000, 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A method in its reduced width, and what it learns from."""

    axes: int
    images: int
    settings: Mapping[str, Any]
    label: str | None = None  # of a method that makes one class

    def method(self, name: str) -> GenerativeMethod:
        """Make the method; a class loss is on for half of the training, and in volumes a sphere is one in mm."""
        kind = registry.class_named(methods, name, GenerativeMethod)  # type: ignore[type-abstract]
        late = {"class_from_images": self.images // 2} if "class_from_images" in kind.__dataclass_fields__ else {}
        method = kind(**self.settings, **late)
        return replace(method, hole=replace(method.hole, voxel_sides=CUBE_MM)) if self.axes == 3 else method


_CLASS_AWARE = {"generator_width": 8, "discriminator_width": 16, "critic_steps": 1, "learning_rate": 2e-4}
_CLASS_AWARE |= {"critic_rate": 4.0, "reconstruction": 2.0}
_FLOW = {"width": 16, "learning_rate": 1e-3}
_SRGAN = {"generator_width": 16, "blocks": 6, "discriminator_width": 8, "learning_rate": 5e-4, "batch_size": 8}
RUNS = {
    "class_aware_inpainting-2d": Run(2, 32_000, _CLASS_AWARE | {"batch_size": 8}),
    "flow_matching_inpainting-2d": Run(2, 40_000, _FLOW | {"batch_size": 8}),
    "class_aware_inpainting-3d": Run(3, 8_000, _CLASS_AWARE | {"batch_size": 4}),
    "flow_matching_inpainting-3d": Run(3, 8_000, _FLOW | {"batch_size": 4}),
    "d2srgan-2d": Run(2, 12_000, _SRGAN, label="non-solid"),
}


def diameters_of(patches: Patches) -> tuple[float, ...]:
    """Diameters that are asked for, in pixels along y and x."""
    return tuple(share * patches.shape[-1] for share in DIAMETERS)


def coarser(patches: Patches) -> Patches:
    """The same patches at half the resolution."""
    masks = (halved(patches.masks) >= 0.5).astype(np.uint8)
    return patches.with_images(halved(patches.images), masks, spacing_mm=2 * patches.spacing_mm)


def patches_of(data: Path, axes: int) -> tuple[Patches, Patches]:
    """Real patches to learn from, all classes alike often, and those of unseen patients."""
    if axes == 2:
        real, recipe, shape = load_arrays(data / "lidc_maxslice", mapping=NON_SOLID), Wang2020(), SLICES
    else:
        real = cubes(data / "lidc_cubes51", labels=MALIGNANCY_OF_ALL, spacing_mm=CUBE_MM)
        recipe, shape = Wang2020(output_size=32), CUBES
    real = real.rows(share_of(real) <= LARGEST)
    split = train_validation(real, validation=0.25, seed=0)
    learnt, unseen = real.rows(split.train), real.rows(split.validation).centre_crop(shape)
    augmented = [
        recipe.augment(learnt.with_label(label), seed=0, count=AUGMENTED if axes == 2 else AUGMENTED // 4)
        for label in learnt.classes
    ]
    training = concatenate(augmented).centre_crop(shape)
    return training.rows(share_of(training) > 0), unseen


def share_of(patches: Patches) -> Floats:
    """Share of each patch that is lesion."""
    return patches.masks.reshape(len(patches), -1).mean(axis=1)


def trained(name: str, run: Run, training: Patches, out: Path) -> float:
    """Train, or take up what was trained; return the seconds it took."""
    every = run.images // 4
    plan = TrainingPlan(
        images=run.images,
        grid_every_images=every,
        checkpoint_every_images=every,
        log_every_images=every // 8,
        average_half_life_images=500,
    )
    start = time.perf_counter()
    method = run.method(name.rpartition("-")[0])
    train(method, training, out, plan=plan, window=WINDOW, resume=True, progress=TerminalProgress())
    return time.perf_counter() - start


def asked_for(hosts: Patches, diameter_px: float) -> Patches:
    """The hosts with a sphere of that diameter (along y and x) for a mask, about the middle of what they have."""
    masks = torch.from_numpy(hosts.masks.copy()).unsqueeze(1).double()
    sides = torch.tensor(CUBE_MM if masks.ndim == 5 else (1.0, 1.0), dtype=torch.float64)
    sides = sides / sides[-1]
    places = torch.stack(torch.meshgrid(*(torch.arange(side) for side in hosts.shape), indexing="ij"), -1) * sides
    centres = (masks.movedim(1, -1) * places).flatten(1, -2).sum(1) / masks.flatten(1).sum(1, keepdim=True)
    away = (places - centres.view(len(masks), *[1] * len(hosts.shape), -1)).norm(dim=-1)
    return hosts.with_images(hosts.images, (away <= diameter_px / 2).numpy().astype(np.uint8))


def own_diameter(patches: Patches) -> Floats:
    """Diameter, along y and x, of the sphere that holds each lesion."""
    sides = CUBE_MM if len(patches.shape) == 3 else (1.0,)
    spheres = holes.spheres(torch.from_numpy(patches.masks.copy()).unsqueeze(1).double(), voxel_sides=sides)
    return spheres[:, 0].flatten(1, -2).amax(1).sum(1).numpy()


def middle_slices(images: NDArray[np.generic]) -> NDArray[np.generic]:
    """Slices as they are, of volumes the middle one."""
    return images[:, images.shape[1] // 2] if images.ndim == 4 else images


def as_slices(patches: Patches) -> Patches:
    """Patches for a judge that takes slices: pixels and labels, no masks."""
    spacing = patches.spacing_mm[:, -2:]
    return Patches.of(
        middle_slices(patches.images),
        patient=patches.patients.tolist(),
        label=patches.labels.tolist(),
        spacing_mm=spacing,
    )


def measured_diameter(images: NDArray[np.generic]) -> Floats:
    """What callipers find in the middle slice, in pixels; by about a quarter shorter than readers' outlines."""
    return measure(middle_slices(images), brighter=True)["lesion_diameter_px"]


def sized(opened: Checkpoint, unseen: Patches) -> dict[str, float]:
    """Requested against measured diameter: in hosts whose own lesion is smaller than all that is asked for."""
    diameters = diameters_of(unseen)
    hosts = unseen.rows(np.flatnonzero(own_diameter(unseen) <= diameters[0] + 2)[:HOSTS])
    found = [
        measured_diameter(
            sample(opened, len(hosts), seed=3, label=last_label(opened), conditions=asked_for(hosts, d)).images
        )
        for d in diameters
    ]
    asked, found = np.repeat(diameters, len(hosts)), np.concatenate(found)
    slope, offset = np.polyfit(asked, found, 1)
    return {
        "hosts": len(hosts),
        "diameter_r": stats.pearsonr(asked, found).statistic,
        "diameter_slope": slope,
        "diameter_error_px": float(np.abs(found - (slope * asked + offset)).mean()),
        "found_at_smallest_px": float(np.median(found[asked == diameters[0]])),
        "found_at_largest_px": float(np.median(found[asked == diameters[-1]])),
        "real_diameter_r": stats.pearsonr(own_diameter(unseen), measured_diameter(unseen.images)).statistic,
    }


def last_label(opened: Checkpoint) -> str:
    """The class whose lesions are seen best: solid, malignant."""
    return opened.subject.labels[-1]


def classed(opened: Checkpoint, unseen: Patches, judge: FittedClassifier) -> dict[str, float]:
    """Requested class against that which a classifier of real patches gives, AUC; and mean intensity in the lesions.

    Each host gets a lesion of either class, whatever its own. The judge has learnt from the generator's own patients.
    """
    labels, found = opened.subject.labels, []
    inside = unseen.masks > 0
    row: dict[str, float] = {"real_class_auc": auc(probability(judge, unseen), unseen.labels == labels[1])}
    for label in labels:
        made = sample(opened, len(unseen), seed=4, label=label, conditions=unseen)
        found.append(probability(judge, made))
        row[f"hu_{label}"] = float(np.median([image[at].mean() for image, at in zip(made.images, inside, strict=True)]))
        real = unseen.labels == label
        hu = [image[at].mean() for image, at in zip(unseen.images[real], inside[real], strict=True)]
        row[f"real_hu_{label}"] = float(np.median(hu))
    asked = np.repeat([False, True], len(unseen))
    return row | {"class_auc": auc(np.concatenate(found), asked)}


def judge_of(training: Patches) -> FittedClassifier:
    """A classifier of real patches: small_cnn, on the training patients' augmented lesions."""
    rows = np.linspace(0, len(training) - 1, min(JUDGE_PATCHES, len(training))).astype(int)
    return SmallCNN(epochs=JUDGE_EPOCHS, batch_size=32).fit(as_slices(training.rows(rows)), seed=0)


def probability(judge: FittedClassifier, patches: Patches) -> Floats:
    """Of the last class, [N]."""
    return judge.predict_proba(as_slices(patches), already_seen=True)[:, -1]


def auc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Chance that a positive scores above a negative."""
    return float(
        stats.mannwhitneyu(scores[positive], scores[~positive]).statistic / (positive.sum() * (~positive).sum())
    )


def varied(opened: Checkpoint, training: Patches, unseen: Patches) -> dict[str, float]:
    """How far lesions of other noises lie apart, in HU; and how near lesions are to those of training, as real ones."""
    hosts = unseen.rows(np.arange(min(HOSTS, len(unseen))))
    made = [
        sample(opened, len(hosts), seed=seed, label=last_label(opened), conditions=hosts).images
        for seed in range(NOISES)
    ]
    inside = hosts.masks > 0

    def apart(first: NDArray[np.generic], second: NDArray[np.generic]) -> float:
        square = np.square(first.astype(np.float64) - second)
        return float(np.median([np.sqrt(each[at].mean()) for each, at in zip(square, inside, strict=True)]))

    reference = lesions_alone(training.images, training.masks)
    near = [
        nearest(lesions_alone(each, hosts.masks), reference, flips=True).distance for each in (made[0], hosts.images)
    ]
    copied = copying(*near, nearest_share=0.05)
    return {
        "noises_apart_hu": float(np.mean([apart(made[0], other) for other in made[1:]])),
        "real_apart_hu": apart(made[0], hosts.images),
        "nearest_ratio": copied.ratio,
        "copied_share": copied.share,
    }


def lesions_alone(images: NDArray[np.generic], masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Lesions without their surroundings, in the middle of boxes of half a patch's sides."""
    alone = torch.from_numpy(np.where(masks > 0, images.clip(WINDOW.low, WINDOW.high), WINDOW.low)).unsqueeze(1)
    sides = [side // 2 for side in masks.shape[1:]]
    corners = holes.corners(torch.from_numpy(masks.astype(np.float32)).unsqueeze(1), sides)
    return holes.cut(alone, corners, sides)[:, 0].numpy().astype(np.float32)


def draw(opened: Checkpoint, unseen: Patches, out: Path) -> None:
    """Save ``steps.png`` and ``asked.png``."""
    hosts = unseen.rows(np.linspace(0, len(unseen) - 1, SHOWN).astype(int))
    labels = np.array([opened.subject.labels.index(label) for label in hosts.labels])
    batch = real_batch(opened.method, hosts, range(SHOWN), labels=labels, window=WINDOW, device=torch.device("cpu"))
    latent = opened.method.latent(SHOWN, torch.Generator().manual_seed(0))
    moment = Moment(opened.images_seen, torch.Generator().manual_seed(0))
    with torch.no_grad():
        fakes = opened.method.fakes(opened.generator, latent, batch, moment)
        made = opened.method.synthesise(opened.generator, latent, batch, moment)
    surroundings, hole = holes.shown(batch)
    rows = [batch.images, surroundings, made]
    if hasattr(fakes, "coarse"):
        rows.insert(2, holes.filled(surroundings, hole, fakes.coarse))
    save(torch.cat(rows)[:, 0].numpy(), out / "steps.png", columns=SHOWN)

    few = unseen.rows(np.flatnonzero(own_diameter(unseen) <= diameters_of(unseen)[1])[:8])
    small, medium, large = diameters_of(unseen)[::2]
    asked = [(label, diameter, 1) for label in opened.subject.labels for diameter in (small, medium, large)]
    asked += [(last_label(opened), large, seed) for seed in (2, 3, 4)]
    columns = [few.images] + [
        sample(opened, len(few), seed=seed, label=label, conditions=asked_for(few, diameter)).images
        for label, diameter, seed in asked
    ]
    shown = np.stack(columns, axis=1).reshape(-1, *unseen.shape)
    save(WINDOW.to_symmetric(shown), out / "asked.png", columns=len(columns))


def save(images: NDArray[np.floating], path: Path, *, columns: int) -> None:
    sheet = contact_sheet(WINDOW.from_symmetric(middle_slices(images)), WINDOW, columns=columns, zoom=2)
    save_png(path, sheet, about="synthetic lesions in real surroundings, beside real ones")


def measured(name: str, training: Patches, unseen: Patches, out: Path) -> dict[str, Any]:
    """A row of ``inpainting.csv``: `sized`, `classed` and `varied`."""
    opened = checkpoint.load(out)
    row: dict[str, Any] = {"run": name, "images": opened.images_seen} | sized(opened, unseen)
    if opened.method.conditional:
        row |= classed(opened, unseen, judge_of(training))
    return row | varied(opened, training, unseen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--halved", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.only:
        run, out = RUNS[name], arguments.out / name
        run = replace(run, images=arguments.images or run.images)
        training, unseen = patches_of(arguments.data, run.axes)
        if arguments.halved and run.axes == 2:
            training, unseen = (each.rows(share_of(coarser(each)) > 0) for each in (training, unseen))
            training, unseen = coarser(training), coarser(unseen)
        if run.label:
            training, unseen = training.with_label(run.label), unseen.with_label(run.label)
        seconds = trained(name, run, training, out)
        draw(checkpoint.load(out), unseen, out)
        row = measured(name, training, unseen, out) | {"seconds": round(seconds)}
        print(row)
        file = arguments.out / "inpainting.csv"
        before = [pd.read_csv(file)] if file.exists() else []
        rows = pd.concat([*before, pd.DataFrame([row])]).drop_duplicates("run", keep="last")
        rows.to_csv(file, index=False)  # whole: what is measured differs from run to run


if __name__ == "__main__":
    main()
