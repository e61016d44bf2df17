"""The outline that a lesion is asked to have, and where outlines come from.

A perfect ball gives an inserted lesion away: real ones are lobed, flattened and drawn out. So what is asked for is an
*outline* of the wanted diameter, drawn at random: bodies computed as the phantom's lesions are (`Lobed`), or real
lesions' masks, turned and scaled (`traced.Traced`); or it is given (`traced.Given`). A painter that follows masks
fills it; one whose checkpoint erases a sphere takes the size from it.

A diameter is that of the circle with the area of the largest axial section, as it is of `data.scan.Lesion`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.exposure import Exposure
from lesionforge.data.phantom.shapes import Shape
from lesionforge.synthesis.insertion.sites import LONGEST, Site

TRIES = 20  # outlines drawn before a ball is taken
DIRECTIONS, BETWEEN_DIRECTIONS = 2000, 1.02  # in which a body is measured, and how much farther it may reach between
MOST_LOBED = 0.6  # height of a bump, of the radius; with it long and round axes have the medians of real nodules' masks

Mask = NDArray[np.bool_]
Offsets = NDArray[np.float64]  # [..., 3] along (z, y, x) of the scan's axes, in mm, from a lesion's site


class Outline(ABC):
    """A closed surface about a lesion's site."""

    @property
    @abstractmethod
    def reach_mm(self) -> float:
        """No point of it is farther from the site."""

    @abstractmethod
    def holds(self, offsets_mm: Offsets) -> Mask:
        """Tell which places lie inside, [..., 3] → [...]."""


@dataclass(frozen=True)
class Ball(Outline):
    """A ball."""

    diameter_mm: float

    @property
    def reach_mm(self) -> float:
        """Its radius."""
        return self.diameter_mm / 2

    def holds(self, offsets_mm: Offsets) -> Mask:
        """Tell which places lie inside."""
        inside: Mask = (offsets_mm**2).sum(axis=-1) <= self.reach_mm**2
        return inside


@dataclass(frozen=True)
class Joined(Outline):
    """Two outlines about one site, together."""

    one: Outline
    other: Outline

    @property
    def reach_mm(self) -> float:
        """Of the farther one."""
        return max(self.one.reach_mm, self.other.reach_mm)

    def holds(self, offsets_mm: Offsets) -> Mask:
        """Tell which places lie inside either."""
        return self.one.holds(offsets_mm) | self.other.holds(offsets_mm)


class Outlines(ABC):
    """Where outlines come from."""

    @property
    @abstractmethod
    def id(self) -> str:
        """Says which they are; it differs where the outlines may."""

    @property
    def exposure(self) -> Exposure:
        """Whose lesions they are taken from."""
        return Exposure()

    @abstractmethod
    def candidates(self, site: Site, label: str, rng: np.random.Generator) -> Iterator[Outline]:
        """Yield outlines of the site's diameter for a lesion of this class; the first that fits is taken."""


@dataclass(frozen=True)
class Balls(Outlines):
    """Nothing but balls: to measure with, not to look like lesions."""

    @property
    def id(self) -> str:
        """Its name."""
        return "balls"

    def candidates(self, site: Site, label: str, rng: np.random.Generator) -> Iterator[Outline]:
        """Give the ball of the site's diameter."""
        del label, rng
        yield Ball(site.diameter_mm)


@dataclass(frozen=True)
class Lobed(Outlines):
    """Ellipsoids with rounded bumps, computed; as round, as long and as lobed as real nodules are, by and large."""

    most_lobed: float = MOST_LOBED

    @property
    def id(self) -> str:
        """Its name and setting."""
        return f"lobed-{self.most_lobed:g}"

    def candidates(self, site: Site, label: str, rng: np.random.Generator) -> Iterator[Outline]:
        """Draw lobed bodies, and a ball if none is short enough."""
        del label
        for _ in range(TRIES):
            lobulation = float(rng.uniform(0, self.most_lobed))
            body = _Body(Shape.drawn(rng, np.zeros(3), site.diameter_mm, lobulation=lobulation, spiculation=0))
            if body.reach_mm <= LONGEST * site.diameter_mm / 2:
                yield body
        yield Ball(site.diameter_mm)


@dataclass(frozen=True)
class Covering(Outlines):
    """Outlines that besides take in a body at the site: a lesion that is there already and is to be replaced."""

    outlines: Outlines
    body: Outline

    @property
    def id(self) -> str:
        """That of the outlines."""
        return f"{self.outlines.id}, covering"

    @property
    def exposure(self) -> Exposure:
        """That of the outlines."""
        return self.outlines.exposure

    def candidates(self, site: Site, label: str, rng: np.random.Generator) -> Iterator[Outline]:
        """Draw outlines, and join each with the body."""
        return (Joined(each, self.body) for each in self.outlines.candidates(site, label, rng))


@dataclass(frozen=True, eq=False)
class _Body(Outline):
    shape: Shape

    @cached_property
    def reach_mm(self) -> float:
        x, y, z = np.asarray(_directions(DIRECTIONS).T, np.float32)
        longest_mm = float((1 - self.shape.beyond(x, y, z)).max())
        return longest_mm * BETWEEN_DIRECTIONS

    def holds(self, offsets_mm: Offsets) -> Mask:
        z, y, x = np.moveaxis(np.asarray(offsets_mm, np.float32), -1, 0)
        inside: Mask = self.shape.beyond(x, y, z) <= 0
        return inside


def _directions(count: int) -> NDArray[np.float64]:
    """Points spread evenly over the unit sphere, [count, 3]: on a spiral, each turned on by the golden angle."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn, width = np.pi * (3 - np.sqrt(5)) * np.arange(count), np.sqrt(1 - height**2)
    return np.column_stack([width * np.cos(turn), width * np.sin(turn), height])
