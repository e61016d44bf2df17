"""Nodules translated, and as many places without."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.data.cutting.detection import Detection
from lesionforge.data.lungs import lungs
from lesionforge.data.scan import Lesion
from lesionforge.errors import LesionForgeError, UnfitDataError


def of(cuts, label):
    return [each for each in cuts if each.columns["label"] == label]


def test_there_are_as_many_places_without_as_nodules(cut, lesion_at):
    lesions = [lesion_at((5, 60, 45), [(6, 6), (8, 8)]), lesion_at((9, 60, 105), [(6, 6)])]
    for cutter, count in ((Detection(), 10), (Detection(copies=1), 2), (Detection(slices="all", copies=3), 9)):
        cuts = cut(cutter, lesions)
        assert len(of(cuts, "nodule")) == len(of(cuts, "non_nodule")) == count
        assert all((each.lesion is None) == (each.columns["label"] == "non_nodule") for each in cuts)


def test_which_slices_show_a_nodule(cut, lesion_at):
    lesion = lesion_at((5, 60, 45), [(6, 6), (8, 8), (7, 7)])
    largest = of(cut(Detection(copies=2), [lesion]), "nodule")
    every = of(cut(Detection(slices="all", copies=2), [lesion]), "nodule")
    assert [each.columns["slice_index"] for each in largest] == [6, 6]
    assert [each.columns["slice_index"] for each in every] == [6, 6, 7, 7, 5, 5]


def test_the_first_copy_is_centred_and_the_others_moved_as_their_columns_say(cut, chest, lesion_at):
    lesion = lesion_at((5, 60, 50), [(5, 5)])
    cuts = of(cut(Detection(copies=300), [lesion]), "nodule")
    translations = np.array([[each.columns[f"translation_{axis}_px"] for axis in "yx"] for each in cuts])
    assert (translations[0] == 0).all()
    assert (translations.min(axis=0) == -10).all()
    assert (translations.max(axis=0) == 10).all()
    assert np.abs(translations[1:].mean(axis=0)).max() < 1.5
    for each, (down, right) in zip(cuts, translations, strict=True):
        assert each.image[20 + down, 20 + right] == chest.voxels[5, 62, 52]
        assert np.argwhere(each.mask).mean(axis=0) == pytest.approx((20 + down, 20 + right))
        assert each.mask.sum() == 25


def test_places_without_lie_in_the_lungs_and_overlap_no_mark(cut, chest, lesion_at):
    """Marks are boxes of what any reader outlined, and points; the patch may touch them, not show them."""
    lesion = lesion_at((5, 60, 45), [(6, 6)] * 3)
    disputed = replace(lesion_at((8, 50, 100), [(12, 12)] * 4), mask=np.zeros((4, 12, 12), dtype=bool))
    point = Lesion("small", tuple(chest.geometry.to_world((14.3, 40, 50)).tolist()))
    sized = Lesion("sized", tuple(chest.geometry.to_world((2, 70, 110)).tolist()), diameter_mm=9.0)
    marks = [lesion, disputed, point, sized]
    found = of(cut(Detection(copies=400), [lesion], marks=marks), "non_nodule")
    forbidden = np.zeros(chest.voxels.shape, dtype=bool)
    forbidden[5:8, 60:66, 45:51] = forbidden[8:12, 50:62, 100:112] = forbidden[14, 39:42, 49:52] = True
    forbidden[1:4, 67:74, 107:114] = True
    lung = lungs(chest)
    places = []
    for each in found:
        z, y, x = np.rint(chest.geometry.to_index(each.position_mm)).astype(int)
        assert lung[z, y, x]
        assert not forbidden[z, y - 20 : y + 20, x - 20 : x + 20].any()
        assert not each.mask.any()
        np.testing.assert_array_equal(each.image[15:25, 15:25], chest.voxels[z, y - 5 : y + 5, x - 5 : x + 5])
        places.append((z, y, x))
    assert len(set(places)) == len(places) == 400
    spread = np.array(places)
    assert set(spread[:, 0]) == set(range(20))  # every slice, also those with marks
    near = forbidden[spread[:, 0]].any(axis=(1, 2))
    assert 0.05 < near.mean() < 0.5


def test_places_differ_with_the_seed(cut, lesion_at):
    lesion = lesion_at((5, 60, 45), [(6, 6)])
    positions = [[each.position_mm for each in cut(Detection(), [lesion], seed=seed)] for seed in (0, 1)]
    assert positions[0] != positions[1]


def test_lungs_full_of_marks_have_no_place(cut, chest, lesion_at):
    lesion = lesion_at((5, 60, 45), [(6, 6)])
    everywhere = lesion_at((0, 0, 0), [chest.voxels.shape[1:]] * len(chest.voxels))
    with pytest.raises(UnfitDataError, match="overlaps no mark") as error:
        cut(Detection(), [lesion], marks=[lesion, everywhere])
    assert error.value.reason == "no place without a mark"


def test_a_translation_that_loses_the_nodule_is_refused():
    Detection(size=22)
    with pytest.raises(LesionForgeError, match="below 10"):
        Detection(size=20)
