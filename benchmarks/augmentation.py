"""Augmentation in patches a second: LesionForge beside albumentations and torchio, same transform, same run.

    python benchmarks/augmentation.py --out augmentation.json

Every contender turns 71×71 patches of whole HU into 64×64 patches of whole HU and draws new parameters for each:
rotation 0–180°, flips, shifts of ±4 pixels, magnification 0.8–1.2, cubic interpolation, in one process. They
take turns (A B C A B C …), so that a slow minute of the machine meets all of them, and medians are compared.
Each works on one core and is timed in processor seconds, so other work on the machine is not measured.

albumentations interpolates with the same kernel and mirrors at the edges as we do. torchio's cubic is a B-spline
and it pads with a constant; linear torchio is shown as well, though it is less work than the others do.
"""

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the network for a newer version

import numpy as np
import torch
from scipy import ndimage

from lesionforge.augment.affine import Chain, Flip, Rotate, Scale, Translate
from lesionforge.augment.transform import transformed
from lesionforge.data.patches import Patches
from lesionforge.storage import write_json

try:
    import albumentations
    import cv2
    import SimpleITK
    import torchio
except ImportError as missing:
    sys.exit(f"{missing.name} is not installed: pip install 'lesionforge[benchmarks]' brings what this compares with.")

SOURCE_PX, OUTPUT_PX = 71, 64
MAX_DEG, SHIFT_PX, SCALES = 180.0, 4, (0.8, 1.2)

Contender = Callable[[Patches], object]


def tissue(count: int, *, with_masks: bool) -> Patches:
    """Correlated noise with a disc in the middle."""
    noise = np.random.default_rng(0).normal(size=(count, SOURCE_PX, SOURCE_PX))
    disc = np.hypot(*(np.indices((SOURCE_PX, SOURCE_PX)) - SOURCE_PX // 2)) < 9
    images = 1500 * ndimage.gaussian_filter(noise, (0, 1.5, 1.5)) - 800 + 700 * disc
    masks = np.repeat(disc[None].astype(np.uint8), count, axis=0) if with_masks else None
    return Patches.of(np.rint(images).astype(np.int16), patient=[str(i) for i in range(count)], masks=masks)


def ours() -> Contender:
    steps = (Rotate(0, MAX_DEG), Flip(), Translate(SHIFT_PX), Scale(*SCALES))
    chain, rng = Chain(steps, output_size=OUTPUT_PX), np.random.default_rng(0)

    def run(patches: Patches) -> Patches:
        return transformed(patches, chain, chain.sample(np.full(len(patches), np.nan), rng=rng))

    return run


def by_albumentations() -> Contender:
    affine = albumentations.Affine(
        rotate=(0, MAX_DEG),
        translate_px=(-SHIFT_PX, SHIFT_PX),
        scale=SCALES,
        keep_ratio=True,
        interpolation=cv2.INTER_CUBIC,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1,
    )
    flips = [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
    crop = albumentations.CenterCrop(OUTPUT_PX, OUTPUT_PX)
    chain = albumentations.Compose([affine, *flips, crop], seed=0)

    def run(patches: Patches) -> list[Any]:
        result = []
        for i, image in enumerate(patches.images):
            parts = {"image": image.astype(np.float32)}  # it takes float32 or 8 bits
            if patches.masks is not None:
                parts["mask"] = patches.masks[i]
            changed = chain(**parts)
            result.append((np.rint(changed["image"]).astype(np.int16), changed.get("mask")))
        return result

    return run


def by_torchio(interpolation: str) -> Contender:
    affine = torchio.RandomAffine(
        scales=SCALES,
        degrees=(0, 0, 0, 0, 0, MAX_DEG),
        translation=(-SHIFT_PX, SHIFT_PX, -SHIFT_PX, SHIFT_PX, 0, 0),
        isotropic=True,
        image_interpolation=interpolation,
    )
    crop = torchio.CropOrPad((OUTPUT_PX, OUTPUT_PX, 1))
    chain = torchio.Compose([affine, torchio.RandomFlip(axes=(0, 1)), crop])

    def run(patches: Patches) -> list[Any]:
        result = []
        for i, image in enumerate(patches.images):
            parts = {"image": torchio.ScalarImage(tensor=torch.from_numpy(image[None, :, :, None]))}
            if patches.masks is not None:
                parts["mask"] = torchio.LabelMap(tensor=torch.from_numpy(patches.masks[i][None, :, :, None]))
            changed = chain(torchio.Subject(**parts))
            result.append({name: changed[name].data[0, :, :, 0].numpy() for name in parts})
        return result

    return run


def seconds(run: Contender, patches: Patches) -> float:
    start = time.process_time()
    run(patches)
    return time.process_time() - start


def in_turns(contenders: dict[str, Contender], sets: dict[str, Patches], turns: int) -> dict[str, list[float]]:
    """Patches a second of each contender in each turn, after one turn that does not count."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, run in contenders.items():
            speed = len(sets[name]) / seconds(run, sets[name])
            if turn:
                speeds[name].append(speed)
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=2048, help="patches a turn (torchio: an eighth of them)")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # torchio computes with it
    warnings.simplefilter("ignore")  # of the peers, about their own dependencies

    contenders = {
        "lesionforge": ours(),
        "albumentations": by_albumentations(),
        "torchio (B-spline)": by_torchio("bspline"),
        "torchio (linear)": by_torchio("linear"),
    }
    results = {}
    for with_masks in (False, True):
        large = tissue(arguments.patches, with_masks=with_masks)
        small = large.rows(range(max(1, arguments.patches // 8)))
        sets = {name: small if name.startswith("torchio") else large for name in contenders}
        speeds = in_turns(contenders, sets, arguments.turns)
        title = "images and masks" if with_masks else "images"
        results[title] = {
            name: {
                "patches_per_s": round(float(np.median(each))),
                "quartiles": [round(float(q)) for q in np.quantile(each, (0.25, 0.75))],
                "lesionforge_is_times_as_fast": round(float(np.median(speeds["lesionforge"]) / np.median(each)), 2),
            }
            for name, each in speeds.items()
        }
        print(f"\n| {title} | patches/s, median (quartiles) | LesionForge is × as fast |\n|---|---:|---:|")
        for name, row in results[title].items():
            low, high = row["quartiles"]
            ratio = row["lesionforge_is_times_as_fast"]
            print(f"| {name} | {row['patches_per_s']} ({low}–{high}) | {ratio:.2f} |")
    if arguments.out:
        versions = {each.__name__: each.__version__ for each in (torch, albumentations, torchio, cv2, np)}
        settings = {"patches": arguments.patches, "turns": arguments.turns}
        machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
        write_json(arguments.out, {"results": results, "settings": settings, "versions": versions} | machine)


if __name__ == "__main__":
    main()
