"""Real patches as a method sees them: in training the images to learn from, in sampling what is to be fulfilled."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionforge.data.hounsfield import Window
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.generators.contract import Batch, GenerativeMethod

# B batch, C channels of a picture


def real_batch(
    method: GenerativeMethod,
    patches: Patches,
    rows: Sequence[int],
    *,
    labels: NDArray[np.int64],
    window: Window,
    device: torch.device,
) -> Batch:
    """Return these rows of ``patches`` in [−1, 1], with what ``method`` is shown of them.

    ``labels`` are the numbers of these rows' classes, [B]; −1 where none is told apart.
    """
    masks = None if patches.masks is None else _channel(patches.masks[rows], device)
    batch = Batch(
        images=_channel(window.to_symmetric(patches.images[rows]), device),
        labels=torch.from_numpy(labels).to(device),
        masks=masks,
    )
    return replace(batch, picture=method.picture(batch))


def check_shown(method: GenerativeMethod, patches: Patches, window: Window) -> None:
    """Raise LesionForgeError if ``patches`` lack what ``method`` is to be shown of them."""
    real_batch(method, patches, [0], labels=np.array([-1]), window=window, device=torch.device("cpu"))


def _channel(values: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(values).unsqueeze(1).to(device, torch.float32)
