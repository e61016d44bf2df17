import numpy as np
import pytest
from scipy.stats import f

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.delong import aucs
from lesionforge.evaluation.multireader import average_over_readers, average_reader, compare_readers

# Van Dyke et al.'s aortic dissections (114 cases, 5 readers), as Chakraborty's RJafroc documents them: the readers'
# AUCs in two modalities and the error covariances.
CINE = [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]
SPIN_ECHO = [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]
VARIANCE, COV1, COV2, COV3 = 0.00080228827, 0.00034661371, 0.00034407483, 0.00023902837


def test_published_comparison_of_two_modalities():
    same = np.where(np.eye(5), VARIANCE, COV2)
    across = np.where(np.eye(5), COV1, COV3)
    difference = np.array(SPIN_ECHO) - CINE
    found = average_over_readers(difference, 2 * (same - across))
    assert found.value == pytest.approx(0.043800322, abs=1e-8)
    assert found.standard_error == pytest.approx(0.020748618, abs=1e-8)
    assert found.df == pytest.approx(15.259675, abs=1e-5)
    assert found.p_value == pytest.approx(0.051665686, abs=1e-7)
    assert (found.low, found.high) == pytest.approx((-0.00035885444, 0.087959499), abs=1e-7)


def test_published_average_of_one_modality():
    found = average_over_readers(CINE, np.where(np.eye(5), 0.00101410277, 0.00048396180))
    assert found.standard_error == pytest.approx(0.033173597, abs=1e-8)
    assert found.df == pytest.approx(12.744648, abs=1e-5)
    assert (found.low, found.high) == pytest.approx((0.82522360, 0.96885048), abs=1e-7)


def simulated(seed=0, readers=4, cases=60):
    rng = np.random.default_rng(seed)
    truth = np.arange(cases) < cases // 2
    case = rng.normal(size=cases)
    return rng.normal(size=(2, readers, cases)) + case + 1.5 * truth, truth


def test_equals_the_analysis_of_variance_of_obuchowski_and_rockette():
    (first, second), truth = simulated()
    every = aucs(np.concatenate([first, second]), truth)
    theta, cov = every.value.reshape(2, 4), every.covariance.reshape(2, 4, 2, 4)
    ms_t = 4 * theta.mean(axis=1).var(ddof=1)
    ms_tr = ((theta - theta.mean(0) - theta.mean(1, keepdims=True) + theta.mean()) ** 2).sum() / 3
    others = ~np.eye(4, dtype=bool)
    cov2 = np.mean([cov[i, :, i][others].mean() for i in range(2)])
    cov3 = cov[0, :, 1][others].mean()
    error = ms_tr + max(4 * (cov2 - cov3), 0)
    df = error**2 / (ms_tr**2 / 3)
    found = compare_readers(first, second, truth)
    assert found.df == pytest.approx(df, rel=1e-9)
    assert found.p_value == pytest.approx(f.sf(ms_t / error, 1, df), rel=1e-9)


def test_a_classifier_is_held_against_every_reader():
    (first, second), truth = simulated()
    one = compare_readers(first[0], second, truth)
    every = compare_readers(np.tile(first[0], (4, 1)), second, truth)
    assert one.value == pytest.approx(every.value, rel=1e-9)
    assert one.standard_error == pytest.approx(every.standard_error, rel=1e-9)
    back = compare_readers(second, first[0], truth)
    assert (back.value, back.low) == pytest.approx((-one.value, -one.high))


def test_readers_alike_leave_the_luck_of_the_cases():
    (first, _), truth = simulated()
    alone = aucs(first[0], truth)
    found = average_reader(np.tile(first[0], (3, 1)), truth)
    assert found.standard_error == pytest.approx(np.sqrt(alone.covariance[0, 0]))
    assert found.df == np.inf


def test_one_reader_and_other_readers_are_refused():
    (first, second), truth = simulated()
    with pytest.raises(LesionForgeError, match="two readers or more"):
        average_reader(first[:1], truth)
    with pytest.raises(LesionForgeError, match=r"same readers and cases, but \(3, 60\) and \(4, 60\)"):
        compare_readers(first[:3], second, truth)
    with pytest.raises(LesionForgeError, match=r"same readers and cases"):
        compare_readers(first[:, :50], second, truth)
