"""Foreign series that say of themselves that they are synthetic."""

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes

from lesionforge.data import ingestion, synthetic_scans
from lesionforge.data.exposure import Exposure
from lesionforge.data.formats.dicom_series import find_series
from lesionforge.data.formats.volume_file import read_volume, write_volume
from lesionforge.data.geometry import Geometry
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.storage import write_json

HU = np.full((3, 8, 8), -800)


def flagged(number, dataset):
    dataset.SyntheticData = "YES"


def equipment(code):
    purpose, item = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code.value, "DCM", code.meaning
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def synthesised(number, dataset):
    kinds = (codes.DCM.ModifyingEquipment, codes.DCM.SynthesizingEquipment)
    dataset.ContributingEquipmentSequence = [equipment(kind) for kind in kinds]


def record(uid, folder):
    made = {"format": synthetic_scans.FORMAT, "version": synthetic_scans.VERSION, "series_uid": uid}
    made |= {"request": {"painter": "pix2pix-0123"}, "exposure": Exposure.to(["taught", "host"], []).to_json()}
    write_json(folder / synthetic_scans.RECORD, made)
    return made


@pytest.mark.parametrize("edit", [flagged, synthesised])
def test_a_series_is_refused_unless_it_is_known_whom_it_has_seen(edit, dicom_series_writer, tmp_path):
    dicom_series_writer(tmp_path / "scans" / "series", HU, edit=edit)
    found, (skip,) = find_series(tmp_path)
    assert not found
    assert skip.reason == "synthetic, without a synthetic_lesions.json that says whom it has seen"
    assert "put it back there, or leave the scan out" in skip.message
    with pytest.raises(LesionForgeError, match=r"none can be used \(1 with synthetic, without a synthetic_lesions"):
        ingestion.ingest(tmp_path, tmp_path / "out")
    record("1.2.3", tmp_path / "scans")  # of another series
    assert not find_series(tmp_path)[0]


def test_a_series_with_a_record_is_what_the_record_says(dicom_series_writer, tmp_path):
    dicom_series_writer(tmp_path / "series", HU, edit=flagged)
    (uid,) = {skip.what for skip in find_series(tmp_path)[1]}
    record(uid, tmp_path)
    ((series,), skipped) = find_series(tmp_path)
    assert not skipped
    assert series.synthetic == synthetic_scans.Synthetic("pix2pix-0123", Exposure.to(["taught", "host"], []))
    assert series.scan().synthetic == series.synthetic
    (tmp_path / synthetic_scans.RECORD).write_text("{}")
    assert not find_series(tmp_path)[0]


def test_a_real_series_is_real(dicom_series_writer, tmp_path):
    def modified(number, dataset):
        dataset.SyntheticData = "NO"
        dataset.ContributingEquipmentSequence = [equipment(codes.DCM.ModifyingEquipment), Dataset()]

    dicom_series_writer(tmp_path, HU, edit=modified)
    ((series,), skipped) = find_series(tmp_path)
    assert not skipped
    assert series.synthetic is None


def test_a_volume_of_ours_is_recognised_wherever_it_lies(tmp_path):
    geometry = Geometry(HU.shape, (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    write_volume(tmp_path / "a.nii.gz", HU.astype(np.int16), geometry, synthetic=True)
    write_volume(tmp_path / "b.nii", HU.astype(np.int16), geometry)
    with pytest.raises(UnfitDataError, match="says that it is synthetic"):
        read_volume(tmp_path / "a.nii.gz", patient="p", name="a")
    assert read_volume(tmp_path / "b.nii", patient="p", name="b").synthetic is None
    record(None, tmp_path)
    made = read_volume(tmp_path / "a.nii.gz", patient="p", name="a").synthetic
    assert made is not None
    assert made.origin == "pix2pix-0123"
