"""Figures of many regimes held against one another; one function a figure, as in `lesionforge.report.figures`."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lesionforge.evaluation.statistics import less_is_better, metric_title
from lesionforge.report.figures import BLACK, BLUE, COLOURS, DASHES, VERMILION, grid, styled

MARKERS = ("o", "s", "^", "D", "v")
FORMS = (("o", "P"), ("s", "X"), ("^", "v"), ("D", "d"), ("p", "h"), ("*", "8"), ("<", ">"))  # of real, of synthetic
APART = 0.012  # of an axis's width between the intervals of two lines at one amount


@styled
def score_curves(curves: pd.DataFrame, metrics: Sequence[str], *, chosen: Mapping[str, int] | None = None) -> Figure:
    """Scores against amounts with 95 % intervals: a row of panels for each metric, a column for what grows.

    ``chosen`` says by how many folds' validation patients a regime was chosen; it is written over its place.
    """
    grown = list(curves["along"].unique())
    figure, panels = grid(len(metrics), len(grown), height=0.6 + 2.2 * len(metrics), widest=4.2)
    for row, metric in zip(panels, metrics, strict=True):
        low, high = np.inf, -np.inf
        for axes, along in zip(row, grown, strict=True):
            here = curves[(curves["along"] == along) & (curves["metric"] == metric)]
            _lines(axes, here, chosen or {})
            known = here[np.isfinite(here["estimate"])]  # a precision is not defined where nothing was called so
            low, high = min([low, *known["low"]]), max([high, *known["high"]])
            axes.set_xlabel(along)
            axes.grid(axis="y", color="0.92", linewidth=0.6)
        low, high = (low, high) if low <= high else (0, 1)
        margin = 0.06 * max(high - low, 0.02)
        for axes in row:
            axes.set_ylim(low - margin, high + 2.5 * margin)  # room for what is written above
        row[0].set_ylabel(metric_title(metric))
    for axes in panels[0]:
        axes.legend(fontsize=8)
    return figure


def _lines(axes: Axes, curves: pd.DataFrame, chosen: Mapping[str, int]) -> None:
    names = list(curves["line"].unique())
    width = max(float(np.ptp(curves["amount"])), 1.0)
    styles = zip(names, cycle(COLOURS), cycle(DASHES), cycle(MARKERS), strict=False)
    for number, (name, colour, dash, marker) in enumerate(styles):
        line = curves[curves["line"] == name].sort_values("amount")
        place = line["amount"] + (number - (len(names) - 1) / 2) * APART * width
        axes.vlines(place, line["low"], line["high"], color=colour, linewidth=1)
        axes.plot(place, line["estimate"], color=colour, linestyle=dash, marker=marker, markersize=4.5, label=name)
        for row, x in zip(line.to_dict("records"), place, strict=True):
            if count := chosen.get(row["regime"]):
                axes.annotate(f"{count}×", (x, row["high"]), (0, 3), textcoords="offset points", ha="center", size=8)
    axes.set_xticks(sorted(set(curves["amount"])) if curves["amount"].nunique() <= 6 else axes.get_xticks())
    axes.xaxis.set_major_formatter("{x:.4g}")
    axes.set_xlim(curves["amount"].min() - 0.06 * width, curves["amount"].max() + 0.06 * width)


@styled
def violins(folds: pd.DataFrame, scores: pd.DataFrame, *, metric: str) -> Figure:
    """A score of every fold of every repeat by regime, with the estimate over all patients and its 95 % interval."""
    regimes = list(scores["regime"].unique())
    figure, panels = grid(1, 1, height=3.2, widest=0.8 + 1.1 * len(regimes))
    axes: Axes = panels[0, 0]
    scatter = np.random.default_rng(0)
    for place, regime in enumerate(regimes):
        values = folds[(folds["regime"] == regime) & (folds["metric"] == metric)]["value"].dropna().to_numpy()
        if np.ptp(values) > 0:
            drawn: Any = axes.violinplot(values, [place], widths=0.85, showextrema=False)
            drawn["bodies"][0].set(facecolor="0.88", edgecolor="0.45", alpha=1, linewidth=0.8)
        shown = place + scatter.uniform(-0.1, 0.1, len(values))
        axes.plot(shown, values, "o", color="0.35", markersize=2.5, markeredgewidth=0, alpha=0.7)
        row = scores[(scores["regime"] == regime) & (scores["metric"] == metric)].iloc[0]
        axes.plot([place + 0.27] * 2, [row["low"], row["high"]], color=VERMILION, linewidth=1.8)
        axes.plot(place + 0.27, row["estimate"], "D", color=VERMILION, markersize=4.5)
    axes.set(ylabel=metric_title(metric), xticks=range(len(regimes)), xlim=(-0.6, len(regimes) - 0.4))
    axes.set_xticklabels(regimes)
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    axes.tick_params(axis="x", length=0)
    handles = [
        Line2D([], [], color="0.35", marker="o", markersize=2.5, linestyle="", label="a fold of a repeat"),
        Line2D([], [], color=VERMILION, marker="D", markersize=4.5, label="all patients, 95 % interval"),
    ]
    axes.legend(handles=handles, fontsize=8, loc="lower right")
    return figure


@styled
def differences(table: pd.DataFrame, *, names: Sequence[str], errors: Sequence[bool]) -> Figure:
    """Differences with their intervals, a row each under ``names``; right of 0 is better, ``errors`` turned about."""
    figure, panels = grid(1, 1, height=0.8 + 0.23 * len(table))
    axes: Axes = panels[0, 0]
    axes.axvline(0, color="0.55", linewidth=0.8)
    for place, (row, is_error) in enumerate(zip(table.to_dict("records"), errors, strict=True)):
        difference, low, high = (-row[key] if is_error else row[key] for key in ("difference", "low", "high"))
        if not np.isfinite([difference, low, high]).all():
            axes.annotate("too few patients", (0, place), (4, 0), textcoords="offset points", va="center", size=7.5)
            continue
        leaves_out = min(low, high) > 0 or max(low, high) < 0
        colour = (BLUE if difference > 0 else VERMILION) if leaves_out else BLACK
        axes.plot([low, high], [place, place], color=colour)
        axes.plot(difference, place, "s" if leaves_out else "o", color=colour, markersize=4.5)
    axes.set(yticks=range(len(table)), ylim=(len(table) - 0.5, -0.5), xlabel="difference (right: better)")
    axes.set_yticklabels(names)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92", linewidth=0.6)
    axes.spines["left"].set_visible(False)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -1.02), min(high, 1.02))  # no score can differ by more, whatever few repeats leave open
    axes.xaxis.set_major_locator(MaxNLocator(6, symmetric=True))
    return figure


def effect_differences(effects: pd.DataFrame) -> Figure:
    """Difference of every score, those of single classes among them."""
    metrics = effects["metric"].tolist()
    return differences(effects, names=list(map(metric_title, metrics)), errors=list(map(less_is_better, metrics)))


def subgroup_differences(subgroups: pd.DataFrame, *, metric: str) -> Figure:
    """Difference of one score in every part of every subgroup."""
    names = [
        f"{str(row['subgroup']).replace('_', ' ')}: {row['part']} ({row['patients']} patients)"
        for row in subgroups.to_dict("records")
    ]
    return differences(subgroups, names=names, errors=[less_is_better(metric)] * len(subgroups))


@styled
def embeddings(table: pd.DataFrame, *, across: str) -> Figure:
    """Feature vectors on planes, a panel for each of ``across`` and layout.

    Form is the origin, colour the class if there are several.
    """
    groups = list(table.groupby([across, "layout"], sort=False))
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, panels = grid(rows, columns, height=3.1 * rows + 0.4, widest=3.6)
    classes = sorted(table["label"].unique())
    styles = {
        (label, origin): {
            "color": VERMILION if len(classes) == 1 and origin == "synthetic" else colour,
            "marker": marker,
        }
        | ({"facecolors": "none"} if origin == "synthetic" else {})
        for label, colour, markers in zip(classes, cycle(COLOURS), cycle(FORMS), strict=False)
        for origin, marker in zip(("real", "synthetic"), markers, strict=True)
    }
    for axes in panels.ravel():
        axes.set_axis_off()
    for axes, ((group, layout), here) in zip(panels.ravel(), groups, strict=False):
        for (label, origin), style in styles.items():
            of = here[(here["label"] == label) & (here["origin"] == origin)]
            if len(of):
                axes.scatter(of["x"], of["y"], s=14, linewidths=0.8, label=f"{label}, {origin}", **style)
        trust, kept = here.iloc[0][["trustworthiness", "neighbours_kept"]]
        axes.set_title(f"{group}\n{layout}, trust {trust:.2f}, kept {kept:.2f}", fontsize=8)
    handles = {
        text: handle for axes in panels.ravel() for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = sorted(handles)
    figure.legend(
        [handles[text] for text in labels], labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8
    )
    return figure
