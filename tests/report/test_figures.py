import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lesionforge.evaluation.tables import read_table
from lesionforge.report import figures


@pytest.fixture
def table(run):
    return lambda name: read_table(run / "tables" / f"{name}.csv")


def texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def test_score_intervals_draw_every_regime_of_every_overall_score(table):
    scores = table("scores")
    figure = figures.score_intervals(scores)
    assert [axes.get_title() for axes in figure.axes] == ["AUC", "balanced accuracy", "accuracy"]
    bars = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    expected = scores.query("metric == 'auc'")[["low", "high"]].to_numpy()
    np.testing.assert_allclose(bars, expected)


def test_roc_curves_have_a_line_and_a_band_for_each_regime():
    rate = np.linspace(0, 1, 5)
    band = pd.DataFrame({"false_positive_rate": rate, "sensitivity": rate, "low": rate / 2, "high": rate})
    figure = figures.roc_curves({name: {"raw": band, "classic": band} for name in ("cyst", "metastasis")})
    for axes, positive in zip(figure.axes, ("cyst", "metastasis"), strict=True):
        assert axes.get_title() == f"{positive} against the rest"
        assert len(axes.collections) == 2
        assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 3


def test_confusion_matrices_print_every_count(table):
    confusion = table("confusion")
    written = texts(figures.confusion_matrices(confusion))
    for count in confusion["count"]:
        assert any(text.startswith(f"{count}\n") for text in written)


def test_training_curves_have_a_line_for_each_fold(table):
    groups = ("malignant", "benign")
    figure = figures.training_curves(table("gan_training"), along="images_seen", across="label", groups=groups)
    assert [len(axes.lines) for axes in figure.axes] == [3] * 8
    assert [axes.get_title() for axes in figure.axes[:2]] == ["malignant", "benign"]
    assert {"generator loss", "images seen"} <= set(texts(figure))


def test_a_training_curve_of_one_point_is_seen(table):
    first = table("gan_training").query("images_seen == 1")
    figure = figures.training_curves(first, along="images_seen", across="label", groups=("benign",))
    assert {line.get_marker() for axes in figure.axes for line in axes.lines} == {"."}


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (4, 1), (5, 2)])
def test_plate_shows_every_image_unchanged(count, rows):
    images = np.random.default_rng(0).random((count, 32, 32))
    figure = figures.plate(images, heading="SYNTHETIC · a", synthetic=True)
    mosaic = figure.axes[0].images[0].get_array()
    assert mosaic.shape == (rows * 33 - 1, 4 * 33 - 1)
    for number, image in enumerate(images):
        top, left = (33 * place for place in divmod(number, 4))
        np.testing.assert_array_equal(mosaic[top : top + 32, left : left + 32], image)
    assert "SYNTHETIC · a" in texts(figure)


def test_real_and_synthetic_plates_have_headings_of_two_colours():
    images = np.zeros((1, 8, 8))
    colours = {
        figures.plate(images, heading="x", synthetic=synthetic).texts[0].get_color() for synthetic in (True, False)
    }
    assert len(colours) == 2


def test_drawing_leaves_matplotlib_alone_and_names_are_no_formulas(table):
    before = dict(mpl.rcParams)
    confusion = table("confusion").replace("benign", "$x_1$ & <b>")
    figure = figures.confusion_matrices(confusion)
    assert isinstance(figure, Figure)
    assert "$x_1$ & <b>" in texts(figure)
    assert dict(mpl.rcParams) == before
