import numpy as np
import pytest

from lesionforge.data.geometry import Geometry
from lesionforge.data.patch_at import patch_at
from lesionforge.data.scan import Scan
from lesionforge.errors import LesionForgeError


@pytest.fixture(scope="module")
def scan():
    """Voxels that say where they lie: HU falls with x, y and z."""
    z, y, x = np.indices((12, 40, 50))
    voxels = (-100 * z - y - x).astype(np.int16)
    return Scan(voxels, Geometry((12, 40, 50), (2.5, 0.8, 0.8), (10.0, -20.0, 5.0)), patient="p", name="s")


def point(scan, index):
    return tuple(scan.geometry.to_world(index).tolist())


def test_a_slice_on_the_scans_own_pixels_where_they_fit(scan):
    for spacing in ((), ((0.5, 0.9), (0.5, 0.9))):
        found = patch_at(scan, point(scan, (5, 20, 25)), shape=(8, 8), spacing_mm=spacing)
        np.testing.assert_array_equal(found.images[0], scan.voxels[5, 16:24, 21:29])
        np.testing.assert_allclose(found.spacing_mm, 0.8)
        position = found.table[["position_x_mm", "position_y_mm", "position_z_mm"]].to_numpy()[0]
        np.testing.assert_allclose(position, point(scan, (5, 20, 25)))
        assert (found.unit, found.labels.tolist(), found.patients.tolist()) == ("HU", [""], ["p"])


def test_pixels_of_another_size_are_brought_to_the_nearest_that_was_learnt(scan):
    found = patch_at(scan, point(scan, (5, 20, 25)), shape=(8, 8), spacing_mm=((0.4, 0.4), (0.4, 0.6)))
    np.testing.assert_allclose(found.spacing_mm, [[0.4, 0.6]])
    assert found.images[0, 4, 4] == scan.voxels[5, 20, 25]


def test_a_block(scan):
    found = patch_at(scan, point(scan, (5, 20, 25)), shape=(4, 8, 8), spacing_mm=((2.0, 3.0), (0.7, 0.9), (0.7, 0.9)))
    np.testing.assert_array_equal(found.images[0], scan.voxels[3:7, 16:24, 21:29])
    cubic = patch_at(scan, point(scan, (5, 20, 25)), shape=(4, 8, 8), spacing_mm=((1.0, 1.0),) * 3)
    np.testing.assert_allclose(cubic.spacing_mm, 1)


def test_beyond_the_border_there_is_air(scan):
    found = patch_at(scan, point(scan, (0, 0, 0)), shape=(8, 8))
    assert (found.images[0, :4] == -1000).all()
    np.testing.assert_array_equal(found.images[0, 4:, 4:], scan.voxels[0, :4, :4])


@pytest.mark.parametrize("outside", [(0.0, 0.0, 500.0), (np.nan, 0.0, 10.0), (np.inf, 0.0, 0.0)], ids=str)
def test_a_point_outside_is_told_where_the_scan_reaches(scan, outside):
    with pytest.raises(LesionForgeError, match=r"x 10\.0 to 49\.2; y -20\.0 to 11\.2; z 5\.0 to 32\.5 mm"):
        patch_at(scan, outside, shape=(8, 8))
