"""Figures of a reader study; one function a figure, as in `lesionforge.report.figures`."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionforge.report.figures import BLACK, COLOURS, DASHES, SKY, VERMILION, grid, styled

METRICS = ("auc", "accuracy", "true_positive_ratio", "false_positive_ratio")
TITLES = ("AUC", "accuracy", "real\ncalled real", "synthetic\ncalled real")
SHADES = ("#D55E00", "#EFB48C", "#9CC9EA", "#0072B2")  # from fake to real


@styled
def reader_intervals(turing: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """What each reader reached, with 95 % intervals, above what the papers' readers did."""
    readers = list(turing["reader"].unique())
    papers = published[published["metric"].isin(METRICS)]
    others = list(dict.fromkeys(papers["paper"].str.split(",").str[0] + ": " + papers["reader"]))
    named = papers.assign(name=papers["paper"].str.split(",").str[0] + ": " + papers["reader"])
    figure, panels = grid(1, len(METRICS), height=0.8 + 0.24 * (len(readers) + len(others)), share=True)
    for axes, metric, title in zip(panels[0], METRICS, TITLES, strict=True):
        axes.axvline(0.5, color="0.8", linewidth=0.8)
        rows = turing[turing["metric"] == metric].set_index("reader")
        for place, reader in enumerate(readers):
            row = rows.loc[reader]
            axes.plot([row["low"], row["high"]], [place, place], color=BLACK)
            axes.plot(row["estimate"], place, "o", color=BLACK, markersize=4.5)
        for row in named[named["metric"] == metric].to_dict("records"):
            place = len(readers) + others.index(row["name"])
            axes.plot(row["estimate"], place, "D", color=VERMILION, markersize=4, fillstyle="none")
        axes.set(title=title, xlim=(0, 1), ylim=(len(readers) + len(others) - 0.5, -0.5))
        axes.set_yticks(range(len(readers) + len(others)), [*readers, *others])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    return figure


@styled
def confidence_bars(confidence: pd.DataFrame) -> Figure:
    """Shares of each answer by reader, of real lesions and of synthetic ones (Wang et al. 2022, Fig. 4)."""
    readers, words = list(confidence["reader"].unique()), list(confidence["rating"].unique())
    shades = SHADES if len(words) == len(SHADES) else SHADES[:: len(SHADES) - 1]
    figure, panels = grid(1, 2, height=0.9 + 0.28 * len(readers), share=True)
    for axes, origin in zip(panels[0], ("real", "synthetic"), strict=True):
        left = np.zeros(len(readers))
        for word, shade in zip(words, shades, strict=True):
            of = confidence[(confidence["origin"] == origin) & (confidence["rating"] == word)]
            width = of.set_index("reader").loc[readers, "share"].to_numpy(dtype=float)
            axes.barh(range(len(readers)), width, left=left, color=shade, height=0.7, label=word)
            left += width
        axes.set(title=f"{origin} lesions", xlim=(0, 1), ylim=(len(readers) - 0.5, -0.5), xlabel="share of answers")
        axes.set_yticks(range(len(readers)), readers)
        axes.tick_params(axis="y", length=0)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(words), fontsize=8)
    return figure


@styled
def reader_curves(confidence: pd.DataFrame) -> Figure:
    """ROC curves of readers: a point for each line that could be drawn between fake and real."""
    figure, panels = grid(1, 1, height=3.4, widest=3.6)
    axes: Axes = panels[0, 0]
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
    for (reader, rows), colour, dash in zip(
        confidence.groupby("reader", sort=False), cycle(COLOURS), cycle(DASHES), strict=False
    ):
        false, true = (_above(rows, origin) for origin in ("synthetic", "real"))
        axes.plot(false, true, color=colour, linestyle=dash, marker="o", markersize=3.5, label=str(reader))
    axes.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal", xlabel="synthetic called real", ylabel="real called real")
    axes.legend(loc="lower right", fontsize=8)
    return figure


@styled
def reading_times(times: pd.DataFrame) -> Figure:
    """Median time an item was on the screen, with quartiles, by reader and origin."""
    readers = list(times["reader"].unique())
    figure, panels = grid(1, 1, height=0.8 + 0.32 * len(readers))
    axes: Axes = panels[0, 0]
    for origin, shift, colour in (("real", -0.12, BLACK), ("synthetic", 0.12, SKY)):
        rows = times[times["origin"] == origin].set_index("reader")
        for place, reader in enumerate(readers):
            if reader in rows.index:
                row = rows.loc[reader]
                axes.plot([row["lower_quartile_s"], row["upper_quartile_s"]], [place + shift] * 2, color=colour)
                axes.plot(row["median_s"], place + shift, "o", color=colour, label=origin if place == 0 else None)
    axes.set(ylim=(len(readers) - 0.5, -0.5), xlabel="seconds an item", xlim=(0, None))
    axes.set_yticks(range(len(readers)), readers)
    axes.legend(fontsize=8)
    return figure


def _above(rows: pd.DataFrame, origin: str) -> Sequence[float]:
    """Share of that origin's lesions at or above each level, from none to all."""
    shares = rows.loc[rows["origin"] == origin, "share"].to_numpy(dtype=float)
    return [0.0, *np.cumsum(shares[::-1]).tolist()]
