import numpy as np
import pytest

from lesionforge.classifiers import saved
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.experiments.fold import checkpoint_names
from lesionforge.experiments.release import model_of
from lesionforge.storage import write_json

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDS, REPEATS = 2, 2
METHOD = SmallCNN(channels=(2,), batch_size=8, max_images=8)


@pytest.fixture
def run(tmp_path, small_patches):
    """A folder with what a run of two repeats leaves of one regime, each classifier of patients of its own."""
    write_json(tmp_path / "config.json", {"folds": FOLDS, "folds_run": 0, "repeats": REPEATS})
    for number, name in enumerate(checkpoint_names("raw", folds=FOLDS, repeats=REPEATS)):
        METHOD.fit(small_patches(patients=4, prefix=f"of{number}-"), seed=number).save(tmp_path / "checkpoints" / name)
    return tmp_path


def test_the_model_is_every_folds_classifier_of_every_repeat(run, small_patches):
    model = model_of(run, "raw")
    asked = small_patches(patients=3, prefix="asked", seed=9)
    said = [member.predict_proba(asked) for member in model.members]
    assert len(said) == FOLDS * REPEATS
    for name, found in zip(checkpoint_names("raw", folds=FOLDS, repeats=REPEATS), said, strict=True):
        np.testing.assert_array_equal(saved.load(run / "checkpoints" / name).predict_proba(asked), found)
    assert len({found.tobytes() for found in said}) == FOLDS * REPEATS
    np.testing.assert_allclose(model.answer(asked).probability, np.mean(said, axis=0))


def test_whom_any_of_them_has_seen_the_model_knows(run, small_patches):
    model = model_of(run, "raw")
    for number in range(FOLDS * REPEATS):
        assert model.answer(small_patches(patients=4, prefix=f"of{number}-")).seen.all()


def test_an_unfinished_run_and_an_unknown_regime_leave_no_model(run, tmp_path):
    with pytest.raises(LesionForgeError, match="is missing"):
        model_of(run, "classic")
    (run / "config.json").unlink()
    with pytest.raises(StorageError, match="is missing"):
        model_of(run, "raw")


def test_a_changed_classifier_is_refused(run):
    weights = run / "checkpoints" / checkpoint_names("raw", folds=FOLDS, repeats=REPEATS)[0] / "classifier.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(StorageError, match="cut short"):
        model_of(run, "raw")
