"""Random fields have one value at a point, on whatever grid it is sampled."""

import numpy as np

from lesionforge.data.phantom.grid import Grid
from lesionforge.data.phantom.texture import SIDE, Texture, Undulation


def test_texture_is_a_function_of_position() -> None:
    texture = Texture.drawn(np.random.default_rng(0), correlation_mm=1.3)
    coarse = Grid((-3.0, -40.0, 5.0), (1.0, 0.6, 0.8), (4, 30, 20))
    fine = Grid((-3.0, -40.0, 5.0), (0.5, 0.3, 0.4), (7, 59, 39))
    assert np.allclose(texture.on(fine)[::2, ::2, ::2], texture.on(coarse), atol=1e-4)


def test_texture_has_unit_variance_and_the_correlation_asked_for() -> None:
    length = 2.0
    texture = Texture.drawn(np.random.default_rng(1), correlation_mm=length)
    values = texture.on(Grid((0.0, 0.0, 0.0), (length,) * 3, (SIDE,) * 3))
    assert abs(values.mean()) < 1e-3
    assert abs(values.std() - 1) < 1e-3
    # White noise smoothed by a Gaussian of s has the autocorrelation exp(−d²/4s²).
    for steps in (1, 2, 3):
        assert abs((values * np.roll(values, steps, axis=2)).mean() - np.exp(-(steps**2) / 4)) < 0.03


def test_undulation_is_gentle() -> None:
    x, y, z = Grid((0.0, 0.0, 0.0), (5.0, 5.0, 5.0), (10, 40, 40)).points
    wave = Undulation.drawn(np.random.default_rng(2), wavelength_mm=(60, 100)).at(x, y, z)
    assert wave.shape == (10, 40, 40)
    assert 0.1 < wave.std() < 2
    assert np.abs(np.diff(wave, axis=2)).max() < 4 * 5 * 2 * np.pi / 60  # four waves, each of slope ≤ 2π/λ
