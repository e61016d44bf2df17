import numpy as np
import pytest
from PIL import Image

from lesionforge.data.contact_sheet import contact_sheet, save_png
from lesionforge.data.hounsfield import WINDOWS

LUNG = WINDOWS["lung"]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(-1000, 400, (5, 32, 48)).astype(np.int16)


def test_every_pixel_is_where_it_belongs(images):
    sheet = contact_sheet(images, LUNG, columns=3, zoom=2)
    grey = np.rint(LUNG.to_unit_interval(images) * 255)
    for number, tile in enumerate(grey):
        top, left = 2 + number // 3 * 66, 2 + number % 3 * 98
        np.testing.assert_array_equal(sheet[top : top + 64 : 2, left : left + 96 : 2], tile)
    assert sheet.shape == (2 * 66 + 2, 3 * 98 + 2)


def test_captions_stand_beneath_and_cover_no_patch(images):
    plain, captioned = (contact_sheet(images, LUNG, columns=3, captions=texts) for texts in ((), "abcde"))
    for number in range(5):
        row, left = number // 3, 2 + number % 3 * 50
        tile, above = (
            sheet[top : top + 32, left : left + 48] for sheet, top in ((plain, 2 + row * 34), (captioned, 2 + row * 48))
        )
        np.testing.assert_array_equal(above, tile)
        beneath = captioned[2 + row * 48 + 32 : 2 + row * 48 + 46, left : left + 48]
        assert beneath.max() > 200
    empty = contact_sheet(images, LUNG, columns=3, captions=[""] * 5)
    assert len(np.unique(empty[36:48])) == 1


def test_a_caption_for_each_patch_is_needed(images):
    with pytest.raises(ValueError, match="longer"):
        contact_sheet(images, LUNG, captions=["one"])


@pytest.mark.parametrize("about", ["", "Synthetic: ψ of a generator"])
def test_a_picture_says_inside_what_it_shows(tmp_path, images, about):
    save_png(tmp_path / "sheet.png", contact_sheet(images, LUNG), about=about)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.text == ({"Description": about} if about else {})
