"""Classifiers that describe each patch by numbers, from which a decision then learns.

A method says which numbers (hand-crafted, or learnt without labels); standardisation, weights of classes, checks and
files are here. Any method takes any decision (`lesionforge.classifiers.decision`); its default is the published one.
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from lesionforge import registry
from lesionforge.classifiers.contract import Arrays, Classifier, Facts, FittedClassifier, FloatArray, under
from lesionforge.classifiers.decision import AnyDecision, Decision, Examples
from lesionforge.classifiers.decisions.svm import SVM
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import SILENT, Progress

DESCRIBED_AT_ONCE = 256  # bounds memory, whatever the number of patches

# N patches, F features, K classes.


@dataclass(frozen=True)
class DescribingClassifier(Classifier):
    """Base of these methods."""

    class_weights: bool = True  # weigh each class by the inverse of its share
    decision: AnyDecision = field(default_factory=SVM)

    def learn(self, train: Patches, facts: Facts, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Learn how to describe, without deciding anything: by default nothing. As `Decision.fit` returns it."""
        del train, facts, seed, progress
        return {}, pd.DataFrame()

    @abstractmethod
    def describe(self, patches: Patches, facts: Facts, learnt: Arrays) -> FloatArray:
        """Features [N, F] of patches, of each row alone, with what `learn` returned."""

    def _fit(
        self, facts: Facts, train: Patches, validation: Patches | None, seed: int, progress: Progress
    ) -> "FittedDescribing":
        learnt, learning = self.learn(train, facts, seed=seed, progress=progress)
        described = {f"describe.{name}": array for name, array in learnt.items()}
        fitted = self.decided(facts, described, train, validation, seed=seed, progress=progress)
        fitted.history = _joined(learning, fitted.history)
        return fitted

    def decided(
        self,
        facts: Facts,
        described: Arrays,
        train: Patches,
        validation: Patches | None = None,
        *,
        seed: int,
        progress: Progress,
    ) -> "FittedDescribing":
        """Learn to decide, with what was learnt for describing."""
        learnt, codes = under("describe.", described), facts.codes(train)
        raw = _described(self, train, facts, learnt, progress)
        scaler = StandardScaler().fit(raw)
        weights = compute_sample_weight("balanced", codes) if self.class_weights else np.ones(len(codes))
        watched = None
        if validation is not None:
            truth = facts.codes(validation)
            others = scaler.transform(_described(self, validation, facts, learnt, progress))
            weight_of = np.array([weights[codes == code][0] for code in range(len(facts.classes))])
            watched = Examples(others, truth, weight_of[truth])
        examples = Examples(scaler.transform(raw), codes, weights, train, watched)
        decided, deciding = self.decision.fit(examples, seed=seed, progress=progress)
        arrays = {"mean": scaler.mean_, "scale": scaler.scale_}
        arrays |= {f"decide.{name}": array for name, array in decided.items()}
        return FittedDescribing(self, facts, {**described, **arrays}, deciding)

    def restored(self, facts: Facts, arrays: Arrays) -> "FittedDescribing":
        """Take the arrays as they are."""
        if not {"mean", "scale"} <= set(arrays):
            raise StorageError(f"what was stored does not fit {registry.name_of(self)}: fit it again.")
        return FittedDescribing(self, facts, arrays, pd.DataFrame())


class FittedDescribing(FittedClassifier):
    """What describes, what standardises and what decides: arrays."""

    method: DescribingClassifier

    def __init__(self, method: DescribingClassifier, facts: Facts, arrays: Arrays, history: pd.DataFrame) -> None:
        super().__init__(method, facts, history)
        self._arrays = arrays

    def _predict_proba(self, patches: Patches) -> FloatArray:
        if len(patches) == 0:
            return np.empty((0, len(self.facts.classes)))
        standard = (self._features(patches) - self._arrays["mean"]) / self._arrays["scale"]
        return self.method.decision.probability(under("decide.", self._arrays), standard)

    def _features(self, patches: Patches) -> FloatArray:
        if len(patches) == 0:
            return np.empty((0, len(self._arrays["mean"])))
        return _described(self.method, patches, self.facts, under("describe.", self._arrays))

    def with_decision(
        self, decision: Decision, train: Patches, *, seed: int = 0, progress: Progress = SILENT
    ) -> "FittedDescribing":
        """Fit another decision on the same features: ``train`` is what this was fitted on, or a part of it.

        Raises
        ------
        LesionForgeError
            ``train`` holds what this was not fitted on, not all of its classes, or patches of another kind.
        """
        self.facts.check_fit(train)
        if train.classes != self.facts.classes or train.exposure | self.facts.exposure != self.facts.exposure:
            raise LesionForgeError(
                "another decision is fitted on what the first one was fitted on, with all its classes, but other "
                f"patients or classes came ({', '.join(train.classes)}): fit the whole classifier on them instead."
            )
        described = {name: array for name, array in self._arrays.items() if name.startswith("describe.")}
        method = replace(self.method, decision=decision)
        return method.decided(self.facts, described, train, seed=seed, progress=progress)

    @property
    def arrays(self) -> Arrays:
        """``describe.…`` and ``decide.…``, and the training features' ``mean`` and ``scale`` [F]."""
        return self._arrays

    @property
    def parameters(self) -> int:
        """Size of all arrays."""
        return sum(array.size for array in self._arrays.values())


def _described(
    method: DescribingClassifier, patches: Patches, facts: Facts, learnt: Arrays, progress: Progress = SILENT
) -> FloatArray:
    """Features of all patches [N, F], block by block."""
    blocks = np.array_split(np.arange(len(patches)), -(-len(patches) // DESCRIBED_AT_ONCE))
    found = []
    with progress.work(f"describing by {registry.name_of(method)}", len(patches), unit="patches") as advance:
        for rows in blocks:
            found.append(method.describe(patches.rows(rows), facts, learnt))
            advance(len(rows))
    features = np.concatenate(found).astype(np.float64, copy=False)
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        raise LesionForgeError(
            f"features must be finite, but those that {registry.name_of(method)} finds in {bad} of {len(features)} "
            "patches are not: look at these patches (`lesionforge inspect`) and leave them out."
        )
    return features


def _joined(learning: pd.DataFrame, deciding: pd.DataFrame) -> pd.DataFrame:
    """One history: what `learn` showed was shown before."""
    if learning.empty:
        return deciding
    shown = deciding["images_shown"] + learning["images_shown"].iloc[-1]
    return pd.concat([learning, deciding.assign(images_shown=shown)], ignore_index=True)
