import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from lesionforge.classifiers.familiarity import (
    MOST_PATCHES,
    REFUSED_SHARE,
    Familiarity,
    Region,
    learnt_from,
    look,
)
from lesionforge.data.hounsfield import default_window
from lesionforge.data.patches import Patches, concatenate

LUNG = default_window("HU")


def of(images) -> Patches:
    return Patches.of(np.asarray(images, np.float32), patient=[f"p{n}" for n in range(len(images))])


def lesions(count: int, seed: int) -> Patches:
    """Smooth discs of different size and density in slightly noisy lung."""
    rng = np.random.default_rng(seed)
    radius, density = rng.uniform(4, 9, (count, 1, 1)), rng.uniform(300, 900, (count, 1, 1))
    distance = np.linalg.norm(np.indices((32, 32)) - 16, axis=0)
    disc = 1 / (1 + np.exp(distance - radius))
    return of(-850 + rng.normal(0, 30, (count, 32, 32)) + density * disc)


@pytest.fixture(scope="module")
def familiarity():
    train, validation = (look(lesions(count, seed), LUNG) for count, seed in ((300, 0), (200, 1)))
    return Familiarity.fit(train, validation)


def refused(familiarity, patches) -> float:
    return float((familiarity.strangeness(look(patches, LUNG)) > 1).mean())


def test_few_of_what_is_alike_are_refused(familiarity):
    assert refused(familiarity, lesions(1000, 2)) < 3 * REFUSED_SHARE


RNG = np.random.default_rng(3)
STRANGE = {
    "noise": RNG.uniform(-1000, 400, (20, 32, 32)),
    "noise at lung level": RNG.normal(-800, 100, (20, 32, 32)),
    "air": np.full((20, 32, 32), -1000.0),
    "water": np.zeros((20, 32, 32)),
    "stored values, not HU": lesions(20, 4).images + 1024,
    "8-bit": (lesions(20, 5).images + 1000) / 1400 * 255,
    "shuffled pixels": RNG.permuted(lesions(20, 6).images.reshape(20, -1), axis=1).reshape(20, 32, 32),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_no_ct_of_a_lung_is_refused(familiarity, what):
    assert refused(familiarity, of(STRANGE[what])) == 1


def test_distance_is_mahalanobis_in_units_of_the_bound():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    train, validation, asked = (rng.normal(size=(count, 5)) @ mixing + 3 for count in (400, 99, 20))
    region = Region.around(train, validation)
    mean, scale = train.mean(axis=0), train.std(axis=0)
    precision = np.linalg.inv(LedoitWolf(assume_centered=True).fit((train - mean) / scale).covariance_)

    def mahalanobis(features):
        z = (features - mean) / scale
        return np.sqrt(np.einsum("nf,fg,ng->n", z, precision, z))

    bound = np.sort(mahalanobis(validation))[97]  # ⌈(99 + 1) · 0.98⌉ = 98th smallest
    np.testing.assert_allclose(region.distance(asked), mahalanobis(asked) / bound, rtol=1e-6)


def test_the_bound_holds_its_promise_however_few_set_it():
    rng = np.random.default_rng(1)
    for count in (5, 60):
        exceeded = []
        for _ in range(60):
            train, validation, asked = (rng.normal(size=(n, 3)) for n in (100, count, 50))
            exceeded.append((Region.around(train, validation).distance(asked) > 1).mean())
        assert np.mean(exceeded) < 2 * REFUSED_SHARE, count


def test_constant_features_and_single_rows_do_no_harm():
    region = Region.around(np.ones((4, 3)), np.ones((1, 3)))
    assert region.distance(np.ones((2, 3))).tolist() == [0, 0]
    assert (region.distance(np.zeros((2, 3))) > 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (3, 9, 9)], ids=str)
def test_any_size_of_patch_has_a_look(shape):
    patches = of(np.random.default_rng(0).normal(-500, 100, (6, *shape)))
    assert all(np.isfinite(part).all() and len(part) == 6 for part in look(patches, LUNG))


def test_its_arrays_say_it_all(familiarity):
    again, asked = Familiarity.restored(familiarity.arrays), look(lesions(5, 7), LUNG)
    np.testing.assert_array_equal(again.strangeness(asked), familiarity.strangeness(asked))


def test_it_is_learnt_from_real_patches_and_not_too_many():
    real = lesions(10, 0)
    made = Patches.of(real.images + 1, patient=["gan"] * 10)
    made = Patches(made.images, made.table.assign(origin="gan"), generators={"gan": real.exposure})
    assert learnt_from(concatenate([real, made])).digest == real.digest
    assert learnt_from(made).digest == made.digest
    many = real.rows(np.arange(2 * MOST_PATCHES + 1) % 10)
    assert MOST_PATCHES // 2 < len(learnt_from(many)) <= MOST_PATCHES
