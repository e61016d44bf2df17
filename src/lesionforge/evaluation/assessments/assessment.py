"""What came of one question about a synthetic set, and the run's folder that keeps it.

``config.json`` says what was asked, ``results.json`` what came out in words and numbers, ``tables/*.csv`` everything,
``plates/*.npy`` images to look at, and ``provenance.json`` with what and from what. No patient's identifier is in it.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.data.patch_table import Array
from lesionforge.storage import new_folder, write_json

FORMAT = "lesionforge-assessment"
VERSION = 1
SOFTWARE = ("lesionforge", "numpy", "scipy", "scikit-learn", "pyradiomics")


@dataclass(frozen=True, eq=False)
class Assessment:
    """``kind`` is the question: fidelity, radiomics, memorisation or separability."""

    kind: str
    title: str
    asked: dict[str, Any]
    sentences: tuple[str, ...]  # what came out, in words; the first is the answer
    tables: Mapping[str, pd.DataFrame]
    results: dict[str, Any] = field(default_factory=dict)
    plates: Mapping[str, Array] = field(default_factory=dict)  # [n, …, *shape], in ``asked["unit"]``
    warnings: tuple[str, ...] = ()

    def write(self, out: Path | str, *, command: str = "", seconds: float = 0.0) -> Path:
        """Write the run's folder, whole or not at all.

        Raises
        ------
        StorageError
            ``out`` exists, or the disk refuses.
        """
        with new_folder(Path(out)) as folder:
            for name, table in self.tables.items():
                (folder / "tables").mkdir(exist_ok=True)
                table.to_csv(folder / "tables" / f"{name}.csv", index=False, lineterminator="\n")
            for name, plate in self.plates.items():
                (folder / "plates").mkdir(exist_ok=True)
                np.save(folder / "plates" / f"{name}.npy", np.asarray(plate, dtype=np.float32), allow_pickle=False)
            manifest = {"format": FORMAT, "version": VERSION, "kind": self.kind, "title": self.title}
            write_json(folder / "config.json", manifest | {"asked": self.asked})
            write_json(folder / "results.json", {"sentences": list(self.sentences), "numbers": self.results})
            provenance = {
                "software": _software(),
                "command": command,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(seconds, 1),
                "warnings": list(self.warnings),
            }
            write_json(folder / "provenance.json", provenance)
        return Path(out)


def _software() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
