"""What a run's generators were found to be beside its patients: the folders in ``assessments``, each with its page."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lesionforge.evaluation.tables import read_table
from lesionforge.report.assessment_page import write_assessment_report
from lesionforge.storage import read_json

QUESTION = "question.json"


@dataclass(frozen=True, eq=False)
class Assessed:
    """One question about one generator."""

    path: Path
    kind: str
    generator: str
    results: dict[str, Any]
    refused: str = ""  # why it could not be asked

    @property
    def name(self) -> str:
        """Names its folder."""
        return self.path.name

    @property
    def sentences(self) -> list[str]:
        """What came out."""
        return list(self.results.get("sentences", ()))

    def table(self, name: str) -> pd.DataFrame:
        """One of its tables."""
        return read_table(self.path / "tables" / f"{name}.csv")


def read_assessed(run: Path) -> dict[tuple[str, str], Assessed]:
    """Read all that a run was asked about its generators, and write a page for each; by kind and generator."""
    found = {}
    for path in (run / "assessments").glob(f"[!.]*/{QUESTION}"):
        folder, said = path.parent, read_json(path, of="an assessment")
        results: dict[str, Any] = {}
        if not said["why"]:
            write_assessment_report(folder)
            results = read_json(folder / "results.json", of="an assessment")
        asked = said["kind"], said["generator"]
        found[asked] = Assessed(folder, *asked, results, said["why"])
    return dict(sorted(found.items(), key=lambda item: item[0][::-1]))


def assessed_table(assessed: Iterable[Assessed]) -> pd.DataFrame:
    """Columns generator, kind, number, value, refused: every number that came out, or why there is none."""
    rows = [
        {"generator": each.generator, "kind": each.kind, "number": name, "value": value, "refused": each.refused}
        for each in assessed
        for name, value in (_numbers(each.results) or {"": float("nan")}).items()
    ]
    return pd.DataFrame(rows, columns=["generator", "kind", "number", "value", "refused"])


def _numbers(results: dict[str, Any]) -> dict[str, float]:
    found = results.get("numbers", {}).items()
    return {name: float(value) for name, value in found if isinstance(value, int | float)}
