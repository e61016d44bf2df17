"""One function a figure: tables or arrays in, a matplotlib figure out.

Colours are those of Okabe & Ito (2008, "Color Universal Design"), which stay apart for colour-blind readers; lines
also differ in dash, so a grey print can be read. Figures are built without pyplot, whose current figure is global.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import cycle
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lesionforge.evaluation.statistics import less_is_better, metric_title

BLACK, BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = (
    "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
)  # fmt: skip
COLOURS = (BLACK, BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "text.parse_math": False,  # a class called "$5" is a name, not a formula
}
PAGE_INCHES = 8.3
PLATE_COLUMNS = 4

Panels = NDArray[np.object_]
P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the house style, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


@styled
def score_intervals(scores: pd.DataFrame) -> Figure:
    """Estimate and interval of each regime, one panel for each score of all classes together; errors are left out."""
    metrics = [metric for metric in scores["metric"].unique() if "[" not in metric and not less_is_better(metric)]
    regimes = list(scores["regime"].unique())
    figure, panels = grid(1, len(metrics), height=0.75 + 0.28 * len(regimes), share=True)
    for axes, metric in zip(panels[0], metrics, strict=True):
        rows = scores[scores["metric"] == metric].set_index("regime").loc[regimes]
        for place, (colour, (_, row)) in enumerate(zip(cycle(COLOURS), rows.iterrows(), strict=False)):
            axes.plot([row["low"], row["high"]], [place, place], color=colour)
            axes.plot(row["estimate"], place, "o", color=colour, markersize=5)
        axes.set(title=metric_title(metric), ylim=(len(regimes) - 0.5, -0.5), yticks=range(len(regimes)))
        axes.set_yticklabels(regimes)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="0.9", linewidth=0.6)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return figure


@styled
def roc_curves(bands: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """ROC curves with bands (`lesionforge.evaluation.roc.roc_band`) by positive class, then by regime."""
    figure, panels = grid(1, len(bands), height=3.4 if len(bands) == 1 else 2.9, widest=3.6)
    for axes, (positive, by_regime) in zip(panels[0], bands.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
        for (regime, band), colour, dash in zip(by_regime.items(), cycle(COLOURS), cycle(DASHES), strict=False):
            rate = band["false_positive_rate"]
            axes.fill_between(rate, band["low"], band["high"], color=colour, alpha=0.12, linewidth=0)
            axes.plot(rate, band["sensitivity"], color=colour, linestyle=dash, label=regime)
        axes.set(title=f"{positive} against the rest" if len(bands) > 1 else f"positive: {positive}")
        axes.set(xlim=(0, 1), ylim=(0, 1.005), xlabel="1 − specificity", aspect="equal")
    panels[0, 0].set_ylabel("sensitivity")
    panels[0, -1].legend(loc="lower right", fontsize=8)
    return figure


@styled
def confusion_matrices(confusion: pd.DataFrame) -> Figure:
    """Counts by true and predicted class, one panel for each regime, shaded by share of the true class."""
    regimes = list(confusion["regime"].unique())
    classes = list(confusion["truth"].unique())
    figure, panels = grid(1, len(regimes), height=0.9 + min(1.9, 0.65 * len(classes)), widest=2.6)
    for axes, regime in zip(panels[0], regimes, strict=True):
        rows = confusion[confusion["regime"] == regime]
        counts = rows.pivot_table(index="truth", columns="predicted", values="count").loc[classes, classes].to_numpy()
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
        for (truth, predicted), count in np.ndenumerate(counts):
            colour = "white" if share[truth, predicted] > 0.7 else "black"
            text = f"{count:.0f}\n{100 * share[truth, predicted]:.0f} %"
            axes.text(predicted, truth, text, ha="center", va="center", color=colour, fontsize=8)
        axes.set(title=regime, xlabel="predicted", xticks=range(len(classes)), yticks=range(len(classes)))
        long_names = len(classes) > 2
        axes.set_xticklabels(classes, rotation=30 if long_names else 0, ha="right" if long_names else "center")
        axes.set_yticklabels(classes if axes is panels[0, 0] else [])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0, 0].set_ylabel("true")
    return figure


@styled
def training_curves(table: pd.DataFrame, *, along: str, across: str, groups: Sequence[str]) -> Figure:
    """Each term of training against the column ``along``, a thin line for each fold of each repeat.

    A row of panels for each term, a column for each of ``groups``, the values of the column ``across``.
    """
    terms = list(table["term"].unique())
    figure, panels = grid(len(terms), len(groups), height=0.5 + 1.4 * len(terms), share=True)
    for panels_of_term, term in zip(panels, terms, strict=True):
        for axes, group, colour in zip(panels_of_term, groups, cycle(COLOURS), strict=False):
            rows = table[(table["term"] == term) & (table[across] == group)]
            for _, line in rows.groupby(["repeat", "fold"]):
                marker = "." if len(line) == 1 else None  # a line of one point would not be seen
                axes.plot(line[along], line["value"], marker=marker, color=colour, linewidth=0.8, alpha=0.8)
            axes.grid(axis="y", color="0.92", linewidth=0.6)
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        panels_of_term[0].set_ylabel(term.replace("_", " "))
    for axes, group in zip(panels[0], groups, strict=True):
        axes.set_title(group)
    for axes in panels[-1]:
        axes.set_xlabel(along.replace("_", " "))
    return figure


@styled
def plate(images: NDArray[np.floating], *, heading: str, synthetic: bool) -> Figure:
    """Images [n, y, x] in [0, 1] under a heading, which has another colour where they are synthetic."""
    count, height, width = images.shape
    rows = -(-count // PLATE_COLUMNS)
    gap = max(1, width // 32)
    mosaic = np.ones((rows * (height + gap) - gap, PLATE_COLUMNS * (width + gap) - gap))
    for number, image in enumerate(images):
        top, left = np.array(divmod(number, PLATE_COLUMNS)) * (height + gap, width + gap)
        mosaic[top : top + height, left : left + width] = image
    colour = VERMILION if synthetic else BLACK
    inches = np.array(mosaic.shape) / mosaic.shape[1] * PAGE_INCHES / 2
    figure = Figure(figsize=(inches[1], inches[0] + 0.3))
    axes: Axes = figure.add_axes((0, 0, 1, inches[0] / (inches[0] + 0.3)))
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    figure.text(0, 0.995, heading, color=colour, weight="bold", va="top")
    return figure


def grid(
    rows: int, columns: int, *, height: float, widest: float = PAGE_INCHES, share: bool = False
) -> tuple[Figure, Panels]:
    """Return a figure of the page's width, or less if its panels would be wider than ``widest`` inches."""
    figure = Figure(figsize=(min(PAGE_INCHES, widest * columns + 1), height), layout="constrained")
    axes: Panels = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey="row" if share else False)
    return figure, axes
