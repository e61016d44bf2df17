"""Voxels and points under any direction matrix."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Annotations, Lesion, Scan
from lesionforge.errors import LesionForgeError


@st.composite
def geometries(draw):
    """Any right-angled grid, left- or right-handed, with its axes in any order."""
    numbers = st.floats(-1, 1, allow_nan=False)
    quaternion = draw(st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 0.1))
    axes = Rotation.from_quat(quaternion).as_matrix() * draw(st.sampled_from([1, -1]))
    return Geometry(
        shape=tuple(draw(st.integers(1, 6)) for _ in range(3)),
        spacing_mm=tuple(draw(st.floats(0.2, 9)) for _ in range(3)),
        origin_mm=tuple(draw(st.floats(-600, 600)) for _ in range(3)),
        direction=tuple(map(tuple, axes.tolist())),
    )


def _scan(geometry):
    voxels = np.arange(np.prod(geometry.shape)).reshape(geometry.shape)
    return Scan(voxels, geometry, patient="one", name="scan")


@given(geometry=geometries(), index=st.tuples(*[st.floats(-20, 20)] * 3))
@settings(deadline=None)
def test_world_and_index_undo_each_other_and_agree_with_simpleitk(geometry, index):
    point = geometry.to_world(index)
    assert np.allclose(geometry.to_index(point), index, rtol=0, atol=1e-9)
    image = sitk.Image(geometry.shape[::-1], sitk.sitkInt16)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(np.array(geometry.direction)[::-1].T.ravel())
    theirs = image.TransformContinuousIndexToPhysicalPoint(index[::-1])
    assert np.allclose(point, theirs, rtol=0, atol=1e-9)
    assert bool(geometry.contains(point)) == bool(
        np.all((np.array(index) >= -0.5) & (np.array(index) < np.array(geometry.shape) - 0.5))
    ) or np.isclose(np.abs(np.array(index) % 1 - 0.5).min(), 0, atol=1e-9)


@given(geometry=geometries())
@settings(deadline=None)
def test_a_canonical_scan_keeps_every_voxel_where_it_was(geometry):
    scan = _scan(geometry)
    canonical = scan.canonical()
    index = np.array(list(np.ndindex(canonical.voxels.shape)))
    source = np.rint(geometry.to_index(canonical.geometry.to_world(index))).astype(int)
    assert np.array_equal(scan.voxels[tuple(source.T)], canonical.voxels.ravel())
    again = canonical.canonical()
    assert again.geometry == canonical.geometry
    assert np.array_equal(again.voxels, canonical.voxels)
    assert canonical.geometry.orientation == "LPS"


def test_orientations_are_named_as_simpleitk_names_them():
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            axes = np.eye(3)[list(order)] * np.array(signs)[:, None]
            ours = Geometry((2, 3, 4), (1, 1, 1), (0, 0, 0), tuple(map(tuple, axes.tolist())))
            theirs = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(axes[::-1].T.ravel())
            assert ours.orientation == theirs


@given(geometry=geometries(), spacing=st.tuples(*[st.floats(0.3, 5)] * 3))
@settings(deadline=None)
def test_another_spacing_covers_the_same_space(geometry, spacing):
    other = geometry.with_spacing(spacing)
    middle = [g.to_world((np.array(g.shape) - 1) / 2) for g in (geometry, other)]
    assert np.allclose(*middle, atol=1e-6)
    assert other.spacing_mm == spacing
    for before, after, step in zip(geometry.extent_mm, other.extent_mm, spacing, strict=True):
        assert abs(before - after) <= max(step / 2 + 1e-9, step - before)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"shape": (0, 2, 2)}, "voxels along"),
        ({"spacing_mm": (1, 0, 1)}, "above 0"),
        ({"spacing_mm": (1, float("nan"), 1)}, "above 0"),
        ({"origin_mm": (0, float("inf"), 0)}, "finite"),
        ({"direction": ((0, 0, 1), (0, 1, 0), (1, 0, 0.2))}, "right angles"),
        ({"direction": ((0, 0, 1), (0, 1, 0), (float("nan"), 0, 0))}, "right angles"),
    ],
)
def test_a_grid_that_is_none_is_refused(wrong, says):
    right = {"shape": (2, 2, 2), "spacing_mm": (1, 1, 1), "origin_mm": (0, 0, 0)}
    with pytest.raises(LesionForgeError, match=says):
        Geometry(**right | wrong)


def test_another_spacing_must_be_one():
    with pytest.raises(LesionForgeError, match="above 0"):
        Geometry((2, 2, 2), (1, 1, 1), (0, 0, 0)).with_spacing((0, 1, 1))


def test_a_lesion_measured_from_its_mask():
    geometry = Geometry((9, 9, 9), (2.0, 0.5, 0.5), (10.0, 20.0, 30.0))
    mask = np.zeros((3, 4, 4), dtype=bool)
    mask[1, 1:3, 1:3] = True
    lesion = Lesion.from_mask(mask, (2, 1, 0), geometry, name="one")
    assert lesion.position_mm == (10.75, 21.25, 36.0)
    assert lesion.diameter_mm == pytest.approx(2 * np.sqrt(4 * 0.25 / np.pi))
    assert lesion.extent_mm(geometry) == (2.0, 1.0, 1.0)
    window = lesion.mask_within((3, 3, 0), (1, 2, 9))
    assert window.sum() == 2
    assert window[0, 0, 1:3].all()
    assert not lesion.mask_within((8, 8, 8), (1, 1, 1)).any()
    row = Annotations("p", "s", geometry, (lesion,), {"kernel": "B"}).table().iloc[0]
    assert (row["lesion"], row["kernel"], row["extent_z_mm"], row["slice_spacing_mm"]) == ("one", "B", 2.0, 2.0)
    with pytest.raises(LesionForgeError, match="empty"):
        Lesion.from_mask(np.zeros((1, 1, 1), dtype=bool), (0, 0, 0), geometry, name="none")
