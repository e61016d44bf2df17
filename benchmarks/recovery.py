"""Is what is known recovered? Generative methods on distributions whose truth can be counted.

    python benchmarks/recovery.py [--method wgan_gp] [--images 40000] [--out recovery.csv]

Two sets. The *ring*: a blob on noise whose centre is drawn from eight Gaussians on a ring, the usual test for modes
that are lost, as images of 16×16 pixels. Every other Gaussian holds half as many, and its blobs are dark instead of
bright, which is the class. The *phantom*: computed CT of lung nodules, 32×32 pixels, whose attenuation and size are
known; the distance between two halves of its patients is the floor that a method's distance is read against.

A method that makes one class is trained on all images as one; one that is conditional is asked for the classes in their
true proportions; one that needs pictures gets those of images it has not seen. Widths are reduced, so that a method
takes minutes on one core.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from lesionforge import registry
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.phantom import phantom_patches
from lesionforge.data.plausibility import measure
from lesionforge.generators import checkpoint, methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.synthesis.sample import sample

SIDE, RADIUS, MODES, SPREAD, BLOB = 16, 4.0, 8, 0.35, 1.5  # pixels; SPREAD and BLOB are standard deviations
DARK = np.arange(MODES) % 2  # of each mode
SHARES = np.where(DARK, 1, 2) / np.where(DARK, 1, 2).sum()
LABELS = np.array(["bright", "dark"])
DRAWN = 2_000
NEVER = 10**9
DC_STRUCTURED = {"learning_rate": 5e-4, "generator_width": 128, "discriminator_width": 32, "latent_size": 32}
REDUCED: Mapping[str, Mapping[str, Any]] = {
    "dcgan": DC_STRUCTURED,
    "wgan_gp": DC_STRUCTURED | {"critic_steps": 2},
    "acgan": DC_STRUCTURED | {"discriminator_width": 16, "dropout": 0.2},
    "pix2pix": {"learning_rate": 5e-4, "generator_width": 16, "discriminator_width": 16},
    "progressive_wgan": {"learning_rate": 3e-3, "width": 32, "latent_size": 32},
}

Values = NDArray[np.float64]


def ring(count: int, *, seed: int) -> Patches:
    """Draw ``count`` images of the ring."""
    rng = np.random.default_rng(seed)
    mode = rng.choice(MODES, count, p=SHARES)
    centre = corners()[mode] + rng.normal(0, SPREAD, (count, 2))
    axis = np.arange(SIDE)
    y, x = (np.exp(-((axis - centre[:, [k]]) ** 2) / (2 * BLOB**2)) for k in (0, 1))
    blob = y[:, :, None] * x[:, None, :]
    sign = np.where(DARK[mode], -1, 1)[:, None, None]
    images = 128 + 100 * sign * blob + rng.normal(0, 4, (count, SIDE, SIDE))
    return Patches.of(
        images.clip(0, 255).round().astype(np.uint8),
        patient=[f"{seed}-{number}" for number in range(count)],
        label=LABELS[DARK[mode]],
        masks=(blob > 0.3).astype(np.uint8),
        unit="u8",
    )


def corners() -> Values:
    """The middle of each Gaussian, (y, x), [MODES, 2]."""
    angle = 2 * np.pi * np.arange(MODES) / MODES
    return (SIDE - 1) / 2 + RADIUS * np.stack([np.sin(angle), np.cos(angle)], axis=1)


def read_ring(patches: Patches) -> dict[str, float]:
    """Count what lies where it may: within four standard deviations of a Gaussian, and of its brightness."""
    contrast = patches.images.astype(float) - 128
    weight = np.where(np.abs(contrast) > 25, np.abs(contrast), 0)
    total = weight.sum(axis=(1, 2)).clip(min=1e-9)
    axis = np.arange(SIDE)
    centre = np.stack([weight.sum(axis=2) @ axis, weight.sum(axis=1) @ axis], axis=1) / total[:, None]
    distance = np.linalg.norm(centre[:, None] - corners(), axis=2)
    dark = (weight * contrast).sum(axis=(1, 2)) < 0
    mode = distance.argmin(axis=1)
    good = (distance.min(axis=1) < 4 * SPREAD) & (dark == DARK[mode]) & (total > 100)
    share = np.bincount(mode[good], minlength=MODES) / max(1, good.sum())
    return {
        "modes": float((share > SHARES / 4).sum()),
        "good": float(good.mean()),
        "dark": float(dark.mean()),
        "share_error": float(np.abs(share - SHARES).sum() / 2),
        "as_asked": float((LABELS[dark.astype(int)] == patches.labels).mean()) if patches.labels.all() else np.nan,
    }


def read_phantom(patches: Patches, truth: Patches) -> dict[str, float]:
    """Wasserstein distances to ``truth`` of nodule attenuation (HU), diameter (pixels) and all voxels (HU)."""
    of = [measure(each.images, brighter=True) | {"voxels": each.images.ravel()[::7]} for each in (patches, truth)]
    names = {"lesion": "nodule_hu", "lesion_diameter_px": "diameter_px", "voxels": "voxels_hu"}
    return {name: float(wasserstein_distance(of[0][key], of[1][key])) for key, name in names.items()}


def recover(method: GenerativeMethod, data: Patches, unseen: Patches, images: int) -> Patches:
    """Train ``method`` on ``data`` and draw as many samples as ``unseen`` has, with its labels and pictures."""
    plan = TrainingPlan(images=images, seed=1, grid_every_images=NEVER, checkpoint_every_images=NEVER)
    with tempfile.TemporaryDirectory() as folder:
        learnt = data if method.conditional else data.with_columns(label="")
        opened = checkpoint.load(train(method, learnt, Path(folder) / "out", plan=plan, device="cpu"))
    if not method.conditional:
        return sample(opened, len(unseen), seed=2, conditions=unseen if method.pictured else None)
    asked = [sample(opened, int((unseen.labels == label).sum()), seed=2, label=label) for label in unseen.classes]
    return concatenate(asked)


def reduced(name: str, shape: tuple[int, ...], images: int) -> GenerativeMethod:
    """Make the method of that name with its reduced settings; one that grows has done so half-way."""
    kind = registry.class_named(methods, name, GenerativeMethod)  # type: ignore[type-abstract]
    growing = {"stable_images", "fade_images"} & {field.name for field in dataclasses.fields(kind)}
    phase = images // (4 * int(np.log2(shape[0] // 4)))
    return kind(batch_size=32, **REDUCED[name], **dict.fromkeys(growing, phase))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="", choices=["", *REDUCED], help="all if left out")
    parser.add_argument("--images", type=int, default=40_000, help="shown to the discriminator")
    parser.add_argument("--out", type=Path, help="CSV of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rings = ring(5_000, seed=0), ring(DRAWN, seed=1)
    nodules = phantom_patches("lung", patients=1_200, size=32)
    patients = nodules.patients.unique()
    halves = [nodules.rows(nodules.patients.isin(half).to_numpy()) for half in (patients[::2], patients[1::2])]
    rows = [{"method": "truth"} | read_ring(rings[1]) | read_phantom(*halves)]
    print_row(rows[0])
    for name in [arguments.method] if arguments.method else REDUCED:
        made = {
            part: recover(reduced(name, data.shape, arguments.images), data, unseen, arguments.images)
            for part, (data, unseen) in {"ring": rings, "phantom": halves}.items()
        }
        rows.append({"method": name} | read_ring(made["ring"]) | read_phantom(made["phantom"], halves[1]))
        print_row(rows[-1])
    if arguments.out:
        pd.DataFrame(rows).to_csv(arguments.out, index=False)


def print_row(row: dict[str, float | str]) -> None:
    shown = (f"{key} {value if isinstance(value, str) else f'{value:.3g}'}" for key, value in row.items())
    print("  ".join(shown), flush=True)


if __name__ == "__main__":
    main()
