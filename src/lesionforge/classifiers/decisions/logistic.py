"""Logistic regression: paper C's "LR", paper B's "radiomics physician", and the judge of every baseline."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special
from sklearn.linear_model import LogisticRegression

from lesionforge.classifiers.contract import Arrays, FloatArray
from lesionforge.classifiers.decision import Decision, Examples, cross_entropy
from lesionforge.classifiers.search import TunedCost
from lesionforge.progress import Progress
from lesionforge.settings import Count


@dataclass(frozen=True)
class Logistic(Decision):
    """scikit-learn's, with its default L2 penalty."""

    name: Literal["logistic"] = "logistic"
    cost: TunedCost = 1.0  # scikit-learn's C: how dear errors are beside large coefficients
    iterations: Count = 10_000

    def fit(self, examples: Examples, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Learn ``coefficients`` [K, F] ([1, F] of two classes) and ``intercepts``. Nothing is drawn."""
        del seed, progress
        model = LogisticRegression(C=self.cost, max_iter=self.iterations)
        model.fit(examples.features, examples.codes, sample_weight=examples.weights)
        learnt = {"coefficients": model.coef_, "intercepts": model.intercept_}
        loss = cross_entropy(self.probability(learnt, examples.features), examples)
        return learnt, pd.DataFrame([{"images_shown": len(examples.codes), "train_loss": loss}])

    def probability(self, learnt: Arrays, features: FloatArray) -> FloatArray:
        """Softmax of the scores; of two classes, the logistic function of the one score."""
        return logistic(features @ learnt["coefficients"].T + learnt["intercepts"])


def logistic(scores: FloatArray) -> FloatArray:
    """Probabilities [N, K] from scores [N, K], or [N, 1] of two classes."""
    if scores.shape[1] == 1:
        return np.hstack([special.expit(-scores), special.expit(scores)])
    return np.asarray(special.softmax(scores, axis=1))
