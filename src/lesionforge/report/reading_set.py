"""What a run has laid out for readers, and the command that makes a study of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionforge.data import patches_file


@dataclass(frozen=True)
class ReadingSet:
    """How many real and synthetic patches lie in ``RUN/reading``, of those that were asked for."""

    real: int
    synthetic: int
    asked_real: int
    asked_synthetic: int
    command: str


def reading_of(run: Path, config: Mapping[str, Any]) -> ReadingSet | None:
    """Look at what was laid out; None if nothing was."""
    folders = [run / "reading" / name for name in ("real", "synthetic")]
    asked = config.get("reading")
    if asked is None or not all(folder.is_dir() for folder in folders):
        return None
    real, synthetic = map(patches_file.load, folders)
    classes = len(real.classes) or 1
    command = (
        f"lesionforge reader-study create RUN/reading/real RUN/reading/synthetic --per-class {len(real) // classes} "
        f"--set synthetic_per_class={len(synthetic) // classes} --out RUN/study"
    )
    return ReadingSet(len(real), len(synthetic), asked["real"], asked["synthetic"], command)
