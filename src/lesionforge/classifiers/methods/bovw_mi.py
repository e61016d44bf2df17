"""Bag of visual words, of which mutual information with the classes chooses some, with an SVM (BoVW-MI).

M. Frid-Adar et al., Neurocomputing 321 (2018), section 3.4 and table 6, after I. Diamant, E. Klang, M. Amitai, E.
Konen, J. Goldberger, H. Greenspan, "Task-driven dictionary learning based on mutual information for medical image
classification", IEEE TBME 64:1380 (2017): windows of 11×11 pixels, 10 principal components, 750 words; of these 262
(35 %) that say most about all classes (single), or for each class against the rest 23 (3 %), one small dictionary
beside the other (multi-binary).

Not printed and decided here: windows lie 4 pixels apart over the whole patch; words are k-means centres; a word's
mutual information is that between "this window is of this word" and the class of its lesion; a histogram counts the
chosen words' windows as shares of all windows.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score, pairwise_distances_argmin

from lesionforge.classifiers.contract import Arrays, Facts, FloatArray
from lesionforge.classifiers.described import DESCRIBED_AT_ONCE, DescribingClassifier
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.progress import Progress
from lesionforge.settings import Count, Odd

WORDS_LEARNT_FROM = 50_000  # windows; more make no better words

# N patches, V windows in each, W words, T tasks.


@dataclass(frozen=True)
class BoVWMI(DescribingClassifier):
    """Histograms of visual words in 2-D patches."""

    paper: ClassVar[str] = "Frid-Adar et al. 2018, table 6 (Diamant et al. 2017)"

    representation: Literal["single", "multi_binary"] = "single"
    window_px: Odd = 11
    step_px: Count = 4
    components: Count = 10
    words: Count = 750
    kept_words: Count = 262  # of the single representation
    kept_words_of_each: Count = 23  # of the multi-binary one, for each class

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are 2-D, and hold a window."""
        if len(shape) != 2 or min(shape) < self.window_px:
            raise LesionForgeError(
                f"bovw_mi takes 2-D patches of {self.window_px} pixels or more, but {'×'.join(map(str, shape))} came."
            )

    def learn(self, train: Patches, facts: Facts, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Learn the components, the words [W, components], and which to keep [T, kept]."""
        progress.say(f"learning {self.words} visual words")
        codes = facts.codes(train)
        kept = self.kept_words if self.representation == "single" else self.kept_words_of_each
        sample = self._sample(train, facts, np.random.default_rng(seed))
        if not kept <= self.words <= len(sample) or self.components > min(sample.shape):
            raise LesionForgeError(
                f"bovw_mi needs {kept} words or more to keep as many, and no more words than windows or components "
                f"than pixels in a window, but words={self.words} and components={self.components} came for "
                f"{len(sample)} windows of {self.window_px}×{self.window_px} pixels: lower words and what is kept, or "
                "step_px."
            )
        axes = PCA(self.components, random_state=seed).fit(sample)
        words = MiniBatchKMeans(self.words, random_state=seed, n_init=1, batch_size=4096).fit(axes.transform(sample))
        learnt = {"mean": axes.mean_, "axes": axes.components_, "words": words.cluster_centers_}
        by_class = np.zeros((len(facts.classes), self.words))
        for rows in np.array_split(np.arange(len(train)), -(-len(train) // DESCRIBED_AT_ONCE)):
            np.add.at(by_class, codes[rows], self._counts(train.rows(rows), facts, learnt))
        of_tasks = [by_class] if self.representation == "single" else _against_rest(by_class)
        chosen = [np.sort(np.argsort(-relevance(task), kind="stable")[:kept]) for task in of_tasks]
        return learnt | {"kept": np.array(chosen)}, pd.DataFrame()

    def describe(self, patches: Patches, facts: Facts, learnt: Arrays) -> FloatArray:
        """Share of each kept word among the windows of a patch: [N, T · kept]."""
        counts = self._counts(patches, facts, learnt)
        return np.asarray(counts[:, learnt["kept"].ravel()] / counts.sum(axis=1, keepdims=True))

    def _counts(self, patches: Patches, facts: Facts, learnt: Arrays) -> FloatArray:
        """How many windows of each patch are of each word, [N, W]."""
        windows = self._windows(patches, facts)
        count, words = len(learnt["words"]), (windows - learnt["mean"]) @ learnt["axes"].T
        nearest = pairwise_distances_argmin(words.reshape(-1, words.shape[-1]), learnt["words"])
        numbered = nearest.reshape(len(windows), -1) + count * np.arange(len(windows))[:, None]
        counts = np.bincount(numbered.ravel(), minlength=count * len(windows))
        return np.asarray(counts.reshape(-1, count), dtype=np.float64)

    def _windows(self, patches: Patches, facts: Facts) -> FloatArray:
        """All windows, [N, V, pixels]."""
        images = facts.window.to_unit_interval(patches.images).astype(np.float64)
        side, step = self.window_px, self.step_px
        views = np.lib.stride_tricks.sliding_window_view(images, (side, side), axis=(1, 2))[:, ::step, ::step]
        return views.reshape(len(images), -1, side * side)

    def _sample(self, train: Patches, facts: Facts, rng: np.random.Generator) -> FloatArray:
        """Windows of training patches drawn at random, as many as words are learnt from."""
        of_one = self._windows(train.rows([0]), facts).shape[1]
        rows = rng.permutation(len(train))[: -(-WORDS_LEARNT_FROM // of_one)]
        windows = self._windows(train.rows(rows), facts)
        return windows.reshape(-1, windows.shape[-1])


def relevance(by_class: FloatArray) -> NDArray[np.float64]:
    """Mutual information (nats) of "a window is of this word" and its class, [W], from counts [classes, W]."""
    others = by_class.sum(axis=1, keepdims=True) - by_class
    tables = np.stack([by_class, others], axis=-1)  # [classes, W, 2]
    return np.array([mutual_info_score(None, None, contingency=tables[:, word]) for word in range(by_class.shape[1])])


def _against_rest(by_class: FloatArray) -> list[FloatArray]:
    """Counts of each class and of all others, [2, W]; of two classes once, for both tasks are one."""
    tasks = [np.stack([own, by_class.sum(axis=0) - own]) for own in by_class]
    return tasks[:1] if len(tasks) == 2 else tasks
