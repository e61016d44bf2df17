import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Scan
from lesionforge.synthesis.insertion.noise import ScanNoise

SHAPE = (6, 96, 96)


def noisy(sd=20.0, grain_px=0.8, level=40.0):
    """Soft tissue with noise of a standard deviation and a grain."""
    white = np.random.default_rng(0).standard_normal(SHAPE)
    smooth = ndimage.gaussian_filter(white, (0, grain_px, grain_px), mode="wrap") if grain_px else white
    voxels = level + sd * smooth / smooth.std()
    return Scan(voxels.astype(np.float32), Geometry(SHAPE, (1.0, 0.7, 0.7), (0.0, 0.0, 0.0)), "p", "s")


def correlation(field, shift):
    return np.corrcoef(field[..., :-shift].ravel(), field[..., shift:].ravel())[0, 1]


@pytest.mark.parametrize("grain_px", [0, 0.8])
def test_more_noise_has_the_strength_and_the_grain_of_the_scans(grain_px):
    scan = noisy(grain_px=grain_px)
    noise = ScanNoise.of(scan)
    field = noise.field((8, 80, 90), np.random.default_rng(1))
    assert field.shape == (8, 80, 90)
    assert noise.sd == pytest.approx(20, rel=0.1)
    assert field.std() == pytest.approx(noise.sd, rel=0.05)
    for shift in (1, 2):
        assert correlation(field, shift) == pytest.approx(
            correlation(scan.voxels - 40, shift), abs=0.12
        )  # with the trend goes what is as coarse
    along_z = np.corrcoef(field[:-1].ravel(), field[1:].ravel())[0, 1]
    assert abs(along_z) < 0.1  # slices of this scan have nothing to do with each other


def test_a_trend_is_no_noise():
    scan = noisy()
    ramp = np.linspace(-20, 40, SHAPE[-1], dtype=np.float32)
    tilted = Scan(scan.voxels + ramp, scan.geometry, "p", "s")
    assert ScanNoise.of(tilted).sd == pytest.approx(ScanNoise.of(scan).sd, rel=0.03)


def test_without_calm_soft_tissue_noise_is_not_known():
    assert ScanNoise.of(noisy(level=-850.0)) is None
    in_its_own_unit = Scan(noisy().voxels, noisy().geometry, "p", "s", unit="u8")
    assert ScanNoise.of(in_its_own_unit) is None


def test_the_share_of_grain_tells_noise_from_none():
    noise = ScanNoise.of(noisy())
    field, everywhere = noise.field((3, 60, 60), np.random.default_rng(2)), np.ones((3, 60, 60), bool)
    assert noise.share_in(field, everywhere) == pytest.approx(1, abs=0.08)
    assert noise.share_in(0.5 * field, everywhere) == pytest.approx(0.5, abs=0.05)
    assert noise.share_in(np.full_like(field, 7.0), everywhere) == pytest.approx(0, abs=1e-6)
    assert noise.share_in(field, ~everywhere) == 0
