"""Tasks and their results, kept in a run's folder.

A result is a folder that is whole or absent, so a killed run goes on with the tasks whose results are missing.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from lesionforge.errors import StorageError
from lesionforge.evaluation.tables import read_table
from lesionforge.storage import new_folder, read_json, storage_errors, write_json, write_text

LOG = "log.jsonl"
TASK = "task.json"


@dataclass(frozen=True)
class Tasks:
    """The tasks of the run in the folder ``out``."""

    out: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work in this folder alone, and clear away what killed runs left half-written.

        Raises
        ------
        StorageError
            Another process works here.
        """
        lock = FileLock(self.out / ".lock", timeout=0)
        try:
            with lock:
                for partial in (self.out / "tasks").glob(".*.partial-*"):
                    shutil.rmtree(partial)
                yield
        except Timeout:
            raise StorageError(
                f"another process is working on the run in {self.out}: wait for it, or stop it."
            ) from None

    def do(self, name: str, *, stage: str, make: Callable[[Path], None]) -> None:
        """Have ``make`` fill a folder with the result of the task ``name``, unless a run before has done it."""
        if self.result(name).exists():
            return
        start = time.monotonic()
        with new_folder(self.result(name)) as folder:
            make(folder)
            seconds = time.monotonic() - start
            write_json(folder / TASK, {"stage": stage, "seconds": seconds})
        self.log("done", task=name, seconds=round(seconds, 3))

    def result(self, name: str) -> Path:
        """Where a task's result is, or will be."""
        return self.out / "tasks" / name

    def seconds_by_stage(self) -> dict[str, float]:
        """How long the tasks took, over all the runs that worked in this folder."""
        tasks = pd.DataFrame([read_json(file, of="a task") for file in self._files(TASK)])
        by_stage = tasks.groupby("stage")["seconds"].sum().round(1)
        return {str(stage): float(seconds) for stage, seconds in by_stage.items()}

    def tables(self, stage: str, name: str) -> pd.DataFrame:
        """Join the tables of that file name that the tasks of a stage left; empty if there are none."""
        of_stage = [file for file in self._files(name) if read_json(file.parent / TASK, of="a task")["stage"] == stage]
        return pd.concat([read_table(file) for file in of_stage]) if of_stage else pd.DataFrame()

    def log(self, event: str, **facts: Any) -> None:
        """Append a line to the run's log."""
        row = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **facts}
        with storage_errors(self.out / LOG), (self.out / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def started(self) -> str:
        """When the run was first opened, as an ISO time."""
        with (self.out / LOG).open(encoding="utf-8") as stream:
            return str(json.loads(stream.readline())["time"])

    def _files(self, name: str) -> Iterator[Path]:
        return iter(sorted((self.out / "tasks").glob(f"[!.]*/{name}")))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV; every number is read back as it was."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
