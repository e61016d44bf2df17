"""Generative methods on real lung nodules: grids, quality over images shown, time.

    python benchmarks/generators.py --data DATA --out runs/generators [--method dcgan] [--label solid] [--images 40000]

DATA is a folder that holds ``lidc_maxslice`` (see `lidc_maxslice.py`). A quarter of the patients is kept aside as
validation patients, on whom each method is watched; the others' nodules are augmented by Wang et al.'s recipe. Widths
and batches are reduced (`REDUCED`), so that a method takes minutes on one core and not days on a GPU: what comes out
is an honest beginning, not a method's best. Left in the run's folder, for each method and class: the checkpoint with
its log, ``quality.csv`` and grids, a sheet real beside synthetic, and a row of ``generators.csv``: distance, floor and
copies of the kept checkpoint as `generators.watch` has them, and the sliced Wasserstein distance of its samples from
the validation patients at each resolution, beside that of the training patients' nodules (times 1000).
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lidc_maxslice import NON_SOLID

from lesionforge import registry
from lesionforge.augment.recipes.wang_2020 import Wang2020
from lesionforge.data.contact_sheet import contact_sheet, save_png
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.data.splits import train_validation
from lesionforge.distances.sliced_wasserstein import sliced_wasserstein
from lesionforge.generators import checkpoint, methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan, WatchPlan
from lesionforge.generators.training import train
from lesionforge.generators.training_folder import read_quality
from lesionforge.progress import TerminalProgress
from lesionforge.synthesis.sample import sample

SIDE, AUGMENTED, SHOWN = 64, 4_000, 16
WINDOW = WINDOWS["lung"]
REDUCED: Mapping[str, Mapping[str, Any]] = {
    "dcgan": {"generator_width": 256, "discriminator_width": 32, "batch_size": 16},
    "wgan_gp": {
        "generator_width": 128,
        "discriminator_width": 16,
        "batch_size": 16,
        "critic_steps": 2,
        "learning_rate": 5e-4,
    },
    "acgan": {"generator_width": 192, "discriminator_width": 8, "dropout": 0.2, "batch_size": 16},
    "pix2pix": {"generator_width": 16, "discriminator_width": 16, "batch_size": 4, "condition": "erased"},
    "progressive_wgan": {"width": 32, "batch_size": 16, "learning_rate": 3e-3},
}


def method_named(name: str, images: int) -> GenerativeMethod:
    """Make a method in its reduced width; one that grows has done so at two fifths of its training."""
    kind = registry.class_named(methods, name, GenerativeMethod)  # type: ignore[type-abstract]
    growing = {"stable_images", "fade_images"} & set(kind.__dataclass_fields__)
    phase = images * 2 // 5 // (2 * (SIDE // 4).bit_length() - 2)
    return kind(**REDUCED[name], **dict.fromkeys(growing, phase))


def run(name: str, parts: tuple[Patches, Patches], out: Path, images: int) -> dict[str, Any]:
    """Train a method on the first of ``parts``, watched on the second, and say how it went."""
    learnt, validation = parts
    plan = TrainingPlan(
        images=images,
        grid_every_images=images // 4,
        checkpoint_every_images=images // 4,
        watch=WatchPlan(every_images=images // 16),
    )
    cropped = validation.centre_crop(SIDE)
    training = concatenate([learnt.centre_crop(SIDE), Wang2020().augment(learnt, seed=0, count=AUGMENTED)])
    start = time.perf_counter()
    method = method_named(name, images)
    train(method, training, out, plan=plan, window=WINDOW, validation=cropped, resume=True, progress=TerminalProgress())
    seconds = time.perf_counter() - start
    made = draw(out, learnt.centre_crop(SIDE), cropped)
    choice = checkpoint.read_manifest(out)["choice"]
    shown = {key: choice[key] for key in ("images_seen", "distance", "distance_se", "floor", "floor_se")}
    copies = {key: choice[key] for key in ("nearest_ratio", "copied_share")}
    curve = " ".join(f"{row.images_seen}:{row.distance:.3g}" for row in read_quality(out).itertuples())
    seen = WINDOW.to_unit_interval(cropped.images)
    apart = {
        f"{name}_{side}": 1000 * distance
        for name, images_of in (("swd", made), ("swd_real", learnt.centre_crop(SIDE)))
        for side, distance in sliced_wasserstein(WINDOW.to_unit_interval(images_of.images), seen).items()
    }
    return {"seconds": round(seconds), "images_per_s": images / seconds} | shown | copies | apart | {"curve": curve}


def draw(out: Path, real: Patches, validation: Patches) -> Patches:
    """Save a sheet of each class, real nodules of the training patients above and synthetic ones below.

    Returns samples, as many of each class as there are validation patches.
    """
    opened, drawn = checkpoint.load(out), []
    for label in opened.subject.labels:
        asked = validation.with_label(label)
        conditions = asked if opened.method.pictured else None
        made = sample(opened, max(len(asked), 2 * SHOWN), seed=1, label=label, conditions=conditions)
        shown = np.concatenate([real.with_label(label).images[:SHOWN], made.images[: 2 * SHOWN]])
        sheet = contact_sheet(shown, WINDOW, columns=SHOWN // 2)
        save_png(out / f"real_above_synthetic_{label}.png", sheet)
        drawn.append(made.rows(np.arange(len(asked))))
    return concatenate(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", nargs="*", default=list(REDUCED), choices=REDUCED)
    parser.add_argument("--label", nargs="*", default=["non-solid", "solid"])
    parser.add_argument("--images", type=int, default=40_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    patches = load_arrays(arguments.data / "lidc_maxslice", mapping=NON_SOLID)
    split = train_validation(patches, validation=0.25, seed=0)
    parts = patches.rows(split.train), patches.rows(split.validation)
    for name in arguments.method:
        conditional = registry.class_named(methods, name, GenerativeMethod).conditional  # type: ignore[type-abstract]
        for label in ["all"] if conditional else arguments.label:
            chosen = parts if label == "all" else tuple(part.with_label(label) for part in parts)
            row = {"method": name, "label": label}
            row |= run(name, chosen, arguments.out / f"{name}-{label}", arguments.images)
            print(row)
            file = arguments.out / "generators.csv"
            pd.DataFrame([row]).to_csv(file, mode="a", header=not file.exists(), index=False)


if __name__ == "__main__":
    main()
