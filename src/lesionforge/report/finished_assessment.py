"""What an assessment left on disk, as its page reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lesionforge.data.hounsfield import window_named
from lesionforge.errors import StorageError
from lesionforge.evaluation.assessments.assessment import FORMAT, VERSION
from lesionforge.evaluation.tables import read_table
from lesionforge.report.rendering import Picture, save_picture
from lesionforge.storage import read_json, read_manifest


@dataclass(frozen=True, eq=False)
class FinishedAssessment:
    """What an assessment left, as it lies on disk: all that its page may know."""

    path: Path
    config: dict[str, Any]
    results: dict[str, Any]
    provenance: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "FinishedAssessment":
        """Read the folder; raise StorageError if it is no assessment's."""
        config = read_manifest(path / "config.json", of="an assessment", format_=FORMAT, version=VERSION)
        others = (read_json(path / f"{name}.json", of="an assessment") for name in ("results", "provenance"))
        return cls(path, config, *others)

    @property
    def asked(self) -> dict[str, Any]:
        """What was compared, and how."""
        return dict(self.config["asked"])

    @property
    def numbers(self) -> dict[str, Any]:
        """Results as numbers."""
        return dict(self.results["numbers"])

    def table(self, name: str) -> pd.DataFrame:
        """One of its tables."""
        return read_table(self.path / "tables" / f"{name}.csv")

    def has(self, name: str) -> bool:
        """Whether it left that table."""
        return (self.path / "tables" / f"{name}.csv").is_file()

    def grey(self, name: str) -> NDArray[np.float32]:
        """One of its plates as the window shows it, in [0, 1]; of volumes the middle slices."""
        file = self.path / "plates" / f"{name}.npy"
        try:
            images = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StorageError(f"{file} must be a NumPy array, but {error}.") from error
        images = images if len(self.asked["shape"]) == 2 else images[..., images.shape[-3] // 2, :, :]
        return window_named(self.asked["window"], unit=self.asked["unit"]).to_unit_interval(images)

    def drawn(self, name: str, figure: Figure, alt: str) -> Picture:
        """Keep a figure in the folder and for the page."""
        return save_picture(self.path / "figures" / name, figure, alt)
