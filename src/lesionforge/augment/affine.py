"""Rotation, flips, translation and scaling, composed as matrices: a chain costs one interpolation.

A step's matrix *pulls*: it takes a position in the result to the position in the source that is shown there,
both in pixels (z, y, x) from the lesion's pixel (see `resampling`). Tissue that first turned and then shifted
is found by undoing the shift and then the turn, so a chain's matrices multiply in the order of its steps.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.augment.resampling import resample
from lesionforge.augment.transform import Array, Axes, Pixels, Shape, Transform, check_order, known_diameters
from lesionforge.data.patch_table import AXES
from lesionforge.errors import LesionForgeError


@dataclass(frozen=True)
class Affine(Transform):
    """A transform that moves tissue and leaves intensities alone."""

    @abstractmethod
    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """[N, A+1, A+1] matrices from the result to the source, for N rows of parameters."""

    def apply(self, images: Array, masks: Array | None, parameters: pd.DataFrame) -> Pixels:
        """Move tissue by `pull`, with one interpolation."""
        self.check(parameters, len(images))
        shape = images.shape[1:]
        pull = self.pull(parameters, AXES[len(shape)])
        if not np.isfinite(pull).all():
            raise LesionForgeError(
                f"{', '.join(self.columns)} must be finite numbers in every row: leave out the rows that no transform "
                "made."
            )
        return resample(images, masks, pull, shape=self.output_shape(shape))


@dataclass(frozen=True)
class Rotate(Affine):
    """Turn about an axis by a uniform angle, anticlockwise as displayed: ``z`` turns the axial plane.

    Volumes of even spacing can also turn about ``y`` and ``x``; what is displayed is then [z, x] and [z, y].
    """

    low_deg: float = 0.0
    high_deg: float = 180.0
    about: Literal["z", "y", "x"] = "z"

    def __post_init__(self) -> None:
        check_order(self.low_deg, self.high_deg, of="a turn's degrees")

    @property
    def columns(self) -> tuple[str, ...]:
        """One, named after the axis unless that is ``z``."""
        return ("rotation_deg" if self.about == "z" else f"rotation_{self.about}_deg",)

    @property
    def square_axes(self) -> Axes:
        """The plane that is turned."""
        return tuple(axis for axis in AXES[3] if axis != self.about)

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw an angle for each lesion."""
        return pd.DataFrame({self.columns[0]: rng.uniform(self.low_deg, self.high_deg, len(diameter_px))})

    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """Undo the turn."""
        _check_axes(self.square_axes, axes)
        angle = np.deg2rad(parameters[self.columns[0]].to_numpy(dtype=np.float64))
        # Rounded to 15 digits so that quarter turns are exact.
        cosine, sine = np.round(np.cos(angle), 15), np.round(np.sin(angle), 15)
        pull, (down, right) = _identities(len(parameters), axes), map(axes.index, self.square_axes)
        pull[:, down, down], pull[:, down, right] = cosine, sine
        pull[:, right, down], pull[:, right, right] = -sine, cosine
        return pull


@dataclass(frozen=True)
class Flip(Affine):
    """Reverse axes: one of ``ways``, each the names of the axes that are reversed ("" for none)."""

    ways: tuple[str, ...] = ("", "y", "x", "yx")

    columns = ("flip",)

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw a way for each lesion."""
        return pd.DataFrame({"flip": rng.choice(self.ways, len(diameter_px))}, dtype="str")

    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """Undo the flip."""
        ways = parameters["flip"].tolist()
        if unknown := [way for way in ways if not isinstance(way, str) or not set(way) <= set(axes)]:
            raise LesionForgeError(
                f"flip must be made of the axes {', '.join(axes)} (empty: none), but {unknown[0]!r} came."
            )
        pull = _identities(len(ways), axes)
        for i, axis in enumerate(axes):
            pull[:, i, i] = [-1.0 if axis in way else 1.0 for way in ways]
        return pull


@dataclass(frozen=True)
class Translate(Affine):
    """Shift tissue along ``axes`` by uniform numbers of pixels.

    A shift lies in ±``up_to_px``, and in ±``up_to_diameters`` lesion diameters where that is given; it is at least
    ``at_least_px`` either way.
    """

    up_to_px: float = 4.0
    up_to_diameters: float | None = None
    axes: Axes = ("y", "x")
    at_least_px: float = 0.0

    def __post_init__(self) -> None:
        check_order(0, self.at_least_px, self.up_to_px, of="a shift's pixels")

    @property
    def columns(self) -> tuple[str, ...]:
        """One for each of ``axes``."""
        return tuple(f"translate_{axis}_px" for axis in self.axes)

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw a shift along each axis for each lesion."""
        limit = np.full(len(diameter_px), self.up_to_px)
        if self.up_to_diameters is not None:
            limit = np.minimum(limit, self.up_to_diameters * known_diameters(diameter_px, by=type(self).__name__))
        beyond = np.maximum(limit - self.at_least_px, 0)
        drawn = {name: rng.uniform(-beyond, beyond) for name in self.columns}
        return pd.DataFrame({name: shift + np.copysign(self.at_least_px, shift) for name, shift in drawn.items()})

    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """Undo the shift."""
        _check_axes(self.axes, axes)
        pull = _identities(len(parameters), axes)
        for axis, name in zip(self.axes, self.columns, strict=True):
            pull[:, axes.index(axis), -1] = -parameters[name].to_numpy(dtype=np.float64)
        return pull


@dataclass(frozen=True)
class Zoom(Affine):
    """Show tissue ``scale`` times larger along every axis; how that is drawn is for subclasses to say."""

    columns = ("scale",)

    def magnification(self, parameters: pd.DataFrame) -> NDArray[np.float64]:
        """Return the scale, which must be above 0."""
        scale = parameters["scale"].to_numpy(dtype=np.float64)
        if not (scale > 0).all():
            raise LesionForgeError(f"scale must be above 0 (1 changes nothing), but {scale.min()} came.")
        return scale

    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """Undo the magnification."""
        pull = _identities(len(parameters), axes)
        pull[:, :-1, :-1] /= self.magnification(parameters)[:, None, None]
        return pull


@dataclass(frozen=True)
class Scale(Zoom):
    """Magnify by a uniform factor."""

    low: float = 0.8
    high: float = 1.2

    def __post_init__(self) -> None:
        check_order(0, self.low, self.high, of="a scale")

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw a factor for each lesion."""
        return pd.DataFrame({"scale": rng.uniform(self.low, self.high, len(diameter_px))})


@dataclass(frozen=True)
class WidenMargin(Zoom):
    """Show more tissue around the lesion: each side of the region moves out by a uniform number of diameters.

    A region of ``roi_px`` pixels widened by s on each side is shown again on ``roi_px`` pixels: its scale is
    roi_px / (roi_px + 2s).
    """

    low_diameters: float = 0.1
    high_diameters: float = 0.4
    roi_px: int = 64

    def __post_init__(self) -> None:
        check_order(0, self.low_diameters, self.high_diameters, of="a margin's diameters")

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw a margin for each lesion."""
        margin = known_diameters(diameter_px, by=type(self).__name__) * rng.uniform(
            self.low_diameters, self.high_diameters, len(diameter_px)
        )
        return pd.DataFrame({"scale": self.roi_px / (self.roi_px + 2 * margin)})


@dataclass(frozen=True)
class Chain(Affine):
    """Steps one after the other, interpolated once; then the middle ``output_size`` pixels (None: all).

    A patch larger than ``output_size`` brings in true tissue at the corners of a rotated result.
    """

    steps: tuple[Affine, ...] = (Rotate(), Flip(), Translate(), Scale())
    output_size: int | Shape | None = None

    def __post_init__(self) -> None:
        if len(set(self.columns)) < len(self.columns):
            raise LesionForgeError(
                f"steps must have different parameters, but together they have {', '.join(self.columns)}: "
                "use one step of a kind."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every step's, in order."""
        return tuple(name for step in self.steps for name in step.columns)

    @property
    def square_axes(self) -> Axes:
        """Every step's."""
        return tuple(axis for axis in AXES[3] if any(axis in step.square_axes for step in self.steps))

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw every step's parameters, side by side."""
        return pd.concat([step.sample(diameter_px, rng=rng) for step in self.steps], axis=1)

    def output_shape(self, shape: Shape) -> Shape:
        """Return ``output_size`` for every axis; it must fit inside ``shape``."""
        if self.output_size is None:
            return shape
        sizes = (self.output_size,) * len(shape) if isinstance(self.output_size, int) else self.output_size
        if len(sizes) != len(shape) or any(not 0 < m <= n for m, n in zip(sizes, shape, strict=False)):
            raise LesionForgeError(f"the result must fit inside patches of {shape} pixels, but {sizes} came.")
        return sizes

    def magnification(self, parameters: pd.DataFrame) -> NDArray[np.float64]:
        """Multiply the steps' magnifications."""
        return reduce(np.multiply, (step.magnification(parameters) for step in self.steps))

    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """Undo every step, the last one first."""
        return reduce(np.matmul, (step.pull(parameters, axes) for step in self.steps))


def _check_axes(named: Axes, axes: Axes) -> None:
    if unknown := sorted(set(named) - set(axes)):
        raise LesionForgeError(f"tissue can move along {', '.join(axes)}, but {', '.join(unknown)} came.")


def _identities(count: int, axes: Sequence[str]) -> NDArray[np.float64]:
    return np.tile(np.eye(len(axes) + 1), (count, 1, 1))
