"""Synthetic patches from a checkpoint.

Every row says what it is: its origin is the checkpoint's id, and the set carries all that the generator was
trained on, so that a classifier which learns from these rows cannot be scored on those patients.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from lesionforge.data.hounsfield import as_stored
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.generators.checkpoint import Checkpoint
from lesionforge.generators.contract import Condition, Moment
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
        One of the classes that the checkpoint can be asked for. Left out, it is that of a checkpoint that makes one;
        one that can choose makes its classes in turn.

    Raises
    ------
    LesionForgeError
        ``count`` is not positive, or the checkpoint makes another class.
    """
    subject, identity = checkpoint.subject, checkpoint.id
    if count < 1:
        raise LesionForgeError(f"the number of samples must be 1 or more, but {count} came.")
    if label is not None and label not in (subject.labels or ("",)):
        raise LesionForgeError(
            f"this checkpoint makes {' or '.join(subject.labels) or 'unlabelled'} lesions, but {label!r} was asked "
            "for: train a generator on that class."
        )
    # Number of the class of each row; the last batch may draw more than are kept.
    batch = checkpoint.method.batch_size_at(checkpoint.images_seen)
    numbers = np.arange(count + batch) % max(1, len(subject.labels))
    if label:
        numbers[:] = subject.labels.index(label)
    images = np.empty((count, *subject.shape), np.int16 if subject.window.unit == "HU" else np.float32)
    with progress.work(f"sampling {label or subject.label}".strip(), count, unit="patches") as advance:
        for start in range(0, count, batch):
            # Always whole batches: in a shorter one convolutions would sum in another order, and rows differ a little.
            rows = images[start : start + batch]
            rows[:] = _draw(checkpoint, seed, start, numbers[start : start + batch])[: len(rows)]
            advance(len(rows))
    source = f"synthetic:{identity}"
    real = Patches.of(
        images,
        patient=[source] * count,
        label=[(subject.labels or ("",))[number] for number in numbers[:count]],
        spacing_mm=[np.nan if spacing is None else spacing for spacing in subject.spacing_mm],
        unit=subject.window.unit,
        sample_seed=seed,
        sample_number=range(count),
    )
    table = real.table.assign(origin=identity)
    return Patches(images, table, unit=subject.window.unit, generators={identity: subject.exposure})


@torch.no_grad()
def _draw(checkpoint: Checkpoint, seed: int, start: int, labels: NDArray[np.int64]) -> Array:
    """Draw a batch whose first row is row ``start`` of the seed."""
    generator, method = checkpoint.generator, checkpoint.method
    device = next(generator.parameters()).device
    rows = range(start, start + len(labels))
    latent = torch.cat([method.latent(1, torch_generator(device, seed, "sample", row)) for row in rows])
    moment = Moment(checkpoint.images_seen, torch_generator(device, seed, "sample batch", start))
    condition = Condition(labels=torch.from_numpy(labels).to(device))
    values = method.synthesise(generator, latent, condition, moment).squeeze(1).cpu().numpy()
    intensities = checkpoint.subject.window.from_symmetric(values)
    return as_stored(intensities) if checkpoint.subject.window.unit == "HU" else intensities
