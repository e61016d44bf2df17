"""Can a classifier tell samples from real lesions? The two-sample test, and the "radiomics physician".

D. Lopez-Paz, M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017: a classifier learns to tell two sets apart
and is scored on what it has not seen; if it does no better than chance, the sets are alike as far as it can see. Y.
Wang et al. 2022 do it with a logistic regression on radiomic features, in four folds, and call it a physician.

Folds are by patient: two lesions of one patient are alike, and a classifier that has seen one knows the other. The AUC
is taken within folds with its interval over patients (`lesionforge.evaluation.delong`), ½ if nothing tells the sets
apart, 1 if everything does. It speaks of these features: another classifier may see more, hence two.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import FloatArray, IntArray, Predictions

# M real lesions, N synthetic ones, F features.

Judge = Literal["logistic", "forest"]
CLASSES = ("real", "synthetic")
FOLDS = 4
TREES = 100


def separated(
    real: FloatArray,
    patients: ArrayLike,
    synthetic: FloatArray,
    *,
    sources: ArrayLike | None = None,
    judge: Judge = "logistic",
    folds: int = FOLDS,
    seed: int = 0,
) -> Predictions:
    """Predict of each row of [M, F] and [N, F], by a judge that has not seen its patient, whether it is synthetic.

    Parameters
    ----------
    patients
        [M].
    sources
        [N], what synthetic rows have in common; each its own if not given. For a floor, the other half's patients.
    judge
        ``logistic``: logistic regression on standardised features, as published; ``forest``: a random forest, which
        also sees what is in no feature alone.

    Raises
    ------
    LesionForgeError
        Features are not finite or differ in number, or a set has fewer patients than there are folds.
    """
    if judge not in get_args(Judge):
        raise LesionForgeError(f"a judge must be one of {', '.join(get_args(Judge))}, but {judge!r} came.")
    if real.shape[1:] != synthetic.shape[1:] or not (np.isfinite(real).all() and np.isfinite(synthetic).all()):
        raise LesionForgeError(
            f"both sets must have the same finite features to be told apart, but {real.shape} and {synthetic.shape} "
            "came: leave out rows with NaN or infinity."
        )
    rows, truth = np.concatenate([real, synthetic]), np.repeat([0, 1], [len(real), len(synthetic)])
    named = [f"{name}" for name in np.asarray(patients).tolist()]
    own = np.arange(len(synthetic)) if sources is None else np.asarray(sources)
    named += [f"synthetic {name}" for name in own.tolist()]
    group = np.asarray(named, dtype=str)
    if len(group) != len(rows):
        raise LesionForgeError(f"each of {len(rows)} rows needs a patient or source, but {len(group)} came.")
    fold = _folds(group, truth, folds, np.random.default_rng(seed))
    probability = np.empty(len(rows))
    for number in range(folds):
        inside = fold != number
        model = _model(judge, seed).fit(rows[inside], truth[inside])
        probability[~inside] = model.predict_proba(rows[~inside])[:, 1]
    return Predictions.of(
        CLASSES,
        labels=np.array(CLASSES)[truth],
        probability=np.column_stack([1 - probability, probability]),
        patients=group,
        fold=fold,
    )


def _model(judge: Judge, seed: int) -> Any:
    if judge == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, class_weight="balanced"))
    return RandomForestClassifier(TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed)


def _folds(group: NDArray[np.str_], truth: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """Deal the patients of each set to the folds in turn, [M + N]."""
    fold = np.empty(len(group), dtype=np.int64)
    for code, name in enumerate(CLASSES):
        names, number = np.unique(group[truth == code], return_inverse=True)
        if folds < 2 or len(names) < folds:
            raise LesionForgeError(
                f"telling sets apart in {folds} folds needs two folds and that many patients or more of each set, but "
                f"the {name} one has {len(names)}."
            )
        fold[truth == code] = (rng.permutation(len(names)) % folds)[number]
    return fold
