import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.multiplicity import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(deadline=None, max_examples=100)
@given(P_VALUES, st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    rejected = set()
    for step, number in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[number] * (len(p_values) - step) > alpha:
            break
        rejected.add(int(number))
    assert set(np.flatnonzero(holm(p_values) <= alpha).tolist()) == rejected


@settings(deadline=None, max_examples=100)
@given(P_VALUES, st.floats(0.001, 0.5))
def test_benjamini_hochberg_rejects_what_the_step_up_procedure_rejects(p_values, alpha):
    p, m = np.sort(p_values), len(p_values)
    steps = p * m / np.arange(1, m + 1)
    assume(not np.isclose(steps, alpha, rtol=1e-9, atol=0).any())  # on the edge, rounding decides
    below = np.flatnonzero(steps <= alpha)
    edge = p[below.max()] if len(below) else -1.0
    np.testing.assert_array_equal(benjamini_hochberg(p_values) <= alpha, np.array(p_values) <= edge)


def test_published_example():
    """Benjamini & Hochberg 1995, section 4: 15 p-values, of which Holm rejects 3 and they reject 4 at 5 %."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    assert (holm(p) <= 0.05).sum() == 3
    assert (benjamini_hochberg(p) <= 0.05).sum() == 4


def test_undefined_p_values_stay_and_count_for_nothing():
    for adjust in (holm, benjamini_hochberg):
        np.testing.assert_array_equal(adjust([0.01, np.nan, 0.04])[[0, 2]], adjust([0.01, 0.04]))
        assert np.isnan(adjust([0.01, np.nan])[1])
        assert adjust([]).shape == (0,)
        with pytest.raises(LesionForgeError, match="from 0 to 1"):
            adjust([0.1, 1.2])
