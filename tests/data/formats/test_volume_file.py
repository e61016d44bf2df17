"""Volumes in one file: voxels and places survive every format, and a foreign file cannot lie."""

import gzip
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from lesionforge.data.formats.volume_file import (
    MOST_VOXELS,
    from_sitk,
    read_geometry,
    read_volume,
    read_voxels,
    stored_geometry,
    suffix_of,
    to_sitk,
    write_volume,
)
from lesionforge.data.geometry import Geometry
from lesionforge.errors import LesionForgeError, StorageError, UnfitDataError

VOXELS = np.arange(-30, 30, dtype=np.int16).reshape(5, 4, 3)
GRID = Geometry((5, 4, 3), (2.5, 0.75, 0.5), (-10.0, 20.5, 300.25))
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@st.composite
def volumes(draw):
    """Voxels on a grid that lies in any direction, mirrored or not."""
    dtype = draw(st.sampled_from([np.int16, np.uint8, np.uint16, np.int32, np.float32]))
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5))
    spacing = tuple(draw(st.floats(0.25, 5)) for _ in range(3))
    origin = tuple(draw(st.floats(-500, 500)) for _ in range(3))
    axes = Rotation.from_euler("zyx", [draw(st.floats(-180, 180)) for _ in range(3)], degrees=True).as_matrix()
    axes[0] *= draw(st.sampled_from([-1, 1]))
    seed = draw(st.integers(0, 2**32 - 1))
    voxels = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    return voxels, Geometry(shape, spacing, origin, tuple(map(tuple, axes.tolist())))


def affine_of(geometry: Geometry) -> np.ndarray:
    """NIfTI's affine: from (i, j, k) to right, front and head."""
    corner, *steps = geometry.to_world([(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)])
    affine = np.eye(4)
    affine[:3] = np.column_stack([step - corner for step in steps] + [corner])
    return LPS_TO_RAS @ affine


def assert_same_places(first: Geometry, second: Geometry) -> None:
    assert first.shape == second.shape
    index = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), first.shape])
    # NIfTI keeps 32 bits of each number, MetaImage and NRRD as many digits as it takes.
    np.testing.assert_allclose(first.to_world(index), second.to_world(index), atol=2e-3)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@settings(max_examples=25, deadline=None)
@given(volume=volumes())
def test_what_is_written_comes_back(tmp_path_factory, suffix, volume):
    voxels, geometry = volume
    file = tmp_path_factory.mktemp("volume") / f"scan{suffix}"
    write_volume(file, voxels, geometry)
    again, grid = read_voxels(file)
    assert again.dtype == voxels.dtype
    np.testing.assert_array_equal(again, voxels)
    np.testing.assert_allclose(grid.spacing_mm, geometry.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(grid.direction, geometry.direction, atol=1e-6)
    assert_same_places(grid, geometry)
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@settings(max_examples=25, deadline=None)
@given(volume=volumes())
def test_a_canonical_scan_keeps_every_value_at_its_place(tmp_path_factory, volume):
    voxels, geometry = volume
    file = tmp_path_factory.mktemp("volume") / "scan.mha"
    write_volume(file, voxels, geometry)
    scan = read_volume(file, patient="p", name="n", unit="other")
    axes = np.asarray(scan.geometry.direction)
    # No other order or mirroring of the axes runs nearer to head, back and left.
    assert np.trace(axes[:, ::-1]) == pytest.approx(
        max(
            np.trace((np.diag(signs) @ axes[list(order)])[:, ::-1])
            for order in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
            for signs in np.ndindex(2, 2, 2)
            for signs in [1 - 2 * np.array(signs)]
        )
    )
    index = np.argwhere(np.ones(voxels.shape, dtype=bool))
    there = np.rint(scan.geometry.to_index(geometry.to_world(index))).astype(int)
    np.testing.assert_array_equal(scan.voxels[tuple(there.T)], voxels[tuple(index.T)])
    assert read_geometry(file) == scan.geometry
    assert_same_places(stored_geometry(file), geometry)


@settings(max_examples=25, deadline=None)
@given(volume=volumes())
def test_images_of_simpleitk_keep_all(volume):
    voxels, geometry = volume
    image = to_sitk(voxels, geometry)
    again, grid = from_sitk(image)
    np.testing.assert_array_equal(again, voxels)
    assert_same_places(grid, geometry)
    last = [size - 1 for size in image.GetSize()]
    np.testing.assert_allclose(
        image.TransformIndexToPhysicalPoint(last), geometry.to_world(np.subtract(geometry.shape, 1)), atol=1e-6
    )


def test_true_and_false_become_a_mask():
    assert sitk.GetArrayFromImage(to_sitk(VOXELS > 0, GRID)).dtype == np.uint8


@settings(max_examples=15, deadline=None)
@given(volume=volumes())
def test_nibabel_reads_the_same(tmp_path_factory, volume):
    voxels, geometry = volume
    file = tmp_path_factory.mktemp("volume") / "scan.nii.gz"
    write_volume(file, voxels, geometry)
    image = nibabel.load(file)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, voxels)
    np.testing.assert_allclose(image.affine, affine_of(geometry), atol=2e-3)
    nibabel.save(nibabel.Nifti1Image(voxels.T, affine_of(geometry)), file)
    again, grid = read_voxels(file)
    np.testing.assert_array_equal(again, voxels)
    assert_same_places(grid, geometry)


@settings(max_examples=15, deadline=None)
@given(volume=volumes())
def test_pynrrd_reads_the_same(tmp_path_factory, volume):
    voxels, geometry = volume
    folder = tmp_path_factory.mktemp("volume")
    write_volume(folder / "scan.nrrd", voxels, geometry)
    content, header = nrrd.read(str(folder / "scan.nrrd"))
    np.testing.assert_array_equal(content.T, voxels)
    lps = LPS_TO_RAS @ affine_of(geometry)
    np.testing.assert_allclose(header["space directions"], lps[:3, :3].T, atol=1e-6)
    np.testing.assert_allclose(header["space origin"], lps[:3, 3], atol=1e-6)
    ras = affine_of(geometry)
    said = {"space": "right-anterior-superior", "space directions": ras[:3, :3].T, "space origin": ras[:3, 3]}
    nrrd.write(str(folder / "other.nhdr"), voxels.T, said, detached_header=True)
    again, grid = read_voxels(folder / "other.nhdr")
    np.testing.assert_array_equal(again, voxels)
    assert_same_places(grid, geometry)


@settings(max_examples=15, deadline=None)
@given(volume=volumes(), compressed=st.booleans())
def test_a_header_with_its_voxels_beside_it(tmp_path_factory, volume, compressed):
    voxels, geometry = volume
    file = tmp_path_factory.mktemp("volume") / "1.2.3.mhd"
    sitk.WriteImage(to_sitk(voxels, geometry), str(file), useCompression=compressed)
    again, grid = read_voxels(file)
    np.testing.assert_array_equal(again, voxels)
    assert_same_places(grid, geometry)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, -1024, np.int16), (2, 0, np.int16), (0.5, -3.25, np.float32), (2000, 0, np.int32)],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_niftis_scale_is_followed(tmp_path, slope, intercept, dtype, order):
    image = nibabel.Nifti1Image(VOXELS.T, affine_of(GRID), header=nibabel.Nifti1Header(endianness=order))
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    edit(tmp_path / "a.nii", 112, f"{order}ff", slope, intercept)
    again, _ = read_voxels(tmp_path / "a.nii")
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, VOXELS.astype(np.float64) * slope + intercept)
    np.testing.assert_array_equal(again, np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).T)


@pytest.mark.parametrize(("slope", "intercept"), [(0, 7), (float("nan"), 0), (1, float("inf"))])
def test_a_scale_that_is_none_is_not_followed(tmp_path, slope, intercept):
    write_volume(tmp_path / "a.nii", VOXELS, GRID)
    edit(tmp_path / "a.nii", 112, "<ff", slope, intercept)
    np.testing.assert_array_equal(read_voxels(tmp_path / "a.nii")[0], VOXELS)


def test_other_units_of_length_become_mm(tmp_path):
    write_volume(tmp_path / "a.nii", VOXELS, GRID)
    edit(tmp_path / "a.nii", 123, "<B", 3)
    assert stored_geometry(tmp_path / "a.nii").spacing_mm == pytest.approx((0.0025, 0.00075, 0.0005))


def test_qform_and_sform_say_the_same(tmp_path):
    for name, code in (("q", 254), ("s", 252)):  # the other is taken away
        write_volume(tmp_path / f"{name}.nii", VOXELS, GRID)
        edit(tmp_path / f"{name}.nii", code, "<h", 0)
    assert_same_places(stored_geometry(tmp_path / "q.nii"), stored_geometry(tmp_path / "s.nii"))
    assert_same_places(stored_geometry(tmp_path / "q.nii"), GRID)


def test_the_ending_says_what_a_volume_is():
    names = ["a.nii", "a.b.NII.GZ", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.gz", "a.dcm", ".nii", "nii"]
    assert [suffix_of(Path(name)) for name in names] == [
        *(".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"),
        *([""] * 4),
    ]


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.dcm", "a"])
def test_only_formats_of_one_file_are_written(tmp_path, name):
    with pytest.raises(LesionForgeError, match=r"must end in \.nii\.gz"):
        write_volume(tmp_path / name, VOXELS, GRID)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write_volume(tmp_path / "a.mha", VOXELS, GRID)
    before = (tmp_path / "a.mha").read_bytes()

    def fails(image, name, **_):
        Path(name).write_bytes(b"half")
        raise RuntimeError

    monkeypatch.setattr(sitk, "WriteImage", fails)
    with pytest.raises(StorageError, match="cannot be written"):
        write_volume(tmp_path / "a.mha", VOXELS + 1, GRID)
    assert (tmp_path / "a.mha").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mha"]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_on_a_full_disk_is_not_half_written(tmp_path, name):
    """A process that may write no more than a few bytes to a file stands for the disk."""
    program = f"""
import pathlib, resource, signal, numpy
from lesionforge.data.geometry import Geometry
from lesionforge.data.formats.volume_file import write_volume
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
voxels = numpy.random.default_rng(0).integers(-1000, 1000, (20, 20, 20))
write_volume(pathlib.Path({str(tmp_path / name)!r}), voxels, Geometry(voxels.shape, (1, 1, 1), (0, 0, 0)))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "File too large" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_the_same_voxels_give_the_same_bytes(tmp_path):
    write_volume(tmp_path / "a.nii.gz", VOXELS, GRID)
    write_volume(tmp_path / "b.nii.gz", VOXELS.astype(">i2"), GRID)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("voxels", [VOXELS.astype(np.float16), VOXELS.astype(np.complex64)])
def test_numbers_that_no_file_holds(tmp_path, voxels):
    with pytest.raises(LesionForgeError, match="NIfTI cannot hold"):
        write_volume(tmp_path / "a.nii", voxels, GRID)
    with pytest.raises(LesionForgeError, match="do not fill a grid"):
        write_volume(tmp_path / "a.nii", VOXELS[1:], GRID)
    assert not list(tmp_path.iterdir())


@settings(max_examples=25, deadline=None)
@given(volume=volumes())
def test_itk_reads_our_nifti(tmp_path_factory, volume):
    voxels, geometry = volume
    file = tmp_path_factory.mktemp("volume") / "scan.nii.gz"
    write_volume(file, voxels, geometry)
    again, grid = from_sitk(sitk.ReadImage(str(file)))
    np.testing.assert_array_equal(again, voxels)
    assert again.dtype == voxels.dtype
    assert_same_places(grid, geometry)


@pytest.mark.parametrize("voxels", [VOXELS - VOXELS.min(), (VOXELS / 60).astype(np.float32)])
def test_numbers_without_their_scale_are_not_hu(tmp_path, voxels):
    write_volume(tmp_path / "a.nii.gz", voxels, GRID)
    with pytest.raises(UnfitDataError, match="must be in HU"):
        read_volume(tmp_path / "a.nii.gz", patient="p", name="n")
    assert read_volume(tmp_path / "a.nii.gz", patient="p", name="n", unit="u8").unit == "u8"


# Files that are broken, or made to deceive.


def edit(file: Path, offset: int, code: str, *values: float) -> None:
    content = bytearray(file.read_bytes())
    struct.pack_into(code, content, offset, *values)
    file.write_bytes(content)


def nifti(*edits: tuple) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = folder / "a.nii"
        write_volume(file, VOXELS, GRID)
        for change in edits:
            edit(file, *change)
        return file

    return make


def nifti_of(voxels: np.ndarray, affine: np.ndarray | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), folder / "a.nii")
        return folder / "a.nii"

    return make


def cut(name: str, keep: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = folder / name
        voxels = np.random.default_rng(0).integers(-1000, 1000, (9, 9, 9)).astype(np.int16)
        write_volume(file, voxels, Geometry(voxels.shape, (1, 1, 1), (0, 0, 0)))
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * keep)])
        return file

    return make


def wrong_checksum(folder: Path) -> Path:
    file = folder / "a.nii.gz"
    write_volume(file, VOXELS, GRID)
    content = file.read_bytes()
    file.write_bytes(content[:-8] + bytes(8))
    return file


def bomb(folder: Path) -> Path:
    file = nifti((42, "<hhh", 1000, 1000, 1000))(folder)
    (folder / "b.nii.gz").write_bytes(gzip.compress(file.read_bytes()))
    return folder / "b.nii.gz"


def header(suffix: str, pattern: str, replacement: str) -> Callable[[Path], Path]:
    """Detached header with a line changed."""

    def make(folder: Path) -> Path:
        file = folder / f"a{suffix}"
        sitk.WriteImage(to_sitk(VOXELS, GRID), str(file))
        text, count = re.subn(pattern, replacement, file.read_text(), count=1)
        assert count == 1
        file.write_text(text)
        return file

    return make


def outside(suffix: str, *, link: bool = False) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "in").mkdir()
        (folder / "secret.raw").write_bytes(bytes(range(120)))
        line = r"ElementDataFile = .*" if suffix == ".mhd" else r"data file: .*"
        name = "link.raw" if link else "../secret.raw"
        file = header(suffix, line, line.replace(".*", name))(folder / "in")
        if link:
            (folder / "in" / "link.raw").symlink_to("../secret.raw")
        return file

    return make


def looped(folder: Path) -> Path:
    file = header(".mhd", "ElementDataFile = .*", "ElementDataFile = loop.raw")(folder)
    (folder / "loop.raw").symlink_to("loop.raw")
    return file


def named(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


SHEARED = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
NRRD = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 1 1 1\nencoding: raw\nendian: little\n"
LPS = b"space: left-posterior-superior\n"
BROKEN = {
    "missing": (lambda folder: folder / "a.nii", "file missing"),
    "a folder": (lambda folder: (folder / "a.nii").mkdir() or folder / "a.nii", "file missing"),
    "empty": (named("a.nii", b""), "file cut short"),
    "empty nrrd": (named("a.nrrd", b""), "file unreadable"),
    "empty mha": (named("a.mha", b""), "header incomplete"),
    "text": (named("a.nii", b"This is no image. " * 100), "not NIfTI"),
    "text as nrrd": (named("a.nrrd", b"This is no image. " * 100), "file unreadable"),
    "text as mha": (named("a.mha", b"This is no image.\n" * 100), "header incomplete"),
    "bytes as nhdr": (named("a.nhdr", bytes(range(256))), "file unreadable"),
    "cut header": (cut("a.nii", 0.1), "file cut short"),
    "cut": (cut("a.nii", 0.9), "file cut short"),
    "cut nii.gz": (cut("a.nii.gz", 0.9), "file cut short"),
    "cut nrrd": (cut("a.nrrd", 0.9), "file unreadable"),
    "cut mha": (cut("a.mha", 0.9), "file cut short"),
    "wrong checksum": (wrong_checksum, "file damaged"),
    "bomb": (bomb, "file cut short"),
    "huge": (nifti((42, "<hhh", 30000, 30000, 30000)), "too large"),
    "huge mhd": (header(".mhd", "DimSize = .*", "DimSize = 90000 90000 90000"), "too large"),
    "larger mhd": (header(".mhd", "DimSize = .*", "DimSize = 90 90 90"), "file cut short"),
    "larger nhdr": (header(".nhdr", "sizes: .*", "sizes: 900 900 900"), "file cut short"),
    "negative size": (nifti((42, "<h", -3)), "not a 3-D volume"),
    "NIfTI of two files": (nifti((344, "<4s", b"ni1\0")), "not NIfTI"),
    "voxels from nowhere": (nifti((108, "<f", 1e9)), "header damaged"),
    "voxels from NaN": (nifti((108, "<f", float("nan"))), "header damaged"),
    "one slice": (nifti_of(np.zeros((3, 4), np.int16)), "not a 3-D volume"),
    "over time": (nifti_of(np.zeros((3, 4, 5, 2), np.int16)), "not a 3-D volume"),
    "colours": (nifti_of(np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "voxels are no real numbers"),
    "complex": (nifti_of(np.zeros((3, 4, 5), np.complex64)), "voxels are no real numbers"),
    "vectors": (
        header(".mhd", "ElementType", "ElementNumberOfChannels = 3\nElementType"),
        "voxels are no real numbers",
    ),
    "NaN": (nifti_of(np.full((3, 4, 5), np.nan, np.float32)), "voxels not finite"),
    "sheared": (nifti_of(np.zeros((3, 4, 5), np.int16), SHEARED), "geometry unfit"),
    "sheared mhd": (header(".mhd", "Matrix = .*", "Matrix = 1 0.5 0 0 1 0 0 0 1"), "geometry unfit"),
    "sheared nhdr": (header(".nhdr", r"directions: \S+", "directions: (0.5,0.3,0)"), "geometry unfit"),
    "no spacing": (nifti((252, "<hh", 1, 0), (80, "<f", 0.0)), "geometry unfit"),
    "no spacing mhd": (header(".mhd", "Spacing = .*", "Spacing = 0 1 1"), "geometry unfit"),
    "negative spacing": (header(".mhd", "Spacing = .*", "Spacing = -1 1 1"), "geometry unfit"),
    "spacing NaN": (header(".mhd", "Spacing = .*", "Spacing = nan 1 1"), "geometry unfit"),
    "no spacing nhdr": (header(".nhdr", r"directions: \S+", "directions: (0,0,0)"), "geometry unfit"),
    "spacing not said": (header(".mhd", "ElementSpacing = .*\n", ""), "header incomplete"),
    "place NaN": (nifti((292, "<f", float("nan"))), "geometry unfit"),
    "place that signals NaN": (nifti((292, "<I", 0x7F800001)), "geometry unfit"),
    "scale beyond all numbers": (nifti((112, "<f", 3e38)), "voxels not finite"),
    "far away": (nifti((252, "<hh", 0, 1), (292, "<f", 1e30)), "geometry unfit"),
    "unit unknown": (nifti((123, "<B", 7)), "geometry unfit"),
    "quaternion NaN": (nifti((252, "<hh", 1, 0), (256, "<f", float("nan"))), "geometry unfit"),
    "orientation not said": (nifti((252, "<hh", 0, 0)), "orientation unknown"),
    "orientation not said nrrd": (named("a.nrrd", NRRD + b"spacings: 1 1 1\n\n12"), "orientation unknown"),
    "orientation not the patient's": (header(".nhdr", "space: .*", "space: 3D-right-handed"), "orientation unknown"),
    "two places": (nifti((292, "<f", 77.0)), "two positions stated"),
    "two spacings": (nifti((80, "<f", 3.0)), "two positions stated"),
    "outside mhd": (outside(".mhd"), "voxels outside the folder"),
    "outside nhdr": (outside(".nhdr"), "voxels outside the folder"),
    "link outside": (outside(".mhd", link=True), "voxels outside the folder"),
    "links in a circle": (looped, "voxels outside the folder"),
    "absolute": (header(".mhd", "DataFile = .*", "DataFile = /etc/hostname"), "voxels outside the folder"),
    "absolute nhdr": (header(".nhdr", "file: .*", "file: /etc/hostname"), "voxels outside the folder"),
    "a drive": (header(".mhd", "DataFile = .*", r"DataFile = C:\\\\a.raw"), "voxels outside the folder"),
    "voxels missing": (header(".mhd", "DataFile = .*", "DataFile = other.raw"), "voxels missing"),
    "a list": (header(".mhd", "DataFile = .*", "DataFile = LIST\na.raw"), "voxels in several files"),
    "numbered files": (header(".nhdr", "file: .*", "file: a%02d.raw 0 4 1"), "voxels in several files"),
    "nothing local": (header(".mhd", "DataFile = .*", "DataFile = LOCAL"), "file cut short"),
    "nothing after an nrrd": (
        named("a.nrrd", NRRD + LPS + b"space directions: (1,0,0) (0,1,0) (0,0,1)\n\n"),
        "file cut short",
    ),
}


@pytest.mark.parametrize(("make", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(tmp_path, capfd, make, reason):
    file = make(tmp_path)
    with pytest.raises(UnfitDataError) as error:
        read_voxels(file)
    assert error.value.reason == reason
    assert str(tmp_path) in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["outside mhd", "sheared", "two places", "huge", "bomb", "larger mhd"])
def test_the_header_alone_is_refused_too(tmp_path, name):
    with pytest.raises(UnfitDataError, match=r"\w"):
        read_geometry(BROKEN[name][0](tmp_path))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_harmless(tmp_path_factory, suffix, data):
    """Whatever byte of the header changes, what is read is a volume that the file's length can fill, or an error."""
    file = tmp_path_factory.mktemp("volume") / f"a{suffix}"
    write_volume(file, VOXELS, GRID)
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, min(400, len(content) - 1)))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        voxels, geometry = read_voxels(file)
    except UnfitDataError:
        return
    assert voxels.shape == geometry.shape
    assert voxels.size < MOST_VOXELS
