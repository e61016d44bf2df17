import errno
import json
import os
import resource
import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lesionforge.data.exposure import Exposure
from lesionforge.data.growing_array import GrowingArray
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.patches_file import FORMAT, MANIFEST, load, save, writing
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.storage import describe_files, digest

printable = st.text(min_size=1, max_size=8).filter(str.isprintable)
awkward = st.sampled_from(["NA", "NaN", "None", "null", 'a,"b"', " x ", "1e5", "007", "Ö≤病", "true", "#", "'"])
names = st.one_of(awkward, printable)
numbers = st.one_of(st.just(float("nan")), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def sets(draw):
    count = draw(st.integers(0, 4))
    shape = (count, *draw(st.sampled_from([(3, 4), (2, 3, 4)])))
    dtype = draw(st.sampled_from([np.int16, np.uint8, np.float32]))
    real = st.floats(-2000, 3000, width=32) if dtype == np.float32 else None
    rows = lambda values: draw(st.lists(values, min_size=count, max_size=count))  # noqa: E731
    patches = Patches.of(
        draw(hnp.arrays(dtype, shape, elements=real)),
        patient=rows(names),
        label=rows(st.one_of(st.just(""), names)),
        spacing_mm=draw(st.sampled_from([np.nan, 0.1 + 0.2, 1 / 3])),
        masks=draw(st.one_of(st.none(), hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))),
        unit=draw(st.sampled_from(["HU", "u8", "Ω·m"])),
        note=rows(st.one_of(awkward, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))),
        number=rows(numbers),
        whole=np.array(rows(st.integers(-(2**63), 2**63 - 1)), dtype=np.int64),
        sure=np.array(rows(st.booleans()), dtype=bool),
    )
    if not count or not draw(st.booleans()):
        return patches
    table = patches.table.assign(origin=["gan-1"] + ["real"] * (count - 1))
    seen = Exposure.to(draw(st.lists(names, max_size=3)), ["00ff"])
    return Patches(patches.images, table, masks=patches.masks, unit=patches.unit, generators={"gan-1": seen})


@given(patches=sets())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_everything_survives(tmp_path_factory, patches):
    path = save(patches, tmp_path_factory.mktemp("sets") / "set")
    again = load(path)
    assert again.images.dtype == patches.images.dtype
    np.testing.assert_array_equal(again.images, patches.images)
    assert (again.masks is None) == (patches.masks is None)
    if patches.masks is not None:
        np.testing.assert_array_equal(again.masks, patches.masks)
    pd.testing.assert_frame_equal(again.table, patches.table, check_exact=True)
    assert again.unit == patches.unit
    assert again.generators == patches.generators
    assert again.exposure == patches.exposure


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nb", '"', ",", "", " ", "NA", "\ufeff"])
def test_awkward_texts_survive(tmp_path, text):
    patches = Patches.of(np.zeros((2, 3, 3), np.int16), patient=["a", "b"], note=[text, "next"])
    assert load(save(patches, tmp_path / "set")).table["note"].tolist() == [text, "next"]


def save_parts(path, parts):
    with writing(path) as writer:
        for part in parts:
            writer.add(part)


@pytest.fixture
def saved(tmp_path, small_patches):
    return save(small_patches(), tmp_path / "set")


def test_images_stay_on_the_disk_until_used(saved):
    patches = load(saved)
    assert isinstance(patches.images, np.memmap)
    assert isinstance(patches.masks, np.memmap)
    assert isinstance(patches.centre_crop(4).images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        patches.images[0] = 0


def test_any_tool_can_read_it(saved, small_patches):
    np.testing.assert_array_equal(np.load(saved / "images.npy"), small_patches().images)
    assert pd.read_csv(saved / "table.csv")["patient"].tolist() == small_patches().patients.tolist()
    manifest = json.loads((saved / MANIFEST).read_text())
    assert (manifest["format"], manifest["unit"], manifest["shape"]) == (FORMAT, "HU", [8, 8])


def test_synthetic_files_are_named_so(tmp_path, small_patches):
    real = small_patches()
    table = real.table.assign(origin="gan-1")
    path = save(Patches(real.images, table, generators={"gan-1": real.exposure}), tmp_path / "set")
    assert sorted(each.name for each in path.iterdir()) == [MANIFEST, "synthetic_images.npy", "synthetic_table.csv"]


def test_equal_sets_make_equal_files(tmp_path, small_patches):
    one, two = (save(small_patches(), tmp_path / name) for name in ("one", "two"))
    assert describe_files(one) == describe_files(two)


def test_an_existing_folder_is_refused_unless_asked(saved, small_patches):
    with pytest.raises(StorageError, match="overwrite"):
        save(small_patches(patients=3), saved)
    assert len(load(saved)) == 16
    save(small_patches(patients=3), saved, overwrite=True)
    assert len(load(saved)) == 6


def test_a_set_can_replace_the_one_that_it_was_opened_from(saved):
    save(load(saved).rows(range(4)), saved, overwrite=True)
    save(load(saved).centre_crop(4), saved, overwrite=True)
    assert load(saved).images.shape == (4, 4, 4)


def test_a_folder_of_something_else_is_never_replaced(tmp_path, small_patches):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(StorageError, match="not a folder of patches"):
        save(small_patches(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("written_before", [0, 1, 3])
def test_a_full_disk_leaves_nothing(tmp_path, small_patches, monkeypatch, written_before):
    add, written = GrowingArray.add, []

    def fills_up(array, rows):
        if len(written) == written_before:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(array)
        add(array, rows)

    monkeypatch.setattr(GrowingArray, "add", fills_up)
    with pytest.raises(StorageError, match="disk is full"):
        save_parts(tmp_path / "set", [small_patches(), small_patches()])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_files():
    """Files of this process may be 2 000 bytes long at most: the system itself refuses what is beyond."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_the_system_refuses_leaves_nothing(tmp_path, small_patches, small_files):
    with pytest.raises(StorageError, match="larger than"):
        save(small_patches(), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@given(patches=sets(), cuts=st.lists(st.integers(0, 4), max_size=4))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_written_in_parts_a_set_is_the_same_to_the_byte(tmp_path_factory, patches, cuts):
    folder = tmp_path_factory.mktemp("parts")
    whole = save(patches, folder / "whole")
    ends = [0, *sorted(min(cut, len(patches)) for cut in cuts), len(patches)]
    save_parts(folder / "parts", [patches.rows(range(start, end)) for start, end in pairwise(ends)])
    assert {file.name: file.read_bytes() for file in (folder / "parts").iterdir()} == {
        file.name: file.read_bytes() for file in whole.iterdir()
    }


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda part: part.centre_crop(6), "shape"),
        (lambda part: part.with_images(part.images), "masks"),
        (lambda part: part.with_images(part.images.astype(np.float32), part.masks), "dtype"),
        (lambda part: part.with_columns(scanner="X"), "columns"),
        (lambda part: part.with_columns(diameter_mm=7), "columns"),
    ],
)
def test_parts_that_are_not_alike_are_refused(tmp_path, small_patches, change, what):
    with pytest.raises(LesionForgeError, match=f"their {what} differ"):
        save_parts(tmp_path / "set", [small_patches(), change(small_patches())])
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_refused_before_a_part_is_made(saved):
    with pytest.raises(StorageError, match="must not exist yet"), writing(saved):
        pytest.fail("the block began")


def test_a_failed_overwrite_keeps_the_old_set(saved, small_patches, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(StorageError, match="disk is full"):
        save(small_patches(patients=3), saved, overwrite=True)
    monkeypatch.undo()
    assert len(load(saved)) == 16
    assert [each.name for each in saved.parent.iterdir()] == ["set"]


FILES = ["images.npy", "masks.npy", "table.csv", MANIFEST]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_found(saved, name, kept):
    os.truncate(saved / name, int(kept * (saved / name).stat().st_size))
    with pytest.raises(StorageError):
        load(saved, checksums=False)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_found(saved, name, at):
    content = bytearray((saved / name).read_bytes())
    content[int(at * len(content))] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(StorageError):
        load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(saved, name):
    (saved / name).unlink()
    with pytest.raises(StorageError, match="missing"):
        load(saved)


def test_no_folder_and_a_foreign_folder_are_explained(tmp_path):
    with pytest.raises(StorageError, match="lesionforge ingest"):
        load(tmp_path / "not there")
    with pytest.raises(StorageError, match="not a folder of patches"):
        load(tmp_path)
    (tmp_path / MANIFEST).write_text('{"format": "else"}')
    with pytest.raises(StorageError, match="must be a folder of patches, but its format is 'else'"):
        load(tmp_path)


def rewrite(folder, **changes) -> None:
    """Edit the manifest as somebody would who knows its checksums."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    manifest["files"] = describe_files(folder)
    del manifest["files"][MANIFEST], manifest["digest"]
    (folder / MANIFEST).write_text(json.dumps(manifest | {"digest": digest(manifest)}))


def test_a_newer_version_asks_for_an_update(saved):
    rewrite(saved, version=2)
    with pytest.raises(StorageError, match="update LesionForge"):
        load(saved)


@pytest.mark.parametrize(
    "changes",
    [{"columns": {}}, {"columns": None}, {"generators": []}, {"columns": {"patient": "int64"}}],
)
def test_a_manifest_that_does_not_fit_is_refused(saved, changes):
    rewrite(saved, **changes)
    with pytest.raises(LesionForgeError):
        load(saved)


@pytest.mark.parametrize("content", [b"", b"a,b\n1", b"\xff\xfe\x00", b'"open'])
def test_a_foreign_table_is_refused(saved, content):
    (saved / "table.csv").write_bytes(content)
    rewrite(saved)
    with pytest.raises(LesionForgeError):
        load(saved)


def test_pickles_are_never_opened(saved):
    np.save(saved / "images.npy", np.array([print], dtype=object), allow_pickle=True)
    rewrite(saved)
    with pytest.raises(StorageError, match="NumPy array"):
        load(saved)


def test_other_peoples_archives_are_refused(saved):
    with (saved / "images.npy").open("wb") as stream:
        np.savez(stream, images=np.zeros((16, 8, 8)))
    rewrite(saved)
    with pytest.raises(LesionForgeError):
        load(saved)


def test_a_folder_can_be_moved(saved, tmp_path):
    shutil.move(saved, tmp_path / "elsewhere")
    assert len(load(tmp_path / "elsewhere")) == 16


def test_loaded_and_fresh_sets_can_be_joined(saved, small_patches):
    assert len(concatenate([load(saved), small_patches(prefix="other", seed=1)])) == 32
