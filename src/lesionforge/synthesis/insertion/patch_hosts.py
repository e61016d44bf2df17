"""Patches as hosts: each a small scan of its own, with the lesion that its mask marks, or none."""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.exposure import Exposure
from lesionforge.data.geometry import Geometry
from lesionforge.data.patches import Patches
from lesionforge.data.scan import Annotations, Lesion, Scan
from lesionforge.data.source import Case
from lesionforge.errors import LesionForgeError


@dataclass(frozen=True, eq=False)
class PatchCase(Case):
    """One row of a set."""

    name: str
    patches: Patches
    row: int

    @property
    def exposure(self) -> Exposure:
        """The row's."""
        return self.patches.rows([self.row]).exposure

    def annotations(self) -> Annotations:
        """Take the mask for the only lesion."""
        patient, geometry = str(self.patches.patients[self.row]), self._geometry
        mask = None if self.patches.masks is None else self.patches.masks[self.row].reshape(geometry.shape) > 0
        known = mask is not None and mask.any()
        lesions = (Lesion.from_mask(mask, (0, 0, 0), geometry, name="1"),) if mask is not None and known else ()
        return Annotations(patient, self.name, geometry, lesions)

    def scan(self) -> Scan:
        """Take the patch for a scan; a slice is 1 mm thick."""
        voxels = np.asarray(self.patches.images[self.row]).reshape(self._geometry.shape)
        return Scan(voxels, self._geometry, str(self.patches.patients[self.row]), self.name, self.patches.unit)

    @property
    def _geometry(self) -> Geometry:
        flat = (1,) * (3 - len(self.patches.shape))
        z, y, x = map(float, np.concatenate([flat, self.patches.spacing_mm[self.row]]))
        depth, height, width = (*flat, *self.patches.shape)
        return Geometry((depth, height, width), (z, y, x), (0.0, 0.0, 0.0))


def patch_cases(patches: Patches) -> list[PatchCase]:
    """Return every row as a host.

    Raises
    ------
    LesionForgeError
        Their spacing is not known.
    """
    if np.isnan(patches.spacing_mm).any():
        raise LesionForgeError("patches that lesions are put into must have a spacing: ingest them with it.")
    names = [f"{row}-{pixels}" for row, pixels in enumerate(patches.table["source_pixels"])]
    return [PatchCase(name, patches, row) for row, name in enumerate(names)]
