import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from lesionforge.classifiers.methods.haralick import ANGLES, Haralick, haralick
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

LEVELS = 6


def image(*, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(np.cumsum(rng.normal(size=(20, 17)), axis=1) * 0.7 + 3, 0, LEVELS - 1).astype(np.uint8)


def matrices(picture: np.ndarray) -> np.ndarray:
    return graycomatrix(picture, [1, 2], ANGLES, LEVELS, symmetric=True, normed=True)


def reference(p: np.ndarray) -> list[float]:
    """Haralick's appendix I, written out: features 1 to 13 of one matrix."""
    levels = range(len(p))
    px, py = p.sum(axis=1), p.sum(axis=0)
    plus, minus = dict.fromkeys(range(2 * len(p) - 1), 0.0), dict.fromkeys(levels, 0.0)
    for i in levels:
        for j in levels:
            plus[i + j] += p[i, j]
            minus[abs(i - j)] += p[i, j]

    def entropy(values):
        return -sum(v * np.log(v) for v in values if v > 0)

    mean_x, mean_y = (sum(i * q[i] for i in levels) for q in (px, py))
    sd_x, sd_y = (np.sqrt(sum((i - m) ** 2 * q[i] for i in levels)) for q, m in ((px, mean_x), (py, mean_y)))
    cells = [(i, j, p[i, j]) for i in levels for j in levels]
    average = sum(k * v for k, v in plus.items())
    difference = sum(k * v for k, v in minus.items())
    hxy = entropy(p.ravel())
    hxy1 = -sum(v * np.log(px[i] * py[j]) for i, j, v in cells if px[i] * py[j] > 0)
    hxy2 = -sum(px[i] * py[j] * np.log(px[i] * py[j]) for i, j, _ in cells if px[i] * py[j] > 0)
    return [
        sum(v**2 for _, _, v in cells),
        sum(k**2 * v for k, v in minus.items()),
        (sum(i * j * v for i, j, v in cells) - mean_x * mean_y) / (sd_x * sd_y),
        sum((i - mean_x) ** 2 * v for i, _, v in cells),
        sum(v / (1 + (i - j) ** 2) for i, j, v in cells),
        average,
        sum((k - average) ** 2 * v for k, v in plus.items()),
        entropy(plus.values()),
        hxy,
        sum((k - difference) ** 2 * v for k, v in minus.items()),
        entropy(minus.values()),
        (hxy - hxy1) / max(entropy(px), entropy(py)),
        np.sqrt(max(0, 1 - np.exp(-2 * (hxy2 - hxy)))),
    ]


def test_thirteen_features_equal_haralicks_formulas():
    each = matrices(image()).reshape(LEVELS, LEVELS, -1)
    expected = [reference(each[:, :, m]) for m in range(each.shape[2])]
    np.testing.assert_allclose(haralick(each), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "ASM"), (1, "contrast"), (2, "correlation"), (3, "variance"), (4, "homogeneity"), (8, "entropy")],
)
def test_those_that_scikit_image_knows_are_its(number, name):
    found = matrices(image(seed=3))
    expected = graycoprops(found, name).ravel()
    np.testing.assert_allclose(haralick(found.reshape(LEVELS, LEVELS, -1))[:, number], expected, rtol=1e-9)


def test_an_even_patch_has_finite_features():
    features = haralick(matrices(np.full((9, 9), 2, np.uint8)).reshape(LEVELS, LEVELS, -1))
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features[:, [0, 1, 2, 8]], np.tile([1, 0, 1, 0], (8, 1)))


def test_patches_are_described_by_mean_and_range_over_directions(facts_of):
    rng = np.random.default_rng(0)
    hu = rng.uniform(-1200, 600, (3, 16, 16))
    patches = Patches.of(hu, patient=list("abc"), label=list("xyx"))
    found = Haralick(levels=8, distances=(1, 3)).describe(patches, facts_of(patches), {}).reshape(3, 2, 2, 13)
    for row in range(3):
        unit = np.clip((hu[row] + 1000) / 1400, 0, 1)
        grey = np.minimum(np.floor(unit * 8), 7).astype(np.uint8)
        of_one = graycomatrix(grey, [1, 3], ANGLES, 8, symmetric=True, normed=True)
        each = np.array([[reference(of_one[:, :, d, a]) for a in range(4)] for d in range(2)])
        np.testing.assert_allclose(found[row, 0], each.mean(axis=1), rtol=1e-9)
        np.testing.assert_allclose(found[row, 1], each.max(axis=1) - each.min(axis=1), rtol=1e-7, atol=1e-12)


def test_volumes_are_refused():
    with pytest.raises(LesionForgeError, match="2-D patches"):
        Haralick().check_shape((16, 16, 16))
