"""Classifiers as further readers: can a logistic regression tell the same items, and better or worse than readers?

Wang et al. 2022 call it a radiomics physician. It learns in four folds by patient, from the pixels that readers saw;
readers' AUCs are held against its own by `compare_readers`, for other readers and other patients than these.
"""

import numpy as np
import pandas as pd

from lesionforge.data.annotation.lesion_masks import lesion_masks
from lesionforge.data.hounsfield import window_named
from lesionforge.data.patches import Patches
from lesionforge.data.plausibility import PlausibleRanges
from lesionforge.distances.texture import Texture
from lesionforge.evaluation.delong import aucs
from lesionforge.evaluation.multireader import compare_readers
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.evaluation.radiomic_set import radiomics_of
from lesionforge.evaluation.separability import FOLDS, separated
from lesionforge.progress import SILENT, Progress
from lesionforge.reader_study.readings import SEVERAL, Readings
from lesionforge.reader_study.study import Study

THIN = 4


def judge_table(known: Readings, study: Study, *, radiomics: bool = False, progress: Progress = SILENT) -> pd.DataFrame:
    """Judge the items that all readers have read.

    Returns
    -------
    pandas.DataFrame
        A row for each kind of features: ``taken_of``, ``estimate``, ``low``, ``high`` (the classifier's AUC),
        ``difference``, ``difference_low``, ``difference_high``, ``p_value`` (of the average reader's AUC minus it). No
        row where there are too few readers, or items in common.
    """
    common = np.flatnonzero(known.in_common)
    fewest = min(len(np.unique(known.patients[common][known.real[common] == side])) for side in (True, False))
    if len(known.readers) < SEVERAL or fewest < FOLDS:
        return pd.DataFrame()
    patches = _shown(known, study, common)
    features = {"texture": _texture(patches, study)}
    if radiomics:
        features["radiomics"] = _radiomics(patches, known.real[common], study, progress)
    rows = []
    for name, described in features.items():
        kept = np.isfinite(described).all(axis=1)
        of, real = common[kept], known.real[common][kept]
        score = _score(described[kept], real, known.patients[of], study.design.seed)
        own = aucs(score, real, patients=known.patients[of]).estimate()
        beside = compare_readers(score, known.ratings[:, of], real, patients=known.patients[of])
        compared = (beside.value, beside.low, beside.high, beside.p_value)
        rows.append((name, own.value, own.low, own.high, *compared, int(kept.sum())))
    columns = ["taken_of", "estimate", "low", "high", "difference", "difference_low", "difference_high", "p_value"]
    return pd.DataFrame(rows, columns=[*columns, "items"])


def _shown(known: Readings, study: Study, rows: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> Patches:
    """The items as readers saw them; of a single slice, planes."""
    items = known.items[rows]
    images = np.asarray(study.pixels[items])
    images = images[:, 0] if images.shape[1] == 1 else images
    given = [[value or 1.0 for value in study.items[item].spacing_mm] for item in items]  # unknown: 1 mm
    return Patches.of(images, patient=known.patients[rows].tolist(), spacing_mm=given, unit=study.unit)


def _texture(patches: Patches, study: Study) -> FloatArray:
    window = window_named(study.design.window, unit=study.unit)
    images = patches.images
    if images.ndim == 4 and images.shape[1] < THIN:  # too few slices for texture along them
        images = images[:, images.shape[1] // 2]
    return Texture(window.low, window.high).describe(images)


def _radiomics(
    patches: Patches, real: "np.ndarray[tuple[int], np.dtype[np.bool_]]", study: Study, progress: Progress
) -> FloatArray:
    window = window_named(study.design.window, unit=study.unit)
    brighter = PlausibleRanges.of(patches.rows(real), window).brighter
    return radiomics_of(patches, lesion_masks(patches, "measured", brighter=brighter), progress=progress)


def _score(
    features: FloatArray,
    real: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    patients: "np.ndarray[tuple[int], np.dtype[np.str_]]",
    seed: int,
) -> FloatArray:
    """How real each row looks to a judge who has not seen its patient, [N]."""
    judged = separated(features[real], patients[real], features[~real], judge="logistic", seed=seed)
    score = np.empty(len(real))
    score[np.concatenate([np.flatnonzero(real), np.flatnonzero(~real)])] = judged.probability[:, 0]
    return score
