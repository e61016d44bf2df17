"""The scanner's physics: contrast by frequency, the slice's mean, and the noise's spectrum."""

import numpy as np
import pytest

from lesionforge.data.phantom.grid import Array, Grid
from lesionforge.data.phantom.scanner import CHEST_CT, KERNELS, Kernel, Scanner

GRID = Grid((0.0, -20.0, -20.0), (2.0, 0.7, 0.7), (2, 64, 64))


def scanner(kernel: Kernel, *, noise_hu: float = 30.0, thickness_mm: float = 2.0, streaks: float = 0.0) -> Scanner:
    return Scanner(kernel, 0.7, thickness_mm, noise_hu, streak_angle=0.4, streak_strength=streaks)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_half_of_the_contrast_is_left_at_the_kernels_frequency(kernel: Kernel) -> None:
    assert kernel.mtf(np.array([0.0, kernel.half_per_mm])) == pytest.approx([1.0, 0.5])

    def wave(grid: Grid) -> Array:
        x, y, z = grid.points
        return (100 * np.cos(2 * np.pi * kernel.half_per_mm * x) + 0 * y + 0 * z).astype(np.float32)

    image = scanner(kernel).reconstruct(wave, GRID)[0, 20:44, 10:54]
    pixel = np.cos(np.pi * kernel.half_per_mm * 0.35)  # a pixel is the mean of two samples, half a pixel apart
    assert np.sqrt(2) * image.std() / 100 == pytest.approx(0.5 * pixel, rel=0.05)


def test_only_the_sharp_kernel_overshoots_at_an_edge() -> None:
    def edge(grid: Grid) -> Array:
        x, y, z = grid.points
        return np.where(x + 0 * y + 0 * z > 0, 0, -1000).astype(np.float32)

    peaks = {kernel.name: scanner(kernel).reconstruct(edge, GRID)[0, 32, 10:54].max() for kernel in KERNELS}
    assert peaks["smooth"] == pytest.approx(0, abs=5)
    assert peaks["standard"] == pytest.approx(0, abs=5)
    assert 20 < peaks["sharp"] < 200


def test_voxel_is_the_mean_over_the_slice() -> None:
    def ramp(grid: Grid) -> Array:
        x, y, z = grid.points
        return np.where(z + 0 * x + 0 * y < 0, 0, 100).astype(np.float32)

    image = scanner(KERNELS[0], thickness_mm=2.0).reconstruct(ramp, GRID)
    assert image[0].mean() == pytest.approx(50, abs=1)  # half of the slice about z = 0
    assert image[1].mean() == pytest.approx(100, abs=1)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("streaks", [0.0, 0.7])
def test_noise_has_the_deviation_and_the_correlation_of_its_spectrum(kernel: Kernel, streaks: float) -> None:
    grid = Grid((0.0, 0.0, 0.0), (2.0, 0.7, 0.7), (40, 64, 64))
    noise = scanner(kernel, noise_hu=40.0, streaks=streaks).noise(grid, np.random.default_rng(0))
    assert noise.std() == pytest.approx(40, rel=0.03)
    assert abs(noise.mean()) < 1
    # Independently: the autocorrelation is the Fourier transform of |f|·MTF², here on a fine polar sum.
    radial, angle = np.meshgrid(np.linspace(0, 3, 3001)[1:], np.linspace(0, np.pi, 361)[:-1])
    fx, fy = radial * np.cos(angle), radial * np.sin(angle)
    kept = (np.abs(fx) < 0.5 / 0.7) & (np.abs(fy) < 0.5 / 0.7)  # what pixels of 0.7 mm can hold
    power = kept * radial * kernel.mtf(radial) ** 2 * (1 - streaks * np.cos(2 * (angle - 0.4))) * radial
    for lag in (1, 2, 3):
        expected = (power * np.cos(2 * np.pi * fx * lag * 0.7)).sum() / power.sum()
        measured = (noise[:, :, lag:] * noise[:, :, :-lag]).mean() / noise.var()
        assert measured == pytest.approx(expected, abs=0.03)


def test_slices_that_overlap_share_noise() -> None:
    grid = Grid((0.0, 0.0, 0.0), (1.0, 0.7, 0.7), (30, 48, 48))
    noise = scanner(KERNELS[1], thickness_mm=2.0).noise(grid, np.random.default_rng(0))
    assert noise.std() == pytest.approx(30, rel=0.05)
    assert (noise[1:] * noise[:-1]).mean() / noise.var() == pytest.approx(0.5, abs=0.05)
    assert (noise[2:] * noise[:-2]).mean() / noise.var() == pytest.approx(0, abs=0.05)


def test_drawn_scanners_stay_in_their_ranges() -> None:
    drawn = [Scanner.drawn(np.random.default_rng(seed), CHEST_CT) for seed in range(200)]
    assert {s.kernel.name for s in drawn} == {"smooth", "standard", "sharp"}
    assert all(0.55 <= s.pixel_mm <= 0.85 and s.slice_thickness_mm in CHEST_CT.slice_shares for s in drawn)
    noise = {k.name: np.median([s.noise_hu for s in drawn if s.kernel == k]) for k in KERNELS}
    assert noise["smooth"] < noise["standard"] < noise["sharp"]
    assert all(8 < s.noise_hu < 130 for s in drawn)
