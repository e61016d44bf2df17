"""Rotation, flips, translation and scaling, composed as matrices: a chain costs one interpolation.

A step's matrix *pulls*: it takes a position in the result to the position in the source that is shown there,
both in pixels (z, y, x) from the lesion's pixel (see `resampling`). Tissue that first turned and then shifted
is found by undoing the shift and then the turn, so a chain's matrices multiply in the order of its steps.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.augment.resampling import resample
from lesionforge.augment.transform import Array, Pixels, Shape, Transform, known_diameters
from lesionforge.data.patch_table import AXES
from lesionforge.errors import LesionForgeError

Axes = tuple[str, ...]


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
    """Turn in the axial plane, anticlockwise as displayed, by a uniform angle."""

    low_deg: float = 0.0
    high_deg: float = 180.0

    columns = ("rotation_deg",)

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw an angle for each lesion."""
        return pd.DataFrame({"rotation_deg": rng.uniform(self.low_deg, self.high_deg, len(diameter_px))})

    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """Undo the turn."""
        angle = np.deg2rad(parameters["rotation_deg"].to_numpy(dtype=np.float64))
        # Rounded to 15 digits so that quarter turns are exact.
        cosine, sine = np.round(np.cos(angle), 15), np.round(np.sin(angle), 15)
        pull, y, x = _identities(len(parameters), axes), axes.index("y"), axes.index("x")
        pull[:, y, y], pull[:, y, x] = cosine, sine
        pull[:, x, y], pull[:, x, x] = -sine, cosine
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

    A shift lies in ±``up_to_px``, and in ±``up_to_diameters`` lesion diameters where that is given.
    """

    up_to_px: float = 4.0
    up_to_diameters: float | None = None
    axes: Axes = ("y", "x")

    @property
    def columns(self) -> tuple[str, ...]:
        """One for each of ``axes``."""
        return tuple(f"translate_{axis}_px" for axis in self.axes)

    def sample(self, diameter_px: NDArray[np.float64], *, rng: np.random.Generator) -> pd.DataFrame:
        """Draw a shift along each axis for each lesion."""
        limit = np.full(len(diameter_px), self.up_to_px)
        if self.up_to_diameters is not None:
            limit = np.minimum(limit, self.up_to_diameters * known_diameters(diameter_px, by=type(self).__name__))
        return pd.DataFrame({name: rng.uniform(-limit, limit) for name in self.columns})

    def pull(self, parameters: pd.DataFrame, axes: Axes) -> NDArray[np.float64]:
        """Undo the shift."""
        if unknown := sorted(set(self.axes) - set(axes)):
            raise LesionForgeError(f"tissue can shift along {', '.join(axes)}, but {', '.join(unknown)} came.")
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


def _identities(count: int, axes: Sequence[str]) -> NDArray[np.float64]:
    return np.tile(np.eye(len(axes) + 1), (count, 1, 1))
