import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.proportions import share, shares


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.data())
def test_one_row_a_patient_is_wilsons_interval(count, data):
    yes = data.draw(st.integers(0, count))
    found = share(np.arange(count) < yes)
    peer = binomtest(yes, count).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((yes / count, peer.low, peer.high), abs=1e-9)


def test_copies_of_rows_are_no_evidence():
    yes = np.random.default_rng(0).random(40) < 0.7
    alone, copied = share(yes), share(np.repeat(yes, 6), patients=np.repeat(np.arange(40), 6))
    assert copied.standard_error == pytest.approx(alone.standard_error)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_covariance_is_that_of_patients_means():
    rng = np.random.default_rng(1)
    yes = rng.random((2, 60)) < 0.5
    by_patient = yes.reshape(2, 20, 3).mean(axis=2)
    found = shares(yes, patients=np.repeat(np.arange(20), 3))
    np.testing.assert_allclose(found.covariance, np.cov(by_patient) / 20)


def test_all_yes_is_not_certainty_however_many_rows():
    few = share(np.ones(100), patients=np.repeat(np.arange(5), 20))
    assert few.high == pytest.approx(1)
    assert few.low < share(np.ones(100)).low - 0.3


def test_one_patient_and_lengths_that_differ_are_refused():
    with pytest.raises(LesionForgeError, match="two patients or more, but 1 came"):
        share([1, 0, 1], patients=["a"] * 3)
    with pytest.raises(LesionForgeError, match="each row needs a patient"):
        share([1, 0, 1], patients=["a", "b"])
    with pytest.raises(LesionForgeError, match="between 0 and 1"):
        share([1, 0], level=95)
