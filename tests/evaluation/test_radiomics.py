import numpy as np
import pytest
from scipy.stats import false_discovery_control, ks_2samp

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.multiplicity import holm
from lesionforge.evaluation.radiomics import compare_features, one_a_patient, summary

NAMES = ("firstorder_Mean", "firstorder_Median", "glcm_Contrast")


def drawn(seed, patients=30, clustered=0.0, shift=0.0):
    """Six lesions a patient, and 150 samples, of three features; the last one is shifted."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(patients), 6)
    own = rng.normal(size=(patients, 3))[owners]
    real = clustered * own + np.sqrt(1 - clustered**2) * rng.normal(size=(len(owners), 3))
    made = rng.normal(size=(150, 3))
    made[:, 2] += shift
    return real, owners, made


def test_statistics_and_p_values_are_scipys():
    real, owners, made = drawn(0, shift=0.6)
    table = compare_features(real, owners, made, NAMES, count=3)
    for row, ours, theirs in zip(table.to_dict("records"), real.T, made.T, strict=True):
        expected = ks_2samp(ours, theirs, method="asymp")
        assert row["ks"] == pytest.approx(expected.statistic, abs=1e-12)
        assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
        assert row["p_patient"] == pytest.approx(
            ks_2samp(ours[one_a_patient(owners, seed=0)], theirs, method="asymp").pvalue, rel=1e-9
        )
    np.testing.assert_allclose(table["p_bh"], false_discovery_control(table["p_value"]))
    np.testing.assert_allclose(table["p_holm"], holm(table["p_value"]))
    assert table["family"].tolist() == ["firstorder", "firstorder", "glcm"]
    assert table["ks"].idxmax() == 2
    assert (table["ks_floor"] > 0).all()
    assert table["ks_halved"][2] > table["ks_floor"][2]


def test_lesions_of_a_patient_that_are_alike_fool_the_published_test_alone():
    alike = {"p_value": 0, "p_patient": 0}
    for seed in range(30):
        table = compare_features(*drawn(seed, clustered=0.95), NAMES, count=2, seed=seed)
        for column in alike:
            alike[column] += (table[column] < 0.05).sum()
    assert alike["p_patient"] / 90 < 0.12
    assert alike["p_value"] / 90 > 0.25


def test_the_summary_counts_what_does_not_differ():
    found = summary(compare_features(*drawn(1, shift=2), NAMES, count=2))
    assert found["features"] == 3
    assert found["alike_p_holm"] == 2
    assert set(found) >= {"alike_p_value", "alike_p_bh", "alike_p_patient", "alike_p_patient_bh", "median_ks_floor"}


def test_one_lesion_of_each_patient():
    owners = np.array(["b", "a", "b", "c", "a"])
    rows = one_a_patient(owners, seed=1)
    assert sorted(owners[rows]) == ["a", "b", "c"]


def test_a_constant_feature_is_no_obstacle():
    real, owners, made = drawn(0)
    real[:, 0] = made[:, 0] = 7
    row = compare_features(real, owners, made, NAMES, count=2).iloc[0]
    assert (row["ks"], row["p_value"]) == (0, 1)


def test_what_does_not_fit_is_refused():
    real, owners, made = drawn(0)
    with pytest.raises(LesionForgeError, match="features of 2 names"):
        compare_features(real, owners, made, NAMES[:2])
    with pytest.raises(LesionForgeError, match="finite"):
        compare_features(np.full_like(real, np.nan), owners, made, NAMES)
    with pytest.raises(LesionForgeError, match="four real patients"):
        compare_features(real, np.zeros(len(real)), made, NAMES)
