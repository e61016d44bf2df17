"""Insertion into real DICOM series of LIDC-IDRI, read again by two libraries."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from lesionforge.data.formats.volume_file import from_sitk
from lesionforge.data.lungs import lungs
from lesionforge.synthesis.insertion.files import write_inserted
from lesionforge.synthesis.insertion.hosts import find_host
from lesionforge.synthesis.insertion.into_scans import insert
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.sites import find_sites

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module", params=["LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0003"])
def written(request, real_data, flat_painter, tmp_path_factory):
    folder = real_data / "lidc_dicom" / request.param
    if not folder.is_dir():
        pytest.skip("LESIONFORGE_DATA has no lidc_dicom")
    host = find_host(folder)
    painter = flat_painter(shape=(24, 40, 40), spacing_mm=(1.0, 0.8, 0.8))
    sites = find_sites(host.scan, lungs(host.scan), [7.0, 9.0], known=host.known, seed=1)
    manner = Manner(painter, "benign")
    inserted = insert(host.scan, sites, manner)
    out = tmp_path_factory.mktemp("real") / "out"
    write_inserted(host, inserted, manner, out)
    return host, inserted, out


def test_pydicom_finds_every_stored_value_outside_the_region_as_it_was(written):
    host, inserted, out = written
    region = np.zeros(host.scan.voxels.shape, dtype=bool)
    for each in inserted:
        region[each.window] |= each.region
    changed = 0
    for number, (file, plane) in enumerate(
        zip(sorted((out / "synthetic_series").iterdir()), host.series.planes, strict=True)
    ):
        ours, theirs = pydicom.dcmread(file), pydicom.dcmread(plane.file)
        differs = ours.pixel_array != theirs.pixel_array
        assert not (differs & ~region[number]).any()
        changed += differs.sum()
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleIntercept"):
            assert ours[keyword].value == theirs[keyword].value
        assert ours.SOPInstanceUID != theirs.SOPInstanceUID
    assert changed > 0.9 * region.sum()


def test_simpleitk_finds_the_same_geometry_and_values(written):
    host, _, out = written
    images = []
    for files in (sorted((out / "synthetic_series").iterdir()), [plane.file for plane in host.series.planes]):
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(file) for file in files])
        images.append(from_sitk(reader.Execute()))
    (ours, geometry), (theirs, of_host) = images
    assert geometry == of_host
    assert 0 < (ours != theirs).sum() < 10_000


def test_the_segmentation_marks_the_inserted_lesions_and_no_others(written):
    host, inserted, out = written
    again = find_host(Path(out))
    assert len(again.known) == len(inserted)
    for read, each in zip(again.known, inserted, strict=True):
        np.testing.assert_allclose(read.position_mm, each.lesion.position_mm, atol=1e-3)
        marked = again.scan.voxels[read.mask_within((0, 0, 0), again.scan.voxels.shape)]
        assert marked.mean() > -400  # a lesion, in lung
    assert again.scan.geometry == host.scan.geometry
