"""What every classifier must do; a new file in `classifiers/methods` is tested by existing."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from lesionforge import registry, settings
from lesionforge.classifiers import methods, network
from lesionforge.classifiers.contract import Classifier
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.storage import read_json

# Whatever of these a method has as fields is made small or quick.
QUICK = {"batch_size": 16, "max_images": 2500, "epochs": 100, "check_every_images": 500, "learning_rate": 3e-3}
SHAPE = (16, 16)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.parametrize("name", registry.names(methods), scope="module"),
]


def lesions(patients: int, *, prefix: str, seed: int, classes: tuple[str, ...] = ("ground-glass", "solid")) -> Patches:
    """Discs in noisy lung, denser from class to class: easily told apart."""
    rng = np.random.default_rng(seed)
    kind = np.arange(patients * 2) // 2 % len(classes)
    y, x = np.indices(SHAPE) - 8
    radius = rng.uniform(3, 6, (len(kind), 1, 1))
    disc = np.hypot(y, x) < radius
    images = rng.normal(-850, 40, (len(kind), *SHAPE)) + disc * (300 + 500 * kind[:, None, None])
    return Patches.of(
        images.round().astype(np.int16),
        patient=[f"{prefix}-{k // 2}" for k in range(len(kind))],
        label=[classes[k] for k in kind],
        spacing_mm=0.7,
    )


@pytest.fixture(scope="module")
def classifier(name):
    kind = registry.class_named(methods, name, Classifier)
    fields = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in QUICK.items() if key in fields})


@pytest.fixture(scope="module")
def brief(classifier):
    """As `classifier`, for tests that need not learn much."""
    fields = {field.name for field in dataclasses.fields(classifier)}
    return dataclasses.replace(classifier, max_images=64) if "max_images" in fields else classifier


@pytest.fixture(scope="module")
def train():
    return lesions(20, prefix="train", seed=0)


@pytest.fixture(scope="module")
def test():
    return lesions(20, prefix="test", seed=1)


@pytest.fixture(scope="module")
def fitted(classifier, train):
    return classifier.fit(train, seed=1)


def test_it_names_its_paper(name):
    kind = registry.class_named(methods, name, Classifier)
    assert kind.paper
    assert registry.name_of(kind()) == name


def test_settings_are_frozen_hashable_and_survive_json(classifier):
    stored = json.loads(json.dumps(settings.to_json(classifier)))
    again = settings.from_json(type(classifier), stored)
    assert again == classifier
    assert hash(again) == hash(classifier)
    with pytest.raises(dataclasses.FrozenInstanceError):
        classifier.window = "liver"


def test_it_learns_what_is_easily_told_apart_on_other_patients(fitted, test):
    probability = fitted.predict_proba(test)
    right = np.array(fitted.facts.classes)[probability.argmax(axis=1)] == test.labels
    assert right.mean() >= 0.95


def test_it_learns_three_classes(classifier):
    classes = ("cyst", "ground-glass", "solid")
    fitted = classifier.fit(lesions(24, prefix="train", seed=0, classes=classes))
    others = lesions(24, prefix="test", seed=1, classes=classes)
    assert fitted.facts.classes == classes
    probability = fitted.predict_proba(others)
    assert probability.shape == (48, 3)
    assert (np.array(classes)[probability.argmax(axis=1)] == others.labels).mean() >= 0.8


def test_probabilities_are_valid_and_of_a_row_alone(fitted, test):
    probability = fitted.predict_proba(test)
    assert probability.shape == (len(test), 2)
    assert probability.dtype == np.float64
    assert (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(fitted.predict_proba(test.rows([7, 3])), probability[[7, 3]], atol=1e-5)
    assert fitted.predict_proba(test.rows([])).shape == (0, 2)


def test_a_seed_decides_what_is_learnt(brief, train, test):
    probability = [brief.fit(train, seed=seed).predict_proba(test) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(probability[0], probability[1])
    assert not np.array_equal(probability[0], probability[2])


def test_it_leaves_the_callers_random_numbers_alone(brief, train):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    brief.fit(train)
    assert torch.equal(torch.rand(2), expected[0])
    np.testing.assert_array_equal(np.random.rand(2), expected[1])  # noqa: NPY002


def test_the_names_of_classes_do_not_decide(brief, train, test):
    """Labels are names: others in the same order give the same numbers."""
    renamed = train.with_columns(label=[{"ground-glass": "0", "solid": "1"}[label] for label in train.labels])
    fitted = brief.fit(renamed)
    assert fitted.facts.classes == ("0", "1")
    np.testing.assert_array_equal(fitted.predict_proba(test), brief.fit(train).predict_proba(test))


def test_it_does_not_fit_what_would_be_scored_on_its_training_patients(brief, train, test):
    brief.fit(train, scored_on=test)
    for leak in (train, train.rows([0]), concatenate([test, train.rows([0])])):
        with pytest.raises(LeakError):
            brief.fit(train, scored_on=leak)


def test_an_image_under_another_patients_name_is_a_leak(brief, train):
    row = train.rows([0])
    renamed = Patches.of(row.images, patient=["somebody else"], label=row.labels)
    with pytest.raises(LeakError):
        brief.fit(train, scored_on=renamed)


def synthetic(seen: Patches) -> Patches:
    made = Patches.of(np.flip(seen.images, 1), patient=["gan"] * len(seen), label=seen.labels, spacing_mm=0.7)
    return Patches(made.images, made.table.assign(origin="gan"), generators={"gan": seen.exposure})


def test_synthetic_patches_carry_their_generators_patients_into_training(brief, train, test):
    mixed = concatenate([train, synthetic(test)])
    with pytest.raises(LeakError):
        brief.fit(mixed, scored_on=test)
    with pytest.raises(LeakError):
        brief.fit(mixed).predict_proba(test)
    with pytest.raises(LeakError):
        brief.fit(mixed, validation=test)


def test_it_does_not_predict_patients_it_has_seen_unless_nothing_is_scored(brief, train, test):
    validation = lesions(4, prefix="validation", seed=2)
    fitted = brief.fit(train, validation=validation)
    assert fitted.predict_proba(test).shape == (len(test), 2)
    for seen in (train, validation, concatenate([test, train.rows([0])])):
        with pytest.raises(LeakError):
            fitted.predict_proba(seen)
    assert fitted.predict_proba(train, already_seen=True).shape == (len(train), 2)


def test_validation_on_training_patients_is_a_leak(brief, train, test):
    with pytest.raises(LeakError):
        brief.fit(train, validation=concatenate([test, train.rows([3])]))


def test_validation_is_of_real_patches(brief, train, test):
    for bad in (synthetic(test), test.rows([])):
        with pytest.raises(LesionForgeError, match="validation needs real patches"):
            brief.fit(train, validation=bad)


def test_a_label_that_was_not_learnt_cannot_validate(brief, train, test):
    for label in ("cyst", ""):
        with pytest.raises(LesionForgeError, match="labels must be among"):
            brief.fit(train, validation=test.with_columns(label=label))


def test_missing_labels_are_counted(brief, train):
    labels = train.labels.copy()
    labels[:3] = ""
    with pytest.raises(LesionForgeError, match="3 of 40 have none"):
        brief.fit(train.with_columns(label=labels))


def test_one_class_is_refused(brief, train):
    for too_few in (train.with_label("solid"), train.rows([])):
        with pytest.raises(LesionForgeError, match="2 classes or more"):
            brief.fit(too_few)


def test_other_sizes_and_units_are_refused(brief, train, test):
    fitted = brief.fit(train)
    eight_bit = Patches.of(np.zeros((2, *SHAPE)), patient=["x", "y"], label=["solid", "ground-glass"], unit="u8")
    for other in (test.centre_crop(8), eight_bit):
        with pytest.raises(LesionForgeError, match="takes patches of"):
            fitted.predict_proba(other)
        with pytest.raises(LesionForgeError, match="one size and unit"):
            brief.fit(train, validation=other)
    with pytest.raises(LesionForgeError, match="window must be one of"):
        brief.fit(eight_bit)


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (2, 2)], ids=str)
def test_patches_that_are_too_small_are_refused_by_their_size(brief, shape):
    with pytest.raises(LesionForgeError, match="×".join(map(str, shape))):
        brief.check_shape(shape)
    few = Patches.of(np.zeros((2, *shape)), patient=["x", "y"], label=["a", "b"])
    with pytest.raises(LesionForgeError, match="×".join(map(str, shape))):
        brief.fit(few)


def test_saved_and_loaded_it_predicts_the_same_and_remembers_its_patients(fitted, train, test, tmp_path):
    path = fitted.save(tmp_path / "saved")
    again = network.load(path)
    np.testing.assert_array_equal(again.predict_proba(test), fitted.predict_proba(test))
    assert again.facts == fitted.facts
    with pytest.raises(LeakError):
        again.predict_proba(train)
    for file in path.iterdir():
        assert b"train-" not in file.read_bytes()


def test_what_is_there_is_not_overwritten_unless_asked(fitted, tmp_path):
    path = fitted.save(tmp_path / "saved")
    with pytest.raises(StorageError):
        fitted.save(path)
    assert fitted.save(path, overwrite=True) == path


def test_a_saved_classifier_that_was_changed_is_refused(fitted, tmp_path):
    path = fitted.save(tmp_path / "saved")
    manifest = read_json(path / network.MANIFEST, of="a classifier")
    for change in (
        {"facts": manifest["facts"] | {"exposure": {"patients": [], "pixels": []}}},
        {"facts": manifest["facts"] | {"classes": ["a", "b"]}},
        {"format": "other"},
        {"version": 2},
        {"files": {}},
    ):
        (path / network.MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(StorageError):
            network.load(path)
    (path / network.MANIFEST).write_text(json.dumps(manifest))
    weights = path / network.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(StorageError, match="cut short"):
        network.load(path)


def test_history_counts_the_images_shown(fitted):
    shown = fitted.history["images_shown"]
    assert shown.is_monotonic_increasing
    assert shown.is_unique
