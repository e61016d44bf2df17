import json

import numpy as np
import pytest

from lesionforge.classifiers import model as models
from lesionforge.classifiers.methods.diameter_only import DiameterOnly
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.classifiers.model import CARD, MANIFEST, Model
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.storage import read_json


@pytest.fixture(scope="module")
def members(small_patches):
    """Two classifiers of different patients."""
    method = SmallCNN(channels=(4, 4), max_images=200, batch_size=8, calibration="temperature")
    return [
        method.fit(
            small_patches(prefix=f"train{k}", seed=k), validation=small_patches(prefix=f"val{k}", seed=k + 10), seed=k
        )
        for k in range(2)
    ]


@pytest.fixture(scope="module")
def model(members):
    return Model(members)


@pytest.fixture(scope="module")
def asked(small_patches):
    return small_patches(prefix="asked", seed=30)


def test_members_answer_together_and_their_spread_is_told(model, members, asked):
    answers = model.answer(asked)
    each = np.stack([member.predict_proba(asked) for member in members])
    np.testing.assert_allclose(answers.probability, each.mean(axis=0))
    np.testing.assert_allclose(answers.spread, each.std(axis=0, ddof=1))
    strangeness = np.stack([member.strangeness(asked) for member in members])
    np.testing.assert_allclose(answers.strangeness, np.median(strangeness, axis=0))
    np.testing.assert_array_equal(answers.refused, answers.strangeness > 1)
    assert not answers.seen.any()


def test_what_is_strange_gets_no_answer(model, asked):
    answers = model.answer(asked.with_images(asked.images + 2000))
    assert answers.refused.all()
    assert all(row["probability"] is None and row["spread"] is None and row["refused"] for row in answers.to_json())
    table = answers.to_table()
    assert table["refused"].all()
    assert table.filter(like="p_").isna().all(axis=None)
    assert json.dumps(answers.to_json(), allow_nan=False)


def test_whom_it_has_seen_it_says(model, small_patches, asked):
    seen = small_patches(prefix="train1", seed=1)
    assert model.answer(seen).seen.all()
    renamed = type(seen).of(seen.images, patient=[f"other{n}" for n in range(len(seen))], spacing_mm=0.7)
    assert model.answer(renamed).seen.all()
    assert model.answer(small_patches(prefix="val0", seed=10)).seen.all()


def test_a_single_member_has_no_spread(members, asked):
    answers = Model(members[:1]).answer(asked)
    assert np.isnan(answers.spread).all()
    assert {row["spread"] is None for row in answers.to_json()} == {True}


def test_without_validation_patients_nothing_is_refused_and_it_says_that_it_does_not_know(small_patches, asked):
    model = Model([DiameterOnly().fit(small_patches(prefix="train"))])
    answers = model.answer(asked)
    assert not answers.refused.any()
    assert np.isnan(answers.strangeness).all()
    assert answers.to_json()[0]["strangeness"] is None
    assert model.summary["refuses"] is False
    assert model.summary["calibrated"] is False


def test_saved_it_answers_the_same_and_names_no_patient(model, asked, tmp_path):
    path = model.save(tmp_path / "model", card="# A card\n")
    again = models.load(path)
    for name in ("probability", "spread", "strangeness", "seen"):
        np.testing.assert_array_equal(getattr(again.answer(asked), name), getattr(model.answer(asked), name))
    assert (path / CARD).read_text() == "# A card\n"
    assert again.summary == model.summary
    files = [file for file in path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".safetensors", ".md"}
    assert not any(b"train0-" in file.read_bytes() for file in files)
    with pytest.raises(StorageError):
        model.save(path, card="")
    alone = models.load(path / "member-1")
    np.testing.assert_array_equal(alone.answer(asked).probability, model.members[1].predict_proba(asked))


def test_what_is_no_model_or_was_changed_is_refused(model, tmp_path):
    path = model.save(tmp_path / "model", card="")
    manifest = read_json(path / MANIFEST, of="a model")
    for change in ({"members": 3}, {"format": "other"}, {"version": 0}):
        (path / MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(StorageError):
            models.load(path)
    (path / MANIFEST).write_text(json.dumps(manifest))
    (path / CARD).write_text("better than it is")
    with pytest.raises(StorageError, match=CARD):
        models.load(path)
    with pytest.raises(StorageError, match="is missing"):
        models.load(tmp_path / "nothing")


def test_members_must_fit_each_other(members, small_patches):
    other = DiameterOnly().fit(small_patches(classes=("a", "b")))
    for unfit in ([], [members[0], other]):
        with pytest.raises(LesionForgeError, match="same classes"):
            Model(unfit)
