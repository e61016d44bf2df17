"""Lungs found in the phantom, whose own are known, in real series, and in scans without any."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk

from lesionforge.data.formats.volume_file import from_sitk, read_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.lungs import lungs
from lesionforge.data.phantom import phantom_scan
from lesionforge.data.phantom.population import Population
from lesionforge.data.scan import Scan
from lesionforge.errors import UnfitDataError

SPACING_MM = (5.0, 2.0, 2.0)


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.fixture(scope="module")
def chest():
    """A scan, the lungs that were drawn in it, and its nodules."""
    phantom = phantom_scan("lung", patient=1, seed=3, spacing_mm=SPACING_MM, shape=(32, 150, 196))
    scan = Scan(phantom.hu, Geometry(phantom.hu.shape, SPACING_MM, phantom.origin_mm), patient="p", name="s")
    x, y, z = np.moveaxis(scan.geometry.to_world(np.stack(np.indices(scan.voxels.shape), -1)), -1, 0).astype(np.float32)
    drawn = Population("lung", seed=3).patient(1).anatomy.chest.lung_distance(x, y, z) < 0
    return scan, drawn, phantom.mask


def test_lungs_are_those_that_were_drawn(chest):
    scan, drawn, nodules = chest
    found = lungs(scan)
    assert found.dtype == bool
    assert dice(found, drawn) > 0.99
    assert found[nodules > 0].mean() > 0.9  # they are at the pleura, too
    middle = scan.voxels.shape[2] // 2
    assert min(found[..., :middle].sum(), found[..., middle:].sum()) > 0.3 * found.sum()  # two


def test_the_windpipe_is_no_lung(chest):
    scan, _, _ = chest
    x, y, z = (round(i) for i in scan.geometry.to_index((0, 8, 60))[::-1])  # where the phantom has it
    assert scan.voxels[z, y, x] < -950
    assert not lungs(scan)[z, y, x]


def test_some_slices_or_one_are_enough(chest):
    scan, drawn, _ = chest
    middle = scan.voxels.shape[0] // 2
    for few in (slice(middle, middle + 1), slice(middle - 3, middle + 3)):
        part = replace(
            scan,
            voxels=scan.voxels[few],
            geometry=scan.geometry.cut((few.start, 0, 0), scan.voxels[few].shape),
        )
        assert dice(lungs(part), drawn[few]) > 0.99


def test_padding_around_the_field_of_view_changes_nothing(chest):
    scan, _, _ = chest
    y, x = np.indices(scan.voxels.shape[1:])
    _, rows, columns = scan.voxels.shape
    outside = np.hypot(y - rows / 2, x - columns / 2) > columns / 2
    padded = np.where(outside, np.int16(-3024), scan.voxels)
    assert (padded != scan.voxels).any()
    np.testing.assert_array_equal(lungs(replace(scan, voxels=padded)), lungs(scan))


@pytest.mark.parametrize("width_mm", [10, 18])
def test_most_of_a_nodule_on_the_pleura_becomes_lung(chest, width_mm):
    scan, drawn, _ = chest
    section, y = (n // 2 for n in scan.voxels.shape[:2])
    x = np.flatnonzero(drawn[section, y])[0]  # the outer surface of one lung
    rows, columns = np.indices(scan.voxels.shape[1:])
    disc = np.hypot(rows - y, columns - x) * SPACING_MM[1] <= width_mm / 2
    voxels = scan.voxels.copy()
    voxels[section][disc] = 40
    assert lungs(replace(scan, voxels=voxels))[section][disc & drawn[section]].mean() > 0.5


@pytest.mark.parametrize("nodule_mm", [10, 30])
def test_a_nodule_inside_a_lung_becomes_lung(chest, nodule_mm):
    scan, drawn, _ = chest
    section = scan.voxels.shape[0] // 2
    middle = np.argwhere(drawn[section, :, : scan.voxels.shape[2] // 2]).mean(axis=0)
    rows, columns = np.indices(scan.voxels.shape[1:])
    disc = np.hypot(rows - middle[0], columns - middle[1]) * SPACING_MM[1] <= nodule_mm / 2
    voxels = scan.voxels.copy()
    voxels[section][disc] = 40
    assert lungs(replace(scan, voxels=voxels))[section][disc].all()


def without_lungs():
    phantom = phantom_scan("liver", patient=0, seed=0, spacing_mm=(10.0, 3.0, 3.0), shape=(6, 100, 130))
    below = Scan(phantom.hu, Geometry(phantom.hu.shape, phantom.spacing_mm, phantom.origin_mm), patient="p", name="s")
    gas = below.voxels.copy()
    gas[2:4, 40:60, 40:70] = -1000
    return {
        "abdomen": below,
        "abdomen with gas": replace(below, voxels=gas),
        "air": replace(below, voxels=np.full_like(gas, -1000)),
        "water": replace(below, voxels=np.zeros_like(gas)),
    }


@pytest.mark.parametrize("what", without_lungs())
def test_a_scan_without_lungs_is_refused(what):
    with pytest.raises(UnfitDataError, match="must show lungs") as error:
        lungs(without_lungs()[what])
    assert error.value.reason == "no lung found"


def test_a_scan_in_another_unit_is_refused(chest):
    with pytest.raises(UnfitDataError, match="'u8'") as error:
        lungs(replace(chest[0], unit="u8"))
    assert error.value.reason == "not in HU"


def read_series(folder):
    file = next(file for file in sorted(folder.rglob("*")) if file.suffix != ".xml" and file.is_file())
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(file.parent))
    voxels, geometry = from_sitk(sitk.ReadImage(names))
    return Scan(voxels.astype(np.int16), geometry, patient="p", name="s").canonical()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("patient", "litres"), [("LIDC-IDRI-0001", 0.94), ("LIDC-IDRI-0002", 0.26), ("LIDC-IDRI-0003", 0.81)]
)
def test_lungs_of_real_series_of_a_few_slices(real_data, patient, litres):
    scan = read_series(real_data / "lidc_dicom" / patient)
    found = lungs(scan)
    assert found.sum() * np.prod(scan.geometry.spacing_mm) / 1e6 == pytest.approx(litres, rel=0.05)
    assert np.percentile(scan.voxels[found], 75) < -700  # lung, not chest wall
    assert min(dice(*pair) for pair in pairwise(found)) > 0.93


@pytest.mark.real_data
def test_gut_of_a_real_abdomen_is_no_lung(real_data):
    with pytest.raises(UnfitDataError, match="must show lungs"):
        lungs(read_series(real_data / "abdomen_ct" / "example_ct_dicom"))
    body = lungs(read_volume(real_data / "abdomen_ct" / "example_ct.nii.gz", patient="p", name="s"))
    assert not body[: len(body) * 3 // 4].any()
    assert body[-1].any()  # the base of the lungs
