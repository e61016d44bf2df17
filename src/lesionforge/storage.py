"""Files that are either whole or absent.

Everything LesionForge writes goes through here: into a hidden sibling first, flushed to the disk, then
renamed to its final name. A crash, a full disk or an interrupt leaves the final name as it was.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesionforge.errors import StorageError


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Say in the user's words why ``path`` cannot be written."""
    try:
        yield
    except OSError as error:
        full = "the disk is full: free some space or choose another place"
        blocked = "a file or folder of another kind is in the way: choose another name"
        reason = {
            errno.ENOSPC: full,
            errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
            errno.EFBIG: "the file would be larger than the file system or the session allows: choose another place",
            errno.EROFS: "the file system is read-only: choose another place",
            errno.EACCES: "permission is denied: choose another place or change its permissions",
            errno.EEXIST: blocked,
            errno.ENOTDIR: blocked,
            errno.EISDIR: blocked,
        }.get(error.errno or 0)
        # NumPy tells of a short write ("9 requested and 4 written") without the number of the error.
        if error.errno is None and str(error).endswith(" written"):
            reason = full
        if reason is None:
            raise
        raise StorageError(f"cannot write {path}: {reason}. Nothing was left under that name.") from error


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes ``path`` when the block ends without an error.

    Raises
    ------
    StorageError
        ``path`` exists and ``overwrite`` is false, or the disk refuses.
    """
    refuse_existing(path, overwrite=overwrite)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
        try:
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    _flush(file)
            partial.chmod(0o777 & ~_umask())
            _put_in_place(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Raise StorageError if ``path`` is taken: nothing is overwritten silently."""
    if path.exists() and not overwrite:
        raise StorageError(
            f"{path} must not exist yet, but it does: choose another name, remove it, or ask to overwrite it."
        )


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a name to write to; it replaces ``path`` in one step when the block ends without an error."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.partial-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        partial = Path(name)
        try:
            yield partial
            partial.chmod(0o666 & ~_umask())
            _flush(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step, as UTF-8.

    Bytes of a file's name that are no text are written as escapes, which JSON reads back as what they were.
    """
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` to ``path`` in one step, as strict JSON (no NaN)."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path, *, of: str) -> dict[str, Any]:
    """Read a JSON object; ``of`` names what the file should be, for the error."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise StorageError(f"{path} is missing, so {path.parent} is not {of}.") from None
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} must be JSON written by LesionForge, but {error}.") from error
    if not isinstance(value, dict):
        raise StorageError(f"{path} must hold one JSON object, but holds a {type(value).__name__}.")
    return value


def read_manifest(path: Path, *, of: str, format_: str, version: int) -> dict[str, Any]:
    """Read the manifest of a folder that LesionForge wrote; it must have this format and version.

    Raises
    ------
    StorageError
        The file is missing, foreign, or of another version.
    """
    manifest = read_json(path, of=of)
    if manifest.get("format") != format_:
        raise StorageError(f"{path.parent} must be {of}, but its format is {manifest.get('format')!r}.")
    if manifest.get("version") != version:
        raise StorageError(
            f"{path.parent} has version {manifest.get('version')!r} of its format; this LesionForge reads version "
            f"{version}: update LesionForge, or make it again."
        )
    return manifest


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file in ``folder``, by name."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file())
    return {name: facts for file in files for name, facts in describe_file(file).items()}


def describe_file(file: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of one file, under its name."""
    return {file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)}}


def check_files(folder: Path, described: Mapping[str, Mapping[str, Any]], *, checksums: bool = True) -> None:
    """Compare the files in ``folder`` with what ``describe_files`` said of them.

    Raises
    ------
    StorageError
        A file is missing, of another length, changed, a link, or named with a path in it.
    """
    for name, expected in described.items():
        file = folder / name
        if Path(name).name != name or name in {".", ".."} or file.is_symlink():
            raise StorageError(f"{folder} names the file {name!r}, which is not inside it: do not trust this folder.")
        if not file.is_file():
            raise StorageError(f"{file} is missing: {folder} is incomplete, copy or make it again.")
        if file.stat().st_size != expected["bytes"]:
            raise StorageError(
                f"{file} must be {expected['bytes']} bytes long but is {file.stat().st_size}: "
                "it was cut short or changed, copy or make it again."
            )
        if checksums and sha256(file) != expected["sha256"]:
            raise StorageError(f"{file} does not match its checksum: it was changed, copy or make it again.")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def safe_name(text: str) -> str:
    """Turn any text into part of a file name: plain letters stay, and a digest keeps different texts apart.

    Capitals are not plain: some file systems take Solid and solid for the same name.
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40]
    return plain if plain == text.lower() else f"{plain}-{digest(text, characters=6)}".strip("-")


def digest(value: object, *, characters: int = 16) -> str:
    """Hash anything JSON can hold; equal values give equal digests on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:characters]


def _put_in_place(partial: Path, path: Path) -> None:
    if not path.exists():
        partial.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old-", dir=path.parent))
    old = aside / path.name
    try:
        path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            old.rename(path)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
