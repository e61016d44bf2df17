from itertools import product

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from lesionforge.distances.co_occurrence import NAMES, co_occurrence, haralick

LEVELS = 12
DIAGONAL = np.sqrt(2)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    smooth = rng.normal(0, 1, (5, 24, 20)).cumsum(axis=1).cumsum(axis=2)
    low, high = smooth.min(axis=(1, 2), keepdims=True), smooth.max(axis=(1, 2), keepdims=True)
    return ((smooth - low) / (high - low) * (LEVELS - 1)).round().astype(np.uint8)


def by_scikit_image(image, distance):
    """Both of scikit-image's functions, in double precision; its diagonal steps are rounded from their length."""
    along = graycomatrix(image, [distance], [0, np.pi / 2], LEVELS, symmetric=True)
    across = graycomatrix(image, [distance * DIAGONAL], [np.pi / 4, 3 * np.pi / 4], LEVELS, symmetric=True)
    counts = (along + across).sum(axis=3, keepdims=True, dtype=np.float64)
    return counts / counts.sum()


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_matrices_and_features_equal_scikit_images(images, distance):
    shares = co_occurrence(images, count=LEVELS, distance=distance)
    found = haralick(shares)
    assert tuple(found) == NAMES
    for number, image in enumerate(images):
        expected = by_scikit_image(image, distance)
        np.testing.assert_allclose(shares[number], expected[:, :, 0, 0], rtol=1e-12)
        for name, theirs in (("energy", "ASM"), *((name, name) for name in NAMES[:4]), ("entropy", "entropy")):
            (value,) = graycoprops(expected, theirs).ravel()
            # graycoprops takes the entropy in nats.
            value = value / np.log(2) if name == "entropy" else value
            assert found[name][number] == pytest.approx(value, rel=1e-9)


def test_in_space_pairs_of_all_13_directions_are_counted():
    volume = np.random.default_rng(1).integers(0, 4, (2, 3, 4, 5))
    expected = np.zeros((2, 4, 4))
    for number, image in enumerate(volume):
        for here in np.ndindex(image.shape):
            for direction in product((-1, 0, 1), repeat=3):
                there = np.add(here, direction)
                if any(direction) and (there >= 0).all() and (there < image.shape).all():
                    expected[number, image[here], image[tuple(there)]] += 1
    expected /= expected.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(co_occurrence(volume, count=4, distance=1), expected, rtol=1e-12)


def test_clusters_follow_their_definition(images):
    shares = co_occurrence(images, count=LEVELS, distance=1)
    found = haralick(shares)
    i, j = np.mgrid[:LEVELS, :LEVELS]
    for number, share in enumerate(shares):
        together = i + j - (share * i).sum() - (share * j).sum()
        assert found["cluster_shade"][number] == pytest.approx((share * together**3).sum(), rel=1e-9)
        assert found["cluster_prominence"][number] == pytest.approx((share * together**4).sum(), rel=1e-9)


def test_a_constant_image_has_defined_features():
    found = haralick(co_occurrence(np.full((1, 8, 8), 3), count=LEVELS, distance=1))
    known = dict.fromkeys(NAMES, 0.0) | {"homogeneity": 1.0, "correlation": 1.0, "energy": 1.0}
    assert {name: float(value[0]) for name, value in found.items()} == known
