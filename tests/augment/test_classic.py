import pytest

from lesionforge.augment.classic import augment
from lesionforge.augment.recipes.calm import Calm
from lesionforge.errors import LesionForgeError


@pytest.fixture
def source(small_patches):
    return small_patches(patients=2, per_patient=1, shape=(45, 45))


def test_a_recipe_is_found_by_its_name(source):
    made = augment(source, "calm", seed=2)
    assert len(made) == 2 * 4
    assert made.digest == Calm().augment(source, seed=2).digest


def test_its_settings_can_be_overridden(source):
    made = augment(source, "calm", seed=2, count=3, overrides=["output_size=20", "max_translation_px=2"])
    assert made.digest == Calm(output_size=20, max_translation_px=2).augment(source, seed=2, count=3).digest


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("wang2020", "translations=5", r"'wang2020' is not among the augment recipes; did you mean 'wang_2020'"),
        ("calm", "shifts=5", "no setting 'shifts'"),
        ("calm", "translations=0", "greater than or equal to 1"),
        ("calm", "translations=441", "at most 440"),
        ("frid_adar_2018", "max_rotation_deg=-1", "a turn's degrees must run from lower to higher"),
        ("wang_2020", "min_scale=2", "a scale must run from lower to higher"),
        ("wang_2020", "min_scale=-1", "a scale must run from lower to higher"),
        ("wang_2020", "min_translation_px=20", "a shift's pixels must run from lower to higher"),
        ("wang_2020", "max_translation_share=2", "less than 1"),
        ("yang_2019", "min_scale=0.9", "a window must fit inside patches"),
        ("yang_2019", "max_scale=inf", "finite"),
    ],
)
def test_what_does_not_fit_is_named(small_patches, name, override, message):
    source = small_patches(patients=2, per_patient=1, shape=(64, 64))
    with pytest.raises(LesionForgeError, match=message):
        augment(source, name, seed=0, count=1, overrides=[override])
