"""A store that machines share without sharing a folder: object storage, or whatever else fsspec speaks.

    URL/results/KEY.json        as `task.json` of a folder's result; written last, in one step: it marks a whole result
    URL/objects/CONTENT/…       the files, under the digest of what they are

Whoever reads has a folder of its own besides, into which results are brought before they are used; what unfinished
tasks keep stays on the machine that works on them. Two runs that make one result at the same time both write it, under
the digests of what they made: the last to finish is who is read, and no reader meets a mixture.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fsspec.core import url_to_fs

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import describe_file, digest, new_folder, read_json, write_json
from lesionforge.tasks.store import FORMAT, STORE, TASK, VERSION, FolderStore, Make, Store


@dataclass(frozen=True)
class SharedStore(Store):
    """A store at an address such as ``s3://bucket/folder``, seen through the folder ``near``."""

    url: str
    near: FolderStore

    @classmethod
    def opened(cls, url: str, near: Path) -> "SharedStore":
        """Make a store at the address, or open the one that is there.

        Raises
        ------
        StorageError
            The address cannot be reached, or holds a store of another version.
        """
        store = cls(url, FolderStore.opened(near))
        with store.reached() as (there, root):
            if not there.exists(f"{root}/{STORE}"):
                there.makedirs(root, exist_ok=True)
                store._write(STORE, {"format": FORMAT, "version": VERSION})
            found = store._read(STORE)
        if found != {"format": FORMAT, "version": VERSION}:
            raise StorageError(
                f"{url} must be a store of results in version {VERSION} of its format, but it is "
                f"{found.get('format')!r} in version {found.get('version')!r}: choose another address, or update "
                "LesionForge."
            )
        return store

    def present(self, keys: Collection[str]) -> set[str]:
        """Return those of ``keys`` whose results are there; lists the store once, however many are asked for."""
        with self.reached() as (there, root):
            folder = f"{root}/results"
            listed = there.ls(folder, detail=False, refresh=True) if there.exists(folder) else []
        return self.near.present(keys) | set(keys) & {
            str(path).rpartition("/")[2].removesuffix(".json") for path in listed
        }

    def fetch(self, key: str) -> Path:
        """Bring a result here, unless it is; what arrives is checked."""
        if not self.near.present([key]):
            with self.reached():
                told = self._read(f"results/{key}.json")
            with new_folder(self.near.result(key), overwrite=True) as folder, self.reached() as (there, root):
                for name, expected in told["files"].items():
                    file = _inside(folder, name)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    there.get_file(f"{root}/{_address(told['files'])}/{name}", str(file))
                    if describe_file(file)[file.name] != expected:
                        raise StorageError(f"{name} of the result {key} in {self.url} is damaged: delete it there.")
                write_json(folder / TASK, told)
        return self.near.result(key)

    def do(self, key: str, *, stage: str, make: Make, progress: Progress = SILENT) -> None:
        """Have ``make`` fill a folder here, and put it there."""
        with self.reached() as (there, root):
            if there.exists(f"{root}/results/{key}.json"):
                return
        self.near.do(key, stage=stage, make=make, progress=progress)
        folder = self.near.result(key)
        told = read_json(folder / TASK, of="a task's result")
        with self.reached() as (there, root):
            for name in told["files"]:
                place = f"{root}/{_address(told['files'])}/{name}"
                there.makedirs(place.rpartition("/")[0], exist_ok=True)
                there.put_file(str(folder / name), place)
            self._write(f"results/{key}.json", told)

    @contextmanager
    def reached(self) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the store's path in it; say in the user's words why it cannot be reached."""
        try:
            there, root = url_to_fs(self.url)
            yield there, root.rstrip("/")
        except LesionForgeError:
            raise
        except Exception as error:  # each kind of storage has errors of its own
            raise StorageError(
                f"the store {self.url} cannot be used ({type(error).__name__}: {error}): check its address, your "
                "credentials, and that the package for such addresses is installed (s3fs, gcsfs, adlfs, …)."
            ) from error

    def _read(self, name: str) -> dict[str, Any]:
        there, root = url_to_fs(self.url)
        found: dict[str, Any] = json.loads(there.cat_file(f"{root.rstrip('/')}/{name}"))
        return found

    def _write(self, name: str, value: object) -> None:
        there, root = url_to_fs(self.url)
        place = f"{root.rstrip('/')}/{name}"
        there.makedirs(place.rpartition("/")[0], exist_ok=True)
        partial = f"{place}.partial-{uuid4().hex}"
        there.pipe_file(partial, json.dumps(value, sort_keys=True).encode())
        there.mv(partial, place)


def open_store(place: str, *, near: Path) -> Store:
    """Open the store at a folder or an address; ``near`` is where an address's results are brought to."""
    return SharedStore.opened(place, near) if "://" in place else FolderStore.opened(Path(place))


def _address(files: dict[str, Any]) -> str:
    return f"objects/{digest(files, characters=32)}"


def _inside(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise StorageError(f"a result names the file {name!r}, which is not inside it: do not trust this store.")
    return file
