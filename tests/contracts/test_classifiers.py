"""What every classifier must do; a new file in `classifiers/methods` is tested by existing."""

import contextlib
import dataclasses
import json
from functools import partial

import numpy as np
import pytest
import torch

from lesionforge import environment, registry, settings
from lesionforge.classifiers import contract, methods, saved
from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.described import DescribingClassifier
from lesionforge.classifiers.model import Model
from lesionforge.classifiers.network import FittedNetwork, NetworkClassifier
from lesionforge.classifiers.onnx_file import write_onnx
from lesionforge.classifiers.saliency import saliency
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LeakError, LesionForgeError, StorageError, TrainingDivergedError
from lesionforge.storage import read_json

# Whatever of these a method has as fields is made small or quick.
QUICK = {
    "batch_size": 16,
    "max_images": 1500,
    "epochs": 100,
    "check_every_images": 500,
    "learning_rate": 3e-3,
    # networks
    "pretrained": "none",
    "backbone": "mobilenet",
    "network": "resnet18",
    "width": 8,
    "blocks": (1, 1),
    "growth": 4,
    "first_channels": 8,
    "generator_width": 16,
    "discriminator_width": 8,
    # features and decisions
    "passes": 3,
    "words": 24,
    "kept_words": 12,
    "kept_words_of_each": 8,
    "max_iterations": 15,
    "trees": 20,
    "units": 32,
}
OTHER_LENGTHS = {"lesion_cnn": 2500, "acgan_head": 900, "transfer": 1000}  # images that these learn from
SHAPES = [(16, 16), (32, 32), (8, 12, 12)]  # a method is tested on the first that it takes

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.parametrize("name", registry.names(methods), scope="module"),
]


def make_lesions(
    patients: int,
    *,
    prefix: str,
    seed: int,
    shape: tuple[int, ...],
    classes: tuple[str, ...] = ("ground-glass", "solid"),
) -> Patches:
    """Balls in noisy lung, denser from class to class: easily told apart."""
    rng = np.random.default_rng(seed)
    kind = np.arange(patients * 2) // 2 % len(classes)
    each = (-1, *[1] * len(shape))
    centre = np.reshape(shape, each) // 2
    radius = rng.uniform(3, 6, len(kind)).reshape(each)
    disc = np.linalg.norm(np.indices(shape) - centre, axis=0) < radius
    images = rng.normal(-850, 40, (len(kind), *shape)) + disc * (300 + 500 * kind.reshape(each))
    return Patches.of(
        images.round().astype(np.int16),
        patient=[f"{prefix}-{k // 2}" for k in range(len(kind))],
        label=[classes[k] for k in kind],
        spacing_mm=0.7,
        masks=disc.astype(np.uint8),
        diameter_mm=6 + 5 * kind + rng.uniform(-1, 1, len(kind)),
    )


def quick(settings_of):
    """With what `QUICK` says, here and in settings inside these."""
    changed = {}
    for field in dataclasses.fields(settings_of):
        value = getattr(settings_of, field.name)
        if field.name in QUICK or dataclasses.is_dataclass(value):
            changed[field.name] = quick(value) if dataclasses.is_dataclass(value) else QUICK[field.name]
    return dataclasses.replace(settings_of, **changed)


@pytest.fixture(scope="module")
def classifier(name):
    kind = registry.class_named(methods, name, Classifier)
    try:
        kind.check_installed()
    except LesionForgeError as missing:
        pytest.skip(str(missing))
    made = quick(kind())
    return dataclasses.replace(made, max_images=OTHER_LENGTHS[name]) if name in OTHER_LENGTHS else made


@pytest.fixture(scope="module")
def brief(classifier):
    """As `classifier`, for tests that need not learn much."""
    fields = {field.name for field in dataclasses.fields(classifier)}
    return dataclasses.replace(classifier, max_images=64) if "max_images" in fields else classifier


@pytest.fixture(scope="module")
def lesions(classifier):
    """Makes sets of a shape that the classifier takes: `make_lesions`."""
    for shape in SHAPES:
        with contextlib.suppress(LesionForgeError):
            classifier.check_shape(shape)
            return partial(make_lesions, shape=shape)
    pytest.fail(f"takes none of {SHAPES}")


@pytest.fixture(scope="module")
def train(lesions):
    return lesions(20, prefix="train", seed=0)


@pytest.fixture(scope="module")
def test(lesions):
    return lesions(20, prefix="test", seed=1)


@pytest.fixture(scope="module")
def fitted(classifier, lesions):
    return classifier.fit(lesions(40, prefix="train", seed=0), seed=1)


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


def test_it_learns_three_classes(classifier, lesions):
    classes = ("cyst", "ground-glass", "solid")
    fitted = classifier.fit(lesions(48, prefix="train", seed=0, classes=classes))
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
    if isinstance(brief, NetworkClassifier):  # others may draw nothing
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
    made = Patches.of(
        np.flip(seen.images, 1),
        patient=["gan"] * len(seen),
        label=seen.labels,
        spacing_mm=0.7,
        masks=np.flip(seen.masks, 1),
        diameter_mm=seen.table["diameter_mm"],
    )
    table = made.table.assign(origin="gan")
    return Patches(made.images, table, masks=made.masks, generators={"gan": seen.exposure})


def test_synthetic_patches_carry_their_generators_patients_into_training(brief, train, test):
    mixed = concatenate([train, synthetic(test)])
    with pytest.raises(LeakError):
        brief.fit(mixed, scored_on=test)
    with pytest.raises(LeakError):
        brief.fit(mixed).predict_proba(test)
    with pytest.raises(LeakError):
        brief.fit(mixed, validation=test)


def test_it_does_not_predict_patients_it_has_seen_unless_nothing_is_scored(brief, train, test, lesions):
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
    eight_bit = Patches.of(np.zeros((2, *train.shape)), patient=["x", "y"], label=["solid", "ground-glass"], unit="u8")
    for other in (test.centre_crop(8), eight_bit):
        with pytest.raises(LesionForgeError, match="takes patches of"):
            fitted.predict_proba(other)
        with pytest.raises(LesionForgeError, match="one size and unit"):
            brief.fit(train, validation=other)
    with pytest.raises(LesionForgeError, match="window must be one of"):
        brief.fit(eight_bit)


def test_features_that_are_not_finite_are_refused(brief, train, test, monkeypatch):
    if not isinstance(brief, DescribingClassifier):
        pytest.skip("decides from pixels, which patches keep finite")
    fitted, describe = brief.fit(train), type(brief).describe

    def describe_badly(self, patches, *given):
        features = describe(self, patches, *given).astype(np.float64)
        features[0, -1] = np.nan
        return features

    monkeypatch.setattr(type(brief), "describe", describe_badly)
    for asked in (partial(brief.fit, train), partial(fitted.predict_proba, test), partial(fitted.features, test)):
        with pytest.raises(LesionForgeError, match=f"must be finite, but those that .* 1 of {len(test)} patches"):
            asked()


@pytest.mark.parametrize("steps", [1, 4])
def test_training_that_diverges_says_so_and_never_leaves_a_classifier_of_nan(brief, train, test, steps):
    known = {field.name for field in dataclasses.fields(brief)}
    if "learning_rate" not in known:
        pytest.skip("has no learning rate")
    shown = {"batch_size": len(train), "max_images": steps * len(train), "passes": steps}
    hasty = {name: value for name, value in shown.items() if name in known} | {"learning_rate": 1e30}
    with contextlib.suppress(TrainingDivergedError):
        fitted = dataclasses.replace(brief, **hasty).fit(train)
        assert np.isfinite(fitted.predict_proba(test)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (2, 2)], ids=str)
def test_patches_that_are_too_small_are_refused_by_their_size_or_not_looked_at(brief, shape):
    few = Patches.of(np.zeros((2, *shape)), patient=["x", "y"], label=["a", "b"], diameter_mm=[4, 9])
    with contextlib.suppress(LesionForgeError):
        brief.check_shape(shape)
        other = brief.fit(few).predict_proba(few.with_images(np.ones_like(few.images)), already_seen=True)
        np.testing.assert_array_equal(other, brief.fit(few).predict_proba(few, already_seen=True))
        return
    for refuses in (partial(brief.check_shape, shape), partial(brief.fit, few)):
        with pytest.raises(LesionForgeError, match="×".join(map(str, shape))):
            refuses()


def test_saved_and_loaded_it_predicts_the_same_and_remembers_its_patients(fitted, train, test, tmp_path):
    path = fitted.save(tmp_path / "saved")
    again = saved.load(path)
    np.testing.assert_array_equal(again.predict_proba(test), fitted.predict_proba(test))
    np.testing.assert_array_equal(again.features(test), fitted.features(test))
    assert again.facts == fitted.facts
    assert again.method == fitted.method
    assert again.parameters == fitted.parameters
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
    manifest = read_json(path / contract.MANIFEST, of="a classifier")
    for change in (
        {"facts": manifest["facts"] | {"exposure": {"patients": [], "pixels": []}}},
        {"facts": manifest["facts"] | {"classes": ["a", "b"]}},
        {"format": "other"},
        {"version": contract.VERSION + 1},
        {"files": {}},
    ):
        (path / contract.MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(StorageError):
            saved.load(path)
    (path / contract.MANIFEST).write_text(json.dumps(manifest))
    weights = path / contract.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(StorageError, match="cut short"):
        saved.load(path)


def test_features_are_of_a_row_alone_and_do_not_leak(fitted, train, test):
    features = fitted.features(test)
    assert features.dtype == np.float64
    assert features.shape[0] == len(test)
    assert np.isfinite(features).all()
    assert features.std(axis=0).max() > 0
    np.testing.assert_allclose(fitted.features(test.rows([7, 3])), features[[7, 3]], rtol=1e-4, atol=1e-5)
    assert fitted.features(test.rows([])).shape == (0, features.shape[1])
    with pytest.raises(LeakError):
        fitted.features(train)
    assert fitted.features(train, already_seen=True).shape == (len(train), features.shape[1])


def test_pixels_of_another_size_are_refused(fitted, test):
    learnt = fitted.predict_proba(test)
    for fits in (0.4, 1.3, np.nan):
        same = test.with_images(test.images, test.masks, spacing_mm=fits)
        assert fitted.predict_proba(same).shape == learnt.shape
    for other in (0.3, 1.5, [0.7] * (len(test.shape) - 1) + [1.5]):
        with pytest.raises(LesionForgeError, match="resample them"):
            fitted.predict_proba(test.with_images(test.images, test.masks, spacing_mm=other))


def test_an_extra_that_is_missing_is_named(name, train, monkeypatch):
    kind = registry.class_named(methods, name, Classifier)
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda module: None)
    if kind.extra:
        with pytest.raises(LesionForgeError, match=kind.extra):
            kind().fit(train)
    else:
        kind.check_installed()


def test_history_counts_the_images_shown(fitted):
    shown = fitted.history["images_shown"]
    assert shown.is_monotonic_increasing
    assert shown.is_unique


@pytest.fixture(scope="module")
def safeguarded(brief, train, lesions):
    """Fitted with validation patients, and calibrated."""
    calibrated = dataclasses.replace(brief, calibration="temperature_and_bias")
    return calibrated.fit(train, validation=lesions(6, prefix="validation", seed=2))


def test_validation_patients_calibrate_it_and_bound_what_is_familiar(safeguarded, test, tmp_path):
    probability, strangeness = safeguarded.predict_proba(test), safeguarded.strangeness(test)
    plain = safeguarded.uncalibrated.predict_proba(test)
    np.testing.assert_allclose(safeguarded.calibration.apply(plain), probability)
    assert not np.allclose(plain, probability)
    assert np.median(strangeness) < 1
    assert (safeguarded.strangeness(test.with_images(test.images + 3000, test.masks)) > 1).all()
    again = saved.load(safeguarded.save(tmp_path / "saved"))
    np.testing.assert_array_equal(again.predict_proba(test), probability)
    np.testing.assert_array_equal(again.strangeness(test), strangeness)


def test_calibration_needs_validation_patients_of_every_class(brief, train, test):
    calibrated = dataclasses.replace(brief, calibration="temperature")
    for too_few in (None, test.with_label("solid")):
        with pytest.raises(LesionForgeError, match="validation patients of every class"):
            calibrated.fit(train, validation=too_few)


def test_a_network_is_written_as_onnx_and_shows_where_it_looks(safeguarded, test, tmp_path):
    if not isinstance(safeguarded, FittedNetwork):
        pytest.skip("is no network")
    maps = saliency([safeguarded], test.rows([0, 2]), np.array([0, 1]))
    assert maps.shape == (2, *test.shape)
    assert np.isfinite(maps).all()
    pytest.importorskip("onnxruntime", reason="ONNX files need the extra 'onnx'")
    assert write_onnx(Model([safeguarded]), tmp_path / "model.onnx").exists()  # verified as it is written
