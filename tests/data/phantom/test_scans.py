"""Whole scans of the phantom: the same patients, the same lesions."""

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from lesionforge.data.hounsfield import AIR_HU
from lesionforge.data.phantom import PhantomScan, phantom_patches, phantom_scan
from lesionforge.data.phantom.grid import Grid
from lesionforge.data.phantom.patches import patch_grid
from lesionforge.data.phantom.population import Population
from lesionforge.errors import LesionForgeError


@pytest.fixture(scope="module", params=["lung", "liver"])
def scan(request: pytest.FixtureRequest) -> PhantomScan:
    return phantom_scan(request.param, patient=1, seed=2, spacing_mm=(5.0, 2.5, 2.5))


def test_scan_lists_the_lesions_that_the_patches_show(scan: PhantomScan) -> None:
    kind = scan.patient.split("-")[1]
    table = phantom_patches(kind, patients=2, seed=2).table
    own = table[table.patient == scan.patient].reset_index(drop=True)
    for column in ("label", "diameter_mm", "position_x_mm", "position_y_mm", "position_z_mm", "attenuation_hu"):
        assert own[column].equals(scan.lesions[column])


def test_mask_holds_each_lesion_where_the_table_says(scan: PhantomScan) -> None:
    z, y, x = scan.spacing_mm
    for row in scan.lesions.to_dict("records"):
        place = np.array([row["position_x_mm"], row["position_y_mm"], row["position_z_mm"]])
        found = np.argwhere(scan.mask == row["lesion"])[:, ::-1] * (x, y, z) + np.array(scan.origin_mm)
        assert len(found) > 0
        assert np.linalg.norm(found.mean(axis=0) - place) < 3 + 0.2 * row["diameter_mm"]
        volume = len(found) * x * y * z
        assert 0.4 < volume / (np.pi / 6 * row["diameter_mm"] ** 3) < 2.5 or row["diameter_mm"] < 10


def test_scan_is_a_body_in_air(scan: PhantomScan) -> None:
    assert scan.hu.dtype == np.int16
    border = np.concatenate([scan.hu[:, 0].ravel(), scan.hu[:, :, 0].ravel()])
    assert abs(np.median(border) - AIR_HU) < 20
    middle = scan.hu[len(scan.hu) // 2]
    assert (middle > 300).sum() > 100  # ribs and spine
    assert 0.15 < (middle > -300).mean() < 0.7
    if "lung" in scan.patient:
        assert ((middle > -960) & (middle < -700)).mean() > 0.12


@pytest.mark.parametrize("kind", ["lung", "liver"])
def test_cut_out_of_the_scan_a_lesion_looks_as_in_its_patch(kind: str) -> None:
    """Without noise, on the scan's own lattice, up to interpolation between its voxels."""
    patient = Population(kind, seed=2).patient(1)
    lesion, scanner = patient.anatomy.lesions[0], patient.scanner
    target = patch_grid(lesion, scanner, (1, 64, 64))
    expected = scanner.reconstruct(patient.anatomy.attenuation, target)[0]
    lattice = Grid.centred(np.zeros(3), (scanner.slice_thickness_mm / 2, 0.6, 0.6), (601, 801, 801))
    reach = np.array([34 * target.spacing_mm[2], 34 * target.spacing_mm[1], scanner.slice_thickness_mm])
    window = lattice.window(lesion.shape.centre_mm, reach)
    assert window is not None
    cut = lattice.cut(window)
    volume = scanner.reconstruct(patient.anatomy.attenuation, cut)
    x, y, z = (axis.ravel() for axis in target.points)
    places = [
        (points - first) / step for points, first, step in zip((z, y, x), cut.first_mm, cut.spacing_mm, strict=True)
    ]
    found = map_coordinates(volume, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")[0]
    inside = lesion.shape.distance(target)[0] <= 0
    spread = expected.std()
    assert np.abs(found - expected)[inside].mean() < 0.15 * spread
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


def test_same_arguments_give_the_same_scan_and_another_patient_another() -> None:
    one, again, other = (
        phantom_scan(patient=number, spacing_mm=(5.0, 3.0, 3.0), shape=(2, 80, 100)) for number in (0, 0, 1)
    )
    assert np.array_equal(one.hu, again.hu)
    assert one.lesions.equals(again.lesions)
    assert not np.array_equal(one.hu, other.hu)
    assert one.origin_mm == (-150.0, -120.0, -5.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "brain"}, "kind of phantom"),
        ({"patient": -1}, "patient must be a number from 0 up"),
        ({"spacing_mm": (0.0, 1.0, 1.0)}, "spacing_mm must be three numbers from"),
        ({"spacing_mm": (1e-3, 1e-3, 1e-3)}, "spacing_mm must be three numbers from"),
        ({"spacing_mm": (1.0, 1e6, 1.0)}, "spacing_mm must be three numbers from"),
        ({"spacing_mm": (1.0, 1.0, float("nan"))}, "spacing_mm must be three numbers from"),
        ({"shape": (4, 0, 4)}, "shape must be three numbers from 1 up"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LesionForgeError, match=message):
        phantom_scan(**arguments)
