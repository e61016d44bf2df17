"""Studies as they lie on disk."""

import json
import stat

import numpy as np
import pytest

from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.reader_study.creation import create
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.study import Study
from lesionforge.storage import sha256


def test_items_hold_the_truth_of_their_rows_and_their_pixels(make_study, sets):
    study = make_study(per_class=5, training_per_class=1)
    assert study.counts == {"real": 10, "synthetic": 10, "training": 4}
    known, made = sets
    for item, pixels in zip(study.items, study.pixels, strict=True):
        of = known if item.real else made
        found = [np.abs(np.clip(image, -1000, 400) - pixels[0]).max() <= 0.5 for image in of.images.astype(np.float64)]
        (row,) = np.flatnonzero(found)
        assert of.labels[row] == item.label
        assert item.origin == of.table["origin"][row]


def test_synthetic_lesions_may_be_fewer(make_study):
    study = make_study(per_class=6, synthetic_per_class=3, training_per_class=1)
    assert study.counts == {"real": 12, "synthetic": 6, "training": 4}


def test_a_study_comes_back_and_is_the_owners_alone(make_study, tmp_path):
    study = make_study()
    opened = Study.open(tmp_path / "study")
    assert opened.items == study.items
    assert opened.digest == study.digest
    assert stat.S_IMODE((tmp_path / "study").stat().st_mode) == 0o700
    text = (tmp_path / "study" / "study.json").read_text()
    assert "P00" not in text


def test_the_same_seed_makes_the_same_study(make_study, tmp_path):
    one, other, third = make_study("one"), make_study("other"), make_study("third", seed=1)
    assert one.items == other.items != third.items
    assert sha256(tmp_path / "one" / "pixels.npy") == sha256(tmp_path / "other" / "pixels.npy")


def test_the_registration_gives_nothing_away(make_study):
    registration = make_study(per_class=6, repeats=2).registration
    text = json.dumps(registration)
    assert registration["design"]["repeats"] == 2
    assert len(registration["sha256_of_items"]) == 64
    for secret in ("dcgan", "tells", "patient", '"origin"', '"items": ['):
        assert secret not in text


def test_batches_hold_as_many_of_each_kind(make_study):
    study = make_study(per_class=8, batches=4)
    kinds = {(item.batch, item.real, item.label) for item in study.items}
    assert len(kinds) == 16
    for kind in kinds:
        assert sum((item.batch, item.real, item.label) == kind for item in study.items) == 2


def test_sets_of_other_sizes_are_cropped_and_stacks_stay_stacks(tmp_path, sets):
    known, made = sets
    larger = known.with_images(np.pad(known.images, ((0, 0), (3, 3), (3, 3))))
    study = create([larger, made], tmp_path / "planes", design=Design(per_class=3))
    assert study.pixels.shape == (12, 1, 16, 16)
    assert create(sets, tmp_path / "small", design=Design(per_class=3), size=12).pixels.shape[1:] == (1, 12, 12)
    stacks = [
        Patches(
            np.repeat(np.asarray(each.images)[:, None], 5, axis=1),
            each.table.assign(spacing_z_mm=np.nan),
            generators=each.generators,
        )
        for each in sets
    ]
    assert create(stacks, tmp_path / "stacks", design=Design(per_class=3)).pixels.shape[1:] == (5, 16, 16)
    with pytest.raises(LesionForgeError, match="all planes or all volumes"):
        create([known, stacks[1]], tmp_path / "mixed", design=Design(per_class=3))


def test_what_was_noticed_is_written_down(make_study):
    study = make_study(per_class=10)
    assert any("generator was trained on" in warning for warning in study.manifest["warnings"])
    assert {row["number"] for row in study.manifest["tells"]} >= {"smallest value", "share of odd values"}


@pytest.mark.parametrize("damage", ["manifest", "pixels", "cut short"])
def test_a_changed_study_is_not_opened(make_study, tmp_path, damage):
    make_study()
    name = "study.json" if damage == "manifest" else "pixels.npy"
    file = tmp_path / "study" / name
    content = file.read_bytes()
    changed = content.replace(b'"real"', b'"fake"', 1) if damage == "manifest" else content[:-2] + b"\0\1"
    file.write_bytes(content[:-2] if damage == "cut short" else changed)
    with pytest.raises(StorageError):
        Study.open(tmp_path / "study")


def test_nothing_is_overwritten(make_study):
    make_study()
    with pytest.raises(StorageError, match="must not exist yet"):
        make_study()


@pytest.mark.real_data
def test_no_number_gives_real_nodules_away_from_their_like(lidc, lidc_tasks, tmp_path):
    """Real nodules of some patients stand for a perfect generator's: stored as floats in its window."""
    from lesionforge.data.exposure import Exposure
    from lesionforge.data.sources.arrays import load_arrays

    known = load_arrays(lidc, mapping=lidc_tasks.NON_SOLID).with_label("solid").centre_crop(64)
    half = known.patients.isin(known.patients.unique()[::2]).to_numpy()
    other = known.rows(half)
    table = other.table.assign(origin="perfect-1", patient="synthetic:perfect-1")
    images = np.clip(np.asarray(other.images, dtype=np.float32), -1000, 400)
    made = Patches(images, table, generators={"perfect-1": Exposure()})
    study = create([known.rows(~half), made], tmp_path / "study", design=Design(per_class=60))
    assert not any(row["clear"] for row in study.manifest["tells"])
    assert all(0.3 < row["auc"] < 0.7 for row in study.manifest["tells"])
