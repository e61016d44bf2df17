"""The shape of a lesion.

The surface is an ellipsoid whose radius is raised by rounded bumps (lobulation); thin tapered strands may leave it
(spiculation). The radius is scaled so that the axial section through the middle has the area of a circle of
``diameter_mm``: the size that a contour on the largest slice measures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from lesionforge.data.phantom.grid import Array, Grid, Vector
from lesionforge.data.phantom.tubes import Tubes

Wanted = Sequence[tuple[str, float]]  # label of each lesion, and the quantile of its diameter
LOBE_WIDTH = 18.0  # concentration of a bump about its direction (of a von Mises–Fisher density)


@dataclass(frozen=True)
class Shape:
    """A closed surface about ``centre_mm`` (x, y, z) and its strands."""

    centre_mm: Vector
    diameter_mm: float
    axes: NDArray[np.float64]  # [3, 3]: stretches and turns a direction before its radius is measured
    lobes: NDArray[np.float64]  # [L, 3] directions of the bumps
    lobulation: float  # height of a bump, relative to the radius
    spiculation: float  # 0 (no strands) … 1
    spicules: Tubes

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        centre_mm: Vector,
        diameter_mm: float,
        *,
        lobulation: float,
        spiculation: float,
    ) -> "Shape":
        """Draw elongation and the bumps' directions; ``spiculation`` 0 … 1 sets number and length of strands."""
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        lobes = rng.normal(size=(int(rng.integers(10, 21)), 3))
        return cls(
            centre_mm=centre_mm,
            diameter_mm=diameter_mm,
            axes=turn @ np.diag(np.exp(rng.normal(0, 0.2, 3))) @ turn.T,
            lobes=lobes / np.linalg.norm(lobes, axis=1, keepdims=True),
            lobulation=lobulation,
            spiculation=spiculation,
            spicules=_spicules(rng, centre_mm, diameter_mm / 2, spiculation),
        )

    @cached_property
    def radius_mm(self) -> float:
        """Radius before elongation and bumps."""
        turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        flat = self._relative_radius(np.cos(turn), np.sin(turn), np.zeros_like(turn))
        return float(self.diameter_mm / 2 / np.sqrt((flat**2).mean()))

    @property
    def reach_mm(self) -> float:
        """No point of the surface is farther from the centre."""
        stretch = 1 / np.linalg.eigvalsh(self.axes).min()
        # Bumps are highest at, or between, their directions; between two they gain less than a fourth.
        highest = 1.25 * np.exp(LOBE_WIDTH * (self.lobes @ self.lobes.T - 1)).sum(axis=1).max()
        return float(self.radius_mm * stretch * (1 + self.lobulation * highest))

    def distance(self, grid: Grid) -> Array:
        """Distance beyond the surface along the ray from the centre, negative inside, [Z, Y, X]."""
        return self.beyond(*(p - np.float32(c) for p, c in zip(grid.points, self.centre_mm, strict=True)))

    def beyond(self, x: Array, y: Array, z: Array) -> Array:
        """As `distance`, of points relative to the centre, in mm; any shapes that broadcast."""
        length = np.sqrt(x**2 + y**2 + z**2) + np.float32(1e-6)
        relative = self._relative_radius(x / length, y / length, z / length)
        beyond: Array = (length - np.float32(self.radius_mm) * relative).astype(np.float32)
        return beyond

    def _relative_radius(self, x: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
        """Radius in the direction (x, y, z), of length 1, relative to ``radius_mm``."""
        stretched = [a[0] * x + a[1] * y + a[2] * z for a in self.axes.astype(x.dtype)]
        length = np.sqrt(stretched[0] ** 2 + stretched[1] ** 2 + stretched[2] ** 2)
        radius = 1 / np.maximum(length, x.dtype.type(0.05))  # the centre itself has no direction
        bumps = sum(np.exp(LOBE_WIDTH * (x * u + y * v + z * w - 1)) for u, v, w in self.lobes.astype(x.dtype))
        return np.asarray(radius * (1 + self.lobulation * bumps), dtype=x.dtype)


def _spicules(rng: np.random.Generator, centre_mm: Vector, radius_mm: float, spiculation: float) -> Tubes:
    count = int(rng.poisson(40 * spiculation))
    away = rng.normal(size=(count, 3))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    reach = radius_mm * (1 + (0.4 + spiculation) * rng.uniform(0.3, 1.2, (count, 1)))
    width = rng.uniform(0.35, 0.75, count)
    return Tubes(centre_mm + 0.6 * radius_mm * away, centre_mm + reach * away, 1.3 * width, 0.3 * width)


@dataclass(frozen=True)
class Sizes:
    """Diameters of lesions: log-normal, cut to a range."""

    median_mm: float
    spread: float  # standard deviation of the logarithm
    range_mm: tuple[float, float]

    def quantile(self, share: float) -> float:
        """Diameter that this share of lesions, 0 … 1, does not exceed."""
        low, high = ndtr(np.log(np.divide(self.range_mm, self.median_mm)) / self.spread)
        return float(self.median_mm * np.exp(self.spread * ndtri(low + share * (high - low))))


def clearance(places_mm: NDArray[np.float64], diameter_mm: float, others: Iterable[Shape]) -> NDArray[np.float64]:
    """Room in mm, [N], that a lesion at each of these places [N, 3] would leave to the nearest other one."""
    room = np.full(len(places_mm), np.inf)
    for other in others:
        gap = np.linalg.norm(places_mm - other.centre_mm, axis=1)
        room = np.minimum(room, gap - 0.65 * (diameter_mm + other.diameter_mm))
    return room
