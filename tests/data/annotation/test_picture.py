"""The picture of a lesion: where its outline is, and which way is up."""

import numpy as np
import pytest

from lesionforge.data.annotation.picture import OUTLINE, annotation_picture
from lesionforge.data.geometry import Geometry
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError

SHAPE, SPACING_MM = (20, 60, 50), (2.5, 0.8, 0.9)
SIDE = 200
BOX = (slice(7, 13), slice(25, 37), slice(20, 30))  # z, y, x: 15.0, 9.6 and 9.0 mm


def scan_with_box(bright=None):
    geometry = Geometry(SHAPE, SPACING_MM, (10.0, -20.0, 30.0))
    voxels = np.full(SHAPE, -1000, dtype=np.int16)
    if bright is not None:
        voxels[bright] = 400
    mask = np.zeros(SHAPE, dtype=bool)
    mask[BOX] = True
    return Scan(voxels, geometry, patient="p", name="s"), Lesion.from_mask(mask, (0, 0, 0), geometry, name="box")


def planes(picture):
    gap = (picture.shape[1] - 3 * SIDE) // 2
    return [picture[:, k * (SIDE + gap) : k * (SIDE + gap) + SIDE] for k in range(3)]


def test_the_outline_is_the_masks_in_each_plane():
    picture = annotation_picture(*scan_with_box(), side_pixels=SIDE)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == SIDE
    pixels_a_mm = SIDE / 40.0
    for plane, (height_mm, width_mm) in zip(planes(picture), [(9.6, 9.0), (15.0, 9.0), (15.0, 9.6)], strict=True):
        red = (plane == OUTLINE).all(axis=-1)
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        assert np.ptp(rows) + 1 == pytest.approx(height_mm * pixels_a_mm, abs=2)
        assert np.ptp(columns) + 1 == pytest.approx(width_mm * pixels_a_mm, abs=2)
        assert rows.mean() == pytest.approx(SIDE / 2, abs=2)
        assert columns.mean() == pytest.approx(SIDE / 2, abs=2)
        assert not red[SIDE // 2 - 10 : SIDE // 2 + 10, SIDE // 2 - 10 : SIDE // 2 + 10].any()  # a line, no filling


@pytest.mark.parametrize(
    ("bright", "expected"),
    [
        ((slice(14, 20), slice(None), slice(None)), (None, "top", "top")),  # the head
        ((slice(None), slice(45, 60), slice(None)), ("bottom", None, "right")),  # the back
        ((slice(None), slice(None), slice(35, 50)), ("right", "right", None)),  # the patient's left
    ],
    ids=["head", "back", "left"],
)
def test_the_planes_are_seen_as_radiologists_do(bright, expected):
    picture = annotation_picture(*scan_with_box(bright), side_pixels=SIDE)
    for plane, side in zip(planes(picture), expected, strict=True):
        white = (plane == 255).all(axis=-1)
        halves = {
            "top": white[: SIDE // 2], "bottom": white[SIDE // 2 :],
            "left": white[:, : SIDE // 2], "right": white[:, SIDE // 2 :],
        }  # fmt: skip
        if side is None:
            assert not white.any()
        else:
            assert halves[side].sum() == white.sum() > 0


def test_greys_are_the_windows_and_black_lies_outside_the_scan():
    scan, lesion = scan_with_box((slice(None),) * 3)
    lung, mediastinum = (annotation_picture(scan, lesion, window=WINDOWS[w]) for w in ("lung", "mediastinum"))
    assert (lung[160, 20] == 255).all()
    scan.voxels[:] = -160
    axial = annotation_picture(scan, lesion, window=WINDOWS["mediastinum"], side_pixels=SIDE)[:, :SIDE]
    assert (axial[-30:-20, -30:-20] == 0).all()
    assert lung.shape == mediastinum.shape
    corner = Lesion.from_mask(lesion.mask[BOX], (0, 0, 0), scan.geometry, name="corner")
    scan.voxels[:] = 400
    assert (annotation_picture(scan, corner, side_pixels=SIDE)[20:60, 5:40] == 0).all()


def test_a_large_lesion_fits():
    scan, _ = scan_with_box()
    whole = Lesion.from_mask(np.ones(SHAPE, dtype=bool), (0, 0, 0), scan.geometry, name="whole")
    for plane in planes(annotation_picture(scan, whole, side_pixels=SIDE)):
        red = (plane == OUTLINE).all(axis=-1)
        assert red.any()
        assert not red[[0, -1]].any()
        assert not red[:, [0, -1]].any()


def test_a_lesion_without_a_mask_is_refused():
    scan, _ = scan_with_box()
    with pytest.raises(LesionForgeError, match="must have a mask"):
        annotation_picture(scan, Lesion("point", (30.0, 0.0, 50.0)))
