"""The tables of a run that compares training regimes: a run folder keeps them as CSV, a report reads them.

Regimes are a mapping from name ("raw", "classic", "classic+dcgan") to the predictions of its classifiers on
the same test rows; their order is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.evaluation.bootstrap import RESAMPLES
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.scores import confusion_matrix, folds, measure
from lesionforge.evaluation.statistics import score_table

Regimes = Mapping[str, Predictions]

# Names that look like numbers or like "NA" stay as they were written.
_TEXT = (
    *("regime", "against", "metric", "verdict", "sentence", "patient", "label", "truth", "predicted", "term"),
    *("line", "along", "choice", "subgroup", "part"),
)


def read_table(path: Path) -> pd.DataFrame:
    """Read one of a run's tables; an empty cell is NaN, names are text whatever they look like.

    Raises
    ------
    StorageError
        The file is missing, empty or no table.
    """
    try:
        return pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise StorageError(f"{path} is missing: the run is not finished; resume it, then ask again.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} must be a table written by LesionForge, but {error}.") from error


def prediction_table_by_regime(regimes: Regimes) -> pd.DataFrame:
    """Columns regime, repeat, fold, row, patient (a digest), label, p_<class>…."""
    return _by_regime(regimes, Predictions.to_table)


def regimes_from_table(table: pd.DataFrame) -> dict[str, Predictions]:
    """Read what `prediction_table_by_regime` gave, in its order."""
    if "regime" not in table:
        raise LesionForgeError("a table of several regimes' predictions must have the column regime; add it.")
    return {str(name): Predictions.from_table(rows) for name, rows in table.groupby("regime", sort=False)}


def score_table_by_regime(regimes: Regimes, *, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Columns regime, metric, estimate, low, high: `score_table` of each regime, same draws of patients."""
    return _by_regime(regimes, lambda predictions: score_table(predictions, resamples=resamples, seed=seed))


def confusion_table_by_regime(regimes: Regimes) -> pd.DataFrame:
    """Columns regime, truth, predicted, count, over the rows of all folds and repeats."""
    return _by_regime(regimes, _confusion_table)


def fold_table_by_regime(regimes: Regimes) -> pd.DataFrame:
    """Columns regime, repeat, fold, metric, value: every score of each fold alone, to see how trainings differ."""
    return _by_regime(regimes, _fold_table)


def curve_table(scores: pd.DataFrame, lines: Sequence[tuple[str, str, Sequence[str], Sequence[float]]]) -> pd.DataFrame:
    """Scores along lines of regimes: columns line, along, amount, regime, metric, estimate, low, high.

    ``scores`` is `score_table_by_regime`'s; a line has its name, what grows along it, its regimes and their amounts.
    """
    parts = [
        pd.DataFrame({"line": name, "along": along, "amount": amounts, "regime": names}).merge(scores, on="regime")
        for name, along, names, amounts in lines
    ]
    return pd.concat(parts, ignore_index=True)


def _fold_table(predictions: Predictions) -> pd.DataFrame:
    rows = [
        [predictions.repeat[places[0]], predictions.fold[places[0]], metric, float(value)]
        for places in folds(predictions)
        for metric, value in measure(predictions.at(places)).items()
    ]
    return pd.DataFrame(rows, columns=["repeat", "fold", "metric", "value"])


def _confusion_table(predictions: Predictions) -> pd.DataFrame:
    names = predictions.classes
    cells = pd.MultiIndex.from_product([names, names], names=["truth", "predicted"]).to_frame(index=False)
    return cells.assign(count=confusion_matrix(predictions).astype(int).ravel())


def _by_regime(regimes: Regimes, table: Callable[[Predictions], pd.DataFrame]) -> pd.DataFrame:
    if not regimes:
        raise LesionForgeError("a table of regimes needs at least one regime, but none came.")
    tables = {name: table(predictions) for name, predictions in regimes.items()}
    return pd.concat(tables, names=["regime", None]).reset_index(level="regime").reset_index(drop=True)
