import dataclasses
import json

import numpy as np
import pytest

from lesionforge import registry, settings
from lesionforge.classifiers import methods, tuning
from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.methods.acgan_head import ACGANHead
from lesionforge.classifiers.methods.diameter_only import DiameterOnly
from lesionforge.classifiers.methods.haralick import Haralick
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.classifiers.search import Around, Between, searched
from lesionforge.classifiers.tuning import Search, Trial, TuningPlan, chosen, with_values
from lesionforge.errors import LeakError, LesionForgeError, StorageError, TrainingDivergedError

pytest.importorskip("optuna", reason="tuning needs the extra 'tune'")


@pytest.fixture(scope="module")
def sized(small_patches):
    """Patients whose class the diameter gives away, with exceptions."""
    patches = small_patches(patients=24)
    malignant = patches.labels == "malignant"
    noise = np.random.default_rng(1).normal(0, 3, len(patches))
    return patches.with_columns(diameter_mm=10 + 4 * malignant + noise)


@pytest.fixture
def search(sized):
    return Search(DiameterOnly(), sized, TuningPlan(trials=4, folds=2), seed=3)


@pytest.mark.parametrize("name", registry.names(methods))
def test_what_a_method_lets_be_searched_holds_its_own_settings(name):
    method = registry.class_named(methods, name, Classifier)()
    for setting in searched(method):
        assert settings.with_overrides(method, [f"{setting.name}={setting.own}"]) == method
        if isinstance(setting.mark, Around):
            assert setting.own > 0
            assert setting.mark.factor > 1
        elif isinstance(setting.mark, Between):
            assert setting.mark.low <= setting.own <= setting.mark.high
        else:
            assert setting.own in setting.choices


def test_settings_inside_settings_are_found():
    assert [each.name for each in searched(Haralick())] == ["decision.kernel", "decision.cost"]
    assert [each.name for each in searched(SmallCNN())] == ["dropout", "learning_rate"]


def test_the_first_trial_is_the_method_as_it_came_and_all_are_valid(search, tmp_path):
    trials = search.run(tmp_path / "trials.json")
    assert len(trials) == 4
    assert with_values(search.method, trials[0].values) == search.method
    costs = [trial.values["decision.cost"] for trial in trials]
    assert len(set(costs)) == 4
    assert all(0.01 <= cost <= 100 for cost in costs)
    assert all(0.5 < trial.score <= 1 for trial in trials)
    best = chosen(trials)
    assert best.score == max(trial.score for trial in trials)
    assert with_values(search.method, best.values).decision.cost == best.values["decision.cost"]


def test_a_killed_search_goes_on_to_the_same_end(search, tmp_path, stop_after, killed):
    whole = search.run(tmp_path / "whole.json")
    with pytest.raises(killed):
        search.run(tmp_path / "killed.json", progress=stop_after(2))
    assert len(json.loads((tmp_path / "killed.json").read_text())["trials"]) == 2
    assert search.run(tmp_path / "killed.json") == whole
    assert dataclasses.replace(search, seed=4).run(tmp_path / "other.json")[1:] != whole[1:]


def test_another_search_is_not_continued(search, tmp_path):
    search.run(tmp_path / "trials.json")
    for other in (
        dataclasses.replace(search, seed=9),
        dataclasses.replace(search, method=DiameterOnly(class_weights=False)),
        dataclasses.replace(search, train=search.train.rows(range(40))),
    ):
        with pytest.raises(StorageError, match="another folder"):
            other.run(tmp_path / "trials.json")
    longer = dataclasses.replace(search, plan=TuningPlan(trials=5, folds=2))
    assert longer.run(tmp_path / "trials.json")[:4] == search.run(tmp_path / "trials.json")


def test_an_error_is_made_small(search, tmp_path):
    trials = dataclasses.replace(search, metric="brier_error").run(tmp_path / "trials.json")
    assert chosen(trials, metric="brier_error").score == min(trial.score for trial in trials)


def test_no_trial_sees_who_will_be_scored(search, tmp_path, monkeypatch):
    """Inner folds split patients, and the guard refuses a search whose patients are the scored ones."""
    seen = []
    fit = DiameterOnly.fit

    def watched(self, train, **given):
        seen.append((set(train.patients), set(given["scored_on"].patients)))
        return fit(self, train, **given)

    monkeypatch.setattr(DiameterOnly, "fit", watched)
    search.run(tmp_path / "trials.json")
    assert len(seen) == 4 * 2
    assert all(not train & scored for train, scored in seen)
    leaky = dataclasses.replace(search, scored_on=search.train.rows([0, 1]))
    with pytest.raises(LeakError):
        leaky.run(tmp_path / "leaky.json")


def test_trials_that_diverge_are_kept_and_never_chosen(search, tmp_path, monkeypatch):
    def diverges(self, train, **given):
        raise TrainingDivergedError("no")

    monkeypatch.setattr(DiameterOnly, "fit", diverges)
    trials = search.run(tmp_path / "trials.json")
    assert [trial.score for trial in trials] == [None] * 4
    with pytest.raises(TrainingDivergedError, match="each of 4 trials"):
        chosen(trials)
    assert chosen([*trials, Trial({"decision.cost": 2.0}, 0.6)]).score == 0.6


def test_what_cannot_be_searched_says_so(search, tmp_path, monkeypatch):
    with pytest.raises(LesionForgeError, match="leave --tune out"):
        dataclasses.replace(search, method=ACGANHead()).run(tmp_path / "trials.json")
    monkeypatch.setattr(tuning, "check_extra", lambda extra, needed_by: (_ for _ in ()).throw(LesionForgeError(extra)))
    with pytest.raises(LesionForgeError, match="tune"):
        search.run(tmp_path / "trials.json")
