"""What cuts patches out of scans. One way is one file in `lesionforge.data.cutting`; the folder is the registry.

A cutter is a frozen dataclass whose fields are its settings. Everything it draws at random comes from the generator
that it is given, seeded for each scan, so that the patches do not depend on the order of the scans.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.geometry import Point
from lesionforge.data.scan import Lesion, Scan


@dataclass(frozen=True, eq=False)
class Cut:
    """One patch.

    Parameters
    ----------
    lesion
        What it shows; None: nothing that anybody marked.
    image
        [y, x] or [z, y, x] in the scan's unit.
    mask
        As the image; None: unknown.
    spacing_mm
        Of each axis of the image, slowest first.
    position_mm
        Of the image's centre voxel ``n // 2`` (x, y, z).
    columns
        What else the table says of it. ``label`` replaces the lesion's.
    """

    lesion: Lesion | None
    image: NDArray[Any]
    mask: NDArray[np.bool_] | None
    spacing_mm: tuple[float, ...]
    position_mm: Point
    columns: Mapping[str, Any] = field(default_factory=dict)


class Cutter(ABC):
    """A way to cut patches."""

    paper: ClassVar[str] = ""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Pixels of every patch, [y, x] or [z, y, x]."""

    @abstractmethod
    def cut(
        self, scan: Scan, lesions: Sequence[Lesion], *, marks: Sequence[Lesion], rng: np.random.Generator
    ) -> Iterator[Cut]:
        """Yield patches of ``shape``.

        Parameters
        ----------
        scan
            Canonical.
        lesions
            Those to show.
        marks
            Every finding that anybody marked in the scan, among them ``lesions``.

        Raises
        ------
        UnfitDataError
            This scan cannot be cut in this way; others can.
        """


class SliceCutter(Cutter):
    """A way to cut square patches from slices; ``size`` is a field of every one."""

    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of every patch, [y, x]."""
        return self.size, self.size
