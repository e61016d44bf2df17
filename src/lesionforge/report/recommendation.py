"""What to do after an experiment, in sentences that its tables support: what to use, how much, what to expect.

Nothing here is read off the best of several test scores. What is recommended is what validation patients chose, and the
verdict of a comparison that was planned; what to expect is the score, on test patients, of following the validation
patients. Where a comparison cannot tell, it says what it could have seen, and how many patients would be needed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.evaluation.power import POWER, patients_needed, smallest_gain
from lesionforge.evaluation.statistics import Comparison, less_is_better, metric_title, signed

RECOMMENDED = "recommended"  # the choice among all regimes
GAINS = (0.02, 0.05)  # that might be worth the work
Tables = Mapping[str, pd.DataFrame]


def recommendation(config: Mapping[str, Any], tables: Tables) -> list[str]:
    """Return what follows, sentence by sentence; nothing if no regime adds synthetic patches."""
    synthetic = synthetic_names(config)
    if not synthetic or "comparisons" not in tables:
        return []
    planned = tables["comparisons"]
    held = planned[planned["regime"].isin(synthetic) & ~planned["against"].isin(synthetic)]
    return [*_what_to_use(config, tables), *(_of_pair(row) for row in held.to_dict("records"))]


def synthetic_names(config: Mapping[str, Any]) -> set[str]:
    """Names of the regimes with synthetic patches, and of the choices among nothing but such."""
    regimes = {each["name"] for each in config.get("regimes", ()) if each["synthetic_per_class"] or each["given"]}
    return regimes | {each["name"] for each in config.get("choices", ()) if set(each["among"]) <= regimes}


def _what_to_use(config: Mapping[str, Any], tables: Tables) -> list[str]:
    """What most folds' validation patients chose of all regimes, and the score of following them."""
    choices = tables.get("choices")
    if choices is None or RECOMMENDED not in set(choices["choice"]):
        return []
    of_all = choices[choices["choice"] == RECOMMENDED]
    counted = Counter(of_all[of_all["chosen"]]["regime"].tolist())
    order = list(dict.fromkeys(of_all["regime"]))  # the simplest first
    chosen, folds = min(counted.items(), key=lambda item: (-item[1], order.index(item[0])))
    metric = config["metric"]
    scores = tables["scores"]
    rows = scores[(scores["regime"] == RECOMMENDED) & (scores["metric"] == metric)]
    if rows.empty:  # some of what it chose among failed
        return []
    row = rows.iloc[0]
    interval = f"{row['estimate']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    found = [
        (
            f"Use {chosen!r}{_amounts(config, chosen)}: of {len(order)} ways of training, validation patients chose it "
            f"in {folds} of {counted.total()} folds, as the simplest that is about as good as the best."
        ),
        (
            f"Expect {_article(metric)} {metric_title(metric)} of {interval} on patients like these: that is what "
            "following the validation patients gave on test patients whom no choice had met."
        ),
    ]
    if len(counted) > 1:
        others = ", ".join(f"{name!r} in {count}" for name, count in counted.most_common() if name != chosen)
        found.append(f"Folds do not agree ({others}): these patients do not settle which of them it should be.")
    return found


def _amounts(config: Mapping[str, Any], name: str) -> str:
    """How many patches that is."""
    (regime,) = (each for each in config["regimes"] if each["name"] == name)
    parts = [f"{regime['classic']} classic patches"] if regime["classic"] else []
    if regime["synthetic_per_class"]:
        parts.append(f"{regime['synthetic_per_class']} samples of each class")
    return f" ({' and '.join(parts)} a fold)" if parts else ""


def _of_pair(row: Mapping[Any, Any]) -> str:
    """What a planned comparison of synthetic against no synthetic patches says to do."""
    said = f"{row['regime']!r} against {row['against']!r}"
    change = f"{signed(row['difference'])} ({signed(row['low'])} to {signed(row['high'])})"
    title = metric_title(row["metric"])
    if row["verdict"] == "helps":
        return f"{said}: add them; {title} changed by {change}."
    if row["verdict"] == "hurts":
        return f"{said}: leave them out; {title} changed by {change}."
    return f"{said}: nothing shows that they help, so leave them out. {_power(row)}"


def _power(row: Mapping[Any, Any]) -> str:
    """What this comparison could have seen, and what more patients would see."""
    known = [field.name for field in fields(Comparison)]
    if not set(known) <= set(row) or not np.isfinite(row["patient_error"]) or row["patient_error"] == 0:
        return "How many patients would be needed cannot be said: the difference does not vary over these."
    comparison = Comparison(**{name: row[name] for name in known})
    less = "fall" if less_is_better(comparison.metric) else "gain"
    needed = "; ".join(f"{gain:g}: {_patients(patients_needed(gain, comparison))}" for gain in GAINS)
    return (
        f"With {comparison.patients} patients a {less} of {smallest_gain(comparison):.3f} would have been seen in "
        f"{100 * POWER:.0f} % of experiments like this. Patients needed to see one of {needed}."
    )


def _patients(count: float) -> str:
    return f"{count:.0f}" if np.isfinite(count) else "no number, for trainings differ by more (repeat the folds)"


def _article(metric: str) -> str:
    return "an" if metric_title(metric)[0].lower() in "aeiou" else "a"
