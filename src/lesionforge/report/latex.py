"""Tables as LaTeX, beside their CSV: with booktabs' rules, ready to be put into a paper."""

from pathlib import Path

import pandas as pd

from lesionforge.storage import write_text

LONG = 400  # rows: no table of a paper


def write_latex(folder: Path, name: str, table: pd.DataFrame) -> bool:
    """Write ``name.tex``, unless the table is too long for paper; whether it was written."""
    if len(table) > LONG:
        return False
    columns = [str(column).replace("_", " ") for column in table]
    text = table.set_axis(columns, axis=1).to_latex(
        index=False, escape=True, na_rep="--", float_format="%.3f", label=f"tab:{name}"
    )
    write_text(folder / f"{name}.tex", text)
    return True
