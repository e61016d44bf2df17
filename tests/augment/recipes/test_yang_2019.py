import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.augment.recipes.yang_2019 import Yang2019
from lesionforge.data.patches import Patches


def patches(shape, count=1):
    return Patches.of(np.zeros((count, *shape), np.int16), patient=["p"] * count, spacing_mm=(2, 1, 1)[-len(shape) :])


def test_volumes_of_the_published_shape_are_cropped_along_every_axis():
    made = Yang2019().augment(patches((32, 64, 64)), seed=0)
    assert len(made) == 10
    assert made.shape == (32, 64, 64)
    table = Yang2019(crops=3000).sample(patches((32, 64, 64)), rng=np.random.default_rng(0))
    assert table["scale"].between(1, 1.25).all()
    assert np.ptp(table["scale"]) > 0.24
    for axis, n in zip("zyx", (32, 64, 64), strict=True):
        assert table[f"translate_{axis}_px"].abs().max() == pytest.approx(0.1 * n, rel=0.1)


@settings(deadline=None, max_examples=30)
@given(
    shape=st.lists(st.integers(2, 70), min_size=2, max_size=2) | st.lists(st.integers(2, 20), min_size=3, max_size=3),
    margin=st.integers(0, 30),
    larger=st.floats(1, 2),
    seed=st.integers(0, 99),
)
def test_windows_lie_inside_the_patch(shape, margin, larger, seed):
    size = max(1, min(shape[-2:]) - margin)
    smallest = 1.0 if len(shape) == 3 else max(size / n for n in shape)
    recipe = Yang2019(output_size=size, min_scale=smallest, max_scale=smallest * larger)
    source = patches(tuple(shape))
    table = recipe.sample(source, rng=np.random.default_rng(seed))
    chain = recipe.chain(source)
    pull, result = chain.pull(table, source.axes), chain.output_shape(source.shape)
    for axis, (n, m) in enumerate(zip(source.shape, result, strict=True)):
        for end in (0, m - 1):
            corner = pull[:, axis, axis] * (end - m // 2) + pull[:, axis, -1] + n // 2
            assert (corner >= -1e-9).all()
            assert (corner <= n - 1 + 1e-9).all()


def test_the_lesion_stays_in_the_middle_of_much_larger_patches():
    table = Yang2019(output_size=20, crops=500).sample(patches((90, 90)), rng=np.random.default_rng(0))
    assert 1.9 < table["translate_y_px"].abs().max() <= 2
