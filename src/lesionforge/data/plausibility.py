"""Whether a synthetic patch could be one of the real ones: its intensities, and the size of its lesion.

A generator's checkpoint carries, for each class that it makes, a few quantiles of what `measure` finds in the patches
that it was trained on. A sample outside of them is not like any of those; one inside need not look like a lesion. The
measures need no mask, because a sample has none, and are the same for real and synthetic patches.

The lesion is measured as with callipers: from its middle outwards along many rays, each to where the intensity has
fallen halfway to the background. The ray that is longer than a third of them counts, so that vessels and a chest wall
that the lesion touches, which run on along the others, do not. On LIDC-IDRI's nodules the diameter so found follows
that of the readers' outlines (Spearman's ρ about 0.8) and is about a quarter shorter.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.hounsfield import Window
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches

# N patches of *shape pixels along A axes, R rays, S steps along a ray

LEVELS = (0.005, 0.5, 0.995)  # of the quantiles; the outer ones are the range
MOST_MEASURED = 5_000  # patches of a training set, evenly taken: more would hardly move the quantiles
PIXELS_AT_ONCE = 2**20

BLUR_PIXELS = 1.5  # standard deviation of a Gaussian that calms noise
REACH = 1 / 32  # of the shortest side: how far from the patch's centre the lesion's middle may lie
BACKGROUND = 0.25  # of a patch's pixels, those least like its lesion, taken for background
RAYS = 32
COUNTED = 1 / 3  # the quantile of the rays that is the lesion's radius
STEP_PIXELS = 0.5
REGION_REACH = 1.5  # radii around the lesion's middle that may still be lesion, where it is long

# A generator nears the ends of its window and seldom reaches them, while real patches are clipped there.
INTENSITY_TOLERANCE = 0.02  # of the window's width
DIAMETER_TOLERANCE_PIXELS = 1.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlausibleRanges:
    """Quantiles, at `LEVELS`, of each of `measure`'s measures over a set of real patches.

    ``brighter``: whether the set's lesions are brighter than what is around them, as nodules in the lung, or darker, as
    most metastases in the liver.
    """

    brighter: bool
    minimum: tuple[float, ...]
    mean: tuple[float, ...]
    maximum: tuple[float, ...]
    lesion: tuple[float, ...]
    lesion_diameter_px: tuple[float, ...]

    @classmethod
    def of(cls, patches: Patches, window: Window, *, label: str | None = None) -> "PlausibleRanges":
        """Measure real patches as the window shows them: those of a class, or all."""
        rows = np.arange(len(patches)) if label is None else np.flatnonzero(patches.labels == label)
        contrast = np.concatenate([_contrast(part) for part in _parts(patches, rows, window)])
        brighter = bool(np.median(contrast) >= 0)
        parts = [pd.DataFrame(measure(part, brighter=brighter)) for part in _parts(patches, rows, window)]
        quantiles = pd.concat(parts).quantile(list(LEVELS))
        return cls(brighter, **{name: tuple(map(float, quantiles[name])) for name in MEASURES})

    def outside(self, measures: dict[str, Floats], window: Window) -> NDArray[np.str_]:
        """Name what is implausible of each patch: measures, with spaces between; an empty text if nothing is. [N]."""
        named = np.full(len(measures["mean"]), "", dtype=object)
        for name in MEASURES:
            low, *_, high = getattr(self, name)
            tolerance = INTENSITY_TOLERANCE * (window.high - window.low)
            if name == "lesion_diameter_px":
                tolerance = DIAMETER_TOLERANCE_PIXELS
            named[(measures[name] < low - tolerance) | (measures[name] > high + tolerance)] += f" {name}"
        return np.array([text.strip() for text in named], dtype=str)


MEASURES = tuple(field.name for field in fields(PlausibleRanges) if field.name != "brighter")


def measure(images: Array, *, brighter: bool) -> dict[str, Floats]:
    """Measure patches [N, *shape]: each of `MEASURES`, [N], in the images' unit, the diameter in pixels.

    ``lesion`` is the intensity at the lesion's middle, which is the brightest place (of a darker lesion, the darkest)
    near the patch's centre. Where there is no lesion, that place is noise, and what is found there is small.
    """
    pixels = images.reshape(len(images), -1)
    middle, diameter, _, _ = _lesions(_blurred(images) * (1 if brighter else -1))
    return {
        "minimum": pixels.min(axis=1).astype(np.float64),
        "mean": pixels.mean(axis=1, dtype=np.float64),
        "maximum": pixels.max(axis=1).astype(np.float64),
        "lesion": middle if brighter else -middle,
        "lesion_diameter_px": diameter,
    }


def lesion_regions(images: Array, *, brighter: bool) -> NDArray[np.uint8]:
    """Mask of each patch's lesion without anyone having drawn it, [N, *shape] → the same, 0 and 1.

    All that hangs together with the lesion's middle and is nearer to it in intensity than to the background, but no
    further away than `REGION_REACH` times what the callipers say. Where there is no lesion, a few pixels of noise.
    """
    masks = np.zeros(images.shape, dtype=np.uint8)
    together = max(1, PIXELS_AT_ONCE // math.prod(images.shape[1:]))
    places = np.indices(images.shape[1:])
    for start in range(0, len(images), together):
        bright = _blurred(images[start : start + together]) * (1 if brighter else -1)
        _, diameter, edge, middle = _lesions(bright)
        for mask, picture, limit, level, centre in zip(
            masks[start : start + together], bright, REGION_REACH * diameter / 2, edge, middle.T, strict=True
        ):
            away = np.linalg.norm(places - centre.reshape(-1, *[1] * picture.ndim), axis=0)
            parts, _ = ndimage.label((picture > level) & (away <= max(limit, 1)))
            mask[:] = (parts == parts[tuple(centre)]) & (parts > 0)
    return masks


def _parts(patches: Patches, rows: NDArray[np.intp], window: Window) -> Iterator[Array]:
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_MEASURED)).round().astype(np.intp)]
    together = max(1, PIXELS_AT_ONCE // math.prod(patches.shape))
    for start in range(0, len(chosen), together):
        yield patches.images[chosen[start : start + together]].clip(window.low, window.high)


def _blurred(images: Array) -> NDArray[np.float32]:
    sigma = (0, *(BLUR_PIXELS for _ in images.shape[1:]))
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(images.astype(np.float32), sigma, mode="nearest")
    return blurred


def _contrast(images: Array) -> NDArray[np.float32]:
    """How much brighter the centre is than most of the patch, [N]."""
    centre = (slice(None), *(side // 2 for side in images.shape[1:]))
    contrast: NDArray[np.float32] = _blurred(images)[centre] - np.median(images.reshape(len(images), -1), axis=1)
    return contrast


def _lesions(bright: NDArray[np.float32]) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Of lesions brighter than their surroundings: level in the middle, diameter, level at the edge, middle [A, N]."""
    shape = bright.shape[1:]
    flat = bright.reshape(len(bright), -1)
    places = np.indices(shape).reshape(len(shape), -1)
    centre = np.array([[side // 2] for side in shape])
    near = np.flatnonzero(np.linalg.norm(places - centre, axis=0) <= max(1.0, REACH * min(shape)))
    middle = near[flat[:, near].argmax(axis=1)]
    level = np.take_along_axis(flat, middle[:, None], axis=1)[:, 0].astype(np.float64)
    edge = (level + np.quantile(flat, BACKGROUND, axis=1)) / 2
    lengths = _rays(bright, edge, places[:, middle])
    return level, 2 * np.quantile(lengths, COUNTED, axis=1), edge, places[:, middle]


def _rays(bright: NDArray[np.float32], edge: Floats, start: NDArray[np.intp]) -> Floats:
    """How far one can go from ``start`` [A, N] in each direction until it is no brighter than ``edge``, [N, R]."""
    shape = bright.shape[1:]
    steps = np.arange(0, np.linalg.norm(shape) + STEP_PIXELS, STEP_PIXELS)
    away = np.rint(_directions(len(shape))[:, :, None] * steps).astype(np.intp)
    points = start[:, :, None, None] + away[:, None]  # [A, N, R, S]
    limits = np.array(shape)[:, None, None, None]
    inside = ((points >= 0) & (points < limits)).all(axis=0)
    at = (np.arange(len(bright))[:, None, None], *points.clip(0, limits - 1))
    within = inside & (bright[at] > edge[:, None, None])
    within[..., -1] = False  # the last step lies outside, wherever it started
    lengths: Floats = within.argmin(axis=2) * STEP_PIXELS
    return lengths


def _directions(axes: int) -> Floats:
    """Unit vectors in all directions, evenly, [A, R]; in space by the golden angle."""
    number = np.arange(RAYS)
    if axes == 2:
        angle = 2 * np.pi * number / RAYS
        return np.stack([np.sin(angle), np.cos(angle)])
    height = 1 - (2 * number + 1) / RAYS
    angle = np.pi * (1 + np.sqrt(5)) * number
    return np.stack([height, *(np.sqrt(1 - height**2) * [np.sin(angle), np.cos(angle)])])
