"""A chest made of ellipses, and lesions in it."""

import numpy as np
import pytest

from lesionforge.data.geometry import Geometry
from lesionforge.data.hounsfield import as_stored
from lesionforge.data.scan import Lesion, Scan

SPACING_MM = (2.5, 1.5, 1.5)


@pytest.fixture(scope="session")
def chest():
    """A body with two lungs, each voxel of noise unlike its neighbours; it cannot be written to."""
    shape = (20, 120, 160)
    y, x = np.indices(shape[1:])
    voxels = np.full(shape, -1000.0)
    voxels[:, np.hypot((y - 60) / 45, (x - 80) / 70) < 1] = 40
    for middle in (50, 110):
        voxels[:, np.hypot((y - 60) / 34, (x - middle) / 24) < 1] = -850
    voxels += np.random.default_rng(0).normal(0, 12, shape)
    hu = as_stored(voxels)
    hu.flags.writeable = False
    return Scan(hu, Geometry(shape, SPACING_MM, (-120.0, -90.0, 40.0)), patient="p", name="s")


@pytest.fixture(scope="session")
def lesion_at(chest):
    """Makes a lesion of boxes of a number of voxels: ``lesion_at((z, y, x), [(rows, columns), …])``."""

    def make(start, sections, **known):
        shape = len(sections), *np.max(sections, axis=0)
        mask = np.zeros(shape, dtype=bool)
        for section, (rows, columns) in zip(mask, sections, strict=True):
            section[:rows, :columns] = True
        return Lesion.from_mask(mask, start, chest.geometry, name=f"at {start}", **known)

    return make


@pytest.fixture
def cut(chest):
    """Cuts lesions of the chest: ``cut(cutter, lesions)``."""

    def cut(cutter, lesions, *, marks=None, scan=chest, seed=0):
        rng = np.random.default_rng(seed)
        return list(cutter.cut(scan, lesions, marks=lesions if marks is None else marks, rng=rng))

    return cut
