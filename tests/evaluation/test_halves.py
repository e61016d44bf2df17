import numpy as np
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.halves import against_floor, halvings

PATIENTS = np.repeat([f"p{k}" for k in range(11)], [1, 4, 2, 3, 1, 1, 2, 5, 1, 2, 3])


def test_no_patient_is_in_both_halves_and_samples_are_as_many():
    for cut in halvings(PATIENTS, 100, count=10):
        assert not set(PATIENTS[cut.half]) & set(PATIENTS[cut.other])
        assert len(cut.synthetic) == len(cut.other) == len(set(cut.synthetic))
        assert len(set(PATIENTS[cut.half])) == 5
        assert len(cut.half) + len(cut.other) == len(PATIENTS)


def test_few_samples_make_the_other_half_as_small():
    for cut in halvings(PATIENTS, 3, count=4):
        assert len(cut.other) == len(cut.synthetic) == 3


def test_the_same_seed_cuts_alike_and_another_does_not():
    first, again, other = (halvings(PATIENTS, 30, count=3, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.half, b.half) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.half, b.half) for a, b in zip(first, other, strict=True))


def test_spread_over_halvings_is_the_standard_error_over_patients():
    """McCarthy 1969, on a mean of patients: its error is known."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    means = np.array([values[cut.half].mean() for cut in halvings(np.arange(60), 60, count=3000)])
    found = against_floor(means, means)
    assert found.value.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(60), rel=0.05)
    assert found.excess.value == found.excess.standard_error == 0


@pytest.mark.parametrize(("patients", "synthetic", "count"), [(PATIENTS[:7], 5, 3), (PATIENTS, 0, 3), (PATIENTS, 5, 1)])
def test_too_little_is_refused(patients, synthetic, count):
    with pytest.raises(LesionForgeError, match="four real patients"):
        halvings(patients, synthetic, count=count)
