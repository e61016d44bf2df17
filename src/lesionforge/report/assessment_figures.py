"""Figures of a synthetic set held against real patients; one function a figure, as in `lesionforge.report.figures`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lesionforge.report.figures import BLACK, BLUE, COLOURS, DASHES, PAGE_INCHES, VERMILION, grid, styled

REAL, SYNTHETIC = BLACK, VERMILION
BINS = 30
PAIRS_ACROSS = 4
TINY = 1e-12
TICKS = (-10, -3, -1, 0, 1, 3, 10)


@styled
def excesses(table: pd.DataFrame) -> Figure:
    """By how many standard errors each measure of samples lies on the worse side of its floor, with 95 % intervals."""
    figure, panels = grid(1, 1, height=0.8 + 0.21 * len(table))
    axes: Axes = panels[0, 0]
    axes.axvline(0, color="0.6", linewidth=0.8)
    for place, row in enumerate(table.to_dict("records")):
        half = max((row["excess_high"] - row["excess_low"]) / 2, TINY)
        worse = row["excess"] / half * (-1 if row["better"] == "more" else 1)
        colour = SYNTHETIC if row["apart"] else "0.45"
        axes.plot([worse - 1, worse + 1], [place, place], color=colour)
        axes.plot(worse, place, "o", color=colour, markersize=4.5)
    labels = [
        f"{measure}, {of}".replace("_", " ") for measure, of in zip(table["measure"], table["taken_of"], strict=True)
    ]
    axes.set(yticks=range(len(table)), ylim=(len(table) - 0.5, -0.5))
    axes.set_yticklabels(labels)
    axes.set_xscale("symlog", linthresh=2)
    axes.set_xticks(TICKS)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("excess over the floor, in half-widths of its 95 % interval (right: worse, or more alike)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92", linewidth=0.6)
    axes.spines["left"].set_visible(False)
    return figure


@styled
def spectrum_and_histogram(spectrum: pd.DataFrame, histogram: pd.DataFrame, *, unit: str) -> Figure:
    """Mean power by spatial frequency, and shares of intensities, of both sets, with bands."""
    figure, panels = grid(1, 2, height=2.7)
    middle = (histogram["from"] + histogram["to"]) / 2
    sides = ((panels[0, 0], spectrum["cycles_per_pixel"], spectrum), (panels[0, 1], middle, histogram))
    for name, colour, dash in (("real", REAL, "-"), ("synthetic", SYNTHETIC, (0, (5, 1.5)))):
        for axes, along, table in sides:
            axes.fill_between(along, table[f"{name}_low"], table[f"{name}_high"], color=colour, alpha=0.18, linewidth=0)
            axes.plot(along, table[name], color=colour, linestyle=dash, linewidth=1.2, label=name)
    panels[0, 0].set(xlabel="cycles a pixel", ylabel="power, dB")
    panels[0, 1].set(xlabel=unit, ylabel="share of pixels", yscale="log")
    panels[0, 1].legend(fontsize=8)
    return figure


@styled
def feature_distributions(real: pd.DataFrame, synthetic: pd.DataFrame, ks: Sequence[float]) -> Figure:
    """Distribution of each feature, real and synthetic: the closest above, the farthest below."""
    names = list(map(str, real))
    figure, panels = grid(2, len(names) // 2, height=4.3)
    for axes, name, statistic in zip(panels.ravel(), names, ks, strict=True):
        both = np.concatenate([real[name], synthetic[name]])
        low, high = np.quantile(both, [0.005, 0.995])
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        for values, colour, fill in ((real[name], REAL, False), (synthetic[name], SYNTHETIC, True)):
            shares = np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / len(values)
            axes.stairs(shares, edges, color=colour, fill=fill, alpha=0.45 if fill else 1, linewidth=1.2)
        axes.set_title(f"{name.replace('_', ' ')}\nKS {statistic:.2f}", fontsize=8)
        axes.set_yticks([])
    handles = [Line2D([], [], color=REAL, label="real"), Line2D([], [], color=SYNTHETIC, alpha=0.6, label="synthetic")]
    panels[0, -1].legend(handles=handles, fontsize=8)
    return figure


@styled
def feature_distances(table: pd.DataFrame) -> Figure:
    """Kolmogorov–Smirnov distance of each feature, by family and rank, with the floor between halves of patients."""
    families = list(table["family"].unique())
    figure, panels = grid(1, len(families), height=2.6, share=True)
    for axes, family in zip(panels[0], families, strict=True):
        rows = table[table["family"] == family].sort_values("ks_halved")
        place = np.arange(len(rows))
        axes.plot(place, rows["ks_floor"], "_", color=BLUE, markersize=5, label="halves of patients")
        axes.plot(place, rows["ks_halved"], "o", color=SYNTHETIC, markersize=3, label="synthetic")
        axes.set(title=family, xticks=[], ylim=(0, 1))
    panels[0, 0].set_ylabel("KS distance")
    panels[0, 0].legend(fontsize=7, loc="upper left")
    return figure


@styled
def judges(bands: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """ROC curves of judges who tell samples from real lesions, a panel for each kind of features."""
    figure, panels = grid(1, len(bands), height=2.9, widest=3.4)
    for axes, (name, by_judge) in zip(panels[0], bands.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
        for (judge, band), colour, dash in zip(by_judge.items(), COLOURS, DASHES, strict=False):
            rate = band["false_positive_rate"]
            axes.fill_between(rate, band["low"], band["high"], color=colour, alpha=0.12, linewidth=0)
            axes.plot(rate, band["sensitivity"], color=colour, linestyle=dash, label=judge)
        axes.set(title=f"by {name}", xlim=(0, 1), ylim=(0, 1.005), xlabel="real called synthetic", aspect="equal")
    panels[0, 0].set_ylabel("synthetic called so")
    panels[0, -1].legend(loc="lower right", fontsize=8)
    return figure


@styled
def ratios(table: pd.DataFrame) -> Figure:
    """Distance to training over distance to held-out patients, of samples and of real lesions, in each space."""
    spaces = list(table["space"].unique())
    figure, panels = grid(1, len(spaces), height=2.7, widest=3.6)
    for axes, space in zip(panels[0], spaces, strict=True):
        rows = table[table["space"] == space]
        edges = np.linspace(0, max(1.5, float(np.quantile(rows["ratio"], 0.995))), 46)
        for of, colour, fill, dash in (
            ("samples", SYNTHETIC, True, "-"),
            ("training patients", BLUE, False, (0, (4, 1.5))),
            ("held-out patients", REAL, False, "-"),
        ):
            values = rows[rows["of"] == of]["ratio"].clip(upper=edges[-1])
            if len(values):
                shares = np.histogram(values, edges)[0] / len(values)
                look = {"alpha": 0.5, "linewidth": 0} if fill else {"linestyle": dash, "linewidth": 1.2}
                axes.stairs(shares, edges, color=colour, fill=fill, label=of, **look)
        axes.set(title=space, xlabel="nearest in training / nearest held out", yticks=[])
    panels[0, -1].legend(fontsize=8)
    return figure


@styled
def pairs(images: NDArray[np.floating], captions: Sequence[str]) -> Figure:
    """Samples [n, 2, y, x] in [0, 1] on the left, each with the training image it is nearest to on its right."""
    count, _, height, width = images.shape
    across = min(PAIRS_ACROSS, count)
    rows = -(-count // across)
    side = PAGE_INCHES / across
    figure = Figure(figsize=(PAGE_INCHES, rows * (side / 2 * height / width + 0.22)), layout="constrained")
    panels = figure.subplots(rows, across, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    for axes, (sample, real), caption in zip(panels.ravel(), images, captions, strict=False):
        gap = np.ones((height, max(1, width // 24)))
        axes.imshow(np.hstack([sample, gap, real]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(caption, fontsize=7, weight="normal", pad=2)
    return figure
