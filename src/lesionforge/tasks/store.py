"""Where the results of tasks are kept, by key: whole or absent, and made once whoever asks for them.

A store is a folder, of one run or shared by many:

    store.json          that it is a store, and in which version of its format
    results/KEY/        a finished task's result; `task.json` in it tells its stage, its seconds, and its files
    unfinished/KEY/     what a task keeps to be taken up again, such as a training's last state; gone once it is done
    locks/KEY.lock      held by whoever makes this result: others wait for it, and then have it

A result that other code made has another key (`code_version`) and is not met at all. Results that no run names any more
may be deleted, as folders.
"""

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lesionforge.errors import StorageError
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import describe_file, new_folder, read_manifest, storage_errors, write_json

FORMAT = "lesionforge-store"
VERSION = 1
STORE = "store.json"
TASK = "task.json"

Make = Callable[[Path, Path], None]  # fills its first folder; its second is kept until that is done


class Store(ABC):
    """Results by key; may go to another process."""

    @abstractmethod
    def present(self, keys: Collection[str]) -> set[str]:
        """Return those of ``keys`` whose results are there."""

    @abstractmethod
    def fetch(self, key: str) -> Path:
        """Return the folder on this machine that holds a result; raise StorageError if there is none."""

    @abstractmethod
    def do(self, key: str, *, stage: str, make: Make, progress: Progress = SILENT) -> None:
        """Have ``make`` fill the folder of a result, unless it is there."""


@dataclass(frozen=True)
class FolderStore(Store):
    """A store that is a folder, which all who use it see."""

    path: Path

    @classmethod
    def opened(cls, path: Path) -> "FolderStore":
        """Make a store, or open the one that is there.

        Raises
        ------
        StorageError
            ``path`` holds something else or a store of another version, or the disk refuses.
        """
        if (path / STORE).exists():
            read_manifest(path / STORE, of="a store of results", format_=FORMAT, version=VERSION)
        elif path.exists() and (not path.is_dir() or any(path.glob("[!.]*"))):
            raise StorageError(f"{path} must be empty or a store of results, but holds something else.")
        else:
            write_json(path / STORE, {"format": FORMAT, "version": VERSION})
        return cls(path)

    def present(self, keys: Collection[str]) -> set[str]:
        """Return those of ``keys`` whose results are there."""
        return {key for key in keys if (self.result(key) / TASK).exists()}

    def result(self, key: str) -> Path:
        """Where a result is, or will be."""
        return self.path / "results" / key

    def fetch(self, key: str) -> Path:
        """Return the folder that holds a result."""
        if not self.present([key]):
            raise StorageError(f"{self.result(key)} is missing: the same command makes it again.")
        return self.result(key)

    def do(self, key: str, *, stage: str, make: Make, progress: Progress = SILENT) -> None:
        """Have ``make`` fill the folder of a result; where another run is at it, wait for that one."""
        self._check_seen()
        with storage_errors(self.path), self._alone(key, progress):
            if self.present([key]):
                return
            self._clear_away(key)
            unfinished, start = self.path / "unfinished" / key, time.monotonic()
            with new_folder(self.result(key)) as folder:
                make(folder, unfinished)
                described = _described(folder)
                write_json(folder / TASK, {"stage": stage, "seconds": time.monotonic() - start, "files": described})
            shutil.rmtree(unfinished, ignore_errors=True)

    def _check_seen(self) -> None:
        if not (self.path / STORE).exists():
            raise StorageError(
                f"{self.path} is not there for this process: take a folder for the store that all machines see under "
                "the same name, or an address such as s3://bucket/folder."
            )

    @contextmanager
    def _alone(self, key: str, progress: Progress) -> Iterator[None]:
        lock = FileLock(self.path / "locks" / f"{key}.lock")
        lock_folder = Path(lock.lock_file).parent
        lock_folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.say("another run is making this result: waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _clear_away(self, key: str) -> None:
        """Remove what a hard kill left half-written; nobody else is at it."""
        result = self.result(key)
        for partial in result.parent.glob(f".{key}.partial-*"):
            shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(result, ignore_errors=True)  # a folder without its task.json was meddled with


def linked_copy(folder: Path, into: Path, *, leave_out: str = "") -> None:
    """Copy a folder but for files of a pattern, by hard links where there are any: files are never changed in place."""
    leaving = shutil.ignore_patterns(".*", leave_out)
    shutil.copytree(folder, into, ignore=leaving, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # across file systems, or on one without links
        shutil.copy2(source, target)


def _described(folder: Path) -> dict[str, dict[str, object]]:
    """Size and SHA-256 of every file beneath ``folder``, by its path from there."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): describe_file(file)[file.name] for file in files}
