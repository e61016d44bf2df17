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

CONFIG = ("size", "protocol", "title", "window", "metric")
PROVENANCE = ("software", "data", "folds", "started", "seconds", "device", "warnings")


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run wrote: its configuration, where the numbers come from, its tables, and lesions to look at.

    A run of one regime has no table ``comparisons``; one without generators has no plates and no ``gan_training``.
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
        absent = {"comparisons"} if len(regimes) == 1 else set()
        absent |= set() if folders else {"gan_training"}
        return cls(
            path,
            config,
            provenance,
            tables={name: _table(path, name) for name in COLUMNS if name not in absent},
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
    if missing := [column for column in COLUMNS[name] if column not in table]:
        raise StorageError(f"{path} must have the columns {', '.join(COLUMNS[name])}, but lacks {', '.join(missing)}.")
    return table
