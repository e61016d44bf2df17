"""Files below a folder, among links and things that are no files."""

import os
import pathlib

import pytest

from lesionforge.data.formats.file_tree import file_inside, files_below
from lesionforge.errors import StorageError


def _names(folder):
    return [str(file.relative_to(folder)) for file in files_below(folder)]


def test_files_come_in_an_order_that_does_not_change(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    for name in ("z", "c", "b/2", "b/1", "a/9"):
        (tmp_path / name).touch()
    assert _names(tmp_path) == ["c", "z", "a/9", "b/1", "b/2"]
    assert list(files_below(tmp_path / "z")) == [tmp_path / "z"]


def test_links_are_followed_once_and_circles_end(tmp_path):
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").touch()
    (folder / "inner" / "up").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "again").symlink_to(folder / "inner")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked").touch()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "dangling").symlink_to(tmp_path / "nothing")
    assert sorted(file.name for file in files_below(folder)) == ["file", "linked"]


def test_a_pipe_on_which_reading_would_wait_is_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert _names(tmp_path) == ["file"]


def test_a_folder_that_may_be_listed_but_not_entered_is_left_out(tmp_path, monkeypatch):
    def is_file(path):
        if path.name == "file":
            raise PermissionError
        return False

    (tmp_path / "file").touch()
    monkeypatch.setattr(pathlib.Path, "is_file", is_file)
    assert list(files_below(tmp_path)) == []


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="there is none"):
        list(files_below(tmp_path / "nothing"))


def test_a_name_in_a_foreign_file_leads_nowhere_else(tmp_path):
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").touch()
    (folder / "good").symlink_to("file")
    (folder / "out").symlink_to(tmp_path)
    (folder / "self").symlink_to("self")
    for name in ("file", "inner/file", "inner/../file", "good", "not there"):
        assert file_inside(folder, name) == folder / name
    for name in ("", "..", "../data2", "out", "out/file", "self", "/etc/passwd", "C:\\file", "a\0b", "a" * 5000):
        assert file_inside(folder, name) is None, name
