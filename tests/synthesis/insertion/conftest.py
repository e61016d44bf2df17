from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest

from lesionforge.data.exposure import Exposure
from lesionforge.data.geometry import Geometry, Index, Point
from lesionforge.data.patches import Patches
from lesionforge.data.scan import Scan
from lesionforge.synthesis.insertion.painter import Painter


@dataclass(frozen=True)
class FlatPainter(Painter):
    """Paints one value where the masks are: what a trained painter does, as code around it sees it."""

    shape: tuple[int, ...] = (24, 24)
    spacing_mm: tuple[float, ...] = (1.0, 1.0)
    value: float = 40.0
    unit: str = "HU"
    labels: tuple[str, ...] = ("benign", "malignant")
    id = "flat-0123"
    exposure = Exposure.to(["taught"], ["0" * 20])

    def paint(self, hosts: Patches, *, label: str, seed: int) -> Patches:
        assert hosts.shape == self.shape
        assert hosts.masks is not None
        return hosts.with_images(np.where(hosts.masks > 0, np.float32(self.value), hosts.images), hosts.masks)


@pytest.fixture(scope="session")
def flat_painter() -> type[FlatPainter]:
    """Makes painters that need no training: `FlatPainter`."""
    return FlatPainter


def make_chest(shape: Index = (24, 180, 250), spacing_mm: Point = (2.5, 1.2, 1.2), *, patient: str = "host") -> Scan:
    """A body with two lungs, a vessel in each, and noise: enough to find places for lesions in."""
    _, y, x = np.meshgrid(*((np.arange(n) - n // 2) * s for n, s in zip(shape, spacing_mm, strict=True)), indexing="ij")
    hu = np.where((x / 140) ** 2 + (y / 100) ** 2 < 1, 40.0, -1000.0)
    hu[((np.abs(x) - 68) / 50) ** 2 + (y / 75) ** 2 < 1] = -850
    hu[(np.abs(x) - 60) ** 2 + (y - 20) ** 2 < 3.5**2] = 30
    hu += np.random.default_rng(0).normal(0, 20, shape)
    geometry = Geometry(
        shape, spacing_mm, tuple(-(n // 2) * s for n, s in zip(shape[::-1], spacing_mm[::-1], strict=True))
    )
    return Scan(hu.round().astype(np.int16), geometry, patient=patient, name=f"scan of {patient}")


@pytest.fixture(scope="session")
def chest() -> Callable[..., Scan]:
    """Makes small chests: `make_chest`."""
    return make_chest


@pytest.fixture(scope="session")
def dicom_files(module_at: Callable[[str, str], ModuleType]) -> ModuleType:
    """What writes DICOM for the tests of whatever reads it."""
    return module_at("dicom_files", "tests/data/conftest.py")
