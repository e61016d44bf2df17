"""CALM, the clustering-augmented learning method, as a scikit-learn classifier and as a decision.

S. S. Ghosal, I. Sarkar, I. El Hallaoui, "Lung nodule classification using convolutional autoencoder and clustering
augmented learning method (CALM)", Health Search and Data Mining Workshop 2020, section 5, algorithm 2 and figure 4.
Rows are clustered; each row's cluster, one-hot, is appended to its features (eqs 1 and 2); a network learns the classes
from both; the network's input weights say which features matter, and by these the rows are clustered anew (eqs 3 and
4); and so on until no row has changed its cluster for 10 iterations.

Where the text leaves a choice, this is what is done, and why:

*Distance.* The text prints d(i, l) = Σₙ avgⱼ wⱼⁿ |xᵢⁿ − xₗⁿ|. Weights have signs, so that d can be negative and a row
nearer to another than to itself. ``distance="absolute"`` takes |w|, which makes it a distance; ``"signed"`` is as
printed. In step 1 the weights are those of the untrained network. Cluster columns take no part ("d dimensions").

*Network.* Step 2 trains "the FNN" cluster by cluster, and step 3 speaks of one W*. So there is one network, shown for
an epoch each cluster's rows in turn; a network for each cluster would make the appended columns constants.

*Centre.* The forest is trained on the features alone (the appended columns would give the answer away) with the
clusters as labels. A tree knows its own training rows by heart, so a row's error is that of the trees that did not see
it (out of bag). Several rows may share the lowest error: the one nearest to its cluster's mean (Euclidean, as in figure
4) is taken. The forest is drawn anew each time from the same seed: unchanged clusters have unchanged centres.

*Empty cluster.* A centre is at distance 0 from itself, so a cluster can empty only when centres coincide or the
distance is signed. It starts again at the row that is farthest from its own centre, as k-means does.

*Cluster of one class.* Nothing special: the network is one, and learns the other classes from other clusters.

*Stop.* ``patience`` iterations in a row without any move, or ``max_iterations`` (the text has no bound; its figures
settle near 80 of 150).

*Unseen row.* It gets the cluster of the nearest centre, by the final network's weights. So do training rows.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,  # scikit-learn's own estimators take it from here
    check_is_fitted,
    validate_data,
)

from lesionforge.classifiers.contract import Arrays, FloatArray
from lesionforge.classifiers.decision import Decision, Examples
from lesionforge.classifiers.feed_forward import FeedForward, Trainer
from lesionforge.networks import seeded
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import Count

# N rows, F features, K classes, C clusters.

Clusters = NDArray[np.int64]  # [N], the number of each row's cluster


@dataclass(frozen=True)
class CALM(Decision):
    """Published settings are the defaults; the forest's size is not printed (scikit-learn's default)."""

    name: Literal["calm"] = "calm"
    clusters: Count = 2
    distance: Literal["absolute", "signed"] = "absolute"
    patience: Count = 10
    max_iterations: Count = 150
    trees: Count = 100
    network: FeedForward = field(default_factory=FeedForward)

    def fit(self, examples: Examples, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Run algorithm 2: the network's weights and the clusters' ``centres`` [C, F]."""
        return _Algorithm(self, examples, seed).run(progress)

    def probability(self, learnt: Arrays, features: FloatArray) -> FloatArray:
        """Softmax of the network, each row with the cluster of its nearest centre."""
        clusters = self.assigned(learnt, features)
        logits = self.network.logits(_without_centres(learnt), _augmented(features, clusters, self.clusters))
        return np.asarray(special.softmax(logits, axis=1))

    def assigned(self, learnt: Arrays, features: FloatArray) -> Clusters:
        """Return each row's cluster, [N]: that of the nearest centre; of equally near ones the first."""
        return np.asarray(self.distances(features, learnt["centres"], learnt["0.weight"]).argmin(axis=1))

    def distances(self, features: FloatArray, centres: FloatArray, weights: NDArray[np.float32]) -> FloatArray:
        """d(i, l), [N, C], from the network's input weights [hidden, F + C]."""
        used = weights[:, : features.shape[1]].astype(np.float64)
        importance = (np.abs(used) if self.distance == "absolute" else used).mean(axis=0)
        return np.stack([np.abs(features - centre) @ importance for centre in centres], axis=1)


class CALMClassifier(ClassifierMixin, BaseEstimator):
    """CALM for features in an array, with scikit-learn's interface.

    Parameters
    ----------
    settings
        By default the published ones.
    random_state
        As in scikit-learn.

    Attributes
    ----------
    classes_, n_features_in_
        As in scikit-learn.
    learnt_
        The network's weights and the clusters' centres.
    history_
        A row an iteration: ``train_loss``, ``validation_loss``, ``intra_cluster_variance``, ``moved``, ….
    """

    def __init__(self, settings: CALM | None = None, *, random_state: Any = None) -> None:
        self.settings = settings
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803
        """Learn classes ``y`` [N] of rows ``X`` [N, F]."""
        features, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weights = _check_sample_weight(sample_weight, features, dtype=np.float64)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs 2 classes or more, but one class came: {self.classes_[0]!r}.")
        seed = int(check_random_state(self.random_state).randint(2**31))
        settings = self.settings or CALM()
        self.learnt_, self.history_ = _Algorithm(settings, Examples(features, codes, weights), seed).run(SILENT)
        return self

    def predict_proba(self, X: ArrayLike) -> FloatArray:  # noqa: N803
        """Probability of each class, [N, K]."""
        check_is_fitted(self)
        features: FloatArray = validate_data(self, X, dtype=np.float64, reset=False)
        return (self.settings or CALM()).probability(self.learnt_, features)

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the most probable class of each row, [N]."""
        probability = self.predict_proba(X)
        return np.asarray(self.classes_[probability.argmax(axis=1)])


class _Algorithm:
    """Algorithm 2 at work on one set of rows."""

    def __init__(self, settings: CALM, examples: Examples, seed: int) -> None:
        if len(examples.codes) < settings.clusters:
            raise ValueError(f"{settings.clusters} clusters need as many rows, but n_samples={len(examples.codes)}.")
        self.settings, self.examples, self.seed = settings, examples, seed
        self.rng = np.random.default_rng(seed)

    def run(self, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        settings, features = self.settings, self.examples.features
        rows: list[dict[str, float]] = []
        still = 0
        with (
            seeded("calm", self.seed),
            progress.work("fitting calm", settings.max_iterations, unit="rounds") as advance,
        ):
            outputs = int(self.examples.codes.max()) + 1
            trainer = Trainer(settings.network, features.shape[1] + settings.clusters, outputs)
            # Step 1
            centres = self.rng.choice(len(features), settings.clusters, replace=False)
            distances = self._distances(trainer, centres)
            clusters = distances.argmin(axis=1)
            for _ in range(settings.max_iterations):
                self._train(trainer, clusters)  # step 2
                if still == 0:
                    centres = self._centres(clusters, distances)
                distances = self._distances(trainer, centres)  # step 3
                before, clusters = clusters, distances.argmin(axis=1)
                moved = int((clusters != before).sum())
                still = 0 if moved else still + 1
                rows.append(self._row(trainer, features[centres], clusters, moved, len(rows) + 1))
                advance(1, moved=moved, loss=rows[-1]["train_loss"])
                if still >= settings.patience:
                    break
        return {"centres": features[centres], **trainer.weights}, pd.DataFrame(rows)

    def _distances(self, trainer: Trainer, centres: Clusters) -> FloatArray:
        features = self.examples.features
        return self.settings.distances(features, features[centres], trainer.weights["0.weight"])

    def _train(self, trainer: Trainer, clusters: Clusters) -> None:
        inputs, targets, weights = self._tensors(self.examples, clusters)
        for cluster in range(self.settings.clusters):
            members = torch.from_numpy(np.flatnonzero(clusters == cluster))
            if len(members):
                trainer.epoch(inputs[members], targets[members], weights[members], self.rng)

    def _centres(self, clusters: Clusters, distances: FloatArray) -> Clusters:
        """Return the row that stands for each cluster, [C]; ``distances`` are those that made the clusters."""
        features, certainty = self.examples.features, self._certainty(clusters)
        to_own_centre = distances[np.arange(len(clusters)), clusters]
        centres = []
        for cluster in range(self.settings.clusters):
            members = np.flatnonzero(clusters == cluster)
            if len(members) == 0:
                farthest = int(to_own_centre.argmax())
                to_own_centre[farthest] = -np.inf  # the next empty cluster takes another
                centres.append(farthest)
                continue
            best = members[certainty[members] == certainty[members].max()]
            to_mean = ((features[best] - features[members].mean(axis=0)) ** 2).sum(axis=1)
            centres.append(int(best[to_mean.argmin()]))
        return np.array(centres)

    def _certainty(self, clusters: Clusters) -> FloatArray:
        """Share of the forest's trees that name a row's own cluster without having seen the row, [N]."""
        held = np.unique(clusters)
        if len(held) == 1:
            return np.ones(len(clusters))  # with one cluster there is nothing to mistake
        forest = RandomForestClassifier(self.settings.trees, oob_score=True, random_state=self.seed)
        with warnings.catch_warnings():  # of rows that every tree has seen: they count as mistaken
            warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
            forest.fit(self.examples.features, clusters)
        return np.asarray(forest.oob_decision_function_[np.arange(len(clusters)), np.searchsorted(held, clusters)])

    def _row(
        self, trainer: Trainer, centres: FloatArray, clusters: Clusters, moved: int, iteration: int
    ) -> dict[str, float]:
        features, count = self.examples.features, self.settings.clusters
        spread = sum(
            ((features[clusters == cluster] - features[clusters == cluster].mean(axis=0)) ** 2).sum()
            for cluster in np.unique(clusters)
        )
        row = {
            "images_shown": iteration * len(features),
            "train_loss": trainer.loss(*self._tensors(self.examples, clusters)),
            "intra_cluster_variance": float(spread) / len(features),
            "moved": moved,
            "smallest_cluster": int(np.bincount(clusters, minlength=count).min()),
        }
        if (validation := self.examples.validation) is not None:
            learnt: Arrays = {"centres": centres, **trainer.weights}
            assigned = self.settings.assigned(learnt, validation.features)
            row["validation_loss"] = trainer.loss(*self._tensors(validation, assigned))
        return row

    def _tensors(self, examples: Examples, clusters: Clusters) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        inputs = torch.from_numpy(_augmented(examples.features, clusters, self.settings.clusters)).float()
        return inputs, torch.from_numpy(examples.codes), torch.from_numpy(examples.weights).float()


def _augmented(features: FloatArray, clusters: Clusters, count: int) -> FloatArray:
    """Features with the cluster appended, one-hot, [N, F + C]."""
    return np.hstack([features, np.eye(count)[clusters]])


def _without_centres(learnt: Arrays) -> Arrays:
    return {name: array for name, array in learnt.items() if name != "centres"}
