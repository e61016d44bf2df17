"""Support vector machines, with probabilities that no patient's own training has flattered.

An SVM gives margins, not probabilities. Platt (1999, "Probabilistic outputs for support vector machines") fits a
logistic curve to margins of held-out rows; the rows are held out here by patient, since lesions of one patient look
alike. Of several classes each has a machine against the rest, and the logistic curve is a regression on all margins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from lesionforge.classifiers.contract import Arrays, FloatArray
from lesionforge.classifiers.decision import Decision, Examples, cross_entropy
from lesionforge.classifiers.decisions.logistic import logistic
from lesionforge.classifiers.search import AnyOf, TunedCost
from lesionforge.data.patches import Patches
from lesionforge.data.splits import stratified_kfold
from lesionforge.errors import LesionForgeError
from lesionforge.progress import Progress
from lesionforge.settings import Count

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SVM(Decision):
    """scikit-learn's, with the width of its radial kernel set to the spread of the features."""

    name: Literal["svm"] = "svm"
    kernel: Annotated[Literal["rbf", "linear"], AnyOf()] = "rbf"
    cost: TunedCost = 1.0  # C: how dear rows on the wrong side are beside a narrow margin
    calibration_folds: Count = 5  # fewer where a class has fewer patients

    def fit(self, examples: Examples, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Learn the machines, and from folds by patient the logistic curve (``curve…``).

        Raises
        ------
        LesionForgeError
            A class has fewer than two patients: nothing can be held out.
        """
        assert examples.patches is not None
        margins = np.full((len(examples.codes), _machines(examples.codes)), np.nan)
        folds = list(_by_patient(examples.patches, self.calibration_folds, seed))
        with progress.work("fitting svm", len(folds) + 1, unit="machines") as advance:
            for kept, held_out in folds:
                margins[held_out] = self.margins(self._machine(examples, kept), examples.features[held_out])
                advance(1)
            machine = self._machine(examples, np.arange(len(examples.codes)))
            advance(1)
        judged = np.concatenate([held_out for _, held_out in folds])
        curve = LogisticRegression().fit(margins[judged], examples.codes[judged], examples.weights[judged])
        learnt = dict(machine) | {"curve_coefficients": curve.coef_, "curve_intercepts": curve.intercept_}
        loss = cross_entropy(self.probability(learnt, examples.features), examples)
        return learnt, pd.DataFrame([{"images_shown": len(examples.codes), "train_loss": loss}])

    def probability(self, learnt: Arrays, features: FloatArray) -> FloatArray:
        """Logistic curve of the margins."""
        margins = self.margins(learnt, features)
        return logistic(margins @ learnt["curve_coefficients"].T + learnt["curve_intercepts"])

    def margins(self, machine: Arrays, features: FloatArray) -> FloatArray:
        """Signed distance from each machine's border, [N, K]; of two classes [N, 1]."""
        if self.kernel == "linear":
            return features @ machine["directions"].T + machine["intercepts"]
        kernel = rbf_kernel(features, machine["vectors"], gamma=float(machine["gamma"][0]))
        return np.asarray(kernel @ machine["shares"].T + machine["intercepts"])

    def _machine(self, examples: Examples, rows: Rows) -> Arrays:
        """Fit one machine, or one for each of several classes, to ``rows``."""
        features, codes = examples.features[rows], examples.codes[rows]
        gamma = 1 / max(features.shape[1] * features.var(), np.finfo(np.float64).tiny)
        count = _machines(examples.codes)
        shares, intercepts = np.zeros((count, len(rows))), np.zeros(count)
        for number in range(count):
            positive = codes == (1 if count == 1 else number)
            machine = SVC(C=self.cost, kernel=self.kernel, gamma=gamma, random_state=0)
            machine.fit(features, positive, sample_weight=examples.weights[rows])
            shares[number, machine.support_] = machine.dual_coef_[0]
            intercepts[number] = machine.intercept_[0]
        if self.kernel == "linear":
            return {"directions": shares @ features, "intercepts": intercepts}
        support = shares.any(axis=0)
        return {
            "vectors": features[support],
            "shares": shares[:, support],
            "intercepts": intercepts,
            "gamma": np.array([gamma]),
        }


def _machines(codes: Rows) -> int:
    classes = int(codes.max()) + 1
    return 1 if classes == 2 else classes


def _by_patient(patches: Patches, folds: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows to fit to and rows held out. Synthetic rows have no patient of their own and are never held out."""
    real = np.flatnonzero(~patches.is_synthetic)
    synthetic = np.flatnonzero(patches.is_synthetic)
    of_patients = patches.rows(real)
    held = {name: of_patients.patients[of_patients.labels == name].nunique() for name in patches.classes}
    rarest = min(held, key=lambda name: held[name])
    if held[rarest] < 2:
        raise LesionForgeError(
            f"an SVM's probabilities need at least 2 real patients of every class, but {rarest!r} has {held[rarest]}: "
            "gather more, leave that class out, or set decision=logistic."
        )
    for split in stratified_kfold(of_patients, folds=max(2, min(folds, held[rarest])), seed=seed):
        yield np.concatenate([real[split.train], synthetic]), real[split.test]
