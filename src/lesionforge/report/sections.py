"""The parts of an assessment's page: sections of text, pictures and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.report.rendering import Picture


@dataclass(frozen=True)
class Row:
    """Cells as text; ``marked`` ones stand out."""

    cells: tuple[str, ...]
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table as a page shows it; all of it is in ``name``.csv."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    beside: bool = False  # whether pictures stand side by side


def table_of(
    name: str, caption: str, table: pd.DataFrame, columns: Sequence[str], marked: "pd.Series[bool] | None" = None
) -> Table:
    """Show these columns, the rows of ``marked`` [rows] in bold."""
    cells = [tuple(_cell(row[column]) for column in columns) for row in table.to_dict("records")]
    marks = [False] * len(table) if marked is None else marked.tolist()
    return Table(name, caption, tuple(columns), tuple(map(Row, cells, marks)))


def with_intervals(table: pd.DataFrame, of: str = "") -> pd.DataFrame:
    """Add the column ``interval``, in words."""
    ends = zip(table[f"{of}low"], table[f"{of}high"], strict=True)
    return table.assign(interval=[f"{_cell(low)} to {_cell(high)}" for low, high in ends])


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("_", " ")
    return f"{value:.3g}".replace("-", "−") if np.isfinite(value) else "–"
