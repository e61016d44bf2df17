"""Growing lesions: against shapes drawn in noise, the phantom's exact masks and readers' masks of real nodules."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lesionforge.data.annotation.region_growing import Growing, grow
from lesionforge.data.geometry import Geometry
from lesionforge.data.phantom.patches import phantom_patches
from lesionforge.data.scan import Scan
from lesionforge.errors import LesionForgeError

LUNG_HU, SOLID_HU, FAINT_HU, WALL_HU = -850, 30, -600, 40
ORIGIN_MM = (-120.5, 37.25, -300.0)
EDGE = Growing(margin_mm=0.0)


def drawn(*, hu=SOLID_HU, radius_mm=6.0, spacing_mm=(1.25, 0.7, 0.7), size_mm=60.0, noise_hu=25.0, wall_mm=np.inf):
    """A ball in the middle of a lung, blurred and noisy, with a wall from ``wall_mm`` off its middle on; its mask."""
    shape = tuple(int(size_mm / s) for s in spacing_mm)
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    centre = [n // 2 for n in shape]
    offsets = [(a - c) * s for a, c, s in zip((z, y, x), centre, spacing_mm, strict=True)]
    ball = offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2 <= radius_mm**2
    values = np.where(ball, hu, LUNG_HU).astype(np.float32)
    values[np.broadcast_to(offsets[2] >= wall_mm, shape)] = WALL_HU
    values = ndimage.gaussian_filter(values, [0.5 / s for s in spacing_mm])
    values += np.random.default_rng(0).normal(0, noise_hu, shape)
    scan = Scan(np.rint(values).astype(np.int16), Geometry(shape, spacing_mm, ORIGIN_MM), patient="p", name="s")
    return scan, ball & (offsets[2] < wall_mm), tuple(scan.geometry.to_world(centre))


def dice(lesion, scan, mask):
    grown = lesion.mask_within((0, 0, 0), scan.voxels.shape)
    return 2 * np.count_nonzero(grown & mask) / (np.count_nonzero(grown) + np.count_nonzero(mask))


@pytest.mark.parametrize("hu", [SOLID_HU, FAINT_HU])
@pytest.mark.parametrize("radius_mm", [3.0, 10.0])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.7)])
def test_a_ball_is_found(hu, radius_mm, spacing_mm):
    scan, mask, middle = drawn(hu=hu, radius_mm=radius_mm, spacing_mm=spacing_mm)
    lesion = grow(scan, middle, settings=EDGE)
    assert dice(lesion, scan, mask) > 0.9
    assert lesion.diameter_mm == pytest.approx(2 * radius_mm, abs=0.8)
    np.testing.assert_allclose(lesion.position_mm, middle, atol=0.5)
    assert lesion.facts["threshold_hu"] == pytest.approx((hu + LUNG_HU) / 2, abs=60)  # small balls are blurred
    assert lesion.facts["limited"] is False


@pytest.mark.parametrize("hu", [SOLID_HU, FAINT_HU])
def test_the_wall_is_left_out(hu):
    scan, mask, middle = drawn(hu=hu, wall_mm=5.0)
    lesion = grow(scan, middle, settings=EDGE)
    assert lesion.facts["limited"] is True
    assert dice(lesion, scan, mask) > 0.85


def test_one_slice_is_grown_in_its_plane():
    scan, mask, middle = drawn(spacing_mm=(1.0, 0.7, 0.7), wall_mm=5.5)
    k = scan.geometry.shape[0] // 2
    geometry = scan.geometry.cut((k, 0, 0), (1, *scan.geometry.shape[1:]))
    plane = replace(scan, voxels=scan.voxels[k : k + 1], geometry=geometry)
    assert dice(grow(plane, middle, settings=EDGE), plane, mask[k : k + 1]) > 0.9


@settings(deadline=None, max_examples=15)
@given(st.tuples(*[st.floats(-2.5, 2.5)] * 3))
def test_any_seed_inside_finds_the_same(offset_mm):
    scan, mask, middle = BALL
    lesion = grow(scan, tuple(np.add(middle, offset_mm)), settings=EDGE)
    assert dice(lesion, scan, mask) > 0.9


BALL = drawn(radius_mm=5.0, size_mm=40.0)


def test_the_margin_is_added_in_millimetres_and_spares_the_dark():
    scan, _, middle = BALL
    edge, wider = (grow(scan, middle, settings=Growing(margin_mm=mm)).diameter_mm for mm in (0.0, 1.0))
    assert 1.0 < wider - edge < 2.5
    far = grow(scan, middle, settings=Growing(margin_mm=8.0)).diameter_mm
    assert far < edge + 6  # the lung is no lesion however wide the margin


def test_the_facts_say_how():
    scan, _, middle = BALL
    facts = grow(scan, middle).facts
    assert set(facts) == {"algorithm", "threshold_hu", "core_hu", "lung_hu", "limited", "cut_share", "confidence"}
    assert facts["threshold_hu"] == pytest.approx((facts["core_hu"] + facts["lung_hu"]) / 2)
    lower = grow(scan, middle, settings=Growing(level=0.3)).facts["threshold_hu"]
    assert lower < facts["threshold_hu"]


def test_a_turned_scan_gives_the_same_lesion():
    scan, _, middle = BALL
    turned = Scan(
        scan.voxels[::-1, :, ::-1],
        replace(
            scan.geometry,
            origin_mm=tuple(scan.geometry.to_world((scan.geometry.shape[0] - 1, 0, scan.geometry.shape[2] - 1))),
            direction=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)),
        ),
        patient="p",
        name="s",
    )
    one, other = grow(scan, middle), grow(turned, middle)
    np.testing.assert_allclose(one.position_mm, other.position_mm, atol=1e-6)
    assert one.mask.sum() == other.mask.sum()


def broken(change):
    scan, _, middle = drawn(size_mm=40.0, wall_mm=12.0)
    return change(scan, np.asarray(middle))


BROKEN = {
    "outside the scan": (lambda scan, at: (scan, at + 500), "inside the scan"),
    "voxel numbers instead of mm": (lambda scan, at: (scan, np.array([20.0, 20.0, 10.0])), "not a voxel's numbers"),
    "not a number": (lambda scan, at: (scan, at * np.nan), "inside the scan"),
    "in lung": (lambda scan, at: (scan, at - [0, 12, 0]), "brighter than the lung"),
    "in the wall": (lambda scan, at: (replace(scan, voxels=np.full_like(scan.voxels, WALL_HU)), at), "must be lung"),
    "in air": (lambda scan, at: (replace(scan, voxels=np.full_like(scan.voxels, -1024)), at), "brighter than the lung"),
    "in another unit": (lambda scan, at: (replace(scan, unit="u8"), at), "in HU"),
    "hole in the scan": (lambda scan, at: (replace(scan, voxels=scan.voxels * np.nan), at), "finite"),
    "deep in a slab": (lambda scan, at: (replace(scan, voxels=slab(scan)), at), "runs on"),
}


def slab(scan):
    """Two lungs with tissue between them, from side to side."""
    voxels = np.full(scan.voxels.shape, LUNG_HU, dtype=np.int16)
    columns = voxels.shape[2]
    voxels[:, :, columns // 3 : 2 * columns // 3] = WALL_HU
    return voxels


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_grown_is_refused(name):
    change, message = BROKEN[name]
    scan, at = broken(change)
    with pytest.raises(LesionForgeError, match=message):
        grow(scan, tuple(at))


def test_a_lesion_above_the_greatest_diameter_is_refused_with_the_way_out():
    scan, _, middle = drawn(radius_mm=10.0)
    with pytest.raises(LesionForgeError, match="max_diameter_mm above"):
        grow(scan, middle, settings=Growing(max_diameter_mm=12.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": 0.0},
        {"level": 1.0},
        {"margin_mm": -1.0},
        {"max_diameter_mm": 0.0},
        {"reach_mm": np.nan},
        {"smoothing_mm": np.inf},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(LesionForgeError, match=next(iter(wrong))):
        Growing(**wrong)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    st.floats(0.3, 3),
    st.floats(0, 6),
)
def test_any_voxels_give_a_lesion_or_a_message(seed, shape, spacing_mm, blur):
    rng = np.random.default_rng(seed)
    values = ndimage.gaussian_filter(rng.normal(size=shape), blur)
    values = -600 + 400 * values / max(values.std(), 1e-3)
    scan = Scan(
        values.clip(-1024, 3071).astype(np.int16), Geometry(shape, (spacing_mm,) * 3, ORIGIN_MM), patient="p", name="s"
    )
    at = scan.geometry.to_world([int(rng.integers(n)) for n in shape])
    try:
        lesion = grow(scan, tuple(at))
    except LesionForgeError:
        return
    grown = lesion.mask_within((0, 0, 0), shape)
    assert grown.sum() == lesion.mask.sum()  # none of it lies outside the scan
    assert np.linalg.norm((np.argwhere(grown) - scan.geometry.to_index(at)) * spacing_mm, axis=1).min() <= 4


def test_the_phantoms_lesions_are_found():
    phantom = phantom_patches("lung", patients=5, size=(14, 56, 56))
    scores = []
    for hu, mask, spacing_mm in zip(phantom.images, phantom.masks > 0, phantom.spacing_mm.tolist(), strict=True):
        scan = Scan(hu, Geometry(hu.shape, tuple(spacing_mm), ORIGIN_MM), patient="p", name="s")
        depth = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
        at = scan.geometry.to_world(np.unravel_index(depth.argmax(), depth.shape))
        scores.append(dice(grow(scan, tuple(at), settings=EDGE), scan, mask))
    assert len(scores) > 5
    assert np.median(scores) > 0.8


@pytest.mark.real_data
def test_readers_masks_of_real_nodules_are_met(lidc):
    table = pd.read_csv(lidc / "metadata.csv").query("n_raters >= 3 and texture_mean > 4 and equiv_diam_mm >= 5")[::12]
    with np.load(lidc / "images_hu.npz") as arrays:
        hu, masks = arrays["hu"], arrays["mask"] > 0
    scores = []
    for row in table.itertuples():
        mask = masks[row.Index][np.newaxis]
        geometry = Geometry(mask.shape, (1.0, row.pixel_spacing_mm, row.pixel_spacing_mm), ORIGIN_MM)
        scan = Scan(hu[row.Index][np.newaxis], geometry, patient=row.patient_id, name="s")
        at = geometry.to_world(ndimage.center_of_mass(mask))
        try:
            scores.append(dice(grow(scan, tuple(at)), scan, mask))
        except LesionForgeError:
            scores.append(0.0)
    assert len(scores) > 30
    assert np.median(scores) > 0.8
