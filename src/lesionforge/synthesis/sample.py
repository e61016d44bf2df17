"""Synthetic patches from a checkpoint.

Every row says what it is: its origin is the checkpoint's id, and the set carries all that the generator was
trained on, so that a classifier which learns from these rows cannot be scored on those patients.
"""

import numpy as np
import torch

from lesionforge.data.hounsfield import as_stored
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.generators.checkpoint import Checkpoint, generate
from lesionforge.networks import torch_generator
from lesionforge.progress import SILENT, Progress


def sample(
    checkpoint: Checkpoint,
    count: int,
    *,
    seed: int = 0,
    label: str | None = None,
    progress: Progress = SILENT,
) -> Patches:
    """Draw ``count`` patches. Row k of a seed is the same however many are drawn.

    Parameters
    ----------
    label
        Must be the class that the checkpoint was trained on, where it was trained on one; left out, it is that.

    Raises
    ------
    LesionForgeError
        ``count`` is not positive, or the checkpoint makes another class.
    """
    subject, identity = checkpoint.subject, checkpoint.id
    if count < 1:
        raise LesionForgeError(f"the number of samples must be 1 or more, but {count} came.")
    if label not in (None, subject.label):
        raise LesionForgeError(
            f"this checkpoint makes {subject.label or 'unlabelled'} lesions, but {label!r} was asked for: "
            "train a generator on that class."
        )
    images = np.empty((count, *subject.shape), np.int16 if subject.window.unit == "HU" else np.float32)
    batch = checkpoint.method.batch_size
    with progress.work(f"sampling {subject.label}".strip(), count, unit="patches") as advance:
        for start in range(0, count, batch):
            # Always whole batches: in a shorter one convolutions would sum in another order, and rows differ a little.
            rows = images[start : start + batch]
            rows[:] = _draw(checkpoint, seed, range(start, start + batch))[: len(rows)]
            advance(len(rows))
    source = f"synthetic:{identity}"
    real = Patches.of(
        images,
        patient=[source] * count,
        label=subject.label,
        spacing_mm=[np.nan if spacing is None else spacing for spacing in subject.spacing_mm],
        unit=subject.window.unit,
        sample_seed=seed,
        sample_number=range(count),
    )
    table = real.table.assign(origin=identity)
    return Patches(images, table, unit=subject.window.unit, generators={identity: subject.exposure})


def _draw(checkpoint: Checkpoint, seed: int, numbers: range) -> Array:
    device = next(checkpoint.generator.parameters()).device
    latent = [checkpoint.method.latent(1, torch_generator(device, seed, "sample", k)) for k in numbers]
    values = generate(checkpoint.generator, torch.cat(latent)).squeeze(1).cpu().numpy()
    intensities = checkpoint.subject.window.from_symmetric(values)
    return as_stored(intensities) if checkpoint.subject.window.unit == "HU" else intensities
