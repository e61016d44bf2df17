import numpy as np
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.synthesis.insertion.diameters import Between, LogNormal


def test_diameters_lie_between():
    drawn = Between(4.0, 9.0).draw(2000, np.random.default_rng(0))
    assert 4 <= drawn.min() < 4.1
    assert 8.9 < drawn.max() <= 9
    assert drawn.mean() == pytest.approx(6.5, abs=0.1)
    np.testing.assert_array_equal(Between(7.0, 7.0).draw(3, np.random.default_rng(0)), [7, 7, 7])
    for low, high in ((0.0, 5.0), (6.0, 5.0), (1.0, np.inf)):
        with pytest.raises(LesionForgeError, match="diameters must be above 0 mm"):
            Between(low, high)


def test_a_fitted_distribution_is_like_what_it_was_fitted_to(small_patches):
    patches = small_patches(patients=60, per_patient=5)
    truth = np.exp(np.random.default_rng(1).normal(np.log(8), 0.4, len(patches)))
    fitted = LogNormal.like(patches.with_columns(diameter_mm=truth), "benign")
    own = truth[patches.labels == "benign"]
    drawn = fitted.draw(4000, np.random.default_rng(0))
    assert own.min() <= drawn.min()
    assert drawn.max() <= own.max()
    np.testing.assert_allclose(np.quantile(drawn, [0.25, 0.5, 0.75]), np.quantile(own, [0.25, 0.5, 0.75]), rtol=0.08)


def test_too_little_to_fit_to_is_said(small_patches):
    patches = small_patches()
    for unfit in (np.nan, 8.0):
        with pytest.raises(LesionForgeError, match="needs 5 diameters or more that differ"):
            LogNormal.like(patches.with_columns(diameter_mm=unfit))
