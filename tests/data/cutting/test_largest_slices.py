"""Slices of the largest sections, in place."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from lesionforge.data.cutting.largest_slices import LargestSlices
from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.formats.lidc_findings import region_of, to_pixels
from lesionforge.data.formats.lidc_xml import parse_reading
from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Lesion, Scan


def test_the_largest_sections_are_taken_in_order_though_they_are_not_consecutive(cut, lesion_at):
    lesion = lesion_at((4, 60, 45), [(3, 3), (6, 6), (2, 2), (7, 7), (6, 6)])
    cuts = cut(LargestSlices(), [lesion])
    assert [each.columns["slice_index"] for each in cuts] == [7, 5, 8]
    assert [each.columns["slice_rank"] for each in cuts] == [1, 2, 3]
    assert [int(each.mask.sum()) for each in cuts] == [49, 36, 36]


def test_a_lesion_on_fewer_slices_gives_fewer(cut, lesion_at):
    assert len(cut(LargestSlices(slices=3), [lesion_at((4, 60, 45), [(3, 3), (6, 6)])])) == 2
    assert len(cut(LargestSlices(slices=1), [lesion_at((4, 60, 45), [(3, 3), (6, 6)])])) == 1


@pytest.mark.parametrize(("rows", "columns", "middle"), [(5, 7, (62, 48)), (6, 8, (62, 48)), (1, 2, (60, 45))])
@pytest.mark.parametrize("size", [64, 71])
def test_the_boxs_middle_rounded_down_is_the_patchs_middle_pixel(cut, chest, lesion_at, rows, columns, middle, size):
    """As in collections of crops of 71 pixels whose lesion is about pixel 35."""
    (patch,) = cut(LargestSlices(size=size), [lesion_at((4, 60, 45), [(rows, columns)])])
    y, x = middle
    assert patch.image[size // 2, size // 2] == chest.voxels[4, y, x]
    np.testing.assert_array_equal(
        patch.image[22:42, 22:42], chest.voxels[4][y - size // 2 :, x - size // 2 :][22:42, 22:42]
    )
    assert patch.position_mm == pytest.approx(tuple(chest.geometry.to_world((4, y, x))))
    assert patch.spacing_mm == chest.geometry.spacing_mm[1:]


def test_each_section_is_centred_on_its_own_box(cut, lesion_at):
    lesion = lesion_at((4, 60, 45), [(9, 9), (5, 5)])
    large, small = cut(LargestSlices(), [lesion])
    step = np.subtract(large.position_mm, small.position_mm)
    assert step == pytest.approx((3.0, 3.0, -2.5))  # 2 pixels of 1.5 mm, a slice below


def test_another_spacing_resamples_in_the_plane_alone(cut, chest, lesion_at):
    lesion = lesion_at((4, 60, 45), [(9, 9)])
    (finer,) = cut(LargestSlices(spacing_mm=(0.75, 0.5)), [lesion])
    assert finer.spacing_mm == (0.75, 0.5)
    index = np.indices((64, 64), dtype=float) - 32
    place = [np.full((64, 64), 4.0), 64 + index[0] / 2, 49 + index[1] / 3]
    expected = ndimage.map_coordinates(chest.voxels.astype(float), place, order=1)
    np.testing.assert_allclose(finer.image, expected, atol=0.51)
    (coarser,) = cut(LargestSlices(spacing_mm=(6.0, 6.0)), [lesion])
    assert coarser.image[28:36, 33:35].std() < 12 * 0.75  # smoothed before
    assert coarser.mask.sum() == 9  # 9 pixels, every fourth from the middle on: 3 by 3


def test_a_lesion_without_mask_is_on_the_slices_within_its_diameter(cut, chest):
    position = tuple(chest.geometry.to_world((9.2, 60, 45)).tolist())
    unsized = Lesion("one", position)
    assert [each.columns["slice_index"] for each in cut(LargestSlices(), [unsized])] == [9]
    sized = replace(unsized, diameter_mm=8.0)
    assert [each.columns["slice_index"] for each in cut(LargestSlices(slices=9), [sized])] == [9, 10, 8]
    assert [
        each.columns["slice_index"] for each in cut(LargestSlices(slices=9), [replace(sized, diameter_mm=0.1)])
    ] == [9]


def test_slices_outside_a_partial_series_do_not_count(cut, lesion_at):
    below = lesion_at((-2, 60, 45), [(9, 9), (8, 8), (5, 5), (3, 3)])
    assert [each.columns["slice_index"] for each in cut(LargestSlices(), [below])] == [0, 1]


@pytest.mark.real_data
def test_real_nodules_are_cut_as_a_published_collection_has_them(lidc, cut):
    """From another collection's patch put into a slice, the very same patch comes back, by its mask alone."""
    with np.load(lidc / "images_hu.npz") as arrays:
        images, masks = arrays["hu"][:200], arrays["mask"][:200].astype(bool)
    whole = [i for i, mask in enumerate(masks) if not (mask[[0, -1]].any() or mask[:, [0, -1]].any())]
    assert len(whole) > 150
    for i in whole:
        geometry = Geometry((1, 200, 200), (2.5, 0.7, 0.7), (0.0, 0.0, 0.0))
        voxels = np.zeros(geometry.shape, dtype=np.int16)
        voxels[0, 50:121, 60:131] = images[i]
        scan = Scan(voxels, geometry, patient="p", name="s")
        lesion = Lesion.from_mask(masks[i][None], (0, 50, 60), geometry, name="one")
        (patch,) = cut(LargestSlices(size=71, slices=1), [lesion], scan=scan)
        # Padding outside the field of view is brought to the lowest HU that is stored.
        np.testing.assert_array_equal(patch.image, np.clip(images[i], -1024, 3071))
        np.testing.assert_array_equal(patch.mask, masks[i])


@pytest.mark.real_data
def test_a_real_series_gives_the_patch_that_a_published_collection_has_of_it(real_data, lidc, cut):
    """The collection centred its patch on the outlines of one reader: on his, ours has the same HU everywhere."""
    row = int(np.flatnonzero(pd.read_csv(lidc / "metadata.csv")["patient_id"] == "LIDC-IDRI-0001")[0])
    with np.load(lidc / "images_hu.npz") as arrays:
        published = arrays["hu"][row]
    folder = real_data / "lidc_dicom" / "LIDC-IDRI-0001"
    (series,), _ = find_series(folder)
    scan = series.scan()
    reading = parse_reading(next(folder.rglob("*.xml")).read_bytes())
    differences = []
    for mark in reading.marks:
        sections = {series.uids.index(uid): to_pixels(of) for uid, of in region_of(mark).items() if uid in series.uids}
        if mark.kind == "nodule" and sections:
            mask = np.zeros(scan.voxels.shape, dtype=bool)
            for index, pixels in sections.items():
                mask[index, pixels[:, 1], pixels[:, 0]] = True
            lesion = Lesion.from_mask(mask, (0, 0, 0), scan.geometry, name=f"reader {mark.reader}")
            (patch,) = cut(LargestSlices(size=71, slices=1), [lesion], scan=scan)
            differences.append(int(np.abs(patch.image - np.clip(published, -1024, 3071)).max()))
    assert len(differences) == 4
    assert min(differences) == 0
