"""Series whose slices do not stack to a right-angled, evenly spaced volume, and what is left out of those that do."""

import numpy as np
import pytest

from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.geometry import Geometry

HU = np.random.default_rng(0).integers(-1024, 3072, (9, 5, 6)).astype(np.int16)
GEOMETRY = Geometry(HU.shape, (2.5, 0.75, 0.75), (-20.0, -30.0, -40.0))


def _moved(slices, by_mm):
    """Move slices by these mm (x, y, z), a list of them or one for all."""

    def edit(number, dataset):
        if number in slices:
            place = np.array(dataset.ImagePositionPatient, dtype=float)
            dataset.ImagePositionPatient = (place + by_mm(number)).tolist()

    return edit


def _some(slices, **tags):
    def edit(number, dataset):
        for name, value in tags.items() if number in slices else ():
            setattr(dataset, name, value)

    return edit


REFUSED = {
    "tilted gantry": (_moved(range(9), lambda n: (0, 0.5 * n, 0)), "tilted gantry or shifted slices"),
    "one slice shifted": (_moved([4], lambda _: (0.6, 0, 0)), "tilted gantry or shifted slices"),
    "one slice too high": (_moved([4], lambda _: (0, 0, 0.4)), "missing or uneven slices"),
    "a gap in the middle": (_moved(range(5, 9), lambda _: (0, 0, 1)), "missing or uneven slices"),
    "two distances": (_moved(range(5, 9), lambda n: (0, 0, n - 4)), "missing or uneven slices"),
    "two slices at one place": (_moved([4], lambda _: (0, 0, -2.5)), "different slices at one place"),
    "two slices beside each other": (_moved([4], lambda _: (0.4, 0, -2.5)), "different slices at one place"),
    "all slices at one place": (_moved(range(9), lambda n: (0, 0, -2.5 * n)), "different slices at one place"),
    "of two patients": (_some([3], PatientID="patient-2"), "one series of several patients"),
    "a patient and none": (_some([3], PatientID=""), "one series of several patients"),
    "one UID for two slices": (_some([3, 4], SOPInstanceUID="1.2.3"), "one SOP instance UID for several slices"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_series_that_is_no_stack_is_refused_by_reason(tmp_path, dicom_series_writer, what):
    edit, reason = REFUSED[what]
    dicom_series_writer(tmp_path, HU, GEOMETRY, edit=edit, SeriesInstanceUID="1.2.3.4")
    series, (skip,) = find_series(tmp_path)
    assert series == []
    assert (skip.what, skip.reason) == ("1.2.3.4", reason)
    assert skip.message.endswith(".")
    assert "patient-" not in skip.message


@pytest.mark.parametrize("missing", range(9))
def test_one_missing_slice_is_noticed_wherever_it_is_not_the_last(tmp_path, dicom_series_writer, missing):
    files = dicom_series_writer(tmp_path, HU, GEOMETRY)
    files[missing].unlink()
    series, skipped = find_series(tmp_path)
    if missing in (0, 8):
        assert [len(each.planes) for each in series] == [8]
    else:
        assert [skip.reason for skip in skipped] == ["missing or uneven slices"]
        assert "2.500 to 5.000 mm apart, most of them 2.500" in skipped[0].message


def test_two_phases_in_one_series_are_refused(tmp_path, dicom_series_writer):
    dicom_series_writer(tmp_path / "early", HU, GEOMETRY, SeriesInstanceUID="1.2", seed=1)
    dicom_series_writer(tmp_path / "late", HU[::-1], GEOMETRY, SeriesInstanceUID="1.2", seed=2)
    series, skipped = find_series(tmp_path)
    assert series == []
    assert [skip.reason for skip in skipped] == ["different slices at one place"]


@pytest.mark.parametrize("thickness", [None, 0, -1])
def test_a_single_slice_must_say_how_thick_it_is(tmp_path, dicom_series_writer, thickness):
    dicom_series_writer(tmp_path, HU[:1], SliceThickness=thickness)
    series, skipped = find_series(tmp_path)
    assert series == []
    assert [skip.reason for skip in skipped] == ["single slice of unknown thickness"]


@pytest.mark.parametrize(
    "other",
    [
        {"PixelSpacing": [1, 1]},
        {"Rows": 6, "Columns": 5},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
    ],
)
def test_slices_unlike_most_of_their_series_are_left_out(tmp_path, dicom_series_writer, other):
    files = dicom_series_writer(tmp_path, HU, GEOMETRY, edit=_some([0, 8], **other))
    (series,), skipped = find_series(tmp_path)
    assert np.array_equal(series.scan().voxels, HU[1:8])
    assert sorted(skip.what for skip in skipped) == sorted([str(files[0]), str(files[8])])
    assert {skip.reason for skip in skipped} == {"another size or direction than the rest of its series"}


def test_a_localizer_in_the_series_is_left_out(tmp_path, dicom_series_writer):
    edit = _some([0], ImageType=["DERIVED", "SECONDARY", "LOCALIZER"])
    dicom_series_writer(tmp_path, HU, GEOMETRY, edit=edit)
    (series,), skipped = find_series(tmp_path)
    assert len(series.planes) == 8
    assert [skip.reason for skip in skipped] == ["localizer"]


def test_of_two_stacks_of_one_length_none_is_guessed(tmp_path, dicom_series_writer):
    dicom_series_writer(tmp_path, HU[:8], edit=_some(range(4), PixelSpacing=[1, 1]))
    series, skipped = find_series(tmp_path)
    assert series == []
    assert [skip.reason for skip in skipped] == ["several stacks in one series"]
