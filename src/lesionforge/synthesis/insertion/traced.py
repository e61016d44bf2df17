"""Outlines of real lesions, by their masks: drawn at random for whatever lesion, or given for one.

A mask becomes a signed distance, so that it can be turned and scaled without staircases. One of a slice alone is taken
for the middle of a body whose other sections are of the same form and shrink as a ball's do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.exposure import Exposure
from lesionforge.data.formats.label_volume import LabelVolume
from lesionforge.data.geometry import Geometry
from lesionforge.data.patches import Patches
from lesionforge.data.scan import Lesion
from lesionforge.errors import LesionForgeError
from lesionforge.storage import digest
from lesionforge.synthesis.insertion.outlines import TRIES, Ball, Mask, Offsets, Outline, Outlines
from lesionforge.synthesis.insertion.sites import LONGEST, Site

AROUND = 2  # voxels about a mask's box
LIKE = 32  # lesions of the nearest diameters, among which one is drawn: small ones are drawn in coarser steps


@dataclass(frozen=True, eq=False)
class Tracing(Outline):
    """A mask's outline, turned and scaled.

    Parameters
    ----------
    depth_mm
        [z, y, x], of the mask's voxels: below its surface, negative outside.
    spacing_mm, centre
        Of these voxels, and the index that comes to lie at the site.
    turn
        [3, 3], from offsets (z, y, x) in the scan to the mask's axes.
    scale
        How many times as large as the mask the outline is.
    """

    depth_mm: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    centre: NDArray[np.float64]
    turn: NDArray[np.float64]
    scale: float

    @classmethod
    def of(cls, mask: Mask, spacing_mm: Sequence[float] | NDArray[np.float64]) -> "Tracing":
        """Trace a mask [z, y, x], as it lies and as large as it is."""
        padded = np.pad(mask, AROUND)
        inside, outside = (ndimage.distance_transform_edt(each, sampling=spacing_mm) for each in (padded, ~padded))
        centre = np.argwhere(padded).mean(axis=0)
        return cls(np.asarray(inside - outside), np.asarray(spacing_mm, np.float64), centre, np.eye(3), 1.0)

    @cached_property
    def reach_mm(self) -> float:
        """Of the outermost voxels' corners."""
        corners = (np.argwhere(self.depth_mm > 0) - self.centre) * self.spacing_mm
        return self.scale * float(np.linalg.norm(corners, axis=1).max() + np.linalg.norm(self.spacing_mm) / 2)

    def holds(self, offsets_mm: Offsets) -> Mask:
        """Tell which places lie inside."""
        index = offsets_mm @ self.turn.T / self.scale / self.spacing_mm + self.centre
        depth = ndimage.map_coordinates(self.depth_mm, index.reshape(-1, 3).T, order=1, mode="nearest")
        inside: Mask = depth.reshape(index.shape[:-1]) > 0
        return inside


@dataclass(frozen=True, eq=False)
class Traced(Outlines):
    """Outlines of lesions with masks, each turned about the long axis of the body, mirrored at random, and scaled.

    Of those of the wanted class, where they have it, one is drawn among the `LIKE` nearest in diameter. Lesions that
    their patch cuts off are left out.

    Raises
    ------
    LesionForgeError
        They lack masks or spacing, or none lies wholly in its patch.
    """

    lesions: Patches

    def __post_init__(self) -> None:
        if self.lesions.masks is None or np.isnan(self.lesions.spacing_mm).any() or not len(self._whole):
            raise LesionForgeError(
                "outlines are taken from lesions with masks, whole ones, and a spacing, but these have none: ingest "
                "them from scans with masks, in larger patches if need be."
            )

    @property
    def id(self) -> str:
        """Digest of the lesions."""
        return f"traced-{self.lesions.digest}"

    @property
    def exposure(self) -> Exposure:
        """The lesions' patients."""
        return self.lesions.exposure

    @cached_property
    def _whole(self) -> NDArray[np.int64]:
        """Rows whose masks mark something and do not reach their patch's sides."""
        assert self.lesions.masks is not None
        whole = []
        for row, mask in enumerate(self.lesions.masks):
            sides = [np.take(mask, end, axis=axis).any() for axis in range(mask.ndim) for end in (0, -1)]
            if mask.any() and not any(sides):
                whole.append(row)
        return np.array(whole, np.int64)

    @cached_property
    def _diameters_mm(self) -> NDArray[np.float64]:
        """Of `_whole`."""
        assert self.lesions.masks is not None
        sections = [self.lesions.masks[row].sum(axis=(-2, -1)).max() for row in self._whole]
        areas = np.array(sections) * self.lesions.spacing_mm[self._whole, -2:].prod(axis=1)
        return np.asarray(2 * np.sqrt(areas / np.pi))

    def candidates(self, site: Site, label: str, rng: np.random.Generator) -> Iterator[Outline]:
        """Draw lesions' outlines, and a ball if none is short enough."""
        of_class = self.lesions.labels[self._whole] == label
        known = np.flatnonzero(of_class if of_class.any() else np.ones_like(of_class))
        apart = np.abs(np.log(self._diameters_mm[known] / site.diameter_mm))
        near = known[np.argsort(apart, kind="stable")[:LIKE]]
        for number in rng.permutation(near)[:TRIES]:
            outline = self._turned(int(self._whole[number]), site.diameter_mm, rng)
            if outline.reach_mm <= LONGEST * site.diameter_mm / 2:
                yield outline
        yield Ball(site.diameter_mm)

    def _turned(self, row: int, diameter_mm: float, rng: np.random.Generator) -> Tracing:
        assert self.lesions.masks is not None
        mask, spacing_mm = self.lesions.masks[row] > 0, self.lesions.spacing_mm[row]
        body, sides = _swollen(mask, spacing_mm) if mask.ndim == 2 else (mask, spacing_mm)
        pieces, _ = ndimage.label(body)
        body = pieces == np.bincount(pieces[pieces > 0]).argmax()
        traced = Tracing.of(body, sides)
        own_mm = Lesion.from_mask(body, (0, 0, 0), Geometry(body.shape, _point(sides), (0, 0, 0)), name="").diameter_mm
        about = Rotation.from_euler("x", rng.uniform(0, 2 * np.pi)).as_matrix()  # the first axis, which is z here
        mirrored = np.diag([rng.choice((-1.0, 1.0)), rng.choice((-1.0, 1.0)), 1.0])
        return Tracing(traced.depth_mm, traced.spacing_mm, traced.centre, about @ mirrored, diameter_mm / own_mm)


@dataclass(frozen=True, eq=False)
class Given(Outlines):
    """Outlines that lie in the scan already, each of the lesion that is to grow there.

    Parameters
    ----------
    outlines
        Of every site.
    """

    outlines: Mapping[Site, Outline]

    @property
    def id(self) -> str:
        """Digest of the outlines."""
        parts = [each.depth_mm.round(3).tolist() for each in self.outlines.values() if isinstance(each, Tracing)]
        return f"given-{digest(parts)}"

    def candidates(self, site: Site, label: str, rng: np.random.Generator) -> Iterator[Outline]:
        """Give the one of the site."""
        del label, rng
        yield self.outlines[site]


def given(file: Path, geometry: Geometry) -> tuple[tuple[Site, ...], Given]:
    """Read a mask that lies on a scan's grid: a lesion for each value, or each part of it, about its middle.

    Raises
    ------
    LesionForgeError
        It lies on another grid, holds other than labels, or marks nothing.
    """
    lesions, _ = LabelVolume().read(file, geometry)
    if not lesions:
        raise LesionForgeError(f"{file} must mark where lesions are to be, but marks nothing.")
    outlines: dict[Site, Outline] = {}
    for lesion in lesions:
        assert lesion.mask is not None
        outlines[Site(lesion.position_mm, lesion.diameter_mm)] = Tracing.of(lesion.mask, geometry.spacing_mm)
    return tuple(outlines), Given(outlines)


def _swollen(mask: Mask, spacing_mm: NDArray[np.float64]) -> tuple[Mask, NDArray[np.float64]]:
    """Make a body of its middle section [y, x]: mask [z, y, x] and spacing (z, y, x)."""
    section = Tracing.of(mask[np.newaxis], (1.0, *spacing_mm))
    step = float(spacing_mm.mean())
    radius_mm = float(np.sqrt(mask.sum() * spacing_mm.prod() / np.pi))
    heights = np.arange(-np.floor(radius_mm / step), np.floor(radius_mm / step) + 1) * step
    places = np.moveaxis(np.indices(mask.shape, dtype=np.float64), 0, -1)
    offsets = (places - np.argwhere(mask).mean(axis=0)) * spacing_mm
    flat = np.concatenate([np.zeros((*mask.shape, 1)), offsets], axis=-1)
    widths = np.sqrt(1 - np.clip(np.abs(heights) / radius_mm, 0, 0.999) ** 2)
    return np.stack([section.holds(flat / width) for width in widths]), np.array([step, *spacing_mm])


def _point(sides: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = map(float, sides)
    return z, y, x
