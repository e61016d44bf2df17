"""A paper's tables with ours beside them: the figures that a run's configuration says were published.

A figure of ours is what the regime that the protocol names scored, with its 95 % interval over patients, and, where
folds were repeated, the standard deviation over repeats, which is what papers print behind a ±. Figures of readers have
none of ours beside them until a reader study is held; what a classifier reached in their place is said with them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.evaluation.statistics import metric_title
from lesionforge.report.assessed import Assessed
from lesionforge.report.run_folder import FinishedRun

COLUMNS = ["row", "metric", "published", "published_sd", "ours", "low", "high", "sd", "regime", "note"]
SEVERAL = "|"  # between the regimes of a row that is a mean of theirs
NOT_RUN, NO_READERS = "not run at this scale", "needs readers"
RADIOMICS, READER = "radiomics_", "reader_"


@dataclass(frozen=True)
class PaperTable:
    """A printed table: what it is called, and a row for each of its figures, with `COLUMNS`."""

    title: str
    table: pd.DataFrame

    @property
    def name(self) -> str:
        """Names its files."""
        return f"paper_{re.sub(r'[^a-z0-9]+', '_', self.title.lower()).strip('_')}"


def paper_tables(run: FinishedRun, assessed: Mapping[tuple[str, str], Assessed]) -> list[PaperTable]:
    """Return the published tables in the order of the protocol."""
    published = pd.DataFrame(run.config.get("published", ()))
    if published.empty:
        return []
    rows = [{**each, **_ours(each, run, assessed)} for each in published.to_dict("records")]
    found = pd.DataFrame(rows).rename(columns={"value": "published", "spread": "published_sd"})
    return [
        PaperTable(str(title), table[COLUMNS].reset_index(drop=True))
        for title, table in found.groupby("table", sort=False)
    ]


def shown_rows(table: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Text of each row: row, metric, published, ours, note; a row's name stands once."""
    before = None
    for row in table.to_dict("records"):
        yield {
            "row": "" if row["row"] == before else str(row["row"]),
            "metric": metric_title(str(row["metric"]).removeprefix(READER).removeprefix(RADIOMICS)),
            "published": _with_spread(row["published"], row["published_sd"]),
            "ours": _with_spread(row["ours"], row["sd"]),
            "interval": f"{row['low']:.3f} to {row['high']:.3f}" if np.isfinite(row["low"]) else "",
            "note": str(row["note"] or ""),
        }
        before = row["row"]


def _ours(
    published: Mapping[Any, Any], run: FinishedRun, assessed: Mapping[tuple[str, str], Assessed]
) -> dict[str, Any]:
    """Our figure beside a published one: ours, low, high, sd, note."""
    metric, regime = str(published["metric"]), str(published["regime"])
    nothing = {"ours": np.nan, "low": np.nan, "high": np.nan, "sd": np.nan}
    if metric.startswith(READER):
        return nothing | {"note": NO_READERS}
    if metric.startswith(RADIOMICS):
        found = _of_radiomics(metric, str(published["row"]), assessed.get(("radiomics", regime)))
        return nothing | (found or {"note": published["note"] or "could not be asked"})
    scores = run.tables["scores"]
    names = regime.split(SEVERAL)
    rows = scores[scores["regime"].isin(names) & (scores["metric"] == metric)]
    if not regime or len(rows) < len(names):
        return nothing | {"note": NOT_RUN}
    if len(names) > 1:
        return nothing | {"ours": float(rows["estimate"].mean())}
    (row,) = rows.to_dict("records")
    spread = _spread(run.tables.get("fold_scores"), regime, metric)
    return {"ours": row["estimate"], "low": row["low"], "high": row["high"], "sd": spread}


def _of_radiomics(metric: str, row: str, found: Assessed | None) -> dict[str, Any] | None:
    if found is None or found.refused:
        return None
    if metric == f"{RADIOMICS}alike_share":
        numbers = found.results["numbers"]
        return {"ours": numbers["alike_p_value"] / numbers["features"]}
    if metric == f"{RADIOMICS}p_value":
        by_feature = found.table("features").set_index("feature")["p_value"]
        return {"ours": by_feature[row]} if row in by_feature else None
    if metric == f"{RADIOMICS}auc":
        auc = found.table("auc").iloc[0]
        return {"ours": auc["estimate"], "low": auc["low"], "high": auc["high"]}
    return None


def _spread(folds: pd.DataFrame | None, regime: str, metric: str) -> float:
    """Standard deviation of a score over repeats, each the mean of its folds; NaN of a single one."""
    if folds is None:
        return np.nan
    rows = folds[(folds["regime"] == regime) & (folds["metric"] == metric)]
    return float(rows.groupby("repeat")["value"].mean().std(ddof=1))


def _with_spread(value: float, spread: float | None) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.3f}" + (f" ± {spread:.3f}" if spread is not None and np.isfinite(spread) else "")
