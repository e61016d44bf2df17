"""The phantom's scans go through files and come back as they were, every lesion in its place."""

import nibabel
import numpy as np
import pytest

from lesionforge.data.phantom import scan_files
from lesionforge.data.phantom.scan_files import save_phantom_scans
from lesionforge.data.phantom.scans import phantom_scan
from lesionforge.data.sources.volume import Volume
from lesionforge.errors import LesionForgeError, StorageError

COARSE = (9.0, 6.0, 6.0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_phantom_scans(tmp_path_factory.mktemp("phantom") / "scans", "liver", patients=2, spacing_mm=COARSE)


def test_the_source_reads_every_lesion_back(saved):
    found = Volume().find(saved)
    assert len(found.cases) == 2
    assert not found.skipped
    for number, case in enumerate(found.cases):
        known = phantom_scan("liver", patient=number, spacing_mm=COARSE)
        scan, notes = case.scan(), case.annotations()
        np.testing.assert_array_equal(scan.voxels, known.hu)
        np.testing.assert_allclose(scan.geometry.spacing_mm, COARSE)
        np.testing.assert_allclose(scan.geometry.origin_mm, known.origin_mm, atol=1e-3)
        assert (scan.patient, scan.unit) == (known.patient, "HU")
        assert len(notes.lesions) == len(known.lesions)
        lesions = {lesion.name: lesion for lesion in notes.lesions}
        for row in known.lesions.to_dict("records"):
            lesion = lesions[str(row["lesion"])]
            place = [row[f"position_{axis}_mm"] for axis in "xyz"]
            np.testing.assert_allclose(lesion.position_mm, place, atol=0.6 * max(COARSE))
            assert (lesion.label, lesion.diameter_mm) == (row["label"], row["diameter_mm"])
            assert {"kernel", "noise_hu", "margin_mm"} < set(lesion.facts)
            assert lesion.facts["noise_hu"] == row["noise_hu"]
            mask = lesion.mask_within((0, 0, 0), known.mask.shape)
            np.testing.assert_array_equal(mask, known.mask == row["lesion"])


def test_other_programs_read_the_files(saved):
    known = phantom_scan("liver", patient=1, spacing_mm=COARSE)
    image = nibabel.load(saved / "image" / f"{known.patient}.nii.gz")
    assert "phantom" in known.patient
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, known.hu)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")


def test_what_is_there_is_not_computed_again_and_a_folder_grows(saved, tmp_path, monkeypatch, stop_after, killed):
    folder = tmp_path / "scans"
    with pytest.raises(killed):
        save_phantom_scans(folder, "liver", patients=2, spacing_mm=COARSE, progress=stop_after(1))
    assert not (folder / "lesions.csv").exists()
    computed = []

    def counting(kind, *, patient, **settings):
        if settings.get("shape") is None:
            computed.append(patient)
        return phantom_scan(kind, patient=patient, **settings)

    monkeypatch.setattr(scan_files, "phantom_scan", counting)
    save_phantom_scans(folder, "liver", patients=2, spacing_mm=COARSE)
    assert computed == [1]
    for file in sorted(saved.rglob("*.*")):
        assert (folder / file.relative_to(saved)).read_bytes() == file.read_bytes()


def test_a_folder_of_something_else_is_left_alone(saved, tmp_path):
    with pytest.raises(StorageError, match="another phantom"):
        save_phantom_scans(saved, "liver", patients=2, seed=1, spacing_mm=COARSE)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(StorageError, match="new or empty"):
        save_phantom_scans(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]


@pytest.mark.parametrize("given", [{"patients": 0}, {"kind": "brain"}, {"seed": -1}, {"difficulty": 2}])
def test_settings_that_do_not_fit_write_nothing(tmp_path, given):
    with pytest.raises(LesionForgeError, match="must"):
        save_phantom_scans(tmp_path / "scans", **given)
    assert not list(tmp_path.iterdir())


def test_a_spacing_that_does_not_fit_writes_nothing(tmp_path):
    with pytest.raises(LesionForgeError, match="spacing_mm"):
        save_phantom_scans(tmp_path / "scans", patients=1, spacing_mm=(0, 1, 1))
    assert not list(tmp_path.iterdir())
