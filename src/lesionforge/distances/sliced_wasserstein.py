"""Sliced Wasserstein distance between small neighbourhoods of two sets of images, for each resolution.

T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive growing of GANs for improved quality, stability, and variation",
ICLR 2018, section 5; the measure of quality in Wang et al. 2020. Images are taken apart into a Laplacian pyramid (P.
Burt, E. Adelson, IEEE Transactions on Communications 31, 1983), whose levels hold structures of one size each: the
finest edges and noise, the coarsest what is left at 16×16 pixels. From each level neighbourhoods are drawn, at the same
places of both sets, and normalised over their own set: how bright and strong a level is does not count, what it looks
like does. Between clouds of numbers the Wasserstein distance is found by sorting, and so the neighbourhoods are
projected on many random directions, and the distances averaged.

Two sets of one kind are not at distance 0, but the nearer to it the more images they hold: hold a distance against that
of two sets of real images of the same number. Karras's tables show it times 1000.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from lesionforge.errors import LesionForgeError

# N images, H W pixels, M neighbourhoods of F = 49 pixels, D directions

Images = NDArray[np.generic]
Numbers = NDArray[np.float32]

SIDE = 7  # of a neighbourhood, in pixels
COARSEST_PIXELS = 16
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16  # along each axis, where every second pixel is taken
CHUNK_IMAGES = 256
CHUNK_PROJECTIONS = 2**24  # held at a time: 64 MiB of each set


def sliced_wasserstein(
    first: Images,
    second: Images,
    *,
    images: int = 16_384,
    neighbourhoods: int = 128,
    directions: int = 512,
    seed: int = 0,
) -> dict[int, float]:
    """Compare two sets of images, [N, H, W] and [N', H, W], in any unit; the defaults are published.

    Parameters
    ----------
    images
        So many are drawn from each set, as many from both: fewer if one of them holds fewer.
    neighbourhoods
        Of each image and level. Those of one level are held: 0.8 GB as published.

    Returns
    -------
    The distance by the shorter side of each level, in pixels: that of the images and halves of it down to 16. The same
    images in the same order are at 0; lower is nearer.

    Raises
    ------
    LesionForgeError
        The sets are not of one shape of 7×7 pixels or more, empty, or not finite.
    """
    _check(first, second)
    count, shapes = min(images, len(first), len(second)), _shapes(first.shape[1:])
    drawn = [_drawn(each, count, seed) for each in (first, second)]
    distances = {}
    for level, shape in enumerate(shapes):
        rng = np.random.default_rng([seed, level])
        corners = np.stack([rng.integers(0, side - SIDE + 1, (count, neighbourhoods)) for side in shape])
        one, other = (_descriptors(each, level, corners, is_coarsest=level == len(shapes) - 1) for each in drawn)
        distances[min(shape)] = _mean_distance(one, other, directions, rng)
    return distances


def reduced(images: Numbers) -> Numbers:
    """Smooth, and take every second pixel along both axes, [N, H, W] → [N, ⌈H/2⌉, ⌈W/2⌉]; mirrored at the borders."""
    return _smoothed(images, BINOMIAL)[:, ::2, ::2]


def expanded(images: Numbers, shape: tuple[int, ...]) -> Numbers:
    """Put pixels between those of `reduced` images, [N, ⌈H/2⌉, ⌈W/2⌉] → [N, H, W]."""
    between = np.zeros((len(images), *shape), np.float32)
    between[:, ::2, ::2] = images
    return _smoothed(between, 2 * BINOMIAL)


def laplacian(images: Numbers, level: int, *, is_coarsest: bool) -> Numbers:
    """Return one level of the pyramid: what halving loses there, or at the coarsest all that is left."""
    for _ in range(level):
        images = reduced(images)
    return images if is_coarsest else images - expanded(reduced(images), images.shape[1:])


def _check(first: Images, second: Images) -> None:
    fitting = first.ndim == 3 and first.shape[1:] == second.shape[1:] and min(first.shape[1:]) >= SIDE
    if not fitting or not len(first) or not len(second):
        raise LesionForgeError(
            f"sliced Wasserstein distances need two sets of 2-D images of one shape, {SIDE}×{SIDE} pixels or more, but "
            f"{first.shape} and {second.shape} came."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise LesionForgeError("sliced Wasserstein distances need finite values, but NaN or infinity came.")


def _shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    shapes = [shape]
    while min(shapes[-1]) >= 2 * COARSEST_PIXELS:
        shapes.append(tuple(-(-side // 2) for side in shapes[-1]))
    return shapes


def _drawn(images: Images, count: int, seed: int) -> Images:
    """Return ``count`` of the images, of two sets as large the same ones."""
    return images[np.sort(np.random.default_rng(seed).permutation(len(images))[:count])]


def _descriptors(images: Images, level: int, corners: NDArray[np.int64], *, is_coarsest: bool) -> Numbers:
    """Neighbourhoods of a level at ``corners`` (y and x of each, [2, N, per image]), normalised over all, [M, F]."""
    per_image = corners.shape[2]
    descriptors = np.empty((len(images), per_image, SIDE, SIDE), np.float32)
    for start in range(0, len(images), CHUNK_IMAGES):
        rows = slice(start, start + CHUNK_IMAGES)
        pixels = laplacian(images[rows].astype(np.float32), level, is_coarsest=is_coarsest)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(1, 2))
        descriptors[rows] = windows[np.arange(len(pixels))[:, None], corners[0, rows], corners[1, rows]]
    descriptors -= descriptors.mean(dtype=np.float64)
    spread = descriptors.std(dtype=np.float64)
    descriptors /= spread or 1  # images without any structure have none to compare
    return descriptors.reshape(-1, SIDE**2)


def _mean_distance(one: Numbers, other: Numbers, directions: int, rng: np.random.Generator) -> float:
    """Mean over random directions of the Wasserstein distance of both projections."""
    axes = rng.normal(size=(directions, SIDE**2))
    axes = (axes / np.linalg.norm(axes, axis=1, keepdims=True)).astype(np.float32)
    total, step = 0.0, max(1, CHUNK_PROJECTIONS // len(one))
    for start in range(0, directions, step):
        projected = [axes[start : start + step] @ each.T for each in (one, other)]
        for each in projected:
            each.sort(axis=1)
        total += float(np.abs(projected[0] - projected[1]).sum(dtype=np.float64))
    return total / (directions * len(one))


def _smoothed(images: Numbers, weights: NDArray[np.float64]) -> Numbers:
    for axis in (1, 2):
        images = correlate1d(images, weights, axis=axis, mode="mirror")
    return images
