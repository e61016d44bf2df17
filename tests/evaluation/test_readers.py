import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.readers import agreement_table, confidence_table, turing_table
from lesionforge.evaluation.scales import SCALE, WORDS

REAL = np.arange(200) < 100


def called_real(of_real, of_synthetic):
    return np.concatenate([np.arange(100) < of_real, np.arange(100) < of_synthetic]).astype(int)


def test_published_table_of_two_radiologists():
    """Wang et al. 2020, Table 2: 84, 54, 65 and 78, 66, 56; average 81, 60, 60.5 %."""
    ratings = [called_real(84, 54), called_real(78, 66)]
    table = turing_table(ratings, REAL, readers=["senior", "primary"], scale=WORDS).set_index(["reader", "metric"])
    names = ["true_positive_ratio", "false_positive_ratio", "accuracy"]
    for reader, expected in (("senior", [84, 54, 65]), ("primary", [78, 66, 56]), ("average", [81, 60, 60.5])):
        assert 100 * table.loc[reader].loc[names, "estimate"].to_numpy() == pytest.approx(expected)
    assert table.loc[("senior", "auc"), "estimate"] == pytest.approx((0.84 + 1 - 0.54) / 2)
    assert table.loc[("primary", "accuracy"), "low"] < 0.5 < table.loc[("senior", "accuracy"), "low"]
    assert (table["low"] < table["estimate"]).all()
    widths = (table["high"] - table["low"]).unstack()
    assert (widths.loc["average"] > widths.loc["senior"]).all()  # two readers say little of others


def test_published_confusion_by_confidence():
    """Wang et al. 2022: of 51 synthetic lesions 8 (16 %) were called confidently real and 11 (22 %) leaning real."""
    rating = np.repeat([0, 1, 2, 3, 3, 2, 1, 0], [20, 12, 11, 8, 30, 10, 6, 4])
    table = confidence_table([rating], np.arange(101) >= 51, readers=["all four"])
    synthetic = table.query("origin == 'synthetic'").set_index("rating")
    assert synthetic["count"].tolist() == [20, 12, 11, 8]
    assert synthetic.loc["confidently real", "share"] == pytest.approx(8 / 51)
    assert list(synthetic.index) == list(SCALE)
    assert table["count"].sum() == 101


def test_four_levels_are_halved_for_shares_and_kept_for_the_auc():
    rng = np.random.default_rng(0)
    ratings = np.clip(rng.integers(0, 4, size=(3, 200)) + REAL, 0, 3)
    table = turing_table(ratings, REAL, readers=list("abc")).set_index(["reader", "metric"])["estimate"]
    for number, reader in enumerate("abc"):
        assert table[reader, "auc"] == pytest.approx(roc_auc_score(REAL, ratings[number]))
        assert table[reader, "accuracy"] == pytest.approx(np.mean((ratings[number] >= 2) == REAL))
    assert table["average", "auc"] == pytest.approx(table.loc[list("abc"), "auc"].mean())


def test_a_reader_who_always_says_real_has_an_auc_of_half():
    table = turing_table(np.full((1, 200), 3), REAL, readers=["a"]).set_index("metric")
    assert table["estimate"].tolist() == [1, 1, 0.5, 0.5]
    assert table.loc["auc", ["low", "high"]].tolist() == [0.5, 0.5]
    assert 0.9 < table.loc["true_positive_ratio", "low"] < 1


def test_patients_of_many_lesions_widen_intervals():
    ratings = [np.repeat(np.random.default_rng(0).integers(0, 4, size=40), 5)]
    patients = np.repeat(np.arange(40), 5)
    wide, narrow = (turing_table(ratings, REAL, readers=["a"], patients=each) for each in (patients, None))
    assert ((wide["high"] - wide["low"]) > 1.5 * (narrow["high"] - narrow["low"])).all()


def test_agreement_between_readers_and_with_the_truth():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, size=90)
    calls = np.where(rng.random((2, 90)) < 0.7, truth, rng.integers(0, 3, size=(2, 90)))
    table = agreement_table([truth, *calls], readers=["truth", "a", "b"], classes=3)
    rows = table.set_index(["first", "second", "coefficient"])["estimate"]
    assert rows["truth", "a", "equal"] == pytest.approx((truth == calls[0]).mean())
    assert rows["a", "b", "cohen"] == pytest.approx(cohen_kappa_score(*calls))
    assert list(table.query("first == 'all'")["coefficient"]) == ["fleiss", "gwet"]
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()


def test_two_sessions_of_one_reader_skip_what_was_not_read_again():
    first, second = np.array([0, 1, 0, 1, 1]), np.array([0, 1, 1, 1, -1])
    rows = agreement_table([first, second], readers=["first session", "second session"], classes=2)
    assert rows.set_index("coefficient").loc["equal", "estimate"] == 0.75
    assert list(rows["coefficient"]) == ["equal", "cohen", "gwet"]


@pytest.mark.parametrize(
    ("ratings", "real", "message"),
    [
        ([[0, 1, 2]], [True, False], r"here \(1, 2\), but \(1, 3\)"),
        ([[0, 4]], [True, False], "here 0 to 3"),
        ([[0, np.nan]], [True, False], "here 0 to 3"),
        ([[0, 1, 2]], [True, True, True], "two patients or more, but 0"),
    ],
)
def test_bad_ratings_are_refused(ratings, real, message):
    with pytest.raises(LesionForgeError, match=message):
        turing_table(ratings, real, readers=["a"])
