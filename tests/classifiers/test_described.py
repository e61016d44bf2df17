"""What all methods share that describe patches by numbers, with numbers that are easily foretold."""

import json
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

from lesionforge import settings
from lesionforge.classifiers.decision import AnyDecision
from lesionforge.classifiers.decisions.calm import CALM
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.classifiers.decisions.network import Network
from lesionforge.classifiers.decisions.svm import SVM
from lesionforge.classifiers.described import DESCRIBED_AT_ONCE, DescribingClassifier
from lesionforge.classifiers.methods.haralick import Haralick
from lesionforge.errors import LesionForgeError, StorageError


@dataclass(frozen=True)
class FirstPixels(DescribingClassifier):
    """The first pixels, and a constant."""

    paper: ClassVar[str] = "none"
    decision: AnyDecision = field(default_factory=Logistic)
    hole: bool = False

    def check_shape(self, shape):
        pass

    def describe(self, patches, facts, learnt):
        pixels = patches.images.reshape(len(patches), -1)[:, :3].astype(np.float64)
        if self.hole:
            pixels[0, 1] = np.nan
        return np.hstack([pixels, np.ones((len(pixels), 1))])


@pytest.fixture(scope="module")
def patches(small_patches):
    return small_patches(patients=20)


def test_decisions_see_standardised_features(patches):
    fitted = FirstPixels().fit(patches)
    raw = patches.images.reshape(len(patches), -1)[:, :3]
    np.testing.assert_allclose(fitted.arrays["mean"], [*raw.mean(axis=0), 1])
    np.testing.assert_allclose(fitted.arrays["scale"], [*raw.std(axis=0), 1])
    standard = np.hstack([(raw - raw.mean(axis=0)) / raw.std(axis=0), np.zeros((len(raw), 1))])
    learnt = {"coefficients": fitted.arrays["decide.coefficients"], "intercepts": fitted.arrays["decide.intercepts"]}
    expected = Logistic().probability(learnt, standard)
    np.testing.assert_allclose(fitted.predict_proba(patches, already_seen=True), expected, atol=1e-9)


def test_more_patches_than_are_described_at_once_are_described_alike(small_patches):
    many = small_patches(patients=DESCRIBED_AT_ONCE + 3, per_patient=1, shape=(3, 3))
    found = FirstPixels().fit(many).features(many, already_seen=True)
    np.testing.assert_array_equal(found[:, :3], many.images.reshape(len(many), -1)[:, :3])


def test_a_feature_that_is_no_number_is_refused(patches):
    with pytest.raises(LesionForgeError, match="in 1 of 40 patches are not"):
        FirstPixels(hole=True).fit(patches)


def test_class_weights_make_a_rare_class_count_as_much(small_patches):
    some = small_patches(patients=100, per_patient=1)
    rare = some.rows((some.labels == "benign") | (np.arange(100) < 20))
    chance = {
        weighted: FirstPixels(class_weights=weighted).fit(rare).predict_proba(some, already_seen=True)[:, 1].mean()
        for weighted in (True, False)
    }
    assert chance[False] < 0.3
    assert 0.4 < chance[True] < 0.6


def test_other_patients_are_watched_with_the_training_sets_weights(small_patches, patches):
    others = small_patches(patients=6, prefix="other", seed=4)
    method = FirstPixels(decision=Network(epochs=3))
    train = patches.rows(np.arange(3, 40))
    fitted = method.fit(train, validation=others)
    probability = fitted.predict_proba(others, already_seen=True)
    codes = fitted.facts.codes(others)
    weight = (37 / (2 * np.bincount(fitted.facts.codes(train))))[codes]
    expected = np.average(-np.log(probability[np.arange(12), codes]), weights=weight)
    assert fitted.history["validation_loss"].iloc[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("decision", [SVM(), Network(epochs=2), CALM(max_iterations=2, trees=5)], ids=lambda d: d.name)
def test_another_decision_on_the_same_features_is_as_if_fitted_with_it(patches, decision):
    whole = FirstPixels(decision=decision).fit(patches, seed=3)
    again = FirstPixels().fit(patches, seed=3).with_decision(decision, patches, seed=3)
    assert again.method == whole.method
    np.testing.assert_array_equal(
        again.predict_proba(patches, already_seen=True), whole.predict_proba(patches, already_seen=True)
    )


def test_another_decision_is_not_fitted_on_other_patients(small_patches, patches):
    fitted = FirstPixels().fit(patches)
    others = small_patches(patients=4, prefix="other")
    for wrong in (others, patches.with_label("benign")):
        with pytest.raises(LesionForgeError, match="fit the whole classifier"):
            fitted.with_decision(SVM(), wrong)


def test_a_decision_is_set_by_name_and_by_its_settings():
    found = settings.with_overrides(Haralick(), ["decision=calm", "decision.distance=signed", "decision.trees=7"])
    assert found == Haralick(decision=CALM(distance="signed", trees=7))
    deeper = settings.with_overrides(found, ["decision.network.widths=8,4"])
    assert deeper.decision.network.widths == (8, 4)
    for each in (found, deeper, Haralick(decision=Logistic(cost=3.0))):
        stored = json.loads(json.dumps(settings.to_json(each)))
        assert settings.from_json(Haralick, stored) == each


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("decision=clam", "did you mean 'calm'"),
        ("decision.trees=7", "SVM has no setting 'trees'"),
        ("decision.kernel=cubic", "setting kernel does not fit"),
        ("decision=7", "setting decision does not fit"),
    ],
)
def test_a_decision_that_is_none_is_refused(override, message):
    with pytest.raises(LesionForgeError, match=message):
        settings.with_overrides(Haralick(), [override])


def test_arrays_of_something_else_are_refused(patches):
    fitted = FirstPixels().fit(patches)
    with pytest.raises(StorageError, match="fit it again"):
        replace(fitted.method).restored(fitted.facts, {"weights": np.zeros(3)})
