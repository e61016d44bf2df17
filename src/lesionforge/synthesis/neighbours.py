"""The training patch that is nearest to each sample: has a generator learnt its images by heart?

Near means alike in intensity, pixel by pixel, whichever way a patch is turned over and wherever within a few pixels it
lies. How near is too near the training patches say themselves, by the distance from each to the nearest of another
patient: a sample that is much nearer than that is a copy, or next to it.
"""

from itertools import product
from math import prod
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import Window
from lesionforge.data.patch_table import Array, axes_of
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

# n images, T ways to turn them over, R others, *shape pixels along A axes, S shifts along each

SHIFT_PX = 4  # each way
PIXELS_AT_ONCE = 2**20  # of correlations: few enough for the processor's cache


def training_rows(given: Patches, exposure: Exposure) -> NDArray[np.int64]:
    """Return the numbers of those real patches that were trained on.

    Raises
    ------
    LesionForgeError
        There are none.
    """
    seen = given.table["source_pixels"].isin(exposure.pixels).to_numpy() & ~given.is_synthetic
    if not seen.any():
        raise LesionForgeError(
            f"patches must be those that the generator was trained on, but it has seen none of these {len(given)}: "
            "give the folder that `lesionforge train` was given."
        )
    return np.flatnonzero(seen)


def between_patients(patches: Patches, count: int, *, window: Window, shift_px: int = SHIFT_PX) -> pd.DataFrame | None:
    """Find the nearest patch of another patient to ``count`` patches, evenly taken; None if there is one patient."""
    patients = patches.patients.to_numpy()
    if len(set(patients)) == 1:
        return None
    rows = np.linspace(0, len(patches) - 1, min(count, len(patches))).round().astype(np.int64)
    same = patients[rows][:, None] == patients
    return nearest(patches.images[rows], patches.images, window=window, shift_px=shift_px, apart=same)


def nearest(
    images: Array,
    others: Array,
    *,
    window: Window,
    shift_px: int = SHIFT_PX,
    apart: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Find the nearest of ``others`` [R, *shape] to each of ``images`` [n, *shape], as ``window`` shows them.

    An image is compared without a margin of ``shift_px``, so that as much of it is compared at every shift. ``apart``
    [n, R] marks pairs that are not to be compared.

    Returns
    -------
    n rows: ``row`` (number of the other one), ``distance`` (root of the mean squared difference, in the window's unit),
    ``flipped`` (the axes along which the image is turned over; may be empty), ``shift_y_px`` and so on (where it then
    lies on the other one).

    Raises
    ------
    LesionForgeError
        The two differ in size, or the margin leaves nothing.
    """
    shape, axes = images.shape[1:], axes_of(images)
    if others.shape[1:] != shape:
        came = " and ".join("×".join(map(str, size)) for size in (shape, others.shape[1:]))
        raise LesionForgeError(f"patches to be compared must have one size, but {came} came: crop them first.")
    if not 0 <= 2 * shift_px < min(shape):
        raise LesionForgeError(f"a shift must be 0 or more and leave some of {min(shape)} pixels, but {shift_px} came.")
    seen, known = (torch.from_numpy(window.to_symmetric(each)) for each in (images, others))
    cores = seen[(slice(None), *(slice(shift_px, side - shift_px) for side in shape))]
    turns = list(product((False, True), repeat=len(axes)))
    turned = torch.stack([cores.flip([1 + a for a, over in enumerate(turn) if over]) for turn in turns], dim=1)
    row, place = _search(turned, known, 2 * shift_px + 1, apart)
    turn, *corner = np.unravel_index(place, (len(turns), *[2 * shift_px + 1] * len(axes)))
    pairs = zip(turned[range(len(turn)), turn], known[row], zip(*corner, strict=True), strict=True)
    half_width = (window.high - window.low) / 2
    return pd.DataFrame(
        {
            "row": row,
            "distance": [half_width * _distance(*pair) for pair in pairs],
            "flipped": ["".join(axis for axis, over in zip(axes, turns[t], strict=True) if over) for t in turn],
            **{f"shift_{axis}_px": c - shift_px for axis, c in zip(axes, corner, strict=True)},
        }
    )


def _distance(core: Tensor, other: Tensor, corner: tuple[int, ...]) -> float:
    """Root of the mean squared difference of a core and what lies under it; the search's has rounding errors."""
    under = tuple(slice(start, start + side) for start, side in zip(corner, core.shape, strict=True))
    return float((core.double() - other[under]).square().mean().sqrt())


def _search(
    turned: Tensor, known: Tensor, shifts: int, apart: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compare [n, T, *inner] with [R, *shape], all shifts at once: ‖a − b‖² = ‖a‖² + ‖b‖² − 2a·b by Fourier transforms.

    Returns the number of the nearest, and that of the best among its T·S^A places, [n] each.
    """
    shape = known.shape[1:]
    dims = tuple(range(-len(shape), 0))
    corner: Any = (..., *[slice(shifts)] * len(shape))

    def correlated(first: Tensor, second: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(first, s=shape, dim=dims).conj() * torch.fft.rfftn(second, dim=dims)
        everywhere: Tensor = torch.fft.irfftn(spectrum, s=shape, dim=dims)
        return everywhere[corner]

    size = turned.square().sum(dims)[(..., *[None] * len(shape))]  # [n, T, 1, …]
    ones = torch.ones(turned.shape[2:])
    best = torch.full((len(turned),), torch.inf)
    row, place = torch.zeros(len(turned), dtype=torch.int64), torch.zeros(len(turned), dtype=torch.int64)
    together = max(1, PIXELS_AT_ONCE // (turned.shape[0] * turned.shape[1] * prod(shape)))
    for start in range(0, len(known), together):
        part = known[start : start + together, None, None]  # [r, 1, 1, *shape]
        distance = (size + correlated(ones, part.square()) - 2 * correlated(turned, part)).flatten(2)
        if apart is not None:
            distance[torch.from_numpy(apart[:, start : start + together].T)] = torch.inf
        least, at = distance.min(dim=2)  # over turns and shifts, [r, n]
        nearest, which = least.min(dim=0)
        better = nearest < best
        best = torch.where(better, nearest, best)
        row = torch.where(better, start + which, row)
        place = torch.where(better, at.gather(0, which[None])[0], place)
    return row.numpy(), place.numpy()
