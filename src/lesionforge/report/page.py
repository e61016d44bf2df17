"""A run folder becomes one HTML file that needs nothing else: no network, no script, no other file."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from lesionforge.data.hounsfield import window_named
from lesionforge.data.patches import Patches
from lesionforge.errors import StorageError
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.roc import roc_band
from lesionforge.evaluation.scores import positive_classes
from lesionforge.evaluation.statistics import metric_title
from lesionforge.report import comparison_figures, figures
from lesionforge.report.assessed import assessed_table, read_assessed
from lesionforge.report.flow import flow_chart
from lesionforge.report.latex import write_latex
from lesionforge.report.paper_tables import PaperTable, paper_tables, shown_rows
from lesionforge.report.reading_set import reading_of
from lesionforge.report.recommendation import recommendation
from lesionforge.report.rendering import Picture, save_picture, score_text, template
from lesionforge.report.run_folder import FinishedRun
from lesionforge.storage import write_text

FEWEST_FOLDS = 6  # of all repeats, that show a spread


def write_report(run: Path | str) -> Path:
    """Write ``figures/`` and ``report.html`` into a run folder, and return the page's path.

    Raises
    ------
    StorageError
        The run is not finished, or a file in it is not what it should be.
    """
    finished = FinishedRun.read(Path(run))
    assessed = read_assessed(finished.path)
    papers = paper_tables(finished, assessed)
    try:
        page = template("page.html.j2").render(
            config=finished.config,
            config_shown={name: of for name, of in finished.config.items() if name != "published"},
            provenance={"differences": []} | finished.provenance,
            provenance_shown={name: of for name, of in finished.provenance.items() if name != "differences"},
            unmade=finished.unmade,
            patients=next(iter(finished.regimes.values())).n_patients,
            scores=_score_rows(finished.tables["scores"]),
            regimes=finished.shown,
            chosen=_chosen(finished.tables),
            comparisons=finished.tables["comparisons"].to_dict("records") if "comparisons" in finished.tables else [],
            pictures={picture.name: picture for picture in _pictures(finished)},
            plates={folder: sorted(set(patches.labels.tolist())) for folder, patches in finished.plates.items()},
            folds=[_in_reading_order(fold) for fold in finished.provenance["folds"]],
            tables=write_tables(finished, papers, assessed_table(assessed.values())),
            papers=[(paper, list(shown_rows(paper.table))) for paper in papers],
            follows=recommendation(finished.config, finished.tables),
            assessed=list(assessed.values()),
            reading=reading_of(finished.path, finished.config),
            flow=Markup(flow_chart(finished.config, finished.provenance)),  # noqa: S704 (it escapes what it is given)
        )
    except jinja2.UndefinedError as error:
        raise StorageError(
            f"config.json and provenance.json of {run} must say all that a report shows, but {error.message}: "
            "run the experiment again with this version."
        ) from error
    path = finished.path / "report.html"
    write_text(path, page)
    return path


def write_tables(run: FinishedRun, papers: Sequence[PaperTable], assessments: pd.DataFrame) -> dict[str, bool]:
    """Write the papers' and the assessments' tables, and LaTeX of what fits on paper; names, and whether it does."""
    folder, ours = run.path / "tables", {paper.name: paper.table for paper in papers}
    if len(assessments):
        ours["assessments"] = assessments
    for name, table in ours.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    every = run.tables | ours
    return {name: write_latex(folder, name, table) for name, table in every.items()}


def _pictures(run: FinishedRun) -> Iterator[Picture]:
    """Draw every figure into ``figures/``."""
    tables, folder = run.tables, run.path / "figures"
    metric = run.config["metric"]
    scores = run.of_shown("scores")
    main = scores[scores["metric"] == metric]
    named = ", ".join(f"{row.regime} {score_text(row.estimate)}" for row in main.itertuples())
    yield save_picture(
        folder / "scores.svg",
        figures.score_intervals(scores),
        f"Scores of each regime with 95 % intervals; {metric_title(metric)}: {named}.",
    )
    yield save_picture(
        folder / "roc.svg",
        figures.roc_curves(_roc_bands({name: run.regimes[name] for name in run.shown})),
        f"ROC curves of {', '.join(run.shown)}, with bands; {metric_title(metric)}: {named}.",
    )
    yield save_picture(
        folder / "confusion.svg",
        figures.confusion_matrices(run.of_shown("confusion")),
        f"Confusion matrices of {', '.join(run.shown)}; the counts are in tables/confusion.csv.",
    )
    yield from _comparison_pictures(run)
    for name, patches in run.plates.items():
        yield from _plates(folder, name, patches, window=run.config["window"], unmade=run.unmade)
    generated = tuple(sorted(set(tables["gan_training"]["label"]))) if "gan_training" in tables else ()
    fitted = set(tables["classifier_training"]["regime"])
    if "portion" in tables.get("gan_training", ()):
        of_most = tables["gan_training"]["portion"] == tables["gan_training"]["portion"].max()
        tables = tables | {"gan_training": tables["gan_training"][of_most]}
    for table, along, across, groups in (
        ("gan_training", "images_seen", "label", generated),
        ("classifier_training", "images_shown", "regime", tuple(name for name in run.shown if name in fitted)),
    ):
        if table not in tables:
            continue
        terms = ", ".join(tables[table]["term"].unique())
        yield save_picture(
            folder / f"{table}.svg",
            figures.training_curves(tables[table], along=along, across=across, groups=groups),
            f"Curves of {terms} against {along.replace('_', ' ')} for each {across}, a line for each fold.",
        )


def _comparison_pictures(run: FinishedRun) -> Iterator[Picture]:
    """Draw what the experiment asked for beyond scores: curves over amounts, spread, differences, embeddings."""
    tables, folder, metric = run.tables, run.path / "figures", run.config["metric"]
    if "curves" in tables:
        counts = {name: count for regimes in _chosen(tables).values() for name, count in regimes.items()}
        for name, metrics in (("curves", [metric, "accuracy"]), ("precision_recall", _precision_and_recall(run))):
            drawn = comparison_figures.score_curves(tables["curves"], metrics, chosen=counts)
            alt = f"{', '.join(map(metric_title, metrics))} against amounts, with 95 % intervals; tables/curves.csv."
            yield save_picture(folder / f"{name}.svg", drawn, alt)
    if "fold_scores" in tables and _folds(tables["fold_scores"]) >= FEWEST_FOLDS:
        drawn = comparison_figures.violins(tables["fold_scores"], run.of_shown("scores"), metric="accuracy")
        yield save_picture(folder / "violins.svg", drawn, "Accuracy of each fold of each repeat by regime.")
    if "effects" in tables:
        drawn = comparison_figures.effect_differences(tables["effects"])
        yield save_picture(folder / "effects.svg", drawn, "Difference of every score; tables/effects.csv.")
    if "subgroups" in tables:
        drawn = comparison_figures.subgroup_differences(tables["subgroups"], metric=metric)
        alt = f"Difference of {metric_title(metric)} by subgroup; tables/subgroups.csv."
        yield save_picture(folder / "subgroups.svg", drawn, alt)
    if "embedding" in tables:
        drawn = comparison_figures.embeddings(run.of_shown("embedding"), across="regime")
        yield save_picture(folder / "embedding.svg", drawn, "Features of test patches on a plane, by class and origin.")


def _precision_and_recall(run: FinishedRun) -> list[str]:
    """Precision and sensitivity of the first class that is scored against the rest."""
    first = next(iter(run.regimes.values()))
    name = first.classes[positive_classes(first)[0]]
    return [f"precision [{name}]", f"sensitivity [{name}]"]


def _folds(fold_scores: pd.DataFrame) -> int:
    return fold_scores.groupby(["repeat", "fold"]).ngroups


def _chosen(tables: dict[str, pd.DataFrame]) -> dict[str, dict[str, int]]:
    """By how many folds' validation patients each regime was chosen, by choice."""
    if "choices" not in tables:
        return {}
    chosen = tables["choices"][tables["choices"]["chosen"]]
    return {
        str(choice): dict(Counter(rows["regime"].tolist())) for choice, rows in chosen.groupby("choice", sort=False)
    }


def _roc_bands(regimes: dict[str, Predictions]) -> dict[str, dict[str, pd.DataFrame]]:
    first = next(iter(regimes.values()))
    return {
        first.classes[code]: {name: roc_band(each, positive=code) for name, each in regimes.items()}
        for code in positive_classes(first)
    }


def _plates(folder: Path, name: str, patches: Patches, *, window: str, unmade: str) -> Iterator[Picture]:
    """One plate of the lesions that no generator made, called ``unmade``, and one of the synthetic."""
    grey = window_named(window, unit=patches.unit).to_unit_interval(_middle_slices(patches))
    label = ", ".join(patches.classes)
    for kind, rows in ((unmade, ~patches.is_synthetic), ("synthetic", patches.is_synthetic)):
        if rows.any():
            heading = f"{kind.upper()} · {label} · {window} window"
            yield save_picture(
                folder / f"{kind}_{name}.png",
                figures.plate(grey[rows], heading=heading, synthetic=kind == "synthetic"),
                f"{kind.upper()}: {rows.sum()} {kind} patches of {label}, {window} window.",
            )


def _middle_slices(patches: Patches) -> NDArray[Any]:
    images = np.asarray(patches.images)
    return images if images.ndim == 3 else images[:, images.shape[1] // 2]


def _score_rows(scores: pd.DataFrame) -> dict[Any, dict[Any, dict[Any, float]]]:
    """By metric, then by regime: estimate, low, high."""
    return {
        metric: rows.set_index("regime")[["estimate", "low", "high"]].to_dict("index")
        for metric, rows in scores.groupby("metric", sort=False)
    }


def _in_reading_order(fold: dict[str, Any]) -> dict[str, Any]:
    """JSON sorts by name; a reader goes from training to test."""
    order = {part: place for place, part in enumerate(("repeat", "fold", "train", "validation", "test"))}
    return dict(sorted(fold.items(), key=lambda item: order.get(item[0].partition("_")[0], len(order))))
