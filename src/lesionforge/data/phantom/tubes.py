"""Branching tubes: blood vessels, airways and a lesion's spicules.

Trees are grown by volume-filling branching (Tawhai et al. 2000, "Generation of an anatomically based
three-dimensional model of the conducting airways", Ann Biomed Eng 28:793): the points to be supplied are split
by a plane, and a branch grows a part of the way to the centre of each half, until each point has its own.
Radii follow Murray's law (1926): a parent's radius cubed is the sum of its children's cubed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.phantom.grid import Array, Grid

Points = NDArray[np.float64]  # [N, 3], (x, y, z) in mm


@dataclass(frozen=True)
class Tubes:
    """N straight tubes that taper from ``start_radius_mm`` to ``end_radius_mm``."""

    start_mm: Points
    end_mm: Points
    start_radius_mm: NDArray[np.float64]
    end_radius_mm: NDArray[np.float64]

    @classmethod
    def none(cls) -> "Tubes":
        """No tubes."""
        return cls(np.empty((0, 3)), np.empty((0, 3)), np.empty(0), np.empty(0))

    @classmethod
    def together(cls, tubes: "Sequence[Tubes]") -> "Tubes":
        """All of these tubes."""
        return cls(*(np.concatenate([getattr(each, field.name) for each in tubes]) for field in fields(cls)))

    def __len__(self) -> int:
        return len(self.start_mm)

    def rows(self, selection: NDArray[np.generic]) -> "Tubes":
        """Return these tubes alone."""
        return Tubes(
            self.start_mm[selection],
            self.end_mm[selection],
            self.start_radius_mm[selection],
            self.end_radius_mm[selection],
        )

    def near(self, grid: Grid) -> "Tubes":
        """Return the tubes whose bounding box meets the grid's."""
        reach = np.maximum(self.start_radius_mm, self.end_radius_mm)[:, None] + grid.edge_mm
        below = np.maximum(self.start_mm, self.end_mm) + reach < np.array(grid.first_mm)[::-1]
        above = np.minimum(self.start_mm, self.end_mm) - reach > np.array(grid.last_mm)[::-1]
        return self.rows(np.flatnonzero(~(below | above).any(axis=1)))

    def coverage(self, grid: Grid) -> Array:
        """Share of each sample inside any tube, [Z, Y, X]."""
        share = np.zeros(grid.shape, dtype=np.float32)
        near = self.near(grid)
        for start, end, start_radius, end_radius in zip(
            near.start_mm, near.end_mm, near.start_radius_mm, near.end_radius_mm, strict=True
        ):
            middle, half = (start + end) / 2, np.abs(end - start) / 2
            window = grid.window(middle, half + max(start_radius, end_radius) + grid.edge_mm)
            if window is not None:
                inside = _tube_coverage(grid.cut(window), start, end, (start_radius, end_radius))
                np.maximum(share[window], inside, out=share[window])
        return share


def _tube_coverage(grid: Grid, start: Points, end: Points, radii_mm: tuple[float, float]) -> Array:
    x, y, z = grid.points
    x, y, z = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
    axis = (end - start).astype(np.float32)
    along = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / np.float32(axis @ axis), 0, 1)
    squared = (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (z - along * axis[2]) ** 2
    radius = np.float32(radii_mm[0]) + along * np.float32(radii_mm[1] - radii_mm[0])
    edge = np.float32(grid.edge_mm)
    # A tube thinner than the sampling fills no sample whole: its peak falls with its cross-section.
    peak = np.minimum((2 * radius / edge) ** 2, 1)
    return peak * np.clip((radius - np.sqrt(squared)) / edge + np.float32(0.5), 0, 1)  # type: ignore[no-any-return]


def grow_tree(root_mm: Points, leaves_mm: Points, *, leaf_radius_mm: float, rng: np.random.Generator) -> Tubes:
    """Grow a tree from ``root_mm`` [3] to every one of ``leaves_mm`` [N, 3], all branches of a level at once."""
    branch = np.zeros(len(leaves_mm), dtype=np.int64)  # the branch that supplies each leaf still unreached
    leaves, tips = leaves_mm, root_mm[None]
    starts, ends, supplied = [], [], []
    while len(leaves):
        side = _split(leaves, branch, tips, rng)
        parents_and_sides, branch = np.unique(2 * branch + side, return_inverse=True)
        count = np.bincount(branch)
        centre = _means(leaves, branch, count)
        origin = tips[parents_and_sides // 2]
        reach = np.where(count == 1, 1.0, rng.uniform(0.35, 0.5, len(count)))[:, None]
        tips = origin + reach * (centre - origin)
        starts.append(origin)
        ends.append(tips)
        supplied.append(count)
        leaves, branch = leaves[count[branch] > 1], branch[count[branch] > 1]
    radius = leaf_radius_mm * np.cbrt(np.concatenate(supplied).astype(np.float64))
    return _bent(np.concatenate(starts), np.concatenate(ends), radius, rng)


def _split(leaves: Points, branch: NDArray[np.int64], tips: Points, rng: np.random.Generator) -> NDArray[np.int64]:
    """Side, 0 or 1, of each leaf of a plane through its branch's centre and along its branch."""
    count = np.bincount(branch, minlength=len(tips)).clip(1)
    centre = _means(leaves, branch, count)
    heading = centre - tips
    heading /= np.linalg.norm(heading, axis=1, keepdims=True).clip(1e-9)
    offset = leaves - centre[branch]
    across = offset - (offset * heading[branch]).sum(axis=1, keepdims=True) * heading[branch]
    spread = _means(across**2, branch, count)
    normal = np.eye(3)[spread.argmax(axis=1)] + rng.normal(0, 0.3, (len(tips), 3))
    side: NDArray[np.int64] = ((across * normal[branch]).sum(axis=1) > 0).astype(np.int64)
    return side


def _means(values: Points, group: NDArray[np.int64], count: NDArray[np.int64]) -> Points:
    totals = [np.bincount(group, weights=column, minlength=len(count)) for column in values.T]
    return np.stack(totals, axis=1) / count[:, None]


def _bent(start: Points, end: Points, radius: NDArray[np.float64], rng: np.random.Generator) -> Tubes:
    """Two tubes for each branch, meeting a little off the straight line: vessels are never straight."""
    length = np.linalg.norm(end - start, axis=1, keepdims=True)
    middle = (start + end) / 2 + rng.normal(0, 0.06, start.shape) * length
    return Tubes(
        np.concatenate([start, middle]),
        np.concatenate([middle, end]),
        np.concatenate([radius, 0.93 * radius]),
        np.concatenate([0.93 * radius, 0.86 * radius]),
    )
