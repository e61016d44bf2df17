"""What holds for every store, and what for one kind of them alone."""

import errno
import multiprocessing
import shutil
import threading
import time

import fsspec
import pytest

from lesionforge.errors import StorageError
from lesionforge.progress import Progress
from lesionforge.storage import read_json, write_json
from lesionforge.tasks.shared_store import SharedStore, open_store
from lesionforge.tasks.store import FolderStore

KINDS = ("folder", "file", "memory")


@pytest.fixture
def places(tmp_path):
    """Opens the same store again, as another machine would: with another folder near it."""
    fsspec.filesystem("memory").store.clear()
    addresses = {
        "folder": str(tmp_path / "store"),
        "file": f"file://{tmp_path / 'store'}",
        "memory": "memory://bucket/store",
    }
    return lambda kind, machine="one": open_store(addresses[kind], near=tmp_path / machine)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def filled(text="made", seen=None):
    def make(folder, unfinished):
        if seen is not None:
            seen.append(folder)
        (folder / "result.csv").write_text(text)
        (folder / "checkpoint").mkdir()
        (folder / "checkpoint" / "weights").write_bytes(b"\x00\x01")

    return make


def test_a_result_is_made_once_and_met_by_others(places, kind):
    seen = []
    for machine in ("one", "one", "two"):
        store = places(kind, machine)
        store.do("key", stage="classifiers", make=filled(seen=seen))
        folder = store.fetch("key")
        assert (folder / "result.csv").read_text() == "made"
        assert (folder / "checkpoint" / "weights").read_bytes() == b"\x00\x01"
        assert read_json(folder / "task.json", of="a task")["stage"] == "classifiers"
        assert store.present(["key", "other"]) == {"key"}
    assert len(seen) == 1


def test_what_fails_leaves_no_result_but_what_it_kept_to_go_on(places, kind):
    store = places(kind)

    def half(folder, unfinished):
        (folder / "half.csv").write_text("half")
        unfinished.mkdir(parents=True, exist_ok=True)
        state = unfinished / "state"
        if not state.exists():
            state.write_text("there")
            raise KeyError
        (folder / "taken_up.csv").write_text(state.read_text())

    with pytest.raises(KeyError):
        store.do("key", stage="s", make=half)
    assert not store.present(["key"])
    with pytest.raises(StorageError):
        store.fetch("key")
    store.do("key", stage="s", make=half)
    assert (store.fetch("key") / "taken_up.csv").read_text() == "there"
    near = store.path if kind == "folder" else store.near.path
    assert not (near / "unfinished" / "key").exists()


def test_a_store_of_another_version_or_of_something_else_is_refused(places, kind, tmp_path):
    places(kind)
    marked = {"format": "lesionforge-store", "version": 99}
    if kind == "memory":
        fsspec.filesystem("memory").pipe_file(
            "/bucket/store/store.json", b'{"format": "lesionforge-store", "version": 99}'
        )
    else:
        write_json(tmp_path / "store" / "store.json", marked)
    with pytest.raises(StorageError, match="version"):
        places(kind, "two")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="something else"):
        FolderStore.opened(tmp_path / "thesis")


def test_what_a_hard_kill_left_half_written_is_cleared_away_and_not_taken_for_a_result(places, tmp_path):
    store = places("folder")
    (store.path / "results" / ".key.partial-x1").mkdir(parents=True)
    (store.path / "results" / "key").mkdir()
    assert not store.present(["key"])
    store.do("key", stage="s", make=filled())
    assert [folder.name for folder in (store.path / "results").iterdir()] == ["key"]


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_damage_on_the_way_is_found(places, kind, tmp_path):
    places(kind, "one").do("key", stage="s", make=filled())
    there = fsspec.filesystem(kind)
    root = "/bucket/store" if kind == "memory" else str(tmp_path / "store")
    (damaged,) = there.glob(f"{root}/objects/*/result.csv")
    there.pipe_file(damaged, b"MADE")
    with pytest.raises(StorageError, match="damaged"):
        places(kind, "two").fetch("key")
    assert not places(kind, "two").near.present(["key"])


def test_a_result_that_names_files_elsewhere_is_not_brought(places, tmp_path):
    store = places("memory")
    store._write(
        "results/key.json", {"stage": "s", "seconds": 1, "files": {"../../escaped": {"bytes": 1, "sha256": ""}}}
    )
    with pytest.raises(StorageError, match="not inside"):
        store.fetch("key")


def test_an_address_that_cannot_be_used_is_told_in_words(tmp_path):
    for address in ("nowhere://bucket", "s3x://bucket/store"):
        with pytest.raises(StorageError, match=f"{address}.* cannot be used"):
            SharedStore.opened(address, tmp_path / "near")


def test_two_runs_that_make_one_result_do_it_once(places):
    """The second waits for the first, and says so."""
    begun, go_on, seen, said = threading.Event(), threading.Event(), [], []

    class Watch(Progress):
        def say(self, text):
            said.append(text)
            go_on.set()

    def slowly(folder, unfinished):
        begun.set()
        assert go_on.wait(20)
        filled(seen=seen)(folder, unfinished)

    store = places("folder")
    first = threading.Thread(target=store.do, args=("key",), kwargs={"stage": "s", "make": slowly})
    first.start()
    assert begun.wait(20)
    places("folder").do("key", stage="s", make=filled(seen=seen), progress=Watch())
    first.join()
    assert len(seen) == 1
    assert "waiting" in said[0]


def _hold(path, told):
    def forever(folder, unfinished):
        told.send("begun")
        time.sleep(60)

    FolderStore.opened(path).do("key", stage="s", make=forever)


def test_a_lock_of_a_killed_process_is_not_held(places):
    store = places("folder")
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(store.path, theirs))
    process.start()
    assert ours.recv() == "begun"
    process.kill()
    process.join()
    store.do("key", stage="s", make=filled())
    assert store.present(["key"])


def test_a_full_disk_is_told_and_leaves_nothing_half_written(places, kind):
    def full(folder, unfinished):
        (folder / "half.csv").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    store = places(kind)
    with pytest.raises(StorageError, match="disk is full"):
        store.do("key", stage="s", make=full)
    near = store.path if kind == "folder" else store.near.path
    assert not list((near / "results").iterdir())


def test_a_store_that_this_machine_does_not_see_is_told(places):
    store = places("folder")
    shutil.rmtree(store.path)
    with pytest.raises(StorageError, match="all machines see"):
        store.do("key", stage="s", make=filled())
    assert not store.path.exists()
