import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from lesionforge.report import comparison_figures as figures


def texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


@pytest.fixture
def curves():
    rows = [
        [line, along, amount, f"{line} {amount}", metric, 0.7, 0.6, 0.85]
        for line, along, amounts in (("real", "share, %", (25, 50, 100)), ("with gan", "share, %", (25, 50, 100)))
        for amount in amounts
        for metric in ("auc", "accuracy")
    ]
    rows += [["classic", "patches", amount, f"classic {amount}", "auc", 0.7, 0.6, 0.8] for amount in (0, 500)]
    rows += [["classic", "patches", amount, f"classic {amount}", "accuracy", 0.7, 0.6, 0.8] for amount in (0, 500)]
    return pd.DataFrame(rows, columns=["line", "along", "amount", "regime", "metric", "estimate", "low", "high"])


def test_curves_have_a_panel_for_each_metric_and_amount_and_draw_every_interval(curves):
    figure = figures.score_curves(curves, ["auc", "accuracy"], chosen={"classic 500": 2})
    assert len(figure.axes) == 4
    first = figure.axes[0]
    assert [line.get_label() for line in first.lines] == ["real", "with gan"]
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in first.lines}) == 2
    intervals = np.concatenate([collection.get_segments() for collection in first.collections])
    assert len(intervals) == 6
    assert set(intervals[:, :, 1].ravel()) == {0.6, 0.85}
    written = texts(figure)
    assert written.count("2×") == 2
    assert {"AUC", "accuracy", "share, %", "patches"} <= set(written)
    low, high = first.get_ylim()
    assert low < 0.6 < 0.85 < high


def test_a_curve_of_one_amount_is_drawn(curves):
    figure = figures.score_curves(curves[curves["amount"] == 0], ["auc"])
    assert len(figure.axes[0].lines[0].get_xdata()) == 1


def test_violins_have_a_dot_for_each_fold_and_the_interval_of_all(curves):
    folds = pd.DataFrame(
        [[regime, repeat, fold, "accuracy", 0.5 + 0.01 * (repeat + fold)]
         for regime in ("raw", "same") for repeat in range(3) for fold in range(3)],
        columns=["regime", "repeat", "fold", "metric", "value"],
    )  # fmt: skip
    folds.loc[folds["regime"] == "same", "value"] = 0.5  # no spread, no violin
    folds.loc[0, "value"] = np.nan  # of a fold without one class
    scores = pd.DataFrame(
        [["raw", "accuracy", 0.52, 0.4, 0.6], ["same", "accuracy", 0.5, 0.5, 0.5]],
        columns=["regime", "metric", "estimate", "low", "high"],
    )
    axes = figures.violins(folds, scores, metric="accuracy").axes[0]
    assert len(axes.collections) == 1
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [8, 9]
    bars = [line.get_ydata() for line in axes.lines if line.get_marker() not in ("o", "D")]
    np.testing.assert_array_equal(bars, [[0.4, 0.6], [0.5, 0.5]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["raw", "same"]


def effects():
    return pd.DataFrame(
        [["auc", 0.1, 0.05, 0.15], ["brier_error", 0.1, 0.05, 0.15], ["f1 [a]", 0.1, -4, 4], ["x", *[np.nan] * 3]],
        columns=["metric", "difference", "low", "high"],
    )


def test_errors_are_turned_about_so_that_right_is_better():
    axes = figures.effect_differences(effects()).axes[0]
    places = {
        line.get_ydata()[0]: (line.get_xdata()[0], line.get_color())
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert (places[0][0], places[1][0], places[2][0]) == (0.1, -0.1, 0.1)
    assert len({colour for _, colour in places.values()}) == 3  # better, worse, cannot tell
    assert 3 not in places
    assert "too few patients" in texts(axes.figure)


def test_no_difference_is_drawn_beyond_what_a_score_can_differ_by():
    low, high = figures.effect_differences(effects()).axes[0].get_xlim()
    assert -1.1 < low < high < 1.1


def test_subgroups_are_named_with_their_patients():
    table = pd.DataFrame([["diameter_mm", "below 5", 12, 0.1, 0.0, 0.2]],
                         columns=["subgroup", "part", "patients", "difference", "low", "high"])  # fmt: skip
    assert "diameter mm: below 5 (12 patients)" in texts(figures.subgroup_differences(table, metric="auc"))


def test_embeddings_have_a_panel_for_each_group_and_tell_class_from_origin():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "x": rng.normal(size=80),
            "y": rng.normal(size=80),
            "label": ["benign", "malignant"] * 40,
            "origin": ["real"] * 40 + ["synthetic"] * 40,
            "layout": "t-sne",
            "trustworthiness": 0.9,
            "neighbours_kept": 0.5,
            "regime": np.repeat(["raw", "classic"], 40).repeat(1),
        }
    )
    figure = figures.embeddings(table, across="regime")
    drawn = [axes for axes in figure.axes if axes.collections]
    assert [axes.get_title().partition("\n")[0] for axes in drawn] == ["raw", "classic"]
    assert sum(len(collection.get_offsets()) for axes in drawn for collection in axes.collections) == 80
    assert figure.legends[0].get_texts()[0].get_text() == "benign, real"
    assert len(figure.legends[0].get_texts()) == 4  # though each panel has one origin alone
