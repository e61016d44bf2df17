"""Nearest neighbours: has a sample been seen before, in the training set?

A generator that remembers gives back its training images, perhaps flipped or moved a little. So each sample is held
against every training image under flips and small shifts; and because it depends on the lesions how near is
suspicious, so are real patches of patients whom training has not seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.errors import LesionForgeError

# N queries, M references.

Images = NDArray[np.generic]
Numbers = NDArray[np.float64]
Groups = NDArray[np.generic]

CHUNK_QUERIES = 512
CHUNK_REFERENCES = 4096  # compared at a time: 8 MB of distances
SMALLEST = 1e-6  # distance that a ratio is formed with: sets of equal images have none


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest reference of each query."""

    distance: Numbers  # [N], root mean square difference of their values
    index: NDArray[np.intp]  # [N], row of the references


def nearest(
    queries: Images,
    references: Images,
    *,
    flips: bool = False,
    shift: int = 0,
    angles: Sequence[float] = (0.0,),
    unlike: tuple[Groups, Groups] | None = None,
) -> Nearest:
    """Find the nearest of ``references`` [M, *shape] to each of ``queries`` [N, *shape]: pixels, or features [F].

    Parameters
    ----------
    flips
        Also compare with every query mirrored along any of its axes.
    shift
        Also compare with every query moved by so many pixels along any of its axes; borders of that width are left out
        of all comparisons.
    angles
        Compare with every query turned by each of these, in degrees, in the plane of the last two axes. If not all are
        quarter turns, only what lies in the largest circle is compared.
    unlike
        Group of each query [N] and of each reference [M]: none is compared with one of its own group (such as its
        patient). The distance of a query that no reference is left for is infinite.

    Raises
    ------
    LesionForgeError
        There is nothing to compare, or shapes differ or are too small for the shift.
    """
    shape = references.shape[1:]
    if not len(references) or queries.shape[1:] != shape or min(shape) <= 2 * shift:
        raise LesionForgeError(
            f"neighbours need references, and queries of their shape that is larger than twice the shift of {shift}, "
            f"but {queries.shape} and {references.shape} came."
        )
    inner = (slice(None), *(slice(shift, side - shift) for side in shape))
    seen = _seen(references[:1][inner].shape[1:], round_=any(angle % 90 for angle in angles))
    # Distances come from products, which lose digits where values are far from 0.
    offset = np.float32(references[:CHUNK_REFERENCES].mean())
    squared = np.full(len(queries), np.inf)
    index = np.zeros(len(queries), dtype=np.intp)
    for first in range(0, len(references), CHUNK_REFERENCES):
        block = _rows(references[first : first + CHUNK_REFERENCES][inner], seen, offset)
        for start in range(0, len(queries), CHUNK_QUERIES):
            rows = slice(start, start + CHUNK_QUERIES)
            for turned in _turned(queries[rows], angles):
                barred = None if unlike is None else unlike[0][rows, None] == unlike[1][first : first + len(block)]
                for variant in _variants(turned, flips=flips, shift=shift):
                    _keep_nearer(_rows(variant, seen, offset), block, squared[rows], index[rows], first, barred)
    return Nearest(np.sqrt(squared / seen.sum()), index)


@dataclass(frozen=True)
class Copying:
    """How near samples come to training images, beside how near other patients' images do."""

    ratio: float  # of the median distances: 1 where samples are as far from training as other patients are
    share: float  # of samples nearer to training than the nearest of those patients' images, the given share of them


def copying(samples: Numbers, held_out: Numbers, *, nearest_share: float) -> Copying:
    """Compare distances to the nearest training image, [N] of samples and [M] of patients whom training has not seen.

    Of samples that are drawn as patients are, a share of ``nearest_share`` is expected to lie below the limit.
    """
    limit = np.quantile(held_out, nearest_share)
    ratio = np.median(samples) / max(float(np.median(held_out)), SMALLEST)
    return Copying(float(ratio), float((samples < limit).mean()))


def halved(images: Images) -> NDArray[np.float32]:
    """Mean of every 2 pixels along each axis, [N, *shape] → [N, *shape // 2]: structure stays, noise is averaged."""
    for axis in range(1, images.ndim):
        even = images.shape[axis] // 2 * 2
        along = [slice(None)] * images.ndim
        parts = []
        for first in (0, 1):
            along[axis] = slice(first, even, 2)
            parts.append(images[tuple(along)].astype(np.float32))
        images = (parts[0] + parts[1]) / 2
    return np.asarray(images, dtype=np.float32)


def _variants(queries: Images, *, flips: bool, shift: int) -> Iterator[Images]:
    axes = range(1, queries.ndim)
    for mirrored in product((False, True) if flips else (False,), repeat=len(axes)):
        turned = np.flip(queries, tuple(axis for axis, flip in zip(axes, mirrored, strict=True) if flip))
        for moves in product(sorted({0, shift, 2 * shift}), repeat=len(axes)):
            starts = zip(moves, queries.shape[1:], strict=True)
            yield turned[(slice(None), *(slice(start, side - 2 * shift + start) for start, side in starts))]


def _turned(queries: Images, angles: Sequence[float]) -> Iterator[Images]:
    for angle in angles:
        quarters, rest = divmod(angle, 90)
        turned = np.rot90(queries, int(quarters), axes=(-2, -1)) if quarters else queries
        if rest:
            turned = ndimage.rotate(
                turned.astype(np.float32), rest, axes=(-2, -1), reshape=False, order=1, mode="nearest"
            )
        yield turned


def _seen(shape: tuple[int, ...], *, round_: bool) -> NDArray[np.bool_]:
    """Which pixels are compared, [*shape]: all, or those in the largest circle of the last two axes."""
    if not round_:
        return np.ones(shape, dtype=bool)
    y, x = (np.arange(side) - (side - 1) / 2 for side in shape[-2:])
    circle = y[:, None] ** 2 + x**2 <= (min(shape[-2:]) / 2) ** 2
    return np.broadcast_to(circle, shape)


def _rows(images: Images, seen: NDArray[np.bool_], offset: np.float32) -> NDArray[np.float32]:
    return np.asarray(images[:, seen], dtype=np.float32) - offset


def _keep_nearer(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    squared: Numbers,
    index: NDArray[np.intp],
    first: int,
    barred: NDArray[np.bool_] | None,
) -> None:
    """Update squared distances and indices, in place; ``first`` is the number of the first of these references."""
    norms = np.einsum("mp,mp->m", references, references)
    apart = norms - 2 * (queries @ references.T)
    if barred is not None:
        apart[barred] = np.inf
    found = apart.argmin(axis=1)
    # Of the one found it is worked out anew: a copy's distance is 0, and not what rounding left of large numbers.
    exact = ((queries - references[found]).astype(np.float64) ** 2).sum(axis=1)
    if barred is not None:
        exact[barred[np.arange(len(found)), found]] = np.inf  # none was left
    nearer = exact < squared
    squared[nearer], index[nearer] = exact[nearer], first + found[nearer]
