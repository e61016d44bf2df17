"""MedMNIST files as the package writes them, and files that only look so."""

import importlib.util
import runpy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.download import MEDMNIST_MD5, ZENODO
from lesionforge.data.formats.npz_file import read_arrays
from lesionforge.data.patches import Patches
from lesionforge.data.sources.medmnist import KNOWN, MedMnist
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import Progress

SIZES = {"train": 5, "val": 2, "test": 3}


class Heard(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def contents(*shape: int, classes: int = 2, **changed: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    known = {f"{split}_images": rng.integers(0, 256, (n, *shape), dtype=np.uint8) for split, n in SIZES.items()}
    known |= {f"{split}_labels": (np.arange(n) % classes).astype(np.uint8)[:, None] for split, n in SIZES.items()}
    return {name: array for name, array in (known | changed).items() if array is not None}


def write(file: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(file, **arrays)
    return file


@pytest.mark.parametrize("shape", [(28, 28), (6, 6, 6)])
def test_all_three_splits_come_with_their_classes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays = contents(*shape)
    file = write(tmp_path / "nodulemnist3d_64.npz", arrays)
    heard = Heard()
    patches = MedMnist().patches(tmp_path, progress=heard)
    assert patches.unit == "u8"
    np.testing.assert_array_equal(patches.images, np.concatenate([arrays[f"{s}_images"] for s in SIZES]))
    assert patches.table["split"].tolist() == ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    assert patches.labels.tolist()[:3] == ["benign", "malignant", "benign"]
    assert patches.patients.nunique() == len(patches) == 10
    assert np.isnan(patches.spacing_mm).all()
    assert any("no patient is known" in line for line in heard.lines)
    assert MedMnist.recognise(file) == MedMnist.recognise(tmp_path) == "MedMNIST arrays in nodulemnist3d_64.npz"


@settings(max_examples=15, deadline=None)
@given(data=st.data(), shape=st.sampled_from([(3, 4), (2, 3, 4)]))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, shape: tuple[int, ...]
) -> None:
    numbers = {
        f"{split}_labels": np.array(data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)))
        for split, n in SIZES.items()
    }
    arrays = contents(*shape) | numbers
    patches = MedMnist(spacing_mm=(0.5,)).patches(write(tmp_path_factory.mktemp("set") / "any.npz", arrays))
    np.testing.assert_array_equal(patches.images, np.concatenate([arrays[f"{s}_images"] for s in SIZES]))
    assert patches.labels.astype(int).tolist() == np.concatenate([*numbers.values()]).tolist()
    assert (patches.spacing_mm == 0.5).all()


def test_known_classes_are_those_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = importlib.util.find_spec("medmnist")
    if folder is None or not folder.submodule_search_locations:
        pytest.skip("checked where the package medmnist is installed")
    monkeypatch.setenv("HOME", str(tmp_path))  # it makes a folder there
    info = runpy.run_path(str(Path(folder.submodule_search_locations[0]) / "info.py"))["INFO"]
    assert {name: tuple(info[name]["label"].values()) for name in KNOWN} == KNOWN
    published = {
        f"{name}{key.removeprefix('MD5')}": value
        for name in KNOWN
        for key, value in info[name].items()
        if key.startswith("MD5")
    }
    assert published == MEDMNIST_MD5
    assert all(info[name]["url"] == f"{ZENODO}/{name}.npz?download=1" for name in KNOWN)
    assert {info[name]["license"] for name in KNOWN} == {"CC BY 4.0"}


def test_shapes_of_zero_and_one_are_black_and_white(tmp_path: Path) -> None:
    arrays = {name: array % 2 if name.endswith("images") else array for name, array in contents(4, 4, 4).items()}
    patches = MedMnist().patches(write(tmp_path / "adrenalmnist3d.npz", arrays))
    assert np.unique(patches.images).tolist() == [0, 255]


def test_classes_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path / "own.npz", contents(4, 4))
    assert MedMnist().patches(file).classes == ("0", "1")
    assert MedMnist(classes=("cyst", "tumour")).patches(file).classes == ("cyst", "tumour")


def test_a_name_that_is_no_text_does_not_matter(tmp_path: Path) -> None:
    file = write(tmp_path / "a b\n.npz", contents(4, 4))
    assert isinstance(MedMnist().patches(file), Patches)


OTHER_SHAPE = np.zeros((2, 5, 4), dtype=np.uint8)
BROKEN = {
    "colour": ({f"{s}_images": np.zeros((n, 8, 8, 3), np.uint8) for s, n in SIZES.items()}, "in colour"),
    "several classes at once": ({"val_labels": np.zeros((2, 14), np.uint8)}, "14 classes to an image"),
    "fractions for classes": ({"val_labels": np.zeros((2, 1))}, "one whole number"),
    "labels for fewer images": ({"val_labels": np.zeros((1, 1), np.uint8)}, "one whole number"),
    "class out of range": ({"val_labels": np.full((2, 1), 7)}, "must be 0 to 1"),
    "class below 0": ({"val_labels": np.full((2, 1), -1)}, "must be 0 to 1"),
    "images that are no 8 bit": ({"val_images": np.zeros((2, 4, 4), np.float32)}, "must be 8 bit"),
    "splits of other sizes": ({"val_images": OTHER_SHAPE}, "all alike"),
    "images without pixels": ({f"{s}_images": np.zeros((n, 0, 4), np.uint8) for s, n in SIZES.items()}, "all alike"),
    "images of one axis": ({f"{s}_images": np.zeros((n, 4), np.uint8) for s, n in SIZES.items()}, "all alike"),
    "a split without images": ({"val_images": np.zeros((0, 4, 4), np.uint8)}, "all alike"),
    "a split missing": ({"test_images": None}, "must be one MedMNIST file"),
    "pickled objects": ({"val_labels": np.array([{}, {}], dtype=object)}, "arrays of numbers"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_medmnist_is_refused(tmp_path: Path, case: str) -> None:
    changed, message = BROKEN[case]
    file = write(tmp_path / "nodulemnist3d.npz", contents(4, 4, **changed))
    with pytest.raises(LesionForgeError, match=message):
        MedMnist().patches(file)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    file = write(tmp_path / "nodulemnist3d.npz", contents(28, 28))
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(LesionForgeError, match="must be one MedMNIST file"):
        MedMnist().patches(file)
    assert MedMnist.recognise(file) == ""


def test_a_byte_turned_over_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path / "nodulemnist3d.npz", contents(28, 28))
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(StorageError, match="copy or download it again"):
        MedMnist().patches(file)


def replace_member(file: Path, member: str, content: bytes) -> None:
    arrays = contents(4, 4)
    del arrays[member.removesuffix(".npy")]
    write(file, arrays)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 100000, 100000)}\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, 4, 4)}\n") + b"\0" * 32,
        header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4, 4)}\n"),
        header("not a header at all\n"),
        b"\x93NUMPY\x07\x00",
        b"nothing of NumPy's",
        b"",
    ],
    ids=["more than there is", "negative", "objects", "no header", "unknown version", "no array", "empty"],
)
def test_a_header_that_lies_allocates_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "nodulemnist3d.npz"
    replace_member(file, "val_images.npy", content)
    with pytest.raises(LesionForgeError):
        MedMnist().patches(file)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = write(tmp_path / "bomb.npz", {"a": np.zeros(10_000_000, dtype=np.uint8)})
    assert file.stat().st_size < 50_000
    with pytest.raises(StorageError, match="at most 1,000,000 bytes"):
        read_arrays(file, ["a"], most_bytes=1_000_000)


def test_two_files_in_a_folder_must_be_chosen_from(tmp_path: Path) -> None:
    for name in ("organamnist", "nodulemnist3d"):
        write(tmp_path / f"{name}.npz", contents(4, 4))
    with pytest.raises(LesionForgeError, match="but 2 are there"):
        MedMnist().patches(tmp_path)
