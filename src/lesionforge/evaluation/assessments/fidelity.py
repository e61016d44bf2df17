"""How near does the synthetic set come to held-out patients? Every measure of `fidelity_table`, beside its floor."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.evaluation.assessments.described import (
    RadiomicPlan,
    pyradiomics_is_there,
    radiomics_of_sides,
    texture_of,
)
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.evaluation.fidelity import (
    Features,
    Sets,
    fidelity_table,
    kernel_table,
    measure_title,
    spectrum_table,
)
from lesionforge.evaluation.halves import HALVINGS
from lesionforge.progress import SILENT, Progress

SHOWN = 16


def assess_fidelity(
    sides: Sides,
    *,
    networks: Mapping[str, Features] | None = None,
    plan: RadiomicPlan | None = None,
    halvings: int = HALVINGS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Assessment:
    """Measure fidelity and diversity on the held-out patients of ``sides``.

    Parameters
    ----------
    networks
        Features that networks make of the rows of ``sides.only_held_out()``, by name.
    plan
        Radiomic features are taken as well where pyradiomics is installed; this is how.
    """
    sides = sides.only_held_out()
    features = {"texture": texture_of(sides)} | dict(networks or {})
    asked = sides.describe() | {"halvings": halvings, "seed": seed}
    sets = Sets(sides.real.images, sides.patients, sides.synthetic.images, sides.window)
    table = fidelity_table(sets, features, count=halvings, seed=seed, progress=progress)
    kernel = kernel_table(sets, features)
    warnings = list(sides.warnings)
    if pyradiomics_is_there():
        measured = radiomics_of_sides(sides, plan or RadiomicPlan(), progress=progress)
        asked |= {"radiomics": measured.facts}
        radiomic = {"radiomics": measured.evened}
        some = Sets(
            sides.real.images[measured.real_rows],
            sides.patients[measured.real_rows],
            sides.synthetic.images[measured.synthetic_rows],
            sides.window,
        )
        table = _with(table, fidelity_table(some, radiomic, images=False, count=halvings, seed=seed, progress=progress))
        kernel = _with(kernel, kernel_table(some, radiomic))
    else:
        warnings.append("pyradiomics is not installed: no Fréchet radiomic distance (see `lesionforge doctor`).")
    spectrum, histogram = spectrum_table(sets)
    return Assessment(
        "fidelity",
        "How near do synthetic lesions come to held-out patients?",
        asked,
        _sentences(table),
        {"fidelity": table, "kernel": kernel, "spectrum": spectrum, "histogram": histogram},
        results={"measures": len(table), "apart": int(table["apart"].sum())},
        plates={
            "real": sides.real.images[_spread(len(sides.real))],
            "synthetic": sides.synthetic.images[_spread(len(sides.synthetic))],
        },
        warnings=tuple(warnings),
    )


def _with(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, more], ignore_index=True)


def _sentences(table: pd.DataFrame) -> tuple[str, ...]:
    worse = table[table["apart"]]
    named = ", ".join(f"{measure_title(str(row.measure))} ({row.taken_of})" for row in worse.itertuples())
    if not len(worse):
        return (f"On none of {len(table)} measures are the samples told from real patients; that is not proof.",)
    return (
        f"On {len(worse)} of {len(table)} measures samples differ from real patients more than these from each other.",
        f"These are {named}.",
    )


def _spread(count: int) -> NDArray[np.intp]:
    """Rows to look at, evenly taken."""
    return np.linspace(0, count - 1, min(SHOWN, count)).round().astype(np.intp)
