import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import ARRAYS, Predictions, concatenate

GOOD = {"labels": ["a", "b"], "probability": [[0.9, 0.1], [0.4, 0.6]], "patients": ["Ann", "Ben"]}


def test_of_keeps_digests_and_no_identifier():
    predictions = Predictions.of("ab", **GOOD)
    assert predictions.truth.tolist() == [0, 1]
    assert predictions.predicted.tolist() == [0, 1]
    assert predictions.n_patients == len(predictions) == 2
    assert "Ann" not in predictions.to_table().to_csv()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": [[0.9, 0.1], [np.nan, 0.6]]}, "1 of 2 rows hold NaN"),
        ({"probability": [[0.9, 0.1], [0.6, 0.6]]}, "softmax"),
        ({"probability": [[1.1, -0.1], [0.4, 0.6]]}, "softmax"),
        ({"probability": [[1.0], [1.0]]}, r"shape \[N, 2\]"),
        ({"labels": ["a", "c"]}, "among a, b, but 'c' came"),
        ({"patients": ["Ann"]}, "patient must have a value for each of 2"),
        ({"fold": [0, 1], "patients": ["Ann", "Ann"]}, "1 are in several"),
        ({"row": [7, 7]}, "1 are predicted again"),
        ({"labels": [], "probability": np.zeros((0, 2)), "patients": []}, "N above 0"),
    ],
)
def test_bad_predictions_are_refused(change, message):
    with pytest.raises(LesionForgeError, match=message):
        Predictions.of("ab", **GOOD | change)


def test_classes_must_be_two_different_names():
    with pytest.raises(LesionForgeError, match="two different names"):
        Predictions.of("aa", **GOOD | {"labels": ["a", "a"]})


def test_identifiers_and_foreign_codes_are_refused():
    predictions = Predictions.of("ab", **GOOD)
    with pytest.raises(LesionForgeError, match="must be digests") as caught:
        replace(predictions, patient=np.array(["Ann", "Ben"]))
    assert "Ann" not in str(caught.value)
    with pytest.raises(LesionForgeError, match="positions in the 2 classes"):
        replace(predictions, truth=np.array([0, 2]))


def test_a_patient_may_change_fold_between_repeats():
    parts = [Predictions.of("ab", **GOOD, fold=repeat, repeat=repeat) for repeat in range(2)]
    assert concatenate(parts).n_patients == 2


def test_concatenate_refuses_other_classes_and_nothing():
    with pytest.raises(LesionForgeError, match="same classes"):
        concatenate([Predictions.of("ab", **GOOD), Predictions.of("ba", **GOOD, repeat=1)])
    with pytest.raises(LesionForgeError, match="at least one"):
        concatenate([])


def test_csv_round_trip_is_exact(simulate):
    predictions = simulate(classes=("x", "y", "p_odd"))
    text = predictions.to_table().to_csv(index=False)
    back = Predictions.from_table(pd.read_csv(io.StringIO(text)))
    assert back.classes == predictions.classes
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), getattr(predictions, name))


def test_table_without_a_column_is_refused(simulate):
    with pytest.raises(LesionForgeError, match="columns fold"):
        Predictions.from_table(simulate().to_table().drop(columns="fold"))


def test_in_order_sorts_by_repeat_and_row(simulate):
    predictions = concatenate([replace(simulate(), repeat=np.full(180, 1)), simulate()])
    ordered = predictions.in_order()
    assert ordered.repeat.tolist() == [0] * 180 + [1] * 180
    assert ordered.row.tolist() == list(range(180)) * 2
