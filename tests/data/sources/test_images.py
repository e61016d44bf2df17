"""Folders of pictures, written here with Pillow."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lesionforge.data.formats.picture_file import read_picture
from lesionforge.data.sources.images import Images
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.progress import Progress

ORIENTATION = 274
GRAY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


class Heard(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def write(file: Path, pixels: np.ndarray = GRAY, **choices: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **choices)
    return file


def write_classes(root: Path) -> None:
    for label, patient, number in (("benign", "p1", 1), ("benign", "p1", 2), ("malignant", "p2", 1)):
        write(root / label / f"{patient}_{number}.png", GRAY + number)


def test_folders_are_classes_and_names_say_whose_a_picture_is(tmp_path: Path) -> None:
    write_classes(tmp_path)
    heard = Heard()
    patches = Images(patient="(?P<patient>[^/_]+)_[^/]*$", spacing_mm=(0.7,)).patches(tmp_path, progress=heard)
    assert patches.labels.tolist() == ["benign", "benign", "malignant"]
    assert patches.patients.tolist() == ["p1", "p1", "p2"]
    assert patches.table["scan"].tolist()[0] == "benign/p1_1.png"
    assert patches.unit == "u8"
    assert (patches.spacing_mm == 0.7).all()
    np.testing.assert_array_equal(patches.images[2], GRAY + 1)
    assert heard.lines == []
    assert Images.recognise(tmp_path) == "3 pictures"


def test_without_a_pattern_each_picture_is_a_patient_and_that_is_said(tmp_path: Path) -> None:
    write_classes(tmp_path)
    heard = Heard()
    assert Images().patches(tmp_path, progress=heard).patients.nunique() == 3
    assert any("no patient is known" in line for line in heard.lines)


def test_the_folder_of_a_picture_can_be_its_patient(tmp_path: Path) -> None:
    for name in ("a/p1/1.png", "a/p1/2.png", "b/p2/1.png"):
        write(tmp_path / name)
    patches = Images(patient="(?P<patient>[^/]+)/[^/]+$").patches(tmp_path)
    assert patches.patients.tolist() == ["p1", "p1", "p2"]
    assert patches.labels.tolist() == ["a", "a", "b"]


def test_pictures_at_the_top_are_unlabelled(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    assert Images().patches(tmp_path).labels.tolist() == [""]


@settings(max_examples=20, deadline=None)
@given(pixels=arrays(np.uint16, (3, 5)), suffix=st.sampled_from([".png", ".tif", ".tiff"]))
def test_stored_hu_come_back(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray, suffix: str) -> None:
    folder = tmp_path_factory.mktemp("hu")
    write(folder / f"a{suffix}", pixels)
    patches = Images(hu=(1, -1024)).patches(folder)
    assert patches.unit == "HU"
    np.testing.assert_array_equal(patches.images[0], np.minimum(pixels.astype(int) - 1024, 3071))


def test_signed_16_bits_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", np.array([[-1000, 30], [400, 0]], dtype=np.int16))
    assert Images(hu=(1, 0)).patches(tmp_path).images[0].tolist() == [[-1000, 30], [400, 0]]


@settings(max_examples=20, deadline=None)
@given(
    pixels=arrays(np.uint8, (4, 6)),
    mode=st.sampled_from(["L", "RGB", "RGBA", "LA"]),
    suffix=st.sampled_from(["png", "tif"]),
)
def test_gray_is_gray_however_it_is_stored(
    tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray, mode: str, suffix: str
) -> None:
    file = tmp_path_factory.mktemp("gray") / f"a.{suffix}"
    Image.fromarray(pixels).convert(mode).save(file)
    np.testing.assert_array_equal(read_picture(file), pixels)


def test_palettes_bits_and_jpegs_are_read(tmp_path: Path) -> None:
    Image.fromarray(GRAY).convert("P").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), GRAY)
    Image.fromarray(GRAY > 100).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png"), (GRAY > 100) * 255)
    Image.fromarray(GRAY).convert("RGB").save(tmp_path / "c.jpg", quality=100)
    assert np.abs(read_picture(tmp_path / "c.jpg").astype(int) - GRAY).max() <= 2


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_turned_picture_stands_upright(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # turn it by 90° clockwise
    gray = np.full((8, 16), 200, dtype=np.uint8)
    gray[:, :8] = 10
    Image.fromarray(gray).save(tmp_path / f"a.{suffix}", exif=exif)
    upright = read_picture(tmp_path / f"a.{suffix}")
    assert upright.shape == (16, 8)
    assert upright[:8].mean() < 20 < 190 < upright[8:].mean()


def test_pictures_are_cropped_and_padded_around_their_centre(tmp_path: Path) -> None:
    sizes = {"a": (5, 9), "b": (8, 4), "c": (6, 6)}
    for name, size in sizes.items():
        pixels = np.full(size, 7, dtype=np.uint8)
        pixels[size[0] // 2, size[1] // 2] = 255
        write(tmp_path / f"{name}.png", pixels)
        write(tmp_path / "marks" / f"{name}.png", (pixels == 255).astype(np.uint8))
    patches = Images(size=(6, 6), masks="marks").patches(tmp_path)
    assert patches.shape == (6, 6)
    assert (patches.images[:, 3, 3] == 255).all()
    assert patches.masks is not None
    np.testing.assert_array_equal(patches.masks, patches.images == 255)
    assert (patches.images[0][0] == 0).all()  # padded
    with pytest.raises(LesionForgeError, match="set `size`"):
        Images(masks="marks").patches(tmp_path)


def test_hu_are_padded_with_air(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((2, 2), 1064, dtype=np.uint16))
    images = Images(hu=(1, -1024), size=(4, 4)).patches(tmp_path).images
    assert sorted(set(images.ravel().tolist())) == [-1000, 40]


def test_masks_belong_to_the_pictures_of_their_path(tmp_path: Path) -> None:
    write_classes(tmp_path)
    for name in ("benign/p1_1", "malignant/p2_1"):
        write(tmp_path / "masks" / f"{name}.tif", (GRAY > 100).astype(np.uint8) * 255)
    heard = Heard()
    patches = Images(masks="masks").patches(tmp_path, progress=heard)
    assert patches.labels.tolist() == ["benign", "malignant"]
    assert patches.masks is not None
    np.testing.assert_array_equal(patches.masks[1], GRAY > 100)
    assert "1 of 3 pictures left out: no mask" in heard.lines


def test_system_files_and_other_names_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.PNG")
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "._1.png"):
        (tmp_path / "a" / name).write_bytes(b"\0\1\2")
    assert len(Images().patches(tmp_path)) == 1


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert len(Images().patches(tmp_path)) == 1


def test_a_name_that_is_no_utf8_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "1.png")
    try:
        file.rename(os.fsdecode(os.fsencode(file.parent) + b"/\xff.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert Images().patches(tmp_path).table["scan"].tolist() == ["a/\\udcff.png"]


# --- pictures that cannot be used -----------------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_png(file: Path) -> None:
    size = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    rows = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + rows)


def cut(file: Path) -> None:
    write(file, np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:-1500])


def animated(file: Path) -> None:
    frames = [Image.fromarray(GRAY + n) for n in range(3)]
    frames[0].save(file, save_all=True, append_images=frames[1:])


def see_through(file: Path) -> None:
    picture = Image.fromarray(GRAY).convert("RGBA")
    picture.putalpha(Image.fromarray(GRAY))
    picture.save(file)


def white_is_zero(file: Path) -> None:
    write(file, GRAY.astype(np.uint16), tiffinfo={262: 0})


def on_its_side(file: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(GRAY).save(file, exif=exif)


CANNOT: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "cut short": ("a.png", cut, "broken picture"),
    "empty": ("a.png", lambda file: file.write_bytes(b""), "broken picture"),
    "something else": ("a.jpg", lambda file: file.write_bytes(b"MZ" + b"\0" * 500), "broken picture"),
    "another format": ("a.png", lambda file: Image.fromarray(GRAY).save(file, format="GIF"), "broken picture"),
    "huge": ("a.png", huge_png, "too large a picture|broken picture"),
    "animated": ("a.png", animated, "several frames"),
    "pages": ("a.tif", animated, "several frames"),
    "see-through": ("a.png", see_through, "see-through picture"),
    "colour": ("a.png", lambda file: write(file, np.dstack([GRAY, GRAY, GRAY + 9])), "picture in colour"),
    "inks": ("a.jpg", lambda file: Image.fromarray(GRAY).convert("CMYK").save(file), "not 8 or 16 bits of gray"),
    "fractions": ("a.tif", lambda file: write(file, GRAY.astype(np.float32)), "not 8 or 16 bits of gray"),
    "32 bits": ("a.tif", lambda file: write(file, GRAY.astype(np.int32) * 10**6), "not 8 or 16 bits of gray"),
    "on its side": ("a.tif", on_its_side, "TIFF on its side"),
    "white is zero": ("a.tif", white_is_zero, "not 8 or 16 bits of gray"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_an_unfit_picture_has_a_reason(tmp_path: Path, case: str) -> None:
    name, make, reason = CANNOT[case]
    make(tmp_path / name)
    with pytest.raises(UnfitDataError) as error:
        read_picture(tmp_path / name)
    assert error.value.reason in reason.split("|")


def test_unfit_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    write_classes(tmp_path)
    cut(tmp_path / "benign" / "cut.png")
    write(tmp_path / "benign" / "deep.png", GRAY.astype(np.uint16))
    heard = Heard()
    assert len(Images().patches(tmp_path, progress=heard)) == 3
    assert "1 of 5 pictures left out: broken picture" in heard.lines
    assert "1 of 5 pictures left out: more than 8 bits and no `hu`" in heard.lines


def test_where_none_can_be_used_the_first_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(LesionForgeError, match="of 0 none can"):
        Images().patches(tmp_path)
    write(tmp_path / "a.png", GRAY.astype(np.uint16))
    with pytest.raises(LesionForgeError, match="say with `hu`"):
        Images().patches(tmp_path)
    with pytest.raises(LesionForgeError, match="must be a folder"):
        Images().patches(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(GRAY[:3], "mask of another size"), (GRAY, "mask of several values"), (None, "no mask")],
    ids=["size", "values", "missing"],
)
def test_an_unfit_mask_has_a_reason(tmp_path: Path, mask: np.ndarray | None, reason: str) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "b.png")
    write(tmp_path / "masks" / "b.png", np.ones_like(GRAY))
    if mask is not None:
        write(tmp_path / "masks" / "a.png", mask)
    heard = Heard()
    assert len(Images(masks="masks").patches(tmp_path, progress=heard)) == 1
    assert f"1 of 2 pictures left out: {reason}" in heard.lines


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"patient": "("}, "regular expression"),
        ({"patient": "(.*)_"}, "group"),
        ({"size": (5,)}, "two numbers"),
        ({"size": (5, 0)}, "two numbers"),
        ({"hu": (0, -1000)}, "slope"),
        ({"hu": (1,)}, "slope"),
        ({"hu": (1, float("nan"))}, "slope"),
    ],
)
def test_settings_that_mean_nothing_are_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(LesionForgeError, match=message):
        Images(**choices)  # type: ignore[arg-type]


def test_settings_that_do_not_fit_the_folder_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    with pytest.raises(LesionForgeError, match=r"finds none in 1 of 3, the first is malignant/p2_1\.png"):
        Images(patient="(?P<patient>p1)").patches(tmp_path)
    for masks in ("nowhere", "."):
        with pytest.raises(LesionForgeError, match="must name a folder"):
            Images(masks=masks).patches(tmp_path)
