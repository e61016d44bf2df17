import warnings
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments import engine
from lesionforge.experiments.ingredients import Contender
from lesionforge.experiments.provenance import Source
from lesionforge.experiments.trackers import Tracker, tracking
from lesionforge.extras import EXTRAS
from lesionforge.progress import Progress


def test_trackers_have_curves_of_every_training_and_the_scores(tiny, cohort, shared, finished_run, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    with tracking(out, tensorboard=True) as listeners:
        engine.run(
            replace(tiny, classifiers=(Contender("other", replace(tiny.classifiers[0].method, dropout=0.2)),)),
            cohort,
            out,
            how=shared,
            source=Source("cohort"),
            listeners=listeners,
        )
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    tags = set(events.Tags()["scalars"])
    scores = read_table(out / "tables" / "scores.csv").query("regime == 'raw' and metric == 'auc'")
    assert events.Scalars("scores/raw/auc")[0].value == pytest.approx(scores["estimate"].item())
    curves = read_table(out / "tables" / "classifier_training.csv").query("regime == 'raw' and fold == 0")
    for term, rows in curves.groupby("term"):
        found = events.Scalars(f"repeat0-fold0-classifier-raw/{term}")
        assert [each.step for each in found] == rows["images_shown"].tolist()
        np.testing.assert_allclose([each.value for each in found], rows["value"], rtol=1e-6)
    assert not any("secret" in tag for tag in tags)


def test_mlflow_has_them_too_and_a_continued_run_under_the_same_name(finished_run, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    warnings.simplefilter("ignore")  # about MLflow's own calls
    uri = f"sqlite:///{tmp_path / 'tracked.db'}"
    for _ in range(2):
        with tracking(finished_run[0], mlflow=uri) as (tracker,):
            tracker.written(finished_run[0] / "tables")
    client = mlflow.MlflowClient(tracking_uri=uri)
    (tracked,) = client.search_runs([client.get_experiment_by_name("lesionforge").experiment_id])
    scores = read_table(finished_run[0] / "tables" / "scores.csv").query("regime == 'raw' and metric == 'auc'")
    assert tracked.data.metrics["scores/raw/auc"] == pytest.approx(scores["estimate"].item())
    with pytest.raises(LesionForgeError, match="cannot be used"), tracking(tmp_path, mlflow="nowhere://x"):
        pass


def test_a_tracker_that_fails_is_told_once_and_the_run_goes_on(finished_run, tmp_path):
    said = []

    class Heard(Progress):
        def say(self, text):
            said.append(text)

    class Lost(Tracker):
        def track(self, numbers):
            raise ConnectionError

        def close(self):
            raise AssertionError

    tracker = Lost(Heard())
    for _ in range(2):
        tracker.written(finished_run[0] / "tables")
    assert said == ["Lost takes no more numbers (ConnectionError): the run goes on without it"]


@pytest.mark.parametrize(("option", "extra"), [({"tensorboard": True}, "tensorboard"), ({"mlflow": "x"}, "mlflow")])
def test_trackers_that_are_not_installed_are_told_before_anything_begins(tmp_path, monkeypatch, option, extra):
    monkeypatch.setitem(EXTRAS, extra, "no_such_package")
    with pytest.raises(LesionForgeError, match=rf"lesionforge\[{extra}\]"), tracking(tmp_path, **option):
        pass
