"""Stacks cut out of whole scans: lesions that were there, and lesions that were put there."""

import numpy as np
import pandas as pd
import pytest

from lesionforge.data import patches_file, synthetic_scans
from lesionforge.data.exposure import Exposure
from lesionforge.data.formats.volume_file import write_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.creation import create
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.stacks import Stacks
from lesionforge.storage import write_json

GEOMETRY = Geometry((14, 40, 40), (2.0, 1.0, 1.0), (-20.0, -20.0, 0.0))
PLACES = {"solid": (7, 12, 12), "non-solid": (7, 28, 26)}  # voxels z, y, x


def write_scan(image, mask, *, seed, synthetic=False):
    """Noise with two bright balls, numbered in the mask."""
    voxels = np.random.default_rng(seed).normal(-800, 30, GEOMETRY.shape).round().astype(np.int16)
    marks = np.zeros(GEOMETRY.shape, dtype=np.uint8)
    for number, place in enumerate(PLACES.values(), start=1):
        distance = np.linalg.norm(np.moveaxis(np.indices(GEOMETRY.shape), 0, -1) - place, axis=-1)
        marks[distance < 3] = number
    voxels[marks > 0] += 700
    write_volume(image, voxels, GEOMETRY, synthetic=synthetic)
    write_volume(mask, marks, GEOMETRY)


@pytest.fixture
def real(tmp_path):
    rows = []
    for patient in ("p1", "p2"):
        write_scan(
            tmp_path / "real" / "image" / f"{patient}.nii.gz", tmp_path / "real" / "mask" / f"{patient}.nii.gz", seed=1
        )
        for number, (label, place) in enumerate(PLACES.items(), start=1):
            x, y, z = GEOMETRY.to_world(place)
            rows.append({"scan": patient, "patient": patient, "lesion": number, "x": x, "y": y, "z": z, "kind": label})
    pd.DataFrame(rows).to_csv(tmp_path / "real" / "lesions.csv", index=False)
    return tmp_path / "real"


@pytest.fixture
def inserted(tmp_path):
    """A cohort as `populate` leaves it."""
    for number in range(2):
        host = tmp_path / "made" / "hosts" / f"host-{number}"
        write_scan(host / "synthetic_scan.nii.gz", host / "synthetic_scan_mask.nii.gz", seed=2 + number, synthetic=True)
        lesions = [
            {"position_mm": [value + 1.0 for value in GEOMETRY.to_world(place)], "label": label}
            for label, place in PLACES.items()
        ]
        record = {"format": synthetic_scans.FORMAT, "version": synthetic_scans.VERSION, "lesions": lesions}
        record |= {"request": {"painter": "pix2pix-0123"}, "exposure": Exposure.to(["taught"], []).to_json()}
        write_json(host / synthetic_scans.RECORD, record)
    return tmp_path / "made"


def test_a_study_is_made_of_scans(real, inserted, tmp_path):
    stacks = Stacks(slices=5, size=16, label="kind")
    sets = [stacks.cut(path, tmp_path / "work") for path in (real, inserted)]
    study = create(sets, tmp_path / "study", design=Design(per_class=2))
    assert study.pixels.shape == (8, 5, 16, 16)
    assert study.counts == {"real": 4, "synthetic": 4, "training": 0}
    assert {(item.real, item.label) for item in study.items} == {(a, b) for a in (True, False) for b in PLACES}
    assert (study.pixels[:, 2, 8, 8] > -300).all()  # lesions are in the middle


def test_both_origins_are_cut_at_the_spacing_asked_for(real, inserted, tmp_path):
    stacks = Stacks(slices=4, size=16, spacing_mm=(4.0, 2.0, 2.0), label="kind")
    for path in (real, inserted):
        cut = stacks.cut(path, tmp_path / "work")
        assert cut.shape == (4, 16, 16)
        np.testing.assert_array_equal(cut.spacing_mm, np.tile([4.0, 2.0, 2.0], (4, 1)))


def test_patches_are_taken_as_they_are(sets, tmp_path):
    folder = patches_file.save(sets[0], tmp_path / "known")
    cut = Stacks().cut(folder, tmp_path / "work")
    assert isinstance(cut, Patches)
    assert cut.digest == sets[0].digest
    assert not (tmp_path / "work").exists()


def test_what_holds_no_scans_is_refused(tmp_path):
    with pytest.raises(LesionForgeError, match="holds nothing that a format recognises"):
        Stacks().cut(tmp_path, tmp_path / "work")
