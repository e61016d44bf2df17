"""A finished run, as it lies on disk: all that a report may know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.errors import StorageError
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.tables import read_table, regimes_from_table
from lesionforge.storage import read_json

COLUMNS = {
    "predictions": ("regime", "repeat", "fold", "row", "patient", "label"),
    "scores": ("regime", "metric", "estimate", "low", "high"),
    "comparisons": ("regime", "against", "metric", "baseline", "other", "difference", "low", "high", "level",
                    "patients", "verdict", "sentence"),
    "confusion": ("regime", "truth", "predicted", "count"),
    "gan_training": ("repeat", "fold", "label", "images_seen", "term", "value"),
    "classifier_training": ("regime", "repeat", "fold", "images_shown", "term", "value"),
}  # fmt: skip

OPTIONAL = {
    "fold_scores": ("regime", "repeat", "fold", "metric", "value"),
    "curves": ("line", "along", "amount", "regime", "metric", "estimate", "low", "high"),
    "choices": ("choice", "regime", "repeat", "fold", "score", "behind", "error", "chosen"),
    "effects": ("regime", "against", "metric", "baseline", "other", "difference", "low", "high"),
    "subgroups": ("regime", "against", "subgroup", "part", "lesions", "patients", "difference", "low", "high"),
    "embedding": ("regime", "layout", "x", "y", "label", "origin", "trustworthiness", "neighbours_kept"),
}

FAILED = "failed.json"  # there if tasks failed
CONFIG = ("size", "protocol", "title", "window", "metric")
PROVENANCE = ("software", "data", "folds", "started", "seconds", "device", "warnings")


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run wrote: its configuration, where the numbers come from, its tables, and lesions to look at.

    A run of one regime has no table ``comparisons``, and one whose tasks failed may have none; one without generators
    has no plates and no ``gan_training``. What is `OPTIONAL` is there if the experiment asked for it.
    """

    path: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    regimes: dict[str, Predictions]
    plates: dict[str, Patches]

    @property
    def unmade(self) -> str:
        """What lesions that no generator made are called: ``real``, or ``phantom`` where they were computed."""
        return "phantom" if self.provenance["data"].get("phantom") else "real"

    @property
    def shown(self) -> list[str]:
        """Regimes and choices whose curves are drawn: those that the experiment names, or all; none that failed."""
        return [name for name in self.config.get("shown") or self.regimes if name in self.regimes]

    def of_shown(self, name: str) -> pd.DataFrame:
        """The rows of a table that are of the regimes shown, in their order."""
        table = self.tables[name]
        return pd.concat([table[table["regime"] == regime] for regime in self.shown], ignore_index=True)

    @classmethod
    def read(cls, path: Path) -> "FinishedRun":
        """Read a run folder.

        Raises
        ------
        StorageError
            A file is missing or not what it should be.
        """
        config, provenance = _facts(path / "config.json", CONFIG), _facts(path / "provenance.json", PROVENANCE)
        regimes = regimes_from_table(_table(path, "predictions"))
        folders = sorted(folder for folder in (path / "plates").glob("[!.]*") if folder.is_dir())
        partial = (path / FAILED).exists()
        absent = {"comparisons"} if len(regimes) == 1 or partial else set()
        absent |= set() if folders else {"gan_training"}
        return cls(
            path,
            config,
            provenance,
            tables={name: _table(path, name) for name in COLUMNS if name not in absent}
            | {name: _table(path, name) for name in (*OPTIONAL, *absent) if (path / "tables" / f"{name}.csv").exists()},
            regimes=regimes,
            plates={folder.name: patches_file.load(folder) for folder in folders},
        )


def _facts(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    facts = read_json(path, of="a finished run")
    if missing := [name for name in names if name not in facts]:
        raise StorageError(f"{path} must say {', '.join(names)}, but lacks {', '.join(missing)}: run it again.")
    return facts


def _table(run: Path, name: str) -> pd.DataFrame:
    path = run / "tables" / f"{name}.csv"
    table = read_table(path)
    columns = (COLUMNS | OPTIONAL)[name]
    if missing := [column for column in columns if column not in table]:
        raise StorageError(f"{path} must have the columns {', '.join(columns)}, but lacks {', '.join(missing)}.")
    return table
