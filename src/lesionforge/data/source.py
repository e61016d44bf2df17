"""What a source of data is. One format is one file in `lesionforge.data.sources`; the folder is the registry.

A source is a frozen dataclass whose fields are its settings (on the command line ``--set key=value``). A
`ScanSource` finds cases: scans with their annotations, opened one by one, in several processes. A `PatchSource`
has patches already.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from lesionforge.data.patches import Patches
from lesionforge.data.scan import Annotations, Scan
from lesionforge.errors import UnfitDataError
from lesionforge.progress import SILENT, Progress


class Case(ABC):
    """One scan with its annotations, not yet opened. It can be sent to another process.

    Attributes
    ----------
    name
        Unlike that of any other case of its source, equal whenever the same data are found again.
    """

    name: str

    @abstractmethod
    def annotations(self) -> Annotations:
        """Read headers and annotations, not voxels.

        Raises
        ------
        UnfitDataError
            This case cannot be used; the others can.
        """

    @abstractmethod
    def scan(self) -> Scan:
        """Read the voxels, on the grid that `annotations` gave."""


@dataclass(frozen=True)
class Skip:
    """Something found that cannot be used: what (a file or case), and why, in words that many skips share."""

    what: str
    reason: str
    message: str = ""

    @classmethod
    def because(cls, what: str, error: UnfitDataError) -> "Skip":
        """Skip for this error."""
        return cls(what, error.reason, str(error))


@dataclass(frozen=True)
class Found:
    """What a source found."""

    cases: Sequence[Case]
    skipped: Sequence[Skip] = ()


class Source(ABC):
    """A format.

    Attributes
    ----------
    precedence
        Where several formats recognise the same path, the highest is taken: a format that holds labels comes before one
        of bare images.
    """

    precedence: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def recognise(cls, path: Path) -> str:
        """Say what of this format lies at ``path`` ("3 CT series with LIDC readings"); empty: nothing. Quick."""

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the source with the settings that lie beside the data, or with its own."""
        del path
        return cls()


class ScanSource(Source):
    """A format of scans with annotations.

    Attributes
    ----------
    usual
        Selection that is meant where none is asked for: not every mark is a lesion.
    """

    usual: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def find(self, path: Path, *, progress: Progress = SILENT) -> Found:
        """Find the cases at ``path``, in an order that does not change.

        Raises
        ------
        LesionForgeError
            There are none, or the settings do not fit.
        """


class PatchSource(Source):
    """A format of patches that are cut already."""

    @abstractmethod
    def patches(self, path: Path, *, progress: Progress = SILENT) -> Patches:
        """Read them.

        Raises
        ------
        LesionForgeError
            They are not what the format says.
        """

    def read(self, path: Path, *, progress: Progress = SILENT) -> tuple[Patches, Sequence[Skip]]:
        """Read them, and what had to be left out: nothing, where a format is one file."""
        return self.patches(path, progress=progress), ()


def counted(skipped: Sequence[Skip]) -> dict[str, int]:
    """How many were skipped for each reason, most first."""
    return dict(Counter(skip.reason for skip in skipped).most_common())
