"""Tables that people bring as CSV: UTF-8, commas, a row of names first."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.errors import LesionForgeError
from lesionforge.settings import nearest

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
MOST_EXACT = 2**53  # the whole numbers that a float64 holds exactly


def read_cells(file: Path, *, needed: Collection[str] = ()) -> pd.DataFrame:
    """Read every cell as text, the columns under their names.

    Raises
    ------
    LesionForgeError
        The file is no such table, or has no column of a name that is ``needed``.
    """
    try:
        # The header is read as a row, and everything as text: pandas would rename columns that share a name,
        # take "NA" for no patient, and 007 for 7.
        cells = pd.read_csv(file, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise LesionForgeError(f"{file} must be in UTF-8, but is not: save it as CSV UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise LesionForgeError(f"{file} must be CSV with a header and commas, but {str(error).strip()}.") from None
    cells = cells.fillna("")  # a short row lacks its last cells
    names = cells.iloc[0].tolist()
    _check_header(file, names, needed)
    return cells.iloc[1:].set_axis(names, axis=1).reset_index(drop=True)


def numbers(column: "pd.Series[str]") -> "pd.Series[Any]":
    """Turn a column of text into numbers where none of its characters is lost by that."""
    missing = column.isin(MISSING)
    values = pd.to_numeric(column.mask(missing), errors="coerce")
    codes = column.str.match(r"[+-]?0\d") | (values.abs() > MOST_EXACT)
    if codes.any() or (values.isna() & ~missing).any():
        return column
    return values if values.dtype == np.int64 else column.mask(missing, "nan").map(float)


def _check_header(file: Path, names: list[str], needed: Collection[str]) -> None:
    """Check that the first row names the columns. Where it may be a patient's, its cells are not repeated."""
    missing = sorted(set(needed) - set(names))
    numeric = int(pd.to_numeric(pd.Series(names), errors="coerce").notna().sum())
    if missing and numeric:
        raise LesionForgeError(
            f"the first row of {file} must name the columns, {missing[0]!r} among them, but {numeric} of its "
            f"{len(names)} cells are numbers: add a row of names."
        )
    if missing:
        raise LesionForgeError(f"{file} has no column {missing[0]!r}{nearest(missing[0], names)}")
    if "" in names:
        raise LesionForgeError(
            f"{file} must name every column, but number {names.index('') + 1} of {len(names)} has no name: name it or "
            "take it out (pandas writes none with `index=False`)."
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LesionForgeError(f"{file} must name each column once, but has {', '.join(map(repr, twice))} again.")
