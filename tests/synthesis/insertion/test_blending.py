import numpy as np
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.synthesis.insertion.blending import Blending, blend, outline, without_holes

SPACING = (2.5, 0.5, 1.0)


def disc(shape=(3, 40, 40), radius=8):
    y, x = np.indices(shape[1:]) - np.array(shape[1:]).reshape(2, 1, 1) // 2
    return np.broadcast_to(y**2 + x**2 <= radius**2, shape)


def test_the_weight_falls_from_the_margin_to_the_edge_of_the_rim():
    mask = np.zeros((5, 21, 21), bool)
    mask[2, 10, 10] = True
    weight = Blending(margin_mm=1.0, rim_mm=2.0).weight(mask, SPACING, slice_by_slice=False)
    z, y, x = np.indices(mask.shape) - np.array([2, 10, 10]).reshape(3, 1, 1, 1)
    distance = np.sqrt((2.5 * z) ** 2 + (0.5 * y) ** 2 + (1.0 * x) ** 2)
    assert (weight[distance <= 1] == 1).all()
    assert (weight[distance >= 3] == 0).all()
    assert (np.diff(weight.ravel()[np.argsort(distance.ravel(), kind="stable")]) <= 1e-12).all()
    assert weight[distance == 2] == pytest.approx(0.5)


def test_slice_by_slice_nothing_goes_over_to_the_next_slice():
    mask = np.zeros((3, 9, 9), bool)
    mask[1, 4, 4] = True
    weight = Blending(3.0, 3.0).weight(mask, SPACING, slice_by_slice=True)
    assert not weight[[0, 2]].any()
    assert weight[1].any()


def test_without_a_rim_the_edge_is_hard():
    mask = disc()
    weight = Blending(margin_mm=0.0, rim_mm=0.0).weight(mask, SPACING, slice_by_slice=False)
    np.testing.assert_array_equal(weight, mask.astype(float))


@pytest.mark.parametrize("grain", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("w", [0.25, 0.5, 1.0])
def test_noise_has_the_scans_variance_wherever_it_is_blended(w, grain):
    rng, shape = np.random.default_rng(0), (1, 300, 300)
    host, painted, noise = (20 * rng.standard_normal(shape) for _ in range(3))
    blended = blend(host, 50 + grain * painted, np.full(shape, w), unit="u8", noise=noise, grain=grain)
    # Where host and painted are both as noisy as the scan, mixing alone calms them, and noise makes up for it.
    assert blended.std() == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.uint8])
def test_where_the_weight_is_nothing_the_host_stays_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    host = rng.uniform(0, 200, (3, 40, 40)).astype(dtype)
    weight = Blending(1.0, 3.0).weight(disc(), (1.0, 1.0, 1.0), slice_by_slice=False)
    blended = blend(host, np.full(host.shape, 1e6), weight, unit="HU", noise=np.ones(host.shape), grain=0.0)
    assert blended.dtype == dtype
    assert blended[weight == 0].tobytes() == host[weight == 0].tobytes()
    assert (blended[weight > 0] != host[weight > 0]).mean() > 0.99
    if dtype != np.float32:
        assert blended.max() <= min(np.iinfo(dtype).max, 3071)


@pytest.mark.parametrize("contrast", [300, -300])
def test_the_outline_is_where_a_disc_is(contrast):
    rng = np.random.default_rng(1)
    mask = disc()
    voxels = np.where(disc(radius=5), contrast, 0) + rng.normal(0, 20, mask.shape)
    weight = Blending(1.0, 2.0).weight(mask, (1.0, 1.0, 1.0), slice_by_slice=False)
    found = outline(voxels, mask, weight, (1.0, 1.0, 1.0))
    truth = disc(radius=5)
    assert (found & truth).sum() / (found | truth).sum() > 0.9
    wider = np.where(disc(radius=10), contrast, 0) + rng.normal(0, 20, mask.shape)  # a painter fills the margin, too
    assert outline(wider, mask, weight, (1.0, 1.0, 1.0))[weight >= 1].mean() > 0.95


def test_what_cannot_be_seen_has_no_outline():
    mask = disc()
    weight = Blending().weight(mask, (1.0, 1.0, 1.0), slice_by_slice=False)
    noise = np.random.default_rng(1).normal(0, 20, mask.shape)
    assert outline(noise, mask, weight, (1.0, 1.0, 1.0)) is None
    assert outline(noise, mask, np.ones(mask.shape), (1.0, 1.0, 1.0)) is None  # nothing is around it


@pytest.mark.parametrize("widths", [(-1.0, 1.0), (1.0, np.nan), (np.inf, 1.0)])
def test_widths_are_lengths(widths):
    with pytest.raises(LesionForgeError, match="margin_mm and rim_mm must be 0 or more"):
        Blending(*widths)


def test_tissue_does_not_turn_into_air_but_into_tissue_it_may():
    host = np.full((1, 9, 9), -850.0)
    host[..., :4] = 50  # a wall
    painted = np.full((1, 9, 9), -850.0)
    painted[:, 3:6] = 30
    kept = without_holes(np.ones(host.shape), host, painted)
    assert (kept[:, :3, :3] == 0).all()  # the wall stays
    assert (kept[:, 3:6] == 1).all()  # the lesion covers both
    assert (kept[..., 5:] == 1).all()  # and lung is painted as lung
