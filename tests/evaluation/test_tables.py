import io

import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.evaluation import tables
from lesionforge.evaluation.scores import measure
from lesionforge.evaluation.statistics import score_table


@pytest.fixture
def regimes(simulate):
    return {name: simulate(noise_seed=n) for n, name in enumerate(["raw", "classic", "classic+dcgan"])}


def test_predictions_of_regimes_survive_csv(regimes):
    text = tables.prediction_table_by_regime(regimes).to_csv(index=False)
    back = tables.regimes_from_table(pd.read_csv(io.StringIO(text)))
    assert list(back) == list(regimes)
    np.testing.assert_array_equal(back["classic"].probability, regimes["classic"].probability)


def test_scores_are_those_of_each_regime(regimes):
    table = tables.score_table_by_regime(regimes, resamples=100)
    assert table.columns.tolist() == ["regime", "metric", "estimate", "low", "high"]
    alone = score_table(regimes["classic"], resamples=100)
    pd.testing.assert_frame_equal(
        table[table["regime"] == "classic"].drop(columns="regime").reset_index(drop=True), alone
    )


def test_confusion_counts_every_prediction(regimes):
    table = tables.confusion_table_by_regime(regimes)
    assert table.columns.tolist() == ["regime", "truth", "predicted", "count"]
    assert (table.groupby("regime")["count"].sum() == 180).all()
    benign = table.query("regime == 'raw' and truth == 'benign'")
    assert benign["count"].sum() == 90
    called = (regimes["raw"].predicted == 1) & (regimes["raw"].truth == 0)
    assert benign.query("predicted == 'malignant'")["count"].item() == called.sum()


def test_no_regimes_and_no_regime_column_are_refused(regimes):
    with pytest.raises(LesionForgeError, match="at least one regime"):
        tables.score_table_by_regime({})
    with pytest.raises(LesionForgeError, match="column regime"):
        tables.regimes_from_table(regimes["raw"].to_table())


def test_names_that_look_like_numbers_stay_text(regimes, tmp_path):
    odd = {"1e5": regimes["raw"], "NA": regimes["classic"]}
    tables.prediction_table_by_regime(odd).to_csv(tmp_path / "predictions.csv", index=False)
    back = tables.regimes_from_table(tables.read_table(tmp_path / "predictions.csv"))
    assert list(back) == ["1e5", "NA"]


def test_a_missing_or_foreign_table_is_refused(tmp_path):
    with pytest.raises(StorageError, match="not finished"):
        tables.read_table(tmp_path / "scores.csv")
    (tmp_path / "scores.csv").write_bytes(b"")
    with pytest.raises(StorageError, match="must be a table"):
        tables.read_table(tmp_path / "scores.csv")


def test_scores_of_each_fold_are_those_of_its_rows_alone(simulate):
    predictions = simulate()
    table = tables.fold_table_by_regime({"raw": predictions})
    assert set(table["fold"]) == {0, 1, 2}
    for row in table[table["metric"] == "auc"].itertuples():
        alone = measure(predictions.at(predictions.fold == row.fold))
        assert row.value == alone["auc"]


def test_a_line_takes_its_scores_in_its_order(simulate):
    scores = tables.score_table_by_regime({name: simulate(noise_seed=n) for n, name in enumerate("abc")}, resamples=100)
    table = tables.curve_table(scores, [("up", "patches", ("c", "a"), (0, 500)), ("flat", "share", ("a",), (1,))])
    of_auc = table[table["metric"] == "auc"]
    assert of_auc[["line", "along", "amount", "regime"]].to_numpy().tolist() == [
        ["up", "patches", 0, "c"],
        ["up", "patches", 500, "a"],
        ["flat", "share", 1, "a"],
    ]
    assert len(table) == 3 * scores["metric"].nunique()
