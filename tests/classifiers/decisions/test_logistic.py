import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lesionforge.classifiers.decision import Examples
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.progress import SILENT


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_probabilities_equal_scikit_learns(classes):
    rng = np.random.default_rng(0)
    codes = np.arange(100) % classes
    features = rng.normal(size=(100, 4)) + np.outer(codes, np.ones(4))
    weights = rng.uniform(0.5, 1.5, 100)
    learnt, history = Logistic(cost=0.3).fit(Examples(features, codes, weights), seed=0, progress=SILENT)
    reference = LogisticRegression(C=0.3, max_iter=10_000).fit(features, codes, sample_weight=weights)
    fresh = rng.normal(size=(30, 4))
    np.testing.assert_allclose(Logistic().probability(learnt, fresh), reference.predict_proba(fresh), atol=1e-12)
    log_loss = -np.log(reference.predict_proba(features)[np.arange(100), codes])
    assert history["train_loss"].item() == pytest.approx(np.average(log_loss, weights=weights), rel=1e-9)


def test_scores_far_out_do_not_overflow():
    learnt = {"coefficients": np.array([[1e4]]), "intercepts": np.zeros(1)}
    np.testing.assert_array_equal(Logistic().probability(learnt, np.array([[-1.0], [1.0]])), [[1, 0], [0, 1]])
