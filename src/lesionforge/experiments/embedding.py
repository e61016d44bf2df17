"""What a fitted classifier makes of lesions that it has not learnt from, laid out on a plane (Wang 2020, Fig. 7)."""

import pandas as pd

from lesionforge.classifiers.contract import FittedClassifier
from lesionforge.data.patches import Patches
from lesionforge.evaluation.embedding import embed


def embedding_of(fitted: FittedClassifier, patches: Patches, *, seed: int) -> pd.DataFrame:
    """Lay out the features of ``patches``: columns layout, x, y, label, origin, trustworthiness, neighbours_kept.

    Samples come from generators of the same training patients, whom the classifier has seen: nothing is scored here.
    """
    found = embed(fitted.features(patches, already_seen=True), seed=seed)
    origin = pd.Series(patches.is_synthetic).map({True: "synthetic", False: "real"})
    places = pd.DataFrame(found.places, columns=["x", "y"]).assign(label=patches.labels, origin=origin)
    return places.assign(
        layout=found.layout, trustworthiness=found.trustworthiness, neighbours_kept=found.neighbours_kept
    )
