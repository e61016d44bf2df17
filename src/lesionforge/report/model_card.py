"""The model card: what a model was made of, how good it is, what it is for and what not, as Markdown.

After M. Mitchell et al., "Model cards for model reporting", FAT* 2019. Everything in it is read from a finished run;
patients are counted, never named.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from lesionforge.evaluation.statistics import metric_title
from lesionforge.evaluation.tables import read_table
from lesionforge.report.run_folder import FinishedRun


def model_card(run: Path, *, regime: str, summary: Mapping[str, Any]) -> str:
    """Write the card of the model that a run left under ``regime``.

    Parameters
    ----------
    summary
        What the model says of itself: classes, shape, unit, spacing_mm, members, calibrated, refuses.

    Raises
    ------
    StorageError
        The run is not finished, or a file in it is not what it should be.
    """
    finished = FinishedRun.read(run)
    config = finished.config
    (described,) = (each for each in config["regimes"] if each["name"] == regime)
    settings = _classifier(config["classifiers"], described["classifier"])
    strangeness = _of(read_table(run / "tables" / "strangeness.csv"), regime)["strangeness"]
    return _template().render(
        method=settings.pop("method"),
        settings=json.dumps(settings, indent=1),
        summary=summary,
        provenance=finished.provenance,
        data=finished.provenance["data"],
        regime=described,
        training=_training(described),
        folds=config["folds"],
        scores=_of(finished.tables["scores"], regime).to_dict("records"),
        calibration=str(settings["calibration"]).replace("_", " "),
        calibrated=_calibrated(run, regime),
        refused=float((strangeness > 1).mean()),
        tuned=config["tuning"]["trials"],
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(  # noqa: S701 (Markdown, not HTML)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=jinja2.PackageLoader("lesionforge", "report"),
    )
    environment.filters["title"] = metric_title
    return environment.get_template("model_card.md.j2")


def _classifier(contenders: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the settings of the classifier of that name, or of the first where no name is said."""
    (settings,) = (dict(each["method"]) for each in contenders if each["name"] == (name or contenders[0]["name"]))
    return settings


def _training(regime: Mapping[str, Any]) -> str:
    """Say what a regime trains on; runs of earlier versions always had all real lesions."""
    parts, portion = [], regime.get("portion", 1)
    if regime.get("real", True):
        parts.append("real lesions" if portion == 1 else f"real lesions of {100 * portion:g} % of the patients")
    if regime["given"]:
        parts.append("the synthetic lesions that were given")
    if regime["classic"]:
        parts.append(f"{regime['classic']} classically augmented copies")
    if chosen := regime.get("classic_of"):
        parts.append(f"as many classically augmented copies as each fold's validation patients chose ({chosen})")
    if regime["synthetic_per_class"]:
        parts.append(f"{regime['synthetic_per_class']} synthetic lesions of each class, of generators of each fold")
    synthetic = regime["given"] or regime["synthetic_per_class"]
    return ", ".join(parts) + ("" if synthetic else "; no synthetic data")


def _calibrated(run: Path, regime: str) -> list[dict[Any, Any]]:
    """Compare before and after; nothing where nothing was calibrated."""
    path = run / "tables" / "calibration.csv"
    return _of(read_table(path), regime).to_dict("records") if path.exists() else []


def _of(table: pd.DataFrame, regime: str) -> pd.DataFrame:
    return table[table["regime"] == regime]
