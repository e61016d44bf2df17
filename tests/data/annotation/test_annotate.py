"""An annotation on the disk: whole or absent, and measured as one would by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from lesionforge.data.annotation.annotate import annotate, measures
from lesionforge.data.annotation.region_growing import Growing, grow
from lesionforge.data.formats.volume_file import read_voxels
from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError, StorageError

SPACING_MM = (2.0, 0.8, 0.8)


@pytest.fixture
def scan():
    shape = (20, 60, 60)
    z, y, x = np.ogrid[-10:10, -30:30, -30:30]
    inside = (z * 2.0) ** 2 + (y * 0.8) ** 2 + (x * 0.8) ** 2 <= 6.0**2
    voxels = np.where(inside, 20, -850).astype(np.int16)
    return Scan(voxels, Geometry(shape, SPACING_MM, (-80.0, 15.0, -240.0)), patient="Doe^John", name="s")


@pytest.fixture
def middle(scan):
    return tuple(map(float, scan.geometry.to_world((10, 30, 30))))


def test_the_folder_holds_mask_measures_and_picture(scan, middle, tmp_path):
    returned = annotate(scan, middle, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["lesion.json", "mask.nii.gz", "picture.png"]
    mask, geometry = read_voxels(tmp_path / "out" / "mask.nii.gz")
    lesion = grow(scan, middle)
    canonical = Scan(mask, geometry, patient="", name="", unit="").canonical()
    np.testing.assert_array_equal(canonical.voxels, lesion.mask_within((0, 0, 0), scan.voxels.shape))
    np.testing.assert_allclose(canonical.geometry.origin_mm, scan.geometry.origin_mm, atol=1e-4)
    text = (tmp_path / "out" / "lesion.json").read_text()
    assert json.loads(text) == returned
    assert "Doe" not in text
    assert returned["position_mm"] == pytest.approx(middle, abs=0.5)
    assert returned["volume_mm3"] == pytest.approx(lesion.mask.sum() * np.prod(SPACING_MM))
    assert returned["settings"]["level"] == 0.5
    with Image.open(tmp_path / "out" / "picture.png") as picture:
        assert picture.mode == "RGB"


def test_settings_are_used(scan, middle, tmp_path):
    plain = annotate(scan, middle, tmp_path / "a", settings=Growing(margin_mm=0))
    assert plain["diameter_mm"] == pytest.approx(12.0, abs=0.5)
    assert annotate(scan, middle, tmp_path / "b")["diameter_mm"] > plain["diameter_mm"]


def test_what_exists_is_not_overwritten_unless_asked(scan, middle, tmp_path):
    annotate(scan, middle, tmp_path / "out")
    with pytest.raises(StorageError, match="must not exist yet"):
        annotate(scan, middle, tmp_path / "out")
    annotate(scan, middle, tmp_path / "out", overwrite=True)


def test_where_nothing_grows_nothing_is_left(scan, middle, tmp_path):
    with pytest.raises(LesionForgeError, match="brighter than the lung"):
        annotate(scan, (middle[0] + 15, middle[1], middle[2]), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def lesion_of(plane, spacing_mm=(2.5, 0.5, 0.5)):
    geometry = Geometry((1, *plane.shape), spacing_mm, (0.0, 0.0, 0.0))
    return Lesion.from_mask(plane[np.newaxis], (0, 0, 0), geometry, name="drawn"), geometry


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 137])
def test_the_axes_of_an_ellipse(degrees):
    y, x = (np.mgrid[:121, :121] - 60) * 0.5
    turn = np.deg2rad(degrees)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    sizes = measures(*lesion_of((along / 20) ** 2 + (across / 9) ** 2 <= 1))
    assert sizes["long_axis_mm"] == pytest.approx(40, abs=1)
    assert sizes["short_axis_mm"] == pytest.approx(18, abs=1)
    assert sizes["diameter_mm"] == pytest.approx(2 * np.sqrt(20 * 9), rel=0.01)
    assert sizes["extent_z_mm"] == 2.5


def test_a_single_voxel_and_a_line_have_sizes():
    plane = np.zeros((9, 9), dtype=bool)
    plane[4, 4] = True
    assert measures(*lesion_of(plane))["long_axis_mm"] == pytest.approx(0.5)
    plane[4, 2:7] = True
    sizes = measures(*lesion_of(plane))
    assert sizes["long_axis_mm"] == pytest.approx(2.5)
    assert sizes["short_axis_mm"] == pytest.approx(0.5)
    assert sizes["volume_mm3"] == pytest.approx(5 * 0.5 * 0.5 * 2.5)


def test_an_island_in_the_slice_does_not_lengthen_the_axis():
    plane = np.zeros((20, 40), dtype=bool)
    plane[5:15, 5:15] = True
    plane[9:11, 30:32] = True
    assert measures(*lesion_of(plane))["long_axis_mm"] < 10 * 0.5 * np.sqrt(2) + 0.1
