"""Has the generator copied its training patients, and could anyone tell who they were? For a data steward to file."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data.patch_table import Array
from lesionforge.distances.kernel import Standardised
from lesionforge.distances.neighbours import halved
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.evaluation.assessments.described import texture_of
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.evaluation.estimate import Estimate
from lesionforge.evaluation.memorisation import (
    AS_THEY_ARE,
    AUGMENTED,
    LEAST_PATIENTS,
    Memory,
    Real,
    Search,
    membership,
    memory,
    nearness,
)
from lesionforge.evaluation.multiplicity import holm
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.progress import SILENT, Progress

ALPHA = 0.05
SIDE_PX = 16  # images are halved until a further time would make them smaller: structure stays, noise is averaged
PAIRS_SHOWN = 12
COLUMNS = ("distance", "distance_held_out", "ratio", "p_value", "copy")


@dataclass(frozen=True, eq=False)
class _Space:
    memory: Memory
    attack: Estimate  # membership from the samples alone


def assess_memorisation(
    sides: Sides,
    *,
    networks: dict[str, tuple[FloatArray, FloatArray]] | None = None,
    discriminator: FloatArray | None = None,
    search: Search = AUGMENTED,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Assessment:
    """Hold samples against the training patients among ``sides.real``, and against those held out.

    Samples may lie nearer to patients on whom the checkpoint was chosen, which hides copies: if there are enough
    others, these are left out.

    Parameters
    ----------
    networks
        Features that networks make of all real and all synthetic rows, by name.
    discriminator
        What the discriminator says of each real row, higher for what it takes for real: it is attacked as well.

    Raises
    ------
    LesionForgeError
        The real set lacks training patches, or has fewer than 20 held-out patients.
    """
    if discriminator is not None and discriminator.shape != (len(sides.real),):
        raise LesionForgeError(
            f"the discriminator must have a score for each of {len(sides.real)} real patches, but "
            f"{discriminator.shape} came."
        )
    kept, warnings = _without_choosers(sides)
    sides = sides.rows(kept)
    trained_on = sides.trained_on
    texture = texture_of(sides)
    scale = Standardised.by(texture.real[trained_on]) if trained_on.any() else Standardised.by(texture.real)
    vectors = {"texture": (scale(texture.real), scale(texture.synthetic))}
    vectors |= {name: (real[kept], synthetic) for name, (real, synthetic) in (networks or {}).items()}
    spaces: dict[str, _Space] = {}
    with progress.work("nearest neighbours", 1 + len(vectors), unit="spaces") as advance:
        pictures = (_small(sides, sides.real.images), _small(sides, sides.synthetic.images))
        for name, (real, synthetic) in {"pixels": pictures, **vectors}.items():
            known = Real(real, sides.patients, trained_on)
            look = search if name == "pixels" else AS_THEY_ARE
            found = memory(synthetic, known, search=look, seed=seed)
            score = nearness(synthetic, known, found.real, search=look)
            spaces[name] = _Space(found, membership(score, trained_on, sides.patients))
            advance(1)
    attacks = {f"nearest sample, {name}": space.attack for name, space in spaces.items()}
    if discriminator is not None:
        attacks["discriminator"] = membership(discriminator[kept], trained_on, sides.patients)
    sets = _sets(spaces)
    flagged = bool((sets["p_adjusted"] < ALPHA).any())
    samples = _samples(spaces)
    copies = samples["copy"].to_numpy()
    return Assessment(
        "memorisation",
        "Does the synthetic set hold copies of training patients?",
        sides.describe()
        | {"flips": search.flips, "shift_px": search.shift, "angles": list(search.angles)}
        | {"compared_at_px": list(pictures[0].shape[1:]), "seed": seed},
        _sentences(flagged, sets, samples, spaces, attacks),
        {
            "sets": sets,
            "samples": samples.assign(real_row=np.flatnonzero(kept)[samples["real_row"]]),
            "attacks": _attacks(attacks),
            "ratios": _ratios(spaces),
        },
        results={"flagged": flagged, "p_value": float(sets["p_adjusted"].min()), "copies": int(copies.sum())},
        plates={"pairs": _pairs(sides, samples)},
        warnings=(*sides.warnings, *warnings),
    )


def _without_choosers(sides: Sides) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Real rows to be used, and what must be said of those on whom a checkpoint was chosen."""
    chosen_on = ~sides.trained_on & ~sides.held_out
    if not chosen_on.any() or sides.real.patients[sides.held_out].nunique() >= LEAST_PATIENTS:
        return ~chosen_on, ()
    warning = "The checkpoint was chosen on patients who stand in for held-out ones: copies may be hidden by that."
    return np.ones(len(sides.real), dtype=bool), (warning,)


def _small(sides: Sides, images: Array) -> Array:
    """Images as the window shows them, halved until they are about 16 pixels wide."""
    small = np.asarray(images).clip(sides.window.low, sides.window.high).astype(np.float32)
    while min(small.shape[1:]) >= 2 * SIDE_PX:
        small = halved(small)
    return small


def _sets(spaces: dict[str, _Space]) -> pd.DataFrame:
    """Both tails of each space, corrected for all of them."""
    table = pd.concat([space.memory.sets.assign(space=name) for name, space in spaces.items()], ignore_index=True)
    return table.assign(p_adjusted=holm(table["p_value"]))[
        ["space", "patients_below", "samples_below", "expected", "p_value", "p_adjusted"]
    ]


def _samples(spaces: dict[str, _Space]) -> pd.DataFrame:
    """A row for each sample: its neighbour in pixels, and the measures of each space; ``copy`` in any of them."""
    first = spaces["pixels"].memory.samples
    table = pd.DataFrame({"sample": np.arange(len(first)), "real_row": first["real_row"]})
    for name, space in spaces.items():
        for column in COLUMNS:
            table[f"{column}_{name}"] = space.memory.samples[column]
    copies = table[[f"copy_{name}" for name in spaces]]
    return table.assign(
        copy=copies.any(axis=1), least_p_value=table[[f"p_value_{name}" for name in spaces]].min(axis=1)
    )


def _attacks(attacks: dict[str, Estimate]) -> pd.DataFrame:
    rows = [[name, auc.value, auc.low, auc.high, auc.p_value] for name, auc in attacks.items()]
    return pd.DataFrame(rows, columns=["attack", "auc", "low", "high", "p_value"])


def _ratios(spaces: dict[str, _Space]) -> pd.DataFrame:
    """Every ratio, of samples and of real lesions: space, of, ratio."""
    parts = []
    for name, space in spaces.items():
        real = space.memory.real
        of = np.where(real["trained_on"], "training patients", "held-out patients")
        parts.append(pd.DataFrame({"space": name, "of": of, "ratio": real["ratio"]}))
        parts.append(pd.DataFrame({"space": name, "of": "samples", "ratio": space.memory.samples["ratio"]}))
    return pd.concat(parts, ignore_index=True)


def _pairs(sides: Sides, samples: pd.DataFrame) -> Array:
    """Samples of the smallest ratio in pixels, each with the training image it is nearest to: [n, 2, *shape]."""
    nearest = samples.sort_values("ratio_pixels", kind="stable")[:PAIRS_SHOWN]
    synthetic = sides.synthetic.images[nearest["sample"].to_numpy()]
    return np.stack([synthetic, sides.real.images[nearest["real_row"].to_numpy()]], axis=1)


def _sentences(
    flagged: bool,
    sets: pd.DataFrame,
    samples: pd.DataFrame,
    spaces: dict[str, _Space],
    attacks: dict[str, Estimate],
) -> tuple[str, ...]:
    worst = sets.iloc[int(sets["p_adjusted"].argmin())]
    counted = (
        f"{worst['samples_below']:.0f} of {len(samples)} samples ({worst['space']}) come nearer to a training patient "
        f"than the {worst['patients_below']:.0f} nearest of the real patients do, {worst['expected']:.1f} expected "
        f"(p = {worst['p_adjusted']:.2g}, corrected)."
    )
    answer = "Copies were found." if flagged else "No copying was found beyond what chance brings."
    overall = "; ".join(f"{name} {_text(space.memory.overall)}" for name, space in spaces.items())
    told = "; ".join(f"{name} {_text(auc)}" for name, auc in attacks.items())
    return (
        f"{answer} {counted}",
        f"{int(samples['copy'].sum())} samples come nearer than any real patient does, in pixels or in features.",
        f"How often a sample comes nearer than a fresh patient (½: as fresh patients do): {overall}.",
        f"Guessing who was trained on (AUC, ½: by chance): {told}.",
    )


def _text(auc: Estimate) -> str:
    return f"{auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f})"
