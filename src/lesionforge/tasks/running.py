"""How and where a run's tasks are done. Nothing of it decides a result, but for the threads of each task."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lesionforge.errors import LesionForgeError
from lesionforge.tasks.graph import Resources
from lesionforge.tasks.local import Here, Processes
from lesionforge.tasks.on_ray import OnRay, check_cluster
from lesionforge.tasks.schedule import Executor
from lesionforge.tasks.shared_store import SharedStore, open_store
from lesionforge.tasks.store import FolderStore, Store


@dataclass(frozen=True)
class Running:
    """How and where tasks are done.

    workers
        Tasks at a time; 0: as many as there are GPUs, or as the cores allow. One is done in the calling process.
    cpus_per_task
        Threads of each task, whatever else runs: the last digits of numbers hang on it.
    gpus
        GPUs that are shared out among the tasks; None: all there are.
    memory_gb
        Memory that each task takes, if that is known: no more are done at a time than fit.
    ray
        Address of a Ray cluster, or ``local`` to begin one on this machine; empty: processes of our own.
    store
        Where results are kept that other runs may use: a folder, or an address such as ``s3://bucket/folder``; empty:
        in the run's folder.
    """

    workers: int = 1
    cpus_per_task: int = 1
    gpus: int | None = None
    memory_gb: float = 0.0
    ray: str = ""
    store: str = ""

    def __post_init__(self) -> None:
        there = torch.cuda.device_count()
        if self.gpus is not None and self.gpus > there and not self.ray:
            raise LesionForgeError(
                f"there are {there} GPUs here, but {self.gpus} are to be shared out: say --gpus {there}."
            )
        if self.ray not in {"", "local"} and not self.store:
            raise LesionForgeError(
                "a cluster's machines must find one another's results: name a folder that all of them see, or an "
                "address such as s3://bucket/folder, with --store."
            )

    def check(self) -> None:
        """Raise LesionForgeError if the cluster cannot be reached."""
        if self.ray:
            check_cluster(self.ray)

    @cached_property
    def gpus_here(self) -> int:
        """How many GPUs of this machine are shared out."""
        return torch.cuda.device_count() if self.gpus is None else self.gpus

    @cached_property
    def at_once(self) -> int:
        """How many tasks are done at a time on this machine."""
        return self.workers or self.gpus_here or max(1, cores() // self.cpus_per_task)

    @property
    def resources(self) -> Resources:
        """What each task takes."""
        gpus = min(1.0, self.gpus_here / self.at_once) if not self.ray else float(bool(self.gpus))
        return Resources(self.cpus_per_task, gpus, self.memory_gb)

    def opened_store(self, out: Path) -> Store:
        """Open the store of the run in ``out``, or make it."""
        near = out / "store"
        return open_store(self.store or str(near), near=near)

    def store_at(self, out: Path) -> Store:
        """Return the store of the run in ``out`` to look into, whether it is there or not."""
        near = FolderStore(out / "store")
        if "://" in self.store:
            return SharedStore(self.store, near)
        return FolderStore(Path(self.store)) if self.store else near

    @contextmanager
    def executor(self, shared: Any) -> Iterator[Executor]:
        """Yield what does the tasks, each of which is given ``shared``."""
        if self.ray:
            with OnRay(self.ray, shared, cpus=self.at_once * self.cpus_per_task) as cluster:
                yield cluster
        elif self.at_once == 1:
            yield Here(shared, gpus=self.gpus_here)
        else:
            with Processes(self.at_once, shared, gpus=self.gpus_here, memory_gb=total_memory_gb()) as processes:
                yield processes


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory_gb() -> float:
    """How much memory this machine has; 0 where it does not say."""
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
        return 0.0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
