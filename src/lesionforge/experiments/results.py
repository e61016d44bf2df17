"""What the tasks of a run have left, by their names."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import pandas as pd

from lesionforge.evaluation.tables import read_table
from lesionforge.storage import read_json, write_text
from lesionforge.tasks.graph import Graph, Task
from lesionforge.tasks.store import TASK, Store


class Results(Mapping[str, Path]):
    """Folders of the results of those tasks of a graph that are in a store."""

    def __init__(self, graph: Graph, store: Store) -> None:
        present = store.present({task.key for task in graph})
        self._store = store
        self._tasks = {task.name: task for task in graph if task.key in present}

    def __getitem__(self, name: str) -> Path:
        return self._store.fetch(self._tasks[name].key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def tasks(self) -> list[Task]:
        """The tasks, sorted by name."""
        return [self._tasks[name] for name in sorted(self._tasks)]

    def tables(self, stage: str, file: str) -> pd.DataFrame:
        """Join the tables of that name that tasks of a stage left, with what each is about; empty if there are none."""
        files = [(self[task.name] / file, task) for task in self.tasks if task.stage == stage]
        found = [read_table(path).assign(**task.about) for path, task in files if path.exists()]
        return pd.concat(found) if found else pd.DataFrame()

    @cached_property
    def seconds_by_stage(self) -> dict[str, float]:
        """How long the tasks took, whenever and for whomever they were done."""
        once = {task.key: task for task in self.tasks}.values()
        told = pd.DataFrame([read_json(self[task.name] / TASK, of="a task's result") for task in once])
        by_stage = told.groupby("stage")["seconds"].sum().round(1)
        return {str(stage): float(seconds) for stage, seconds in by_stage.items()}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV; every number is read back as it was."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
