"""Where do samples lie among real lesions, as a network sees them? A picture for each network and layout.

A network of each training regime shows what the regime did to its features (Wang et al. 2020, Fig. 7; Frid-Adar et al.
2018). A picture convinces more than it proves: whether the sets can be told apart is for `separability` to say.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.evaluation.assessments.described import texture_of
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.evaluation.embedding import NEIGHBOURS, check_layout, embed
from lesionforge.evaluation.fidelity import Features
from lesionforge.progress import SILENT, Progress

MOST = 500  # patches of each set: more hide one another


def assess_embedding(
    sides: Sides,
    *,
    networks: Mapping[str, Features] | None = None,
    layouts: Sequence[str] = ("t-sne",),
    seed: int = 0,
    progress: Progress = SILENT,
) -> Assessment:
    """Lay out the held-out patients of ``sides`` and the samples; ``networks`` as in `assess_fidelity`.

    Raises
    ------
    LesionForgeError
        There are too few patches, features are not finite or all alike, or a layout is unknown or not
        installed.
    """
    for layout in layouts:
        check_layout(layout)
    sides = sides.only_held_out()
    features = {"texture": texture_of(sides)} | dict(networks or {})
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.permutation(len(each))[:MOST]) for each in (sides.real, sides.synthetic)]
    about = pd.DataFrame(
        {
            "label": np.concatenate([sides.real.labels[rows[0]], sides.synthetic.labels[rows[1]]]),
            "origin": np.repeat(["real", "synthetic"], [len(of) for of in rows]),
        }
    )
    tables, kept = [], []
    with progress.work("laying out", len(features) * len(layouts), unit="pictures") as advance:
        for name, each in features.items():
            both = np.concatenate([each.real[rows[0]], each.synthetic[rows[1]]])
            for layout in layouts:
                found = embed(both, layout=layout, seed=seed)
                kept.append([name, layout, found.trustworthiness, found.neighbours_kept])
                places = about.assign(x=found.places[:, 0], y=found.places[:, 1], taken_of=name, layout=layout)
                tables.append(
                    places.assign(trustworthiness=found.trustworthiness, neighbours_kept=found.neighbours_kept)
                )
                advance(1)
    trust = pd.DataFrame(kept, columns=["taken_of", "layout", "trustworthiness", "neighbours_kept"])
    return Assessment(
        "embedding",
        "Where do synthetic lesions lie among real ones?",
        sides.describe() | {"seed": seed, "neighbours": NEIGHBOURS, "real_drawn": len(rows[0])},
        _sentences(trust, len(about)),
        {"embedding": pd.concat(tables, ignore_index=True), "trust": trust},
        results={"trustworthiness": float(trust["trustworthiness"].min())},
        warnings=sides.warnings,
    )


def _sentences(trust: pd.DataFrame, points: int) -> tuple[str, ...]:
    least = trust.iloc[int(trust["trustworthiness"].argmin())]
    named, trusted = f"{least['layout']} of {least['taken_of']}", f"{least['trustworthiness']:.2f}"
    kept = f"it kept {100 * least['neighbours_kept']:.0f} % of each patch's {NEIGHBOURS} nearest"
    return (
        f"Of {points} patches the least trustworthy picture, {named}, has {trusted} (1: all true); {kept}.",
        "A picture shows who is near to whom and proves nothing: ask for separability, which has an interval.",
    )
