from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t
from sklearn.metrics import average_precision_score

from lesionforge.evaluation.bootstrap import PatientDraws
from lesionforge.evaluation.predictions import concatenate
from lesionforge.evaluation.score_intervals import average_precision_interval
from lesionforge.evaluation.scores import measure
from lesionforge.evaluation.statistics import score_table

NAME = "average_precision [malignant]"


def interval(predictions, *, training_error=np.nan, level=0.95):
    draws = PatientDraws.of(predictions, resamples=300)
    score = draws.apply(lambda weights: {NAME: measure(predictions, weights)[NAME]})[NAME]
    return score.estimate, average_precision_interval(draws, score, training_error=training_error, level=level)


def test_it_is_students_on_log_odds_with_the_jackknifes_error(simulate):
    """Patient by patient left out, by scikit-learn's average precision; Welch's degrees of freedom."""
    predictions = simulate(patients=30, lesions=1, folds=1)
    odds, classes = [], []
    for patient in np.unique(predictions.patient):
        rest = predictions.patient != patient
        odds.append(logit(average_precision_score(predictions.truth[rest], predictions.probability[rest, 1])))
        classes.append(predictions.truth[~rest][0])
    parts = [np.array(odds)[np.array(classes) == code] for code in (0, 1)]
    variances = np.array([(len(part) - 1) * part.var() for part in parts])
    freedom = variances.sum() ** 2 / sum(v**2 / (len(part) - 1) for v, part in zip(variances, parts, strict=True))
    value, (low, high) = interval(predictions)
    reach = t.ppf(0.975, freedom) * np.sqrt(variances.sum())
    assert (low, high) == pytest.approx((expit(logit(value) - reach), expit(logit(value) + reach)))


def test_lesions_of_one_patient_count_for_less(simulate):
    alike = simulate(patients=40, lesions=6, patient_spread=3.0)
    independent = replace(alike, patient=np.array([f"{row:020x}" for row in alike.row]))
    (value, (low, high)), (_, (near, far)) = interval(alike), interval(independent)
    assert high - low > 1.5 * (far - near)
    assert 0 < low < value < high < 1


def test_luck_of_training_widens_it(simulate):
    predictions = simulate()
    _, (low, high) = interval(predictions)
    _, (lower, higher) = interval(predictions, training_error=0.1)
    assert lower < low < high < higher


def test_repeats_are_no_further_lesions(simulate):
    """The same predictions thrice tell no more than once."""
    once = simulate()
    thrice = concatenate([replace(once, repeat=np.full(len(once), repeat)) for repeat in range(3)])
    assert interval(thrice)[1] == pytest.approx(interval(once)[1])


def test_a_perfect_one_reaches_down_to_what_so_few_could_hide(simulate):
    table = score_table(simulate(patients=12, lesions=1, separation=40.0), resamples=200).set_index("metric")
    assert table.loc[NAME, "estimate"] == table.loc[NAME, "high"] == 1
    assert table.loc[NAME, "low"] == pytest.approx(0.025 ** (1 / 6))
