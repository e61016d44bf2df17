import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.fidelity import (
    BETTER,
    Features,
    Sets,
    fidelity_table,
    kernel_table,
    measure_title,
    spectrum_table,
)

LUNG = WINDOWS["lung"]


def lesions(count, seed):
    """Blobs of any size in noisy lung, 24×24."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-12:12, -12:12]
    width = rng.uniform(2, 6, (count, 1, 1))
    blob = 800 * np.exp(-(y**2 + x**2) / (2 * width**2))
    return gaussian_filter(rng.normal(0, 120, (count, 24, 24)), (0, 0.6, 0.6)) + blob - 850


def plain_features(images):
    flat = images.reshape(len(images), -1)
    return np.stack([flat.mean(axis=1), flat.std(axis=1), np.quantile(flat, 0.9, axis=1)], axis=1)


REAL, PATIENTS = lesions(90, 0), np.repeat(np.arange(45), 2).astype(str)


def table_of(made, *, count=6, images=True):
    sets = Sets(REAL, PATIENTS, made, LUNG)
    features = {"plain": Features(plain_features(REAL), plain_features(made))}
    table = fidelity_table(sets, features, images=images, count=count)
    return table.set_index(["measure", "taken_of"])


def test_every_measure_is_there_with_its_direction_and_floor():
    table = table_of(lesions(80, 1), count=3)
    assert set(table.index.get_level_values("measure")) == set(BETTER)
    assert (table["better"] == [BETTER[measure] for measure in table.index.get_level_values("measure")]).all()
    np.testing.assert_allclose(table["excess"], table["value"] - table["floor"])
    assert ((table["excess_low"] <= table["excess"]) & (table["excess"] <= table["excess_high"])).all()


def test_lesions_of_one_kind_are_at_the_floor():
    table = table_of(lesions(90, 1))
    assert table["apart"].mean() <= 0.2
    assert table.loc[("kernel", "plain"), "floor"] == pytest.approx(0, abs=0.05)


def test_each_measure_sees_what_it_claims_to_see():
    made = lesions(90, 1)
    rng = np.random.default_rng(0)
    spoilt = {
        "blurred": (gaussian_filter(made, (0, 1, 1)), [("spectrum_db", "images")]),
        "shifted": (made + 80, [("histogram", "pixels, HU"), ("frechet", "plain"), ("kernel", "plain")]),
        "noisy": (made + rng.normal(0, 100, made.shape), [("spectrum_db", "images")]),
        "collapsed": (
            made[:1] + rng.normal(0, 2, made.shape),
            [("coverage", "plain"), ("recall", "plain"), ("ms_ssim_of_pairs", "images")],
        ),
    }
    for name, (images, expected) in spoilt.items():
        table = table_of(images)
        for key in expected:
            row = table.loc[key]
            worse = row["excess"] * (-1 if row["better"] == "more" else 1)
            assert row["apart"], (name, key)
            assert worse > 0, (name, key)


def test_the_kernel_distance_of_whole_sets_has_an_interval_over_patients():
    features = {"plain": Features(plain_features(REAL), plain_features(lesions(60, 1) + 100))}
    (row,) = kernel_table(Sets(REAL, PATIENTS, lesions(60, 1) + 100, LUNG), features).to_dict("records")
    assert 0 < row["low"] < row["value"] < row["high"]


def test_spectra_and_histograms_of_both_sets():
    spectrum, histogram = spectrum_table(Sets(REAL, PATIENTS, REAL + 50, LUNG))
    np.testing.assert_allclose(spectrum["real"], spectrum["synthetic"], atol=1)
    assert histogram[["real", "synthetic"]].sum().tolist() == pytest.approx([1, 1])


def test_volumes_are_measured_without_planes():
    volumes = np.repeat(REAL[:, None, :16, :16], 12, axis=1)
    sets = Sets(volumes, PATIENTS, volumes[::-1], LUNG)
    table = fidelity_table(sets, {}, count=2)
    assert "sliced_wasserstein" not in set(table["measure"])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(LesionForgeError, match="12 patches or more"):
        Sets(REAL[:5], PATIENTS[:5], REAL, LUNG)
    with pytest.raises(LesionForgeError, match="one size"):
        Sets(REAL, PATIENTS, REAL[:, :20, :20], LUNG)
    bad = Features(np.full((90, 2), np.nan), np.ones((90, 2)))
    with pytest.raises(LesionForgeError, match="finite"):
        fidelity_table(Sets(REAL, PATIENTS, REAL, LUNG), {"bad": bad}, count=2)
    with pytest.raises(LesionForgeError, match="four real patients"):
        fidelity_table(Sets(REAL, np.full(90, "one"), REAL, LUNG), {}, count=2)


def test_spectrum_and_histogram_have_intervals_over_patients():
    spectrum, histogram = spectrum_table(Sets(REAL, PATIENTS, REAL, LUNG))
    for table in (spectrum, histogram):
        for name in ("real", "synthetic"):
            assert (table[f"{name}_low"] <= table[name]).all()
            assert (table[name] <= table[f"{name}_high"]).all()
        widths = [(table[f"{name}_high"] - table[f"{name}_low"]).mean() for name in ("real", "synthetic")]
        assert widths[0] > 0
    one = spectrum_table(Sets(REAL, np.full(len(REAL), "one"), REAL, LUNG))[1]
    np.testing.assert_allclose(one["real_low"], one["real_high"])  # one patient shows no spread


def test_measures_are_written_as_papers_write_them():
    titles = {measure_title(measure) for measure in BETTER}
    assert {"Fréchet at infinity", "sliced Wasserstein", "MS-SSIM of pairs", "spectrum in dB"} < titles
    assert len(titles) == len(BETTER)
    assert not any("_" in title for title in titles)
