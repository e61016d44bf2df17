import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.agreement import agreement

# Four raters, twelve subjects, five categories, −1 not rated: the example of Gwet's Handbook (2014).
GWET = np.array(
    [[1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 0],
     [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 3], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0]]
) - 1  # fmt: skip

# Coefficients by irrCAC 0.4.4.
IRRCAC = {
    "identity": {"gwet": 0.775444068127, "fleiss": 0.761169275422, "cohen": 0.762817441303},
    "linear": {"gwet": 0.858739136433, "fleiss": 0.817944767097, "cohen": 0.813776319966},
    "quadratic": {"gwet": 0.914000723552, "fleiss": 0.864935064935, "cohen": 0.857710656223},
}


@pytest.mark.parametrize("weights", IRRCAC)
@pytest.mark.parametrize("chance", ["cohen", "fleiss", "gwet"])
def test_gwets_example(weights, chance):
    found = agreement(GWET, classes=5, chance=chance, weights=weights)
    assert found.value == pytest.approx(IRRCAC[weights][chance], abs=1e-11)


def raters(seed, cases=80, readers=2):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, size=cases)
    return np.where(rng.random((readers, cases)) < 0.6, truth, rng.integers(0, 3, size=(readers, cases)))


@pytest.mark.parametrize("weights", ["identity", "linear", "quadratic"])
def test_two_readers_are_scikit_learns_kappa(weights):
    one, other = raters(0)
    peer = cohen_kappa_score(one, other, weights=None if weights == "identity" else weights)
    assert agreement([one, other], classes=3, weights=weights).value == pytest.approx(peer, abs=1e-12)


def test_error_is_near_the_large_sample_one_of_statsmodels():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 3, 80)
    other = np.where(rng.random(80) < 0.6, one, rng.integers(0, 3, 80))
    found = agreement([one, other], classes=3)
    assert found.value == pytest.approx(0.5299647473560517, abs=1e-12)  # cohens_kappa of statsmodels 0.14
    assert found.standard_error == pytest.approx(0.07760099886894264, rel=0.03)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(["cohen", "fleiss", "gwet"]))
def test_jackknife_leaves_out_whole_patients(seed, chance):
    ratings, patients = raters(seed, cases=24, readers=3), np.arange(24) // 3
    ratings[1, 5] = -1
    found = agreement(ratings, classes=3, chance=chance, patients=patients)
    left = [agreement(ratings[:, patients != p], classes=3, chance=chance).value for p in range(8)]
    assert found.standard_error == pytest.approx(np.sqrt(7 / 8 * ((left - np.mean(left)) ** 2).sum()), abs=1e-12)
    assert found.df == 7


def test_copies_of_cases_are_no_evidence():
    ratings = raters(1)
    alone = agreement(ratings, classes=3)
    copied = agreement(np.tile(ratings, 5), classes=3, patients=np.tile(np.arange(80), 5))
    assert (copied.value, copied.low, copied.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert agreement(np.tile(ratings, 5), classes=3).standard_error < 0.5 * alone.standard_error


def test_perfect_agreement_on_few_cases_is_not_certainty():
    found = agreement([[0, 1, 0, 1, 1, 0]] * 2, classes=2)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx((0.025 ** (1 / 6) - 0.5) / 0.5)


def test_a_single_class_leaves_cohen_undefined_and_gwet_at_one():
    one_class = np.zeros((2, 10), dtype=int)
    assert np.isnan(agreement(one_class, classes=2).value)
    assert np.isnan(agreement(one_class, classes=2, chance="fleiss").low)
    assert agreement(one_class, classes=2, chance="gwet").value == 1


@pytest.mark.parametrize(
    ("ratings", "options", "message"),
    [
        ([[0, 1]], {}, "two readers or more"),
        ([[0, 1], [0, 2]], {}, "1 others came"),
        ([[0, 1], [0, np.nan]], {}, "1 others came"),
        ([[0, 1], [0, 1]], {"patients": ["a"]}, "each case needs a patient"),
        ([[0, 1], [0, 1]], {"patients": ["a", "a"]}, "two patients or more"),
        ([[0, -1], [-1, 1]], {}, "two readers have rated"),
    ],
)
def test_bad_ratings_are_refused(ratings, options, message):
    with pytest.raises(LesionForgeError, match=message):
        agreement(ratings, classes=2, **options)
