import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionforge.errors import StorageError
from lesionforge.storage import (
    check_files,
    describe_files,
    digest,
    new_file,
    new_folder,
    read_json,
    safe_name,
    write_json,
    write_text,
)


class StopError(Exception):
    """Stands for a crash in the middle of writing."""


def fill(folder: Path, text: str = "new") -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "a.txt").write_text(text)


def write_and_stop(file: Path, error: type[BaseException]) -> None:
    file.write_text("half")
    raise error


def fill_and_stop(folder: Path, error: type[BaseException]) -> None:
    fill(folder)
    raise error


def test_a_folder_appears_whole(tmp_path):
    with new_folder(tmp_path / "sub" / "run") as folder:
        fill(folder)
        assert not (tmp_path / "sub" / "run").exists()
    assert (tmp_path / "sub" / "run" / "inner" / "a.txt").read_text() == "new"
    assert [each.name for each in (tmp_path / "sub").iterdir()] == ["run"]


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_an_error_inside_leaves_nothing(tmp_path, error):
    with pytest.raises(error), new_folder(tmp_path / "run") as folder:
        fill_and_stop(folder, error)
    with pytest.raises(error), new_file(tmp_path / "a.txt") as file:
        write_and_stop(file, error)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("old")
    with pytest.raises(StorageError, match="choose another name"), new_folder(tmp_path / "run") as folder:
        fill(folder)
    assert (tmp_path / "run" / "mine.txt").read_text() == "old"


def test_overwriting_replaces_the_whole_folder(tmp_path):
    for text in ("old", "new"):
        with new_folder(tmp_path / "run", overwrite=True) as folder:
            fill(folder, text)
            if text == "old":
                (folder / "only_old.txt").touch()
    assert (tmp_path / "run" / "inner" / "a.txt").read_text() == "new"
    assert not (tmp_path / "run" / "only_old.txt").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_failed_overwrite_keeps_the_old(tmp_path):
    with new_folder(tmp_path / "run") as folder:
        fill(folder, "old")
    with pytest.raises(StopError), new_folder(tmp_path / "run", overwrite=True) as folder:
        fill_and_stop(folder, StopError)
    assert (tmp_path / "run" / "inner" / "a.txt").read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_an_overwrite_that_fails_in_its_last_step_puts_the_old_back(tmp_path, monkeypatch):
    with new_folder(tmp_path / "run") as folder:
        fill(folder, "old")
    rename = Path.rename

    def fails_for_the_new(self, target):
        if ".partial-" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(StorageError, match="disk is full"), new_folder(tmp_path / "run", overwrite=True) as folder:
        fill(folder)
    assert (tmp_path / "run" / "inner" / "a.txt").read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError("1000 requested and 12 written"), "disk is full"),  # how NumPy says it
        (OSError(errno.EDQUOT, "quota"), "quota"),
        (OSError(errno.EROFS, "read-only"), "read-only"),
        (PermissionError(errno.EACCES, "denied"), "permission"),
    ],
)
def test_a_disk_that_refuses_is_explained(tmp_path, monkeypatch, error, says):
    def refuses(_descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", refuses)
    with pytest.raises(StorageError, match=says), new_folder(tmp_path / "run") as folder:
        fill(folder)
    with pytest.raises(StorageError, match=says):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="in the way"), new_folder(tmp_path / "file" / "run") as folder:
        fill(folder)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="in the way"):
        write_text(tmp_path / "folder", "text")


def test_other_errors_are_not_explained_away(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "run"):
        (tmp_path / "not there").read_text()


def test_a_file_is_replaced_in_one_step(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with new_file(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    with new_folder(tmp_path / "run") as folder:
        fill(folder)
    (tmp_path / "plain").mkdir()
    write_text(tmp_path / "a.txt", "")
    (tmp_path / "plain.txt").touch()
    assert (tmp_path / "run").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_json_survives(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": {"ü": "≤"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json", of="a test") == value
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "nan.json", {"a": float("nan")})
    assert not (tmp_path / "nan.json").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b'{"a": ' + b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_foreign_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"a\.json must"):
        read_json(tmp_path / "a.json", of="a test")


def test_missing_json_says_what_the_folder_is_not(tmp_path):
    with pytest.raises(StorageError, match="is not a run"):
        read_json(tmp_path / "a.json", of="a run")


@pytest.fixture
def described(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a.bin").write_bytes(bytes(range(100)))
    (folder / "b.bin").write_bytes(b"")
    return folder, describe_files(folder)


def test_described_files_pass(described):
    folder, files = described
    assert set(files) == {"a.bin", "b.bin"}
    assert json.loads(json.dumps(files)) == files
    check_files(folder, files)


@given(st.integers(0, 99), st.integers(1, 255))
def test_any_flipped_byte_is_found(tmp_path_factory, at, change):
    folder = tmp_path_factory.mktemp("run")
    content = bytearray(range(100))
    (folder / "a.bin").write_bytes(content)
    files = describe_files(folder)
    content[at] ^= change
    (folder / "a.bin").write_bytes(content)
    with pytest.raises(StorageError, match="checksum"):
        check_files(folder, files)
    check_files(folder, files, checksums=False)


def test_short_and_missing_files_are_found_without_checksums(described):
    folder, files = described
    os.truncate(folder / "a.bin", 99)
    with pytest.raises(StorageError, match="100 bytes long but is 99"):
        check_files(folder, files, checksums=False)
    (folder / "a.bin").unlink()
    with pytest.raises(StorageError, match="missing"):
        check_files(folder, files, checksums=False)


@pytest.mark.parametrize("name", ["../secret", "inner/../../secret", "/etc/hostname", "..", ".", "inner/a"])
def test_names_that_lead_out_are_refused(described, name):
    folder, files = described
    (folder.parent / "secret").write_bytes(bytes(range(100)))
    with pytest.raises(StorageError, match="not inside"):
        check_files(folder, {name: files["a.bin"]})


def test_links_are_refused(described):
    folder, files = described
    (folder.parent / "secret").write_bytes(bytes(range(100)))
    (folder / "link").symlink_to(folder.parent / "secret")
    with pytest.raises(StorageError, match="not inside"):
        check_files(folder, {"link": files["a.bin"]})


def test_digests_depend_on_the_value_alone():
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2.0], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest("x", characters=8)) == 8


def test_safe_names_stay_apart_where_case_does_not_count():
    assert safe_name("solid") == "solid"
    assert safe_name("Solid").lower() != "solid"
    assert safe_name("a/b") != safe_name("a b")


def test_names_that_are_no_text_survive_in_json(tmp_path):
    name = b"b\xe9d.patches".decode(errors="surrogateescape")
    write_json(tmp_path / "a.json", {"data": name})
    assert read_json(tmp_path / "a.json", of="a test") == {"data": name}
