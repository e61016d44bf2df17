import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from lesionforge.generators.similarity import dissimilarity, printed_dissimilarity


def images(seed, side=24, count=2):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.uniform(-1, 1, (count, 1, side, side)), (0, 0, 1, 1)) * 2


def loss(kind, first, second, window_px=11):
    return float(kind(torch.from_numpy(first), torch.from_numpy(second), window_px=window_px))


def test_the_standard_form_is_scikit_images():
    first, second = images(0), images(0) * 0.7 + images(1) * 0.3
    expected = [
        structural_similarity(
            a, b, data_range=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11
        )
        for a, b in zip(first[:, 0], second[:, 0], strict=True)
    ]
    assert loss(dissimilarity, first, second) == pytest.approx(1 - np.mean(expected), rel=1e-9)


def moments(first, second):
    """About each pixel, by the Gaussian of 11 pixels, borders left out."""
    bell = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights = np.outer(bell, bell) / bell.sum() ** 2
    windows = [np.lib.stride_tricks.sliding_window_view(each[:, 0], (11, 11), axis=(1, 2)) for each in (first, second)]
    x, y = ((window * weights).sum((-2, -1)) for window in windows)
    deviations = [window - mean[..., None, None] for window, mean in zip(windows, (x, y), strict=True)]
    xx, yy, xy = ((deviations[i] * deviations[j] * weights).sum((-2, -1)) for i, j in ((0, 0), (1, 1), (0, 1)))
    return x, y, xx, yy, xy


def test_both_forms_are_their_formulas_in_double_precision():
    first, second = images(0), images(1)
    c1, c2 = 0.01**2, 0.03**2
    x, y, xx, yy, xy = moments((first + 1) / 2, (second + 1) / 2)
    printed = 1 - (((2 * x * y + c1) + (xy + c2)) / ((x**2 * y**2 + c1) * (xx * yy + c2))).mean()
    assert loss(printed_dissimilarity, first, second) == pytest.approx(printed, rel=1e-9)
    x, y, xx, yy, xy = moments(first, second)
    c1, c2 = 0.02**2, 0.06**2
    standard = 1 - ((2 * x * y + c1) * (2 * xy + c2) / ((x**2 + y**2 + c1) * (xx + yy + c2))).mean()
    assert loss(dissimilarity, first, second) == pytest.approx(standard, rel=1e-9)


def test_only_the_standard_form_is_least_for_equal_images():
    same, other = images(0), images(1)
    assert loss(dissimilarity, same, same) == pytest.approx(0, abs=1e-12)
    assert 0 < loss(dissimilarity, same, other) <= 2
    flat = np.full_like(same, same.mean())
    assert loss(dissimilarity, same, flat) > loss(dissimilarity, same, same)
    # What is printed rewards a flat grey image more than the right one: its denominator has the variance's square.
    assert loss(printed_dissimilarity, same, same) < -10
    assert loss(printed_dissimilarity, flat, same) < loss(printed_dissimilarity, same, same)


def test_images_smaller_than_the_window_are_compared_as_a_whole():
    first, second = images(0, side=7), images(1, side=7)
    assert loss(dissimilarity, first, first) == pytest.approx(0, abs=1e-12)
    assert loss(dissimilarity, first, second) > 0.1
