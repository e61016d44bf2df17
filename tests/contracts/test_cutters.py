"""What every way to cut must do; a new file in `lesionforge.data.cutting` is tested by existing."""

import dataclasses
import pickle

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data import cutting
from lesionforge.data.cutter import Cutter
from lesionforge.data.geometry import Geometry
from lesionforge.data.hounsfield import AIR_HU, HIGHEST_STORED_HU, LOWEST_STORED_HU
from lesionforge.data.phantom import phantom_scan
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import UnfitDataError
from lesionforge.registry import class_named, names
from lesionforge.settings import from_json, to_json

SPACING_MM = (5.0, 2.5, 2.5)
CUTTERS = {name: class_named(cutting, name, Cutter)() for name in names(cutting)}
pytestmark = pytest.mark.parametrize("cutter", CUTTERS.values(), ids=CUTTERS)


@pytest.fixture(scope="module")
def phantom():
    """A chest of the phantom and its lesions, which are known. The scan cannot be written to."""
    made = phantom_scan(
        "lung", patient=4, seed=3, spacing_mm=SPACING_MM, shape=(24, 120, 156), lesions_per_patient=(3, 3)
    )
    made.hu.flags.writeable = False
    scan = Scan(made.hu, Geometry(made.hu.shape, SPACING_MM, made.origin_mm), patient="p", name="s")
    return scan, lesions_of(made.mask, scan.geometry)


def lesions_of(numbers, geometry):
    """Make a lesion of each number in a map [z, y, x]."""
    lesions = []
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is not None:
            start = tuple(along.start for along in box)
            lesions.append(Lesion.from_mask(numbers[box] == number, start, geometry, name=str(number), label="solid"))
    assert lesions
    return tuple(lesions)


def cuts_of(cutter, scan, lesions, *, marks=None, seed=0):
    return list(cutter.cut(scan, lesions, marks=lesions if marks is None else marks, rng=np.random.default_rng(seed)))


def offsets_mm(cut, spacing_mm):
    """From the centre voxel to every voxel of a cut, [(z,) y, x, 3] in the order (z, y, x)."""
    spacing = (spacing_mm[0], *cut.spacing_mm)[-3:]
    image = cut.image[None] if cut.image.ndim == 2 else cut.image
    index = np.stack(np.indices(image.shape), axis=-1) - [n // 2 for n in image.shape]
    return index * spacing


def check(cutter, cuts):
    assert cuts
    for cut in cuts:
        assert cut.image.shape == cutter.shape
        assert len(cut.spacing_mm) == len(cut.position_mm[-len(cutter.shape) :]) == cut.image.ndim
        assert np.isfinite([*cut.spacing_mm, *cut.position_mm]).all()
        assert all(type(value) is float for value in (*cut.spacing_mm, *cut.position_mm))
        if cut.mask is not None:
            assert cut.mask.shape == cut.image.shape
            assert cut.mask.dtype == bool
        assert 0 <= cut.columns["padded_share"] <= 1
        assert all(type(value) in (int, float, str) for value in cut.columns.values())
    assert len({tuple(cut.columns) for cut in cuts}) == 1  # a table


def equal(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert (one.spacing_mm, one.columns) == (other.spacing_mm, other.columns)


def test_it_has_a_paper_and_settings_that_json_keeps(cutter):
    assert cutter.paper
    assert from_json(type(cutter), to_json(cutter)) == cutter
    assert pickle.loads(pickle.dumps(cutter)) == cutter
    assert cutter.shape[-2] == cutter.shape[-1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        cutter.size = 1


def test_patches_have_its_shape_and_whole_hounsfield_units(cutter, phantom):
    scan, lesions = phantom
    cuts = cuts_of(cutter, scan, lesions)
    check(cutter, cuts)
    assert {cut.lesion.name for cut in cuts if cut.lesion is not None} == {lesion.name for lesion in lesions}
    for cut in cuts:
        assert cut.image.dtype == np.int16
        assert cut.mask.any() == (cut.lesion is not None)


def test_it_cuts_nothing_where_nothing_is_asked_for(cutter, phantom):
    scan, lesions = phantom
    assert cuts_of(cutter, scan, (), marks=lesions) == []


def test_the_same_seed_gives_the_same_patches(cutter, phantom):
    scan, lesions = phantom
    np.random.seed(0)  # noqa: NPY002 (nothing may ask it)
    first = cuts_of(cutter, scan, lesions, seed=5)
    np.random.seed(1)  # noqa: NPY002
    equal(first, cuts_of(cutter, scan, lesions, seed=5))


def test_patches_lie_where_they_say(cutter, phantom):
    """The image is the scan's at the patch's own points, and at no points beside them."""
    scan, lesions = phantom
    smooth = dataclasses.replace(
        scan, voxels=np.rint(ndimage.gaussian_filter(scan.voxels.astype(float), 1.2)).astype(np.int16)
    )
    for cut in cuts_of(cutter, smooth, lesions):
        offset = offsets_mm(cut, SPACING_MM)
        index = smooth.geometry.to_index(np.asarray(cut.position_mm) + offset[..., ::-1])
        inside = smooth.geometry.contains(smooth.geometry.to_world(index))
        assert 1 - inside.mean() == pytest.approx(cut.columns["padded_share"])
        image = cut.image.reshape(inside.shape)
        looked_at = inside & (image != AIR_HU)  # what is not lung may have been taken out

        def error(moved, index=index, image=image, looked_at=looked_at):
            place = np.moveaxis(index + moved, -1, 0)
            there = ndimage.map_coordinates(smooth.voxels.astype(float), place, order=1, mode="mirror")
            return np.abs(image - there)[looked_at].mean()

        assert error((0, 0, 0)) < 8
        for axis in range(3):
            for step in (-1, 1):
                assert error(step * np.eye(3)[axis]) > 2 * error((0, 0, 0)) + 1


def test_masks_lie_on_their_lesions(cutter, phantom):
    scan, lesions = phantom
    for cut in cuts_of(cutter, scan, lesions):
        if cut.lesion is None:
            continue
        marked = offsets_mm(cut, SPACING_MM)[cut.mask.reshape((1, *cut.mask.shape)[-3:])]
        index = np.rint(scan.geometry.to_index(np.asarray(cut.position_mm) + marked[:, ::-1])).astype(int)
        whole = cut.lesion.mask_within((0, 0, 0), scan.voxels.shape)
        assert whole[tuple(index.T)].all()


def test_the_axes_of_the_file_do_not_matter(cutter, phantom):
    scan, lesions = phantom
    z, y, x = scan.geometry.direction
    last = scan.geometry.to_world([0, 0, scan.voxels.shape[2] - 1])
    stored = Geometry(
        tuple(np.array(scan.voxels.shape)[[2, 0, 1]].tolist()),
        (SPACING_MM[2], SPACING_MM[0], SPACING_MM[1]),
        tuple(last.tolist()),
        (tuple(-np.array(x)), z, y),
    )
    sagittal = dataclasses.replace(scan, voxels=scan.voxels[..., ::-1].transpose(2, 0, 1), geometry=stored)
    assert sagittal.geometry.orientation != scan.geometry.orientation
    again = cuts_of(cutter, sagittal.canonical(), lesions)
    expected = cuts_of(cutter, scan, lesions)
    equal(again, expected)
    np.testing.assert_allclose([c.position_mm for c in again], [c.position_mm for c in expected], atol=1e-9)


def test_a_tilted_scan_gives_the_same_pixels_at_its_own_places(cutter, phantom):
    scan, lesions = phantom
    turn = Rotation.from_euler("xyz", (8, -5, 12), degrees=True)
    geometry = dataclasses.replace(
        scan.geometry,
        origin_mm=tuple(turn.apply(scan.geometry.origin_mm).tolist()),
        direction=tuple(map(tuple, turn.apply(scan.geometry.direction).tolist())),
    )
    tilted = dataclasses.replace(scan, geometry=geometry)
    there = [dataclasses.replace(each, position_mm=tuple(turn.apply(each.position_mm).tolist())) for each in lesions]
    upright, turned = cuts_of(cutter, scan, lesions), cuts_of(cutter, tilted, there)
    for before, after in zip(upright, turned, strict=True):
        assert np.abs(before.image.astype(int) - after.image).max() <= 1
        np.testing.assert_allclose(after.position_mm, turn.apply(before.position_mm), atol=1e-6)


def corner_lesion(scan):
    """A lesion in a corner of the middle slice."""
    middle = scan.voxels.shape[0] // 2
    return Lesion.from_mask(np.ones((1, 6, 6), dtype=bool), (middle, 0, 0), scan.geometry, name="corner")


def test_beyond_the_border_there_is_air(cutter, phantom):
    scan, _ = phantom
    for cut in cuts_of(cutter, dataclasses.replace(scan, voxels=np.maximum(scan.voxels, -900)), [corner_lesion(scan)]):
        if cut.lesion is None:
            continue
        offset = offsets_mm(cut, SPACING_MM)
        inside = scan.geometry.contains(np.asarray(cut.position_mm) + offset[..., ::-1])
        image = cut.image.reshape(inside.shape)
        assert cut.columns["padded_share"] == pytest.approx(1 - inside.mean())
        assert cut.columns["padded_share"] > 0.3
        assert (image[~inside] == AIR_HU).all()
        assert (image[inside] >= -900).any()
        assert not (cut.mask.reshape(inside.shape) & ~inside).any()


def test_a_lesion_larger_than_the_patch_fills_it(cutter, phantom):
    scan, _ = phantom
    middle = scan.voxels.shape[0] // 2
    large = Lesion.from_mask(np.ones((1, 90, 90), dtype=bool), (middle, 15, 33), scan.geometry, name="large")
    cuts = cuts_of(cutter, scan, [large])
    check(cutter, cuts)
    shown = max(cut.mask.sum() for cut in cuts) / np.prod(cutter.shape[-2:])
    assert shown > min(0.4, 0.9 * 90 * 90 / np.prod(cutter.shape[-2:]))


def test_a_lesion_without_mask_is_cut_about_its_position(cutter, phantom):
    scan, lesions = phantom
    bare = [dataclasses.replace(lesion, mask=None, start=None) for lesion in lesions]
    cuts = cuts_of(cutter, scan, bare)
    check(cutter, cuts)
    for cut in cuts:
        assert (cut.mask is None) == (cut.lesion is not None)
    of_first = next(cut for cut in cuts if cut.lesion is bare[0])
    half = np.array(of_first.spacing_mm) * cutter.shape / 2
    distance = np.abs(np.subtract(of_first.position_mm, bare[0].position_mm))[::-1][-len(half) :]
    assert (distance <= half).all()


@pytest.mark.parametrize("slices", [1, 2])
def test_a_scan_thinner_than_the_patch_is_enough(cutter, phantom, slices):
    scan, lesions = phantom
    lesion = max(lesions, key=lambda each: each.mask.sum())
    start = lesion.start[0] + lesion.mask.shape[0] // 2
    thin = dataclasses.replace(
        scan,
        voxels=scan.voxels[start : start + slices],
        geometry=scan.geometry.cut((start, 0, 0), (slices, *scan.voxels.shape[1:])),
    )
    inside = dataclasses.replace(lesion, start=(lesion.start[0] - start, *lesion.start[1:]))
    middle = [slices // 2, *(s + n // 2 for s, n in zip(inside.start[1:], lesion.mask.shape[1:], strict=True))]
    inside = dataclasses.replace(inside, position_mm=tuple(thin.geometry.to_world(middle).tolist()))
    cuts = cuts_of(cutter, thin, [inside])
    check(cutter, cuts)
    assert any(cut.mask.any() for cut in cuts)


def test_a_lesion_off_the_scan_is_refused_not_cut_elsewhere(cutter, phantom):
    scan, lesions = phantom
    x, y, z = lesions[0].position_mm
    mirrored = dataclasses.replace(lesions[0], mask=None, start=None, position_mm=(x + 900, y, z))
    masked = dataclasses.replace(lesions[0], start=(900, 0, 0))
    for stray in (mirrored, masked):
        with pytest.raises(UnfitDataError, match="inside its scan") as error:
            cuts_of(cutter, scan, [lesions[0], stray])
        assert error.value.reason == "lesion outside its scan"


def test_padding_outside_the_field_of_view_is_air(cutter, phantom):
    scan, lesions = phantom
    voxels = scan.voxels.copy()
    voxels[:, :, :8] = voxels[:, :, -8:] = -3024
    voxels[0, 0, 0] = 20000
    for cut in cuts_of(cutter, dataclasses.replace(scan, voxels=voxels), lesions):
        assert cut.image.min() >= LOWEST_STORED_HU
        assert cut.image.max() <= HIGHEST_STORED_HU


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_another_unit_keeps_its_numbers_or_is_refused(cutter, phantom, dtype):
    scan, _ = phantom
    voxels = np.clip((scan.voxels / 8 + 128), 3, 255).astype(dtype)
    other = dataclasses.replace(scan, voxels=voxels, unit="u8")
    try:
        cuts = cuts_of(cutter, other, [corner_lesion(scan)])
    except UnfitDataError as error:
        assert error.reason == "not in HU"  # noqa: PT017 (it may as well not be raised)
        return
    check(cutter, cuts)
    for cut in cuts:
        assert cut.image.dtype == dtype
        assert cut.image.min() == 3  # outside, as the scan's lowest
        assert cut.image.max() <= 255
